package topic

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/log"
)

// housekeeper does what is due by time alone: the maintenance of logs that were written to, the removal of files,
// the checkpoint files, retention and whatever else registers a chore. Everything waits on one list with one
// timer for its head; a goroutine exists only while something is being done. Short chores are done one after
// the other; a long one gets a goroutine of its own, so that no fsync waits for it. An engine for which
// nothing will ever be due has neither.
type housekeeper struct {
	eng   *Engine
	began time.Time
	every time.Duration // between two checkpoints while there are changes
	// retainEvery is how often retention looks at an engine that is written to.
	retainEvery time.Duration
	ctx         context.Context
	stop        context.CancelFunc // ends ctx: long chores give up

	care, reap            choreKind
	checkpoint, retention chore
	cleaning, expiry      chore

	mu      sync.Mutex
	due     choreHeap
	seq     uint64
	timer   *time.Timer // set to the head of the list; nil before the first chore
	running bool        // the goroutine that does what is due exists
}

// choreKind is what the chores of one kind have in common.
type choreKind struct {
	long bool // may take more than a few fsyncs
	// do does what is due at now and tells after how long it wants to be called again, 0 when not by time
	// alone. It is never called twice at once for one chore. l is the chore's log.
	do func(ctx context.Context, l *log.Log, now time.Time) (again time.Duration)
	// asked, of a kind with one chore, is the shortest time in which a change of a log wanted it since it last
	// began, 0 if none did.
	asked atomic.Int64
}

// chore is one thing that time makes due. It belongs to one housekeeper.
type chore struct {
	kind *choreKind
	log  *log.Log // what it is about, if it is about a log

	// Guarded by housekeeper.mu; times are since housekeeper.began.
	at    time.Duration
	wish  time.Duration // while busy: when it was asked for again, 0 if it was not
	seq   uint64        // keeps the order of chores due at one time
	place int           // in the list, counted from 1; 0 when it is not on it
	busy  bool          // it is being done
}

type choreHeap []*chore

func (h choreHeap) Len() int { return len(h) }
func (h choreHeap) Less(i, j int) bool {
	if h[i].at == h[j].at {
		return h[i].seq < h[j].seq
	}
	return h[i].at < h[j].at
}
func (h choreHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}
func (h *choreHeap) Push(x any) {
	c := x.(*chore)
	*h = append(*h, c)
	c.place = len(*h)
}
func (h *choreHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.place = 0
	return c
}

func (k *housekeeper) init(e *Engine, o *options) {
	k.eng, k.every, k.retainEvery, k.began = e, o.checkpoint, o.retention, time.Now()
	k.ctx, k.stop = context.WithCancel(context.Background())
	k.care.do, k.reap.do = k.tend, k.bury
	k.checkpoint.kind = &choreKind{do: k.writeCheckpoints}
	k.retention.kind = &choreKind{long: true, do: e.checkRetention}
	k.cleaning.kind = &choreKind{long: true, do: e.clean}
	k.expiry.kind = &choreKind{do: e.expireProducers}
}

// logChores is what the housekeeper does for one open log.
type logChores struct{ care, reap chore }

// hooks lets a log of t ask for what it needs.
func (k *housekeeper) hooks(t *Topic, h *log.Hooks) {
	own := &logChores{care: chore{kind: &k.care}, reap: chore{kind: &k.reap}}
	h.Dirty = func(l *log.Log, d time.Duration) { k.armFor(l, &own.care, d) }
	h.Changed = func(l *log.Log) { k.logChanged(t, l) }
	h.Freed = t.spaceFreed
	h.Removed = func(l *log.Log, d time.Duration) { k.armFor(l, &own.reap, d) }
}

// logChanged is called after every append to a log of t. The duties of all partitions together are due some time
// after the first change that they have not looked at, whatever care that log needs meanwhile.
func (k *housekeeper) logChanged(t *Topic, l *log.Log) {
	k.ask(&k.checkpoint, k.every)
	s := t.state.Load().settings
	if s.expires() {
		k.ask(&k.retention, k.retainEvery)
	}
	if s.compacts() {
		k.ask(&k.cleaning, k.eng.cleaner.every)
	}
	k.logHasProducers(t, l)
}

// logHasProducers sees that the producers of a log, if it knows any, are looked at in time.
func (k *housekeeper) logHasProducers(t *Topic, l *log.Log) {
	if l.Identified() {
		k.ask(&k.expiry, t.state.Load().settings.expiryInterval())
	}
}

// ask is arm for callers that come often: it costs one load while c is asked for as soon, and has not begun.
func (k *housekeeper) ask(c *chore, d time.Duration) {
	for d = max(d, 1); ; {
		asked := c.kind.asked.Load()
		if asked != 0 && asked <= int64(d) {
			return
		}
		if c.kind.asked.CompareAndSwap(asked, int64(d)) {
			k.arm(c, d)
			return
		}
	}
}

// tend does what a log that was written to wants.
func (k *housekeeper) tend(ctx context.Context, l *log.Log, _ time.Time) time.Duration {
	again, err := l.Tick(ctx)
	if err != nil && !k.eng.isClosed() {
		k.eng.logger.Error("care of a log failed", "dir", l.Dir(), "err", err)
	}
	return again
}

// bury unlinks files whose delay is over.
func (k *housekeeper) bury(_ context.Context, l *log.Log, now time.Time) time.Duration {
	again, err := l.DeleteFiles(now)
	if err != nil && !k.eng.isClosed() {
		k.eng.logger.Warn("files of removed segments not unlinked", "dir", l.Dir(), "err", err)
	}
	return again
}

func (k *housekeeper) writeCheckpoints(context.Context, *log.Log, time.Time) time.Duration {
	if err := k.eng.writeCheckpoints(); err != nil && !k.eng.isClosed() {
		k.eng.logger.Warn("checkpoint files not written", "dir", k.eng.dir, "err", err)
		return k.every
	}
	return 0
}

// armCheckpoint puts a checkpoint on the list unless there is one.
func (k *housekeeper) armCheckpoint() { k.arm(&k.checkpoint, k.every) }

// armRetention sees that retention looks soon: after Open, and when rules have changed.
func (k *housekeeper) armRetention() { k.arm(&k.retention, min(firstRetention, k.retainEvery)) }

// arm makes c due after d at the latest, and sees that this is noticed.
func (k *housekeeper) arm(c *chore, d time.Duration) { k.armFor(nil, c, d) }

func (k *housekeeper) armFor(l *log.Log, c *chore, d time.Duration) {
	at := time.Since(k.began) + max(d, 0)
	k.mu.Lock()
	defer k.mu.Unlock()
	if l != nil && c.log == nil { // whoever does the chore reads it without the lock: it is written once
		c.log = l
	}
	k.armLocked(c, at)
}

// armLocked puts c on the list, or moves it up.
func (k *housekeeper) armLocked(c *chore, at time.Duration) {
	switch {
	case c.busy:
		if c.wish == 0 || at < c.wish {
			c.wish = max(at, 1)
		}
		return
	case c.place == 0:
		k.seq++
		c.at, c.seq = at, k.seq
		heap.Push(&k.due, c)
	case at < c.at:
		c.at = at
		heap.Fix(&k.due, c.place-1)
	default:
		return
	}
	if c.place == 1 {
		k.wakeLocked()
	}
}

// wakeLocked sets the timer to the head of the list, unless somebody is at work who will.
func (k *housekeeper) wakeLocked() {
	if k.running || len(k.due) == 0 || k.eng.isClosed() {
		return
	}
	wait := k.due[0].at - time.Since(k.began)
	if k.timer == nil {
		k.timer = time.AfterFunc(wait, k.fire)
		return
	}
	k.timer.Reset(wait)
}

// fire is called by the timer.
func (k *housekeeper) fire() {
	k.mu.Lock()
	start := !k.running
	k.running = true
	k.mu.Unlock()
	if start && !k.eng.goFunc(k.run) {
		k.mu.Lock()
		k.running = false // the engine is closing: Close does what is left
		k.mu.Unlock()
	}
}

// run is the goroutine: it does what is due, and leaves.
func (k *housekeeper) run() {
	for {
		now := time.Now()
		c := k.take(now, true)
		switch {
		case c == nil:
			return
		case !c.kind.long:
			k.perform(k.ctx, c, now)
		case !k.eng.goFunc(func() { k.perform(k.ctx, c, now) }):
			return
		}
	}
}

// take removes the first chore that is due at now from the list; nil if there is none, which is the end of
// the goroutine that asks.
func (k *housekeeper) take(now time.Time, goroutine bool) *chore {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.due) > 0 && k.due[0].at <= now.Sub(k.began) && !k.eng.isClosed() {
		c := heap.Pop(&k.due).(*chore)
		c.busy, c.wish = true, 0
		c.kind.asked.Store(0) // before it looks: a change that it may not see asks again
		return c
	}
	if goroutine {
		k.running = false
		k.wakeLocked()
	}
	return nil
}

// perform does a chore that take returned, and puts it back on the list if it is to come again.
func (k *housekeeper) perform(ctx context.Context, c *chore, now time.Time) {
	again := c.kind.do(ctx, c.log, now)
	if present := time.Now(); now.Before(present) {
		now = present
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c.busy = false
	if c.wish > 0 {
		k.armLocked(c, c.wish)
	}
	if again > 0 {
		k.armLocked(c, now.Add(again).Sub(k.began))
	}
}

// close lets nothing begin any more and asks long chores to give up.
func (k *housekeeper) close() {
	k.stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
}

// Tick does by hand what is due at now, long duties included: for tests and operators that do not want to
// wait. The engine does the same by itself in time.
func (e *Engine) Tick(ctx context.Context, now time.Time) error {
	for {
		if err := e.usable(ctx); err != nil {
			return err
		}
		c := e.keeper.take(now, false)
		if c == nil {
			return nil
		}
		err := worked(ctx, e, func() error {
			e.keeper.perform(ctx, c, now)
			return nil
		})
		if err != nil {
			return err
		}
	}
}
