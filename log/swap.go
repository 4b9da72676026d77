package log

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// A new segment takes the place of old ones in steps, each durable before the next, so
// that an open after a crash finds the old ones whole or finishes the swap (segment.FinishSwap):
//
//	<base>.log.cleaned ...   the new files, complete and synced      crash: they go
//	<base>.log.swap ...      the decision                            crash: they win
//	<base>.log.deleted ...   the old ones, out of the way
//	<base>.log ...           the new ones in their place
//
// Readers are shown the new segment right after the decision. Those that hold an old one
// finish with it; its files are unlinked after Config.FileDeleteDelay. A new segment always
// has the base of the first old one, and its side file says where the log goes on behind it,
// so it needs no list of what it replaces: that is every segment between.

// replace puts fresh, complete under .cleaned, in the place of the old segments. errMoved,
// and nothing is changed, if one of them has left the log. After the decision a failure
// fences the log: the next Open finishes what was begun.
func (l *Log) replace(old []*segment.Segment, fresh *segment.Segment, delay time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil {
		return err
	}
	next, ok := l.view.Load().replacing(old, fresh)
	if !ok {
		return errMoved
	}
	if err := fresh.Rename(segment.Swap); err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		l.fail(err)
		return errors.Join(errDecided, err) // for all that anybody knows
	}
	l.view.Store(next)
	err := l.removeReplacedLocked(old, delay)
	if err == nil {
		err = fresh.Rename(0)
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		l.fail(err)
		return errors.Join(errDecided, err)
	}
	return nil
}

// errDecided: the new segment is in the log although its files may not have their names yet.
var errDecided = errors.New("log: a swap of segments could not be finished")

// replacing is the view with fresh in the place of old, which must be in it side by side.
func (v *view) replacing(old []*segment.Segment, fresh *segment.Segment) (*view, bool) {
	i := v.floor(old[0].Base())
	if i+len(old) >= len(v.segments) || !slices.Equal(v.segments[i:i+len(old)], old) {
		return nil, false
	}
	return &view{slices.Concat(v.segments[:i], []*segment.Segment{fresh}, v.segments[i+len(old):])}, true
}

// removeReplacedLocked gets the old files, and the producer snapshots between them, out
// of the way durably.
func (l *Log) removeReplacedLocked(old []*segment.Segment, delay time.Duration) error {
	marked, err := l.markLocked(old)
	if vfs.IsNoSpace(err) { // no room for longer names: the files go at once, but for those that a reader has open
		err = nil
		for _, s := range old[len(marked):] {
			err = errors.Join(err, s.Vanish())
		}
	}
	for i, c := range marked {
		if i == 0 {
			continue // the state at the new segment's begin
		}
		var failed error
		if c.snapshot, failed = l.markSnapshotLocked(c.segment.Base()); err == nil {
			err = failed
		}
	}
	if e := l.fs.SyncDir(l.dir); err == nil {
		err = e
	}
	l.retireAll(marked, delay)
	for _, s := range old[len(marked):] {
		s.Retire(func() { _ = s.Close() })
	}
	return err
}

// retried runs a pass again while segments leave the log under it.
func retried(ctx context.Context, pass func() error) error {
	for range 8 {
		err := pass()
		if !errors.Is(err, errMoved) || ctx.Err() != nil {
			return err
		}
	}
	return errors.Join(ErrBusy, errMoved)
}

// viewed is the segments in the present view that may hold offsets in [from, to).
func (l *Log) viewed(from, to int64) []*segment.Segment {
	v := l.view.Load()
	if v == nil {
		return nil
	}
	segments := v.segments[v.floor(from):]
	for len(segments) > 0 && segments[len(segments)-1].Base() >= to {
		segments = segments[:len(segments)-1]
	}
	return segments
}
