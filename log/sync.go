package log

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/internal/watermark"
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
	// settled is the durable watermark once all that depends on it has followed: the slot
	// and the high watermark. Committers wait for this one.
	settled watermark.Mark
	cut     atomic.Pointer[cut] // the last truncation; nil: there was none

	mu        sync.Mutex
	running   bool           // a committer holds the lead
	next      *flush         // those waiting for a sync that has not begun; nil if none
	exclusive *exclusiveLead // those who want the lead without a sync, in order; served first
}

// cut is a truncation: the number of those so far, and the offset below which it kept everything.
type cut struct{ count, kept int64 }

// cuts is the number of truncations.
func (sy *syncer) cuts() int64 {
	if c := sy.cut.Load(); c != nil {
		return c.count
	}
	return 0
}

// kept tells whether records below end, appended after that many truncations, were cut off by none since. Of
// several it does not know.
func (sy *syncer) kept(end, cuts int64) bool {
	c := sy.cut.Load()
	return c == nil || c.count == cuts || c.count == cuts+1 && end <= c.kept
}

// exclusiveLead is one who wants the lead without a sync.
type exclusiveLead struct {
	turn chan struct{} // closed when the lead is its own
	next *exclusiveLead
}

// flush is one fsync and those who wait for it.
type flush struct {
	lead    chan struct{} // one token: whoever takes it runs the round
	done    chan struct{} // closed when the round has ended
	err     error         // set before done is closed
	waiting int           // guarded by syncer.mu
}

// Commit waits until every record below end is as durable as the log's level
// asks, and visible to readers. It returns at once for levels that ask for no
// fsync. The error matches [ErrUncertain] when the fsync failed, the records were cut
// off, the log closed without them, or ctx ended first.
func (l *Log) Commit(ctx context.Context, end int64) error {
	return l.commit(ctx, end, l.cfg.Load().Durability, l.syncer.cuts())
}

// commit is Commit at a level that may be stronger than the log's. cuts is the number
// of truncations when the records were appended.
func (l *Log) commit(ctx context.Context, end int64, level Durability, cuts int64) error {
	if level != Sync {
		return nil
	}
	sy := &l.syncer
	for sy.settled.Load() < end {
		if l.end.Load() < end {
			break
		}
		sy.mu.Lock()
		if !sy.running {
			sy.running = true
			sy.mu.Unlock()
			if err := l.leadFlush(ctx, nil); err != nil {
				return uncertain(err)
			}
			continue
		}
		r := sy.join()
		sy.mu.Unlock()
		if err := l.awaitFlush(ctx, r); err != nil {
			return uncertain(err)
		}
	}
	// Looked at last: other records may have taken the offsets of those cut off.
	if !sy.kept(end, cuts) || sy.settled.Load() < end {
		return uncertain(ErrTruncated)
	}
	return nil
}

// join enters the round that comes next. The caller holds mu.
func (sy *syncer) join() *flush {
	if sy.next == nil {
		sy.next = &flush{lead: make(chan struct{}, 1), done: make(chan struct{})}
	}
	sy.next.waiting++
	return sy.next
}

// awaitFlush waits for a joined round, or runs it when handed the lead.
func (l *Log) awaitFlush(ctx context.Context, r *flush) error {
	select {
	case <-r.done:
		return r.err
	case <-r.lead:
		return l.leadFlush(ctx, r)
	case <-ctx.Done():
		l.syncer.leave(r)
		return bounded.Cause(ctx)
	}
}

// leave takes a waiter that gave up out of its round. The last one to leave a
// round that was handed the lead gives the lead back.
func (sy *syncer) leave(r *flush) {
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

// leadFlush runs a round for the one who holds the lead, and who may have joined it as r. When ctx ends first the round
// goes on without it, for those who wait.
func (l *Log) leadFlush(ctx context.Context, r *flush) error {
	if ctx.Done() == nil {
		return l.runFlush()
	}
	out, err := bounded.Err(ctx, &l.calls().writes, 0, l.runFlush)
	if out == bounded.NotBegun {
		if r != nil {
			l.syncer.leave(r)
		}
		l.syncer.passLeadership()
	}
	return err
}

// runFlush syncs what is written, wakes those who waited for it, and hands the
// lead on. The caller holds the lead.
func (l *Log) runFlush() error {
	sy := &l.syncer
	sy.mu.Lock()
	r := sy.next
	sy.next = nil
	sy.mu.Unlock()

	err := l.syncTip()
	l.tell()
	sy.passLeadership()
	if r != nil {
		r.err = err
		close(r.done)
	}
	return err
}

// passLeadership gives the lead to the next that waits for it, or up.
func (sy *syncer) passLeadership() {
	sy.mu.Lock()
	defer sy.mu.Unlock()
	switch {
	case sy.exclusive != nil:
		close(sy.exclusive.turn)
		sy.exclusive = sy.exclusive.next
	case sy.next != nil:
		select {
		case sy.next.lead <- struct{}{}:
		default: // not met: a round is handed the lead once
		}
	default:
		sy.running = false
	}
}

// becomeLeader waits for the lead: until passLeadership no sync round runs. Truncations and Close
// need that, because a round writes the slot. The caller holds no lock.
func (sy *syncer) becomeLeader() {
	sy.mu.Lock()
	if !sy.running {
		sy.running = true
		sy.mu.Unlock()
		return
	}
	mine := &exclusiveLead{turn: make(chan struct{})}
	last := &sy.exclusive
	for *last != nil {
		last = &(*last).next
	}
	*last = mine
	sy.mu.Unlock()
	<-mine.turn
}

// syncTip makes everything written so far durable and visible.
func (l *Log) syncTip() error {
	t := l.syncer.tip.load()
	if t.offset <= l.syncer.settled.Load() {
		return nil
	}
	if f := l.fence.Load(); f != nil && f.sticky {
		return f
	}
	if !t.segment.Pin() {
		// Retired since: whoever rolled the log synced it first.
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
	l.raiseDurable(t)
	// The slot is written before anybody is told, so that it is exact after a kill.
	l.writeSyncedSlot()
	l.raiseHigh(t.offset)
	l.syncer.settled.Advance(t.offset)
	return nil
}

// raiseDurable moves the durable watermark to t.
func (l *Log) raiseDurable(t tipState) {
	l.syncer.tip.mu.Lock()
	defer l.syncer.tip.mu.Unlock()
	if t.offset >= l.syncer.tip.durable.offset {
		l.syncer.tip.durable = t
	}
	l.syncer.synced.Store(max(t.written, l.syncer.synced.Load()))
	l.durable.Advance(t.offset)
}

// tipSyncedLocked is what follows when the holder of Log.mu has synced everything.
func (l *Log) tipSyncedLocked() {
	t := l.syncer.tip.load()
	l.raiseDurable(t)
	l.raiseHighLocked(t.offset)
	l.syncer.settled.Advance(t.offset)
}

// durableTip is the durable watermark with its place in a segment file.
func (l *Log) durableTip() tipState {
	l.syncer.tip.mu.Lock()
	defer l.syncer.tip.mu.Unlock()
	return l.syncer.tip.durable
}

// Flush makes everything appended so far durable, whatever the level.
func (l *Log) Flush(ctx context.Context) error {
	cuts := l.syncer.cuts()
	return l.commit(ctx, l.end.Load(), Sync, cuts)
}

// publishTip tells the syncer that s is the active segment and ends at next, after everything
// else has taken note of it: a round may make it visible at once. The caller holds mu.
func (l *Log) publishTip(s *segment.Segment, next, appended int64) {
	t := &l.syncer.tip
	t.mu.Lock()
	if t.at.segment != s {
		t.at.segment, t.at.pos = s, s.Size()-appended
	}
	t.at.offset = next
	t.at.pos += appended
	t.at.written += appended
	t.mu.Unlock()
}

// unsyncedBytes is how much was written since the last fsync.
func (l *Log) unsyncedBytes() int64 {
	return l.syncer.tip.load().written - l.syncer.synced.Load()
}
