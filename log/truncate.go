package log

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quirelog/quire/segment"
)

// Truncate cuts the log back so that its end is offset, at batch boundaries: a
// batch that straddles offset goes whole, and the end is then below offset. It
// never cuts below the high watermark ([ErrBelowHigh]); an offset at or beyond
// the end changes nothing. When it returns nil the cut is on disk and survives a
// power cut; a crash inside it is completed by the next Open.
func (l *Log) Truncate(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil {
		return err
	}
	if offset >= l.end.Load() {
		return nil
	}
	if high := l.high.Load(); offset < high {
		return fmt.Errorf("%w: %d is below %d", ErrBelowHigh, offset, high)
	}
	if err := l.beginWritingLocked(); err != nil {
		return diskError(err)
	}
	// The intent comes first: a crash from here on must not bring back what is cut.
	if err := l.note(noteOptions{sync: true, truncate: true, to: offset}); err != nil {
		l.fail(err)
		return err
	}
	return l.cutLocked(offset)
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
		err = l.note(noteOptions{sync: true})
	}
	if err != nil {
		l.fail(err)
	}
	return err
}

// cutSegmentsLocked removes segments beyond offset, newest first, and cuts the one that holds it.
func (l *Log) cutSegmentsLocked(offset int64) error {
	segments := l.view.Load().segments
	keep := len(segments)
	for keep > 1 && segments[keep-1].Base() > offset {
		keep--
	}
	gone := segments[keep:]
	active := segments[keep-1]
	// Readers must not see the bytes go: they see the new view and end first.
	l.view.Store(&view{slices.Clone(segments[:keep])})
	for _, s := range slices.Backward(gone) {
		if err := s.MarkDeleted(); err != nil {
			return err
		}
		s.Retire(func() { _ = s.Unlink() })
	}
	if len(gone) > 0 {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return err
		}
		if err := active.Unseal(); err != nil {
			return err
		}
	}
	if err := active.Truncate(offset); err != nil {
		return err
	}
	if err := active.Sync(); err != nil {
		return err
	}
	l.resetTipLocked(active)
	return nil
}

// resetTipLocked makes the end of the cut active segment the end of everything.
func (l *Log) resetTipLocked(active *segment.Segment) {
	t := &l.syncer.tip
	t.mu.Lock()
	t.at.segment, t.at.offset, t.at.pos = active, active.Next(), active.Size()
	t.at.cut++
	t.durable = t.at
	l.syncer.synced.Store(t.at.written)
	end := t.at.offset
	l.durable.Store(end)
	l.end.Store(end)
	t.mu.Unlock()
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
	if !w.producers.truncate(end) {
		if err := l.reloadProducersLocked(end); err != nil {
			return err
		}
	}
	l.raiseStableLocked()
	return nil
}

// TruncateFully drops everything and starts an empty log at offset, as a
// follower does whose leader no longer has what it would need. Start, high
// watermark and end are offset afterwards; leader epochs and producers are
// forgotten. When it returns nil this is on disk.
func (l *Log) TruncateFully(offset int64) error {
	if offset < 0 {
		return &RangeError{Offset: offset, Start: 0, End: l.end.Load()}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil {
		return err
	}
	if err := l.beginWritingLocked(); err != nil {
		return diskError(err)
	}
	if err := l.restartLocked(offset); err != nil {
		l.fail(err)
		return err
	}
	l.watchers.notify()
	return nil
}

func (l *Log) restartLocked(offset int64) error {
	// The start above everything makes Open drop the old segments, should this be cut short.
	l.start.Store(offset)
	if err := l.note(noteOptions{sync: true, truncate: true, to: offset}); err != nil {
		return err
	}
	old := l.view.Load().segments
	for _, s := range slices.Backward(old) {
		if err := s.MarkDeleted(); err != nil {
			return err
		}
	}
	fresh, err := l.startSegment(l.cfg.Load(), offset)
	if err != nil {
		return err
	}
	l.view.Store(&view{[]*segment.Segment{fresh}})
	for _, s := range old {
		s.Retire(func() { _ = s.Unlink() })
	}
	w := &l.writer
	w.producers.reset()
	w.epochs.clear()
	w.sparse = false
	l.resetTipLocked(fresh)
	l.high.Store(offset)
	l.stable.Store(offset)
	l.transactions.Store(false)
	if err := errors.Join(l.saveEpochs(), l.takeSnapshotLocked()); err != nil {
		return err
	}
	return l.note(noteOptions{sync: true})
}

// DeleteRecords raises the start to offset, at most to the high watermark; -1
// means the high watermark itself. Records below it can no longer be read, which
// is on disk when it returns; segments that lie wholly below are removed, and
// readers that hold them finish. It returns the start. An offset above the high
// watermark is a [RangeError]; one below the start changes nothing.
func (l *Log) DeleteRecords(offset int64) (start int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil {
		return l.start.Load(), err
	}
	high := l.high.Load()
	if offset == -1 {
		offset = high
	}
	if offset < 0 || offset > high {
		return l.start.Load(), &RangeError{Offset: offset, Start: l.start.Load(), End: high}
	}
	if offset <= l.start.Load() {
		return l.start.Load(), nil
	}
	if err := l.beginWritingLocked(); err != nil {
		return l.start.Load(), diskError(err)
	}
	l.stable.Advance(offset)
	l.start.Advance(offset)
	if err := l.note(noteOptions{sync: true}); err != nil {
		l.fail(err)
		return l.start.Load(), err
	}
	l.watchers.notify()
	return offset, l.dropBelowLocked(offset)
}

// dropBelowLocked removes the segments whose successor begins at or below start, oldest first.
func (l *Log) dropBelowLocked(start int64) error {
	if l.writer.epochs.truncateFront(start) {
		if err := l.saveEpochs(); err != nil {
			return err
		}
	}
	segments := l.view.Load().segments
	n := 0
	for n < len(segments)-1 && segments[n+1].Base() <= start {
		n++
	}
	if n == 0 {
		return nil
	}
	l.view.Store(&view{slices.Clone(segments[n:])})
	for _, s := range segments[:n] {
		if err := s.MarkDeleted(); err != nil {
			return err
		}
		s.Retire(func() { _ = s.Unlink() })
	}
	return l.fs.SyncDir(l.dir)
}
