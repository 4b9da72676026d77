package log

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/quirelog/quire/segment"
)

// Group commit. Whoever needs an fsync and finds none running runs it; those
// who come while it runs wait for the next one, and one of them is handed the
// lead when it ends. So there is at most one fsync at a time, each covers all
// that was written before it began, the writes of round n+1 happen while round
// n syncs, a waiter is woken once, and no goroutine is needed.

// tip is the end of what has been written, published by the writer after each
// write. Its mutex is held for a few loads only.
type tip struct {
	mu      sync.Mutex
	at      tipState
	durable tipState // the tip as of the last fsync: the durable watermark and where it lies
}

type tipState struct {
	segment *segment.Segment // the active segment
	offset  int64            // the next offset
	pos     int64            // its position in the segment
	written int64            // bytes ever appended; never falls
	cut     int64            // counts truncations: what an older round synced says nothing about newer bytes
}

func (t *tip) load() tipState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

// syncer is the state of the group commit.
type syncer struct {
	tip    tip
	synced atomic.Int64 // tipState.written as of the last finished fsync

	mu      sync.Mutex
	running bool   // somebody holds the lead
	next    *round // those waiting for a sync that has not begun; nil if none
}

// round is one fsync and those who wait for it.
type round struct {
	lead    chan struct{} // one token: whoever takes it runs the round
	done    chan struct{} // closed when the round has ended
	err     error         // set before done is closed
	waiting int           // guarded by syncer.mu
}

// Commit waits until every record below end is as durable as the log's level
// asks, and visible to readers. It returns at once for levels that ask for no
// fsync. The error matches [ErrUncertain] when the fsync failed or ctx ended first.
func (l *Log) Commit(ctx context.Context, end int64) error {
	return l.commit(ctx, end, l.cfg.Load().Durability)
}

// commit is Commit at a level that may be stronger than the log's.
func (l *Log) commit(ctx context.Context, end int64, level Durability) error {
	if level != Sync || l.durable.Load() >= end {
		return nil
	}
	sy := &l.syncer
	for l.durable.Load() < end {
		if l.end.Load() < end {
			return uncertain(ErrTruncated)
		}
		sy.mu.Lock()
		if !sy.running {
			sy.running = true
			sy.mu.Unlock()
			if err := l.runRound(); err != nil {
				return uncertain(err)
			}
			continue
		}
		r := sy.join()
		sy.mu.Unlock()
		if err := l.awaitRound(ctx, r); err != nil {
			return uncertain(err)
		}
	}
	return nil
}

// join enters the round that comes next. The caller holds mu.
func (sy *syncer) join() *round {
	if sy.next == nil {
		sy.next = &round{lead: make(chan struct{}, 1), done: make(chan struct{})}
	}
	sy.next.waiting++
	return sy.next
}

// awaitRound waits for a joined round, or runs it when handed the lead.
func (l *Log) awaitRound(ctx context.Context, r *round) error {
	select {
	case <-r.done:
		return r.err
	case <-r.lead:
		return l.runRound()
	case <-ctx.Done():
		l.syncer.leave(r)
		return context.Cause(ctx)
	}
}

// leave takes a waiter that gave up out of its round. The last one to leave a
// round that was handed the lead gives the lead back.
func (sy *syncer) leave(r *round) {
	sy.mu.Lock()
	defer sy.mu.Unlock()
	r.waiting--
	if r.waiting > 0 || sy.next != r {
		return
	}
	sy.next = nil
	select {
	case <-r.lead:
		sy.running = false
	default:
	}
}

// runRound syncs what is written, wakes those who waited for it, and hands the
// lead on. The caller holds the lead.
func (l *Log) runRound() error {
	sy := &l.syncer
	sy.mu.Lock()
	r := sy.next
	sy.next = nil
	sy.mu.Unlock()

	err := l.syncTip()

	sy.mu.Lock()
	if sy.next != nil {
		sy.next.lead <- struct{}{}
	} else {
		sy.running = false
	}
	sy.mu.Unlock()
	if r != nil {
		r.err = err
		close(r.done)
	}
	return err
}

// syncTip makes everything written so far durable and visible.
func (l *Log) syncTip() error {
	t := l.syncer.tip.load()
	if t.offset <= l.durable.Load() {
		return nil
	}
	if f := l.fence.Load(); f != nil && f.sticky {
		return f
	}
	if !t.segment.Pin() {
		// Retired since: whoever rolled or closed the log synced it first.
		if t.offset <= l.durable.Load() {
			return nil
		}
		return ErrClosed
	}
	err := t.segment.Sync()
	t.segment.Unpin()
	if err != nil {
		l.fail(err)
		return err
	}
	if !l.raiseDurable(t) {
		return nil
	}
	// The slot is written before anybody is told, so that it is exact after a kill.
	// The data is on disk: a failure here fences later appends, not this one.
	if err := l.note(noteOptions{}); err != nil {
		l.fail(err)
	}
	l.raiseHigh(t.offset)
	return nil
}

// raiseDurable moves the durable watermark to t, unless a truncation came in
// between.
func (l *Log) raiseDurable(t tipState) bool {
	l.syncer.tip.mu.Lock()
	defer l.syncer.tip.mu.Unlock()
	if t.cut != l.syncer.tip.at.cut {
		return false
	}
	if t.offset >= l.syncer.tip.durable.offset {
		l.syncer.tip.durable = t
	}
	l.syncer.synced.Store(t.written)
	l.durable.Advance(t.offset)
	return true
}

// durableTip is the durable watermark with its place in a segment file.
func (l *Log) durableTip() tipState {
	l.syncer.tip.mu.Lock()
	defer l.syncer.tip.mu.Unlock()
	return l.syncer.tip.durable
}

// Flush makes everything appended so far durable, whatever the level.
func (l *Log) Flush(ctx context.Context) error {
	end := l.end.Load()
	if err := l.commit(ctx, end, Sync); err != nil {
		return err
	}
	return nil
}

// publishTip tells the syncer about the end of the active segment. The caller holds mu.
func (l *Log) publishTip(s *segment.Segment, appended int64) {
	t := &l.syncer.tip
	t.mu.Lock()
	t.at.segment, t.at.offset, t.at.pos = s, s.Next(), s.Size()
	t.at.written += appended
	t.mu.Unlock()
}

// unsyncedBytes is how much was written since the last fsync.
func (l *Log) unsyncedBytes() int64 {
	return l.syncer.tip.load().written - l.syncer.synced.Load()
}
