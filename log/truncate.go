package log

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quirelog/quire/internal/watermark"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// Truncate cuts the log back so that its end is offset, at batch boundaries: a
// batch that straddles offset goes whole, and the end is then below offset. It
// never cuts below the high watermark ([ErrBelowHigh]); an offset at or beyond
// the end leaves all records, and forgets leader epochs of which there is no record (KIP-101). Appends that still wait for their fsync get [ErrUncertain]. When it returns nil the cut is on disk and survives a
// power cut; a crash inside it is completed by the next Open.
func (l *Log) Truncate(offset int64) error {
	if offset < l.end.Load() {
		defer l.halt(ErrTruncated)()
	}
	l.syncer.becomeLeader()
	defer l.syncer.passLeadership()
	err := l.truncate(offset)
	l.uncleaned()
	l.tell()
	l.watchers.notify()
	return err
}

func (l *Log) truncate(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil {
		return err
	}
	if offset >= l.end.Load() {
		return diskError(l.forgetEpochsLocked())
	}
	offset, err := l.boundary(offset)
	if err != nil {
		return err
	}
	if high := l.high.Load(); offset < high {
		return fmt.Errorf("%w: %d is below %d", ErrBelowHigh, offset, high)
	}
	if err := l.beginWritingLocked(); err != nil {
		return diskError(err)
	}
	if err := l.lowerEndLocked(offset); err != nil {
		return err
	}
	// The intent comes first: a crash from here on must not bring back what is cut.
	if err := l.writeSlot(slotOptions{sync: true, truncate: true, to: offset}); err != nil {
		l.fail(err)
		return err
	}
	return l.cutLocked(offset)
}

// boundary is offset, or the begin of the batch that straddles it.
func (l *Log) boundary(offset int64) (int64, error) {
	if offset < l.start.Load() {
		return offset, nil // below the high watermark anyway
	}
	run, _, err := l.readBelow(nil, At(offset-1), l.end.Load(), 1)
	if errors.Is(err, ErrCorrupt) || err == nil && len(run) == 0 {
		return offset, nil // damage or a gap: there is nothing to straddle
	}
	if err != nil {
		return 0, err
	}
	b, err := record.First(run)
	if err != nil || b.BaseOffset() >= offset || b.NextOffset() <= offset {
		return offset, err
	}
	return b.BaseOffset(), nil
}

// lowerEndLocked takes what is about to be cut off from readers and committers, unless
// the high watermark has passed the offset. From here on it cannot pass it any more.
func (l *Log) lowerEndLocked(offset int64) error {
	t := &l.syncer.tip
	t.mu.Lock()
	defer t.mu.Unlock()
	if high := l.high.Load(); offset < high {
		return fmt.Errorf("%w: %d is below %d", ErrBelowHigh, offset, high)
	}
	l.lowerLocked(offset, offset)
	return nil
}

// lowerLocked lowers the marks of the end to offset, and tells committers that what lies at kept
// and beyond is gone. The caller holds mu, tip.mu and the lead.
func (l *Log) lowerLocked(offset, kept int64) {
	l.syncer.cut.Store(&cut{l.syncer.cuts() + 1, kept})
	for _, m := range []*watermark.Mark{&l.durable, &l.syncer.settled, &l.end} {
		if m.Load() > offset {
			m.Store(offset)
		}
	}
}

// changeable is appendable for operations that a fence by the leader does not stop.
func (l *Log) changeable() error {
	if l.closed.Load() {
		return ErrClosed
	}
	if l.writer.readOnly {
		return ErrReadOnly
	}
	if f := l.fence.Load(); f != nil && f.sticky {
		return f
	}
	return nil
}

// cutLocked cuts segments and everything derived back to offset. The intent to do
// so is on disk. A failure fences the log: the next Open completes the cut.
func (l *Log) cutLocked(offset int64) error {
	err := l.cutSegmentsLocked(offset)
	if err == nil {
		err = l.cutStateLocked()
	}
	if err == nil {
		err = l.writeSlotTwice()
	}
	if err != nil {
		l.fail(err)
	}
	return err
}

// writeSlotTwice overwrites both halves of the slot, so that rot in one never brings the
// intent of a finished truncation back.
func (l *Log) writeSlotTwice() error {
	if err := l.writeSlot(slotOptions{sync: true}); err != nil {
		return err
	}
	return l.writeSlot(slotOptions{sync: true})
}

// cutSegmentsLocked removes segments beyond offset, newest first, and cuts the one that holds it.
func (l *Log) cutSegmentsLocked(offset int64) error {
	segments := l.view.Load().segments
	keep := len(segments)
	for keep > 1 && segments[keep-1].Base() > offset {
		keep--
	}
	gone := slices.Clone(segments[keep:])
	active := segments[keep-1]
	l.view.Store(&view{slices.Clone(segments[:keep])})
	slices.Reverse(gone)
	marked, err := l.markLocked(gone)
	if err == nil {
		err = active.Unseal() // it was sealed if any is gone: this syncs the directory before the first file is unlinked
	}
	l.retireAll(marked, 0) // what was cut off nobody asks for again
	if err != nil {
		for _, s := range gone[len(marked):] {
			s.Retire(func() { _ = s.Close() })
		}
		return err
	}
	if err := active.Truncate(offset); err != nil { // synced, as all was that a seal covered
		return err
	}
	l.writer.sparse, l.writer.timed = active.Sparse(), nil
	l.resetTipLocked(active)
	return nil
}

// resetTipLocked makes the end of the active segment, which is on disk, the end of everything.
func (l *Log) resetTipLocked(active *segment.Segment) {
	t := &l.syncer.tip
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at.segment, t.at.offset, t.at.pos = active, active.Next(), active.Size()
	t.durable = t.at
	l.syncer.synced.Store(t.at.written)
	end := t.at.offset
	for _, m := range []*watermark.Mark{&l.end, &l.durable, &l.syncer.settled} {
		m.Store(end)
	}
}

// cutStateLocked brings the derived state back to the new end.
func (l *Log) cutStateLocked() error {
	w := &l.writer
	end := l.end.Load()
	if w.epochs.truncateEnd(end) {
		if err := l.saveEpochs(); err != nil {
			return err
		}
	}
	if err := l.dropSnapshotsAbove(end); err != nil {
		return err
	}
	if !w.producers.truncate(end) {
		if err := l.reloadProducersLocked(end); err != nil {
			return err
		}
	}
	l.raiseHighLocked(end)
	l.raiseStableLocked()
	return nil
}

// dropSnapshotsAbove removes, durably, the producer snapshots beyond end: one that came
// back would be taken for the state of what is written there later.
func (l *Log) dropSnapshotsAbove(end int64) error {
	names, err := listFiles(l.fs, l.dir)
	if err != nil {
		return err
	}
	offsets := snapshotOffsets(names)
	if len(offsets) == 0 || offsets[len(offsets)-1] <= end {
		return nil
	}
	if err := dropSnapshots(l.fs, l.dir, offsets, func(offset int64) bool { return offset > end }); err != nil {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

// TruncateFully drops everything and starts an empty log at offset, as a
// follower does whose leader no longer has what it would need. Start, high
// watermark and end are offset afterwards; leader epochs and producers are
// forgotten. When it returns nil this is on disk.
func (l *Log) TruncateFully(offset int64) error {
	if offset < 0 {
		return &RangeError{Offset: offset, Start: 0, End: l.end.Load()}
	}
	defer l.halt(ErrTruncated)()
	l.syncer.becomeLeader()
	defer l.syncer.passLeadership()
	err := l.truncateFully(offset)
	l.uncleaned()
	l.tell()
	l.watchers.notify()
	return err
}

func (l *Log) truncateFully(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil {
		return err
	}
	if err := l.beginWritingLocked(); err != nil {
		return diskError(err)
	}
	err := l.writeSlot(slotOptions{sync: true, truncate: true, full: true, to: offset})
	if err == nil {
		err = l.restartLocked(offset)
	}
	if err != nil {
		l.fail(err)
	}
	return err
}

// restartLocked replaces everything by an empty log at offset. The intent to do so is on disk.
func (l *Log) restartLocked(offset int64) error {
	old := slices.Clone(l.view.Load().segments)
	slices.Reverse(old)
	marked, err := l.markLocked(old)
	if err != nil {
		return err
	}
	if err := l.dropSnapshotsAbove(-1); err != nil {
		return err
	}
	fresh, err := l.startSegment(l.cfg.Load(), offset)
	if err != nil {
		return err
	}
	l.restartMarksLocked(fresh, offset)
	l.retireAll(marked, 0)
	w := &l.writer
	w.producers.reset()
	w.epochs.clear()
	w.sparse, w.unindexed, w.snapshotBytes = false, 0, 0
	l.transactions.Store(false)
	l.identified.Store(false)
	l.transacted.Store(false)
	if err := l.saveEpochs(); err != nil {
		return err
	}
	return l.writeSlotTwice()
}

// restartMarksLocked shows readers the empty log, and its offsets in an order in which
// none passes the one above it.
func (l *Log) restartMarksLocked(fresh *segment.Segment, offset int64) {
	t := &l.syncer.tip
	t.mu.Lock()
	for _, m := range []*watermark.Mark{&l.start, &l.stable, &l.high} {
		if m.Load() > offset {
			m.Store(offset)
		}
	}
	l.lowerLocked(offset, 0)
	t.mu.Unlock()
	l.view.Store(&view{[]*segment.Segment{fresh}})
	l.resetTipLocked(fresh)
	t.mu.Lock()
	for _, m := range []*watermark.Mark{&l.high, &l.stable, &l.start} {
		m.Store(offset)
	}
	t.mu.Unlock()
}

// DeleteRecords raises the start to offset, at most to the high watermark; -1
// means the high watermark itself. Records below it can no longer be read, which
// is on disk when it returns; segments that lie wholly below are removed, and
// readers that hold them finish. It returns the start. An offset above the high
// watermark is a [RangeError]; one below the start changes nothing.
func (l *Log) DeleteRecords(offset int64) (start int64, err error) {
	start, err = l.deleteRecords(offset)
	l.tell()
	l.watchers.notify()
	return start, err
}

func (l *Log) deleteRecords(offset int64) (start int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	start = l.start.Load()
	if err := l.changeable(); err != nil {
		return start, err
	}
	high := l.high.Load()
	if offset == -1 {
		offset = high
	}
	if offset < 0 || offset > high {
		return start, &RangeError{Offset: offset, Start: start, End: high}
	}
	if offset <= start {
		return start, nil
	}
	if err := l.raiseStartLocked(offset); err != nil {
		return l.start.Load(), err
	}
	return offset, l.dropBelowLocked(offset)
}

// raiseStartLocked makes offset, which the high watermark has passed, the start, durably, unless the start is there already.
func (l *Log) raiseStartLocked(offset int64) error {
	if err := l.beginWritingLocked(); err != nil {
		return diskError(err)
	}
	if offset <= l.start.Load() {
		return nil
	}
	if err := l.syncUpToLocked(offset); err != nil {
		return err
	}
	l.stable.Advance(offset)
	l.start.Advance(offset)
	if err := l.writeSlot(slotOptions{sync: true}); err != nil {
		l.fail(err)
		return err
	}
	return nil
}

// syncUpToLocked makes what lies below offset durable at levels that have not yet: the
// start is durable at once, and a power cut must not leave the end behind it.
func (l *Log) syncUpToLocked(offset int64) error {
	if l.durable.Load() >= offset {
		return nil
	}
	if err := l.view.Load().active().Sync(); err != nil {
		l.fail(err)
		return err
	}
	l.tipSyncedLocked()
	return nil
}

// dropBelowLocked removes the segments whose successor begins at or below start, oldest
// first; those whose files cannot be renamed stay for the next time. That needs no free space: an epoch history that cannot be stored is cut when it is loaded.
func (l *Log) dropBelowLocked(start int64) error {
	segments := l.view.Load().segments
	n := 0
	for n < len(segments)-1 && segments[n+1].Base() <= start {
		n++
	}
	var faults []error
	if n > 0 {
		marked, err := l.markFrontLocked(segments[:n])
		l.view.Store(&view{slices.Clone(segments[len(marked):])})
		faults = append(faults, err, l.fs.SyncDir(l.dir))
		l.retireAll(marked, l.cfg.Load().fileDeleteDelay())
	}
	if l.writer.epochs.truncateFront(start) {
		if err := l.saveEpochs(); err != nil && !vfs.IsNoSpace(err) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
