package main

import (
	"fmt"
	"path/filepath"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

func (t *tool) verify(name string, args []string) error {
	f := t.flags(name, "[DIRECTORY]", `Read every file of a directory of topics, or of one partition, and tell what is wrong: checksums, lengths,
records, the order of offsets, indexes against data, side files, snapshots, checkpoints. Nothing is changed.
Bytes behind what is known to be on disk (a torn tail, which the next open cuts off) are told but are no damage.
Files of other names are left alone.`)
	dir := dirFlag(f)
	quiet := f.Bool("q", false, "tell damage only")
	asJSON := f.Bool("json", false, "one JSON object a line")
	rest, err := t.parse(f, args, 0, 1)
	if err != nil {
		return err
	}
	if len(rest) == 1 {
		*dir = rest[0]
	}
	bar := t.progress("verifying")
	found, err := topic.VerifyDirectory(t.ctx, vfs.OS(), *dir, topic.VerifyOptions{Progress: bar.show})
	bar.done()
	if err != nil {
		return err
	}
	return t.tellFound(*dir, found, *quiet, *asJSON)
}

// tellFound tells what a verification or a scrub found.
func (t *tool) tellFound(dir string, found *topic.VerifyReport, quiet, asJSON bool) error {
	out := teller{t: t, dir: dir, asJSON: asJSON}
	out.faults("damage", found.Faults)
	if !quiet {
		out.faults("note", found.Notes)
		out.tell(sumFact{"sum", found.Partitions, found.Segments, found.Batches, found.Records, found.Bytes, len(found.Notes), len(found.Faults)})
	}
	switch {
	case out.err != nil:
		return out.err
	case len(found.Faults) > 0:
		return errDamage
	}
	return nil
}

// sumFact is the last line.
type sumFact struct {
	Kind       string `json:"kind"`
	Partitions int    `json:"partitions"`
	Segments   int    `json:"segments"`
	Batches    int64  `json:"batches"`
	Records    int64  `json:"records"`
	Bytes      int64  `json:"bytes"`
	Notes      int    `json:"notes"`
	Damaged    int    `json:"damaged"`
}

func (s sumFact) String() string {
	verdict := "no damage"
	if s.Damaged > 0 {
		verdict = fmt.Sprintf("DAMAGE in %d places", s.Damaged)
	}
	return fmt.Sprintf("%d partitions, %d segments, %d batches, %d records, %d bytes: %s", s.Partitions, s.Segments, s.Batches, s.Records, s.Bytes, verdict)
}

// finding is something that is wrong (kind damage), worth telling (note), was put right (mended) or given up (lost).
type finding struct {
	Kind        string `json:"kind"`
	File        string `json:"file"`
	Fault       string `json:"fault"`
	Pos         int64  `json:"pos"`
	End         int64  `json:"end"`
	FirstOffset int64  `json:"firstOffset"`
	NextOffset  int64  `json:"nextOffset"`
	Text        string `json:"text"`
}

func (f finding) String() string {
	where := ""
	if f.End > 0 {
		where = fmt.Sprintf(" bytes [%d, %d)", f.Pos, f.End)
	}
	if f.FirstOffset >= 0 && f.NextOffset > f.FirstOffset {
		where += fmt.Sprintf(" offsets [%d, %d)", f.FirstOffset, f.NextOffset)
	}
	word := map[string]string{"damage": "DAMAGE ", "mended": "mended ", "lost": "LOST "}[f.Kind]
	return fmt.Sprintf("%s%s:%s %s: %s", word, f.File, where, f.Fault, f.Text)
}

// A teller writes facts as text or as JSON, one a line, and keeps the first error.
type teller struct {
	t      *tool
	dir    string // paths are shown below it
	asJSON bool
	err    error
}

func (o *teller) tell(fact fmt.Stringer) {
	var err error
	if o.asJSON {
		err = o.t.json(fact)
	} else {
		_, err = fmt.Fprintln(o.t.stdout, fact)
	}
	if o.err == nil {
		o.err = err
	}
}

func (o *teller) faults(kind string, list []topic.Fault) {
	for i := range list {
		f := &list[i]
		o.tell(finding{kind, o.short(f.Path), f.Kind, f.Pos, f.End, f.FirstOffset, f.NextOffset, f.Err.Error()})
	}
}

// short is a path below the directory.
func (o *teller) short(path string) string {
	if rel, err := filepath.Rel(o.dir, path); err == nil {
		return rel
	}
	return path
}

// progress is a bar on the terminal for what the engine tells of its progress.
type progress struct {
	t     *tool
	label string
	bar   *examples.Bar
	total int64
}

func (t *tool) progress(label string) *progress { return &progress{t: t, label: label} }

func (p *progress) show(at topic.Progress) {
	if p.bar == nil || p.total != at.Total {
		p.bar, p.total = examples.NewBar(p.t.stderr, p.label, at.Total), at.Total
	}
	p.bar.Show(at.Done)
}

func (p *progress) done() {
	if p.bar != nil {
		p.bar.Done()
	}
}
