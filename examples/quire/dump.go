package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/segment"
)

func (t *tool) dump(name string, args []string) error {
	f := t.flags(name, "FILE...", `Print what is in a file of a directory of topics. The kind is told by the name:
.log .index .timeindex .txnindex .snapshot .sums (also with .deleted, .cleaned or .swap behind),
leader-epoch-checkpoint, partition.metadata, *-offset-checkpoint, meta.properties,
.kafka_cleanshutdown, quire.slot, quire.manifest and its journal, quire.topic. Files that Apache Kafka wrote are read as well.`)
	asJSON := f.Bool("json", false, "one JSON object a line")
	records := f.Bool("records", true, "the records of each batch too")
	files, err := t.parse(f, args, 1, -1)
	if err != nil {
		return err
	}
	damaged := false
	for _, path := range files {
		d := dumper{t: t, path: path, asJSON: *asJSON, records: *records}
		if len(files) > 1 && !*asJSON {
			fmt.Fprintf(t.stdout, "%s\n", path)
		}
		if err := d.file(); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		damaged = damaged || d.damaged
	}
	if damaged {
		return errDamage
	}
	return nil
}

// A dumper prints one file.
type dumper struct {
	t       *tool
	path    string
	asJSON  bool
	records bool
	damaged bool
}

// show prints one fact: its text form, or itself in JSON.
func (d *dumper) show(fact fmt.Stringer) error {
	if d.asJSON {
		return d.t.json(fact)
	}
	_, err := fmt.Fprintln(d.t.stdout, fact)
	return err
}

// faultFact is something that is wrong with a file.
type faultFact struct {
	Kind  string `json:"kind"`
	Pos   int64  `json:"pos"`
	Size  int64  `json:"size"`
	Fault string `json:"fault"`
}

func (f faultFact) String() string {
	return fmt.Sprintf("DAMAGE at %d, %d bytes: %s", f.Pos, f.Size, f.Fault)
}

// damage prints a fault and remembers that there was one.
func (d *dumper) damage(pos, size int64, fault error) error {
	d.damaged = true
	return d.show(faultFact{"damage", pos, size, fault.Error()})
}

// maxSmall bounds the files that are read whole.
const maxSmall = 256 << 20

// small reads a file whole.
func (d *dumper) small() ([]byte, error) { return readSmall(d.path) }

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSmall {
		return nil, fmt.Errorf("%d bytes are too many for a file of this kind", info.Size())
	}
	return os.ReadFile(path)
}

// file chooses the reader by the file's name.
func (d *dumper) file() error {
	name := filepath.Base(d.path)
	if base, kind, ok := segment.ParseName(name); ok {
		return d.segmentFile(base, kind.File())
	}
	if stem, _, cut := strings.Cut(name, ".log.cut-"); cut { // what a recovery saved aside: batches
		if base, _, ok := segment.ParseName(stem + segment.LogSuffix); ok {
			return d.segmentFile(base, segment.KindLog)
		}
	}
	switch {
	case name == log.LeaderEpochFile:
		return d.epochs()
	case name == log.PartitionMetadataFile:
		return d.metadata()
	case strings.HasSuffix(name, "-offset-checkpoint"):
		return d.checkpoint()
	case name == log.SlotFile:
		return d.slots()
	case name == "quire.topic", strings.HasPrefix(name, "quire.manifest") && strings.HasSuffix(name, ".journal"):
		return d.journal()
	case strings.HasPrefix(name, "quire.manifest"):
		return d.manifest()
	case name == "meta.properties", name == ".kafka_cleanshutdown":
		return d.lines()
	}
	return errors.New("the name tells no kind that is known here")
}

func (d *dumper) segmentFile(base int64, kind segment.Kind) error {
	switch kind {
	case segment.KindLog:
		return d.batches()
	case segment.KindIndex:
		return d.offsetIndex(base)
	case segment.KindTimeIndex:
		return d.timeIndex(base)
	case segment.KindTxnIndex:
		return d.abortedIndex()
	case segment.KindSums:
		return d.sums()
	}
	return d.snapshot()
}
