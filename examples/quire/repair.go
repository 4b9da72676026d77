package main

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/topic"
)

func (t *tool) repair(name string, args []string) error {
	f := t.flags(name, "[DIRECTORY]", `Make a damaged directory of topics, or of one partition, whole again; no program may have it open. Batches whose
header alone is damaged are put right. What cannot be read is saved in files beside the data and left out: its
offsets stay a gap. That is done only with -accept-loss; without it such partitions are left alone. Everything that
can be made again (indexes, side files, snapshots, checkpoints) is. No byte is thrown away.
With -dry-run nothing is changed, and told what would be.`)
	dir := dirFlag(f)
	dry := f.Bool("dry-run", false, "tell what would be done, change nothing")
	accept := f.Bool("accept-loss", false, "give up records that cannot be read")
	asJSON := f.Bool("json", false, "one JSON object a line")
	rest, err := t.parse(f, args, 0, 1)
	if err != nil {
		return err
	}
	if len(rest) == 1 {
		*dir = rest[0]
	}
	bar := t.progress("verifying")
	done, err := topic.Repair(t.ctx, *dir, topic.RepairOptions{DryRun: *dry, AcceptLoss: *accept, Progress: bar.show})
	bar.done()
	if done == nil {
		return err
	}
	out := teller{t: t, dir: *dir, asJSON: *asJSON}
	out.faults("damage", done.Found)
	out.faults("mended", done.Mended)
	out.faults("lost", done.Lost)
	for _, path := range done.SavedAs {
		out.tell(fileFact{"saved", out.short(path)})
	}
	for _, path := range done.Rebuilt {
		out.tell(fileFact{"rebuilt", out.short(path)})
	}
	refused := errors.Is(err, topic.ErrDataLoss)
	out.tell(repairFact{"repair", *dry, len(done.Found), len(done.Mended), len(done.Lost), len(done.SavedAs), done.Cut, refused})
	switch {
	case err != nil:
		return err
	case out.err != nil:
		return out.err
	case *dry && len(done.Found) > 0:
		return errDamage
	}
	return nil
}

// fileFact tells what became of a file.
type fileFact struct {
	Kind string `json:"kind"`
	File string `json:"file"`
}

func (f fileFact) String() string { return f.Kind + " " + f.File }

// repairFact is the last line.
type repairFact struct {
	Kind    string `json:"kind"`
	DryRun  bool   `json:"dryRun"`
	Found   int    `json:"found"`
	Mended  int    `json:"mended"`
	Lost    int    `json:"lost"`
	Saved   int    `json:"saved"`
	Cut     int64  `json:"cutBytes"`
	Refused bool   `json:"refused"` // some partitions were left alone, since records would be lost
}

func (f repairFact) String() string {
	if f.Found == 0 {
		return "no damage, nothing to repair"
	}
	text := fmt.Sprintf("%d faults, %d mended without loss, %d given up, %d bytes cut out, %d files saved aside", f.Found, f.Mended, f.Lost, f.Cut, f.Saved)
	return text + ifSo(f.Refused, "; partitions that would lose records were left alone") + ifSo(f.DryRun, "; nothing was changed")
}
