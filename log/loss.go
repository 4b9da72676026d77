package log

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/segment"
)

// What Open does when the segments found are not those that the slot speaks of: a
// truncation was cut short, or something is lost.

// finishTruncation completes a truncation that a crash cut short.
func (o *opener) finishTruncation() error {
	if !o.haveSlot || !o.slot.truncating || o.st.ReadOnly {
		return nil
	}
	to := o.slot.durable
	o.slotDue = true
	if o.slot.start == to && o.slot.leaderEpoch == noEpoch {
		return o.startOver(to) // TruncateFully
	}
	for len(o.segments) > 1 && o.active().Base() > to {
		if err := o.dropLast(); err != nil {
			return err
		}
	}
	if o.active().Base() > to || o.slot.start > o.active().Next() {
		return o.startOver(max(to, o.slot.start))
	}
	if err := o.active().Unseal(); err != nil {
		return err
	}
	if o.active().Next() > to {
		if err := o.active().Truncate(to); err != nil {
			return err
		}
	}
	// Also where the cut is seen already: it may be in the page cache only.
	if err := o.active().RewriteEnd(); err != nil {
		return err
	}
	o.slot.durable = o.active().Next()
	o.epochsChanged = o.l.writer.epochs.truncateEnd(o.active().Next()) || o.epochsChanged
	o.recovered = true
	return nil
}

// dropLast removes the last segment. Its files are marked, durably, before the first is unlinked: a power cut leaves none without the data file.
func (o *opener) dropLast() error {
	s := o.active()
	if err := s.MarkDeleted(); err != nil {
		return err
	}
	if err := o.l.fs.SyncDir(o.l.dir); err != nil {
		return err
	}
	if err := s.Unlink(); err != nil {
		return err
	}
	o.segments = o.segments[:len(o.segments)-1]
	return nil
}

// startOver replaces everything by an empty log that begins at offset.
func (o *opener) startOver(offset int64) error {
	for len(o.segments) > 0 {
		if err := o.dropLast(); err != nil {
			return err
		}
	}
	o.slot.start, o.slot.high, o.slot.durable = offset, offset, offset
	o.slot.anonymous, o.slot.plain = true, true
	o.epochsChanged = o.l.writer.epochs.clear() || o.epochsChanged
	o.recovered, o.slotDue = true, true
	if err := o.l.dropSnapshotsAbove(-1); err != nil {
		return err
	}
	return o.create()
}

// checkLoss compares what was found with what the slot says was on disk.
func (o *opener) checkLoss() error {
	if !o.haveSlot || o.st.ReadOnly {
		return nil
	}
	first, end := o.segments[0].Base(), o.active().Next()
	var lost *LossError
	orphan, orphaned := o.orphan()
	switch {
	case orphaned:
		lost = &LossError{Dir: o.l.dir, First: orphan, Next: o.behind(orphan), Reason: "a data file is missing whose other files are there"}
	case first > o.slot.start:
		lost = &LossError{Dir: o.l.dir, First: o.slot.start, Next: min(first, o.slot.durable), Reason: "the first segments are missing"}
	case o.shortened != nil:
		lost = &LossError{Dir: o.l.dir, First: o.shortened.FirstOffset, Next: o.shortened.NextOffset,
			Reason: "the last data file is shorter than what was on disk"}
	case end < o.slot.durable:
		lost = &LossError{Dir: o.l.dir, First: end, Next: o.slot.durable, Reason: "the log ends before its durable watermark"}
	default:
		return nil
	}
	if !o.st.AcceptLoss {
		return lost
	}
	o.report.Lost, o.slotDue = lost, true
	for ; orphaned; orphan, orphaned = o.orphan() {
		// Its seal is worth nothing any more, and must not tell of the loss again. It is gone where a new segment has begun in its place.
		name := segment.FileName(orphan, segment.SumsSuffix)
		if err := o.l.fs.Remove(filepath.Join(o.l.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		o.names = slices.DeleteFunc(o.names, func(n string) bool { return n == name })
	}
	o.slot.start = max(o.slot.start, first)
	if o.slot.start > end || end < o.slot.durable {
		// Offsets that readers have seen are not used again.
		return o.skipTo(o.slot.durable)
	}
	return nil
}

// passEnd begins anew at the start where everything in front of it was deleted and the log ends before it, as Kafka does: what lay behind the
// end was not on disk yet, or its files were removed.
func (o *opener) passEnd() error {
	if o.slot.start <= o.active().Next() || o.st.ReadOnly {
		return nil
	}
	return o.startOver(o.slot.start)
}

// passDamage begins a new segment when the last one ends in damage: what is appended
// right behind a broken batch would be taken for a part of it.
func (o *opener) passDamage() error {
	n := len(o.report.Damage)
	if n == 0 || o.st.ReadOnly {
		return nil
	}
	next := o.active().Next()
	if o.report.Damage[n-1].NextOffset != next || o.active().Base() >= next {
		return nil
	}
	return o.skipTo(next)
}

// orphan finds a seal without its data file, where no interrupted deletion explains it.
func (o *opener) orphan() (base int64, ok bool) {
	for _, name := range o.names {
		base, kind, ok := segment.ParseName(name)
		if !ok || kind != segment.KindSums || o.slot.truncating {
			continue
		}
		if _, found := slices.BinarySearch(o.bases, base); !found && base >= o.slot.start && base < o.slot.durable {
			return base, true
		}
	}
	return 0, false
}

// behind is where the log goes on after a lost segment.
func (o *opener) behind(base int64) int64 {
	i, _ := slices.BinarySearch(o.bases, base)
	if i < len(o.bases) {
		return o.bases[i]
	}
	return o.slot.durable
}

// skipTo makes the log go on at offset, leaving a gap behind what is left.
func (o *opener) skipTo(offset int64) error {
	if err := o.active().Seal(segment.SideFacts{TopicID: o.cfg.TopicID, Sparse: true, Reach: offset}); err != nil {
		return err
	}
	s, err := segment.Create(o.l.fs, o.l.dir, offset, o.cfg.segmentConfig())
	if err != nil {
		return err
	}
	o.segments = append(o.segments, s)
	o.recovered = true
	return o.l.fs.SyncDir(o.l.dir)
}
