package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// readSegments examines one segment after the other.
func (v *verifier) readSegments() error {
	for i, base := range v.bases {
		if base < v.opt.From {
			continue
		}
		if v.opt.Begin != nil {
			if err := v.opt.Begin(base); err != nil {
				return err
			}
		}
		c, err := v.checkSegment(base, i == len(v.bases)-1)
		if errors.Is(err, fs.ErrNotExist) {
			v.vanished = true // deleted meanwhile
			continue
		}
		if err != nil {
			return err
		}
		v.out.Segments = append(v.out.Segments, *c)
		v.out.Batches += c.Batches
		v.out.Records += c.Records
		v.out.Bytes += c.Bytes
		v.out.Faults = append(v.out.Faults, c.Faults...)
		v.out.Notes = append(v.out.Notes, c.Notes...)
		v.checkEpochs(c)
	}
	return nil
}

// checkSegment looks at a segment until what it finds is not two moments of one that is written.
func (v *verifier) checkSegment(base int64, last bool) (c *segment.Checked, err error) {
	for range looks {
		v.strayed = noOffset
		if c, err = segment.Check(v.fs, v.dir, base, v.cfg.segmentConfig(), v.checkOptions(base, last)); err != nil {
			return nil, err
		}
		if !c.Changed || len(c.Faults) == 0 {
			break
		}
		if err := v.readSlotAgain(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// readSlotAgain reads the slot for another look at a segment.
func (v *verifier) readSlotAgain() error {
	var s slot
	state, ok, err := s.open(v.fs, v.dir)
	if err == nil && ok {
		v.latest = state
		if v.returned {
			v.latest.returnTo(v.bases, 0)
		}
	}
	return err
}

func (v *verifier) checkOptions(base int64, last bool) segment.CheckOptions {
	opt := segment.CheckOptions{
		Last: last, Sparse: v.opt.Gaps || last && (!v.haveSlot || v.latest.sparse || v.led), Shallow: v.opt.Shallow,
		Step: v.opt.Step, Visit: v.visit, Durable: Place{Pos: -1},
	}
	switch {
	case !last:
		opt.Limit = v.following(base)
	case !v.haveSlot: // written by another program
		opt.Limit = math.MaxInt64
	}
	switch {
	case !last || !v.haveSlot || v.latest.truncating:
	case base == v.latest.segmentBase:
		opt.Durable = Place{Offset: v.latest.durable, Pos: v.latest.position}
		opt.Dense = !opt.Sparse
	case base > v.latest.segmentBase:
		opt.Durable = Place{Offset: v.latest.durable}
	default: // the segment that holds the watermark is missing: everything here was durable
		opt.Last, opt.Durable = false, Place{Offset: v.latest.durable, Pos: math.MaxInt64}
	}
	return opt
}

// following is the base of the segment behind the one at base, which is not the last.
func (v *verifier) following(base int64) int64 {
	i, _ := slices.BinarySearch(v.bases, base)
	return v.bases[i+1]
}

// visit compares a batch's leader epoch with the history. A history is stored before the first batch of its epoch is written: of a file
// that did not change since before the history was read, it knows every batch.
func (v *verifier) visit(pos int64, b record.Batch) error {
	if pos == 0 && v.haveFile {
		// A start is stored before the history forgets what lies below it.
		for _, read := range []func() error{v.rereadEpochs, v.readSlotAgain} {
			if err := read(); err != nil {
				return err
			}
		}
	}
	epoch, offset := b.LeaderEpoch(), b.BaseOffset()
	if !v.haveFile || v.haveSlot && (v.slot.truncating || offset < v.latest.start) {
		return nil
	}
	if found, _ := epochAt(v.epochs.entries, offset); found != epoch { // both -1 where neither knows one
		if v.strayed < 0 {
			v.strayed = offset
		}
		v.strayedTo = b.NextOffset()
	}
	return nil
}

// rereadEpochs takes in what was added to the history since.
func (v *verifier) rereadEpochs() error {
	var fresh epochs
	err := fresh.load(v.fs, v.dir)
	if errors.Is(err, ErrCorrupt) {
		return nil // told already, or the next run tells
	}
	if err == nil && len(fresh.entries) > 0 {
		v.epochs = fresh
	}
	return err
}

// errStrayed is the fault of batches that a history known to be right contradicts.
var errStrayed = errors.New("the batch has another leader epoch than the history")

// checkEpochs tells that history and batches do not fit, once, and which of them is wrong: the history, unless the slot has its checksum.
func (v *verifier) checkEpochs(c *segment.Checked) {
	known := func(f segment.Fault) bool { return f.Kind == segment.FaultHeaders || f.Kind == FaultEpochs }
	if v.strayed < 0 || c.Changed || slices.ContainsFunc(c.Faults, known) {
		return
	}
	if v.trusted {
		v.out.Faults = append(v.out.Faults, segment.Fault{Kind: segment.FaultHeaders, Path: filepath.Join(v.dir, segment.FileName(c.Base, segment.LogSuffix)),
			End: c.Size, FirstOffset: v.strayed, NextOffset: v.strayedTo, Err: errStrayed})
		return
	}
	if slices.ContainsFunc(v.out.Faults, known) {
		return
	}
	v.fault(FaultEpochs, LeaderEpochFile, fmt.Errorf("the batch at offset %d has another leader epoch", v.strayed))
}

// chain looks for what is missing between segments, in front of them and behind them.
func (v *verifier) chain() error {
	start, next, reach := int64(0), int64(noOffset), int64(noOffset)
	if v.haveSlot {
		start = v.slot.start
	}
	sparse := v.opt.Gaps
	for i := range v.out.Segments {
		x := &v.out.Segments[i]
		switch {
		case v.swapping(i):
		case next < 0 && x.Base > start && v.haveSlot && v.opt.From == 0:
			v.missing(start, min(x.Base, v.slot.durable), "the first segments are missing")
		case next > x.Base:
			v.missing(x.Base, next, "segments overlap")
		case reach >= 0: // known from when the one in front was sealed, whatever a compaction took from its end
			v.missing(reach, x.Base, "segments are missing")
		case next >= 0 && x.Base > next && !sparse && !x.Sparse:
			v.missing(next, x.Base, "segments are missing")
		}
		next, reach, sparse = x.Next, x.Reach, v.opt.Gaps || x.Sparse
	}
	if next < 0 {
		next = start
	}
	v.out.Start, v.out.End = start, next
	if len(v.out.Segments) > 0 {
		v.out.Start = max(start, v.out.Segments[0].Base)
	}
	if !v.haveSlot || v.slot.truncating {
		return nil
	}
	if err := v.readSlotAgain(); err != nil {
		return err
	}
	// A truncation meanwhile lowers the watermark; appends raise it beyond what was looked at.
	if durable := min(v.slot.durable, v.latest.durable); max(next, reach) < durable {
		v.missing(max(next, reach), durable, "the log ends before its durable watermark")
	}
	v.orphans()
	return nil
}

// swapping tells that what lies in front of segment i is in a segment that has been decided on and has not got its name yet.
func (v *verifier) swapping(i int) bool {
	from := int64(math.MinInt64)
	if i > 0 {
		from = v.out.Segments[i-1].Base
	}
	return v.decided(from, v.out.Segments[i].Base)
}

// decided tells of such a segment whose base lies between two offsets.
func (v *verifier) decided(after, before int64) bool {
	return slices.ContainsFunc(v.swaps, func(base int64) bool { return after < base && base < before })
}

func (v *verifier) missing(first, next int64, reason string) {
	if first >= next {
		return
	}
	v.out.Faults = append(v.out.Faults, segment.Fault{Kind: FaultMissing, Path: v.dir, FirstOffset: first, NextOffset: next, Err: errors.New(reason)})
}

// orphans finds seals whose data file is gone, where nothing else has told of it.
func (v *verifier) orphans() {
	for _, name := range v.names {
		base, kind, ok := segment.ParseName(name)
		if !ok || kind != segment.KindSums || base < max(v.slot.start, v.opt.From) || base >= v.slot.durable {
			continue
		}
		if _, found := slices.BinarySearch(v.bases, base); found || v.told(base) {
			continue
		}
		if _, err := v.fs.Stat(filepath.Join(v.dir, name)); err != nil {
			continue // gone meanwhile, with its data
		}
		i, _ := slices.BinarySearch(v.bases, base)
		before := int64(math.MinInt64)
		if i > 0 {
			before = v.bases[i-1]
		}
		if v.decided(before, base+1) {
			continue
		}
		next := v.slot.durable
		if i < len(v.bases) {
			next = v.bases[i]
		}
		v.missing(base, next, "a data file is missing whose other files are there")
	}
}

func (v *verifier) told(offset int64) bool {
	return slices.ContainsFunc(v.out.Faults, func(f segment.Fault) bool {
		return f.Kind == FaultMissing && f.FirstOffset <= offset && offset < f.NextOffset
	})
}
