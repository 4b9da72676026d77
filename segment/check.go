package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// CheckOptions are what a segment's files are held against.
type CheckOptions struct {
	// Last says that this is the last segment of its log: it may have a torn tail, and be written at this moment.
	Last bool
	// Durable is where the data is known to be on disk, of the last segment: bytes from Durable.Pos on may be a torn tail. A negative Pos
	// means that nobody knows, and the end gets the benefit of the doubt.
	Durable Place
	// Sparse says that offsets may have gaps.
	Sparse bool
	// Dense says that no offset is left out behind Durable.
	Dense bool
	// Limit is the base of the segment behind this one, which no batch may reach; 0: none is known, and batches lie as far as indexes reach.
	Limit int64
	// Shallow leaves the records alone and checks what the checksums cover.
	Shallow bool
	// Visit, if set, is called with each sound batch in order, which is only good during the call. Its error ends the check.
	Visit func(pos int64, b record.Batch) error
	// Step, if set, is called with the number of bytes passed since the last call. Its error ends the check.
	Step func(n int64) error
}

// Checked is what Examine found.
type Checked struct {
	Base, Next int64 // offsets [Base, Next)
	Size       int64 // bytes of sound batches and of damage between them
	Batches    int64
	Records    int64
	Bytes      int64 // bytes of sound batches
	LastEpoch  int32 // leader epoch of the last batch, -1 if none
	Sealed     bool  // there is a sound side file
	Reach      int64 // where it says that the log goes on; -1 if that is not known
	Sparse     bool  // offsets may have gaps, or have
	TopicID    [16]byte
	Faults     []Fault
	Notes      []Fault // what is no damage, a torn tail above all
	// Changed says that a file changed meanwhile: what was found may be no fault but two different moments. Examine again.
	Changed bool
}

// Check reads a segment's files from the first byte to the last and holds each against the others: checksums, lengths, the order of
// offsets, records, indexes, the side file. It opens files for reading only, changes nothing, goes on behind damage, and may run beside
// whoever writes the segment. The error is one of the disk or of a function of opt, never damage; it matches fs.ErrNotExist when the data
// file is gone.
func Check(fsys vfs.FS, dir string, base int64, cfg *Config, opt CheckOptions) (*Checked, error) {
	x := &checker{s: newSegment(fsys, dir, base, cfg), opt: opt, next: base}
	x.s.limit.Store(opt.Limit)
	x.out = &Checked{Base: base, LastEpoch: -1, Reach: unknownReach}
	x.facts = newFacts(base, 0)
	before := x.stamp()
	for _, step := range []func() error{x.readBeside, x.readData} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	x.checkEnd()
	x.checkTables()
	x.checkSide()
	x.out.Next, x.out.Size, x.out.LastEpoch = x.next, x.end, x.facts.lastEpoch
	x.out.Sparse = x.out.Sparse || x.facts.sparse
	x.out.Changed = x.stamp() != before
	return x.out, nil
}

// checker is an Examine in progress.
type checker struct {
	s     *Segment // of no file: it lends its rules
	opt   CheckOptions
	out   *Checked
	facts facts // of the sound batches
	f     vfs.File
	size  int64 // of the data file

	side    *side    // nil when there is no sound one
	tables  [3]table // by index.Kind
	next    int64    // offset expected next
	end     int64    // position behind the last batch or damage
	pending *Fault   // damage whose lost offsets end where the next sound batch begins
	// lostUpTo is the offset behind a batch that is whole but wrong, as far as its own fields tell.
	lostUpTo int64
	damaged  bool // some data is: what was derived from it cannot be compared any more
	dec      record.Decoder
}

// table is an index file whose entries are met one after the other.
type table struct {
	data []byte
	rest []byte // not met yet
}

// stamp tells two states of the segment's files apart.
func (x *checker) stamp() (all [4]fileStamp) {
	for i, kind := range [...]Kind{KindLog, KindIndex, KindTimeIndex, KindSums} {
		if info, err := x.s.fs.Stat(x.s.path(kind, 0)); err == nil {
			all[i] = fileStamp{info.Size, info.ModTime, true}
		}
	}
	return all
}

type fileStamp struct {
	size    int64
	changed time.Time
	there   bool
}

// readBeside reads what lies beside the data, before the data: of a segment that is being written it then says less, not more.
func (x *checker) readBeside() error {
	d, err := readSide(x.s.fs, x.s.path(KindSums, 0))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, ErrNoSide):
		x.fault(FaultSide, KindSums, err)
	case err != nil:
		return err
	case d.base != x.s.base:
		x.fault(FaultSide, KindSums, fmt.Errorf("written for the segment at %d", d.base))
	default:
		x.side, x.out.Sealed, x.out.TopicID, x.out.Reach = d, true, d.topicID, d.facts.reach
	}
	// Without a side file nothing tells a gap from what compaction took away, unless this is the segment that is written.
	x.out.Sparse = x.opt.Sparse || x.side != nil && x.side.facts.sparse || x.side == nil && !x.opt.Last
	for _, k := range [...]index.Kind{index.OffsetKind, index.TimeKind, index.AbortedKind} {
		data, err := readTable(x.s.fs, x.s.path(tableFile(k), 0))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, vfs.ErrTooLarge) {
			return err
		}
		x.tables[k] = table{data, data}
	}
	return nil
}

func (x *checker) readData() error {
	f, err := x.s.fs.OpenRead(x.s.path(KindLog, 0))
	if err != nil {
		return err
	}
	x.f = f
	x.size, err = f.Size()
	if err == nil {
		err = x.scan()
	}
	return errors.Join(err, f.Close())
}

// fault notes what is wrong with a file as a whole.
func (x *checker) fault(kind FaultKind, file Kind, err error) {
	x.out.Faults = append(x.out.Faults, Fault{Kind: kind, Path: x.s.path(file, 0), FirstOffset: -1, NextOffset: -1, Err: err})
}

// checkTable notes what is wrong with an index file. Those of a segment that was not sealed are not synced and made again when they differ.
func (x *checker) checkTable(kind FaultKind, file Kind, err error) {
	if x.side != nil || !x.opt.Last {
		x.fault(kind, file, err)
		return
	}
	x.out.Notes = append(x.out.Notes, Fault{Kind: kind, Path: x.s.path(file, 0), FirstOffset: -1, NextOffset: -1, Err: err})
}
