package topic

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/heap"
	"github.com/quirelog/quire/log"
)

// scheduler does what is due by time alone: the maintenance of logs that were written to, the removal of files,
// the checkpoint files, retention and whatever else registers a task. Everything waits on one list with one
// timer for its head; a goroutine exists only while something is being done. Short tasks are done one after
// the other; a long one gets a goroutine of its own, so that no fsync waits for it. An engine for which
// nothing will ever be due has neither.
type scheduler struct {
	eng   *Engine
	began time.Time
	every time.Duration // between two checkpoints while there are changes
	// retainEvery is how often retention looks at an engine that is written to.
	retainEvery time.Duration
	ctx         context.Context
	stop        context.CancelFunc // ends ctx: long tasks give up

	maintain, deleteFiles taskKind
	checkpoint, retention task
	cleaning, expiry      task

	mu      sync.Mutex
	due     heap.Heap[*task]
	seq     uint64
	timer   *time.Timer // set to the head of the list; nil before the first task
	running bool        // the goroutine that does what is due exists
}

// taskKind is what the tasks of one kind have in common.
type taskKind struct {
	long bool // may take more than a few fsyncs
	// do does what is due at now and tells after how long it wants to be called again, 0 when not by time
	// alone. It is never called twice at once for one task. l is the task's log.
	do func(ctx context.Context, l *log.Log, now time.Time) (again time.Duration)
	// asked, of a kind with one task, is the shortest time in which a change of a log wanted it since it last
	// began, 0 if none did.
	asked atomic.Int64
}

// task is one thing that time makes due. It belongs to one scheduler.
type task struct {
	kind *taskKind
	log  *log.Log // what it is about, if it is about a log

	// Guarded by scheduler.mu; times are since scheduler.began.
	at    time.Duration
	wish  time.Duration // while busy: when it was asked for again, 0 if it was not
	seq   uint64        // keeps the order of tasks due at one time
	place int           // in the list, counted from 1; 0 when it is not on it
	busy  bool          // it is being done
}

// before is the order of tasks.
func (c *task) before(d *task) bool {
	if c.at == d.at {
		return c.seq < d.seq
	}
	return c.at < d.at
}

func (k *scheduler) init(e *Engine, o *options) {
	k.eng, k.every, k.retainEvery, k.began = e, o.checkpoint, o.retention, time.Now()
	k.due = heap.New((*task).before, func(c *task) *int { return &c.place })
	k.ctx, k.stop = context.WithCancel(context.Background())
	k.maintain.do, k.deleteFiles.do = k.maintainLog, k.deleteLogFiles
	k.checkpoint.kind = &taskKind{do: k.writeCheckpoints}
	k.retention.kind = &taskKind{long: true, do: e.checkRetention}
	k.cleaning.kind = &taskKind{long: true, do: e.clean}
	k.expiry.kind = &taskKind{do: e.expireProducers}
}

// logTasks is what the scheduler does for one open log.
type logTasks struct{ maintain, deleteFiles task }

// hooks lets a log of t ask for what it needs.
func (k *scheduler) hooks(t *Topic, h *log.Hooks) {
	own := &logTasks{maintain: task{kind: &k.maintain}, deleteFiles: task{kind: &k.deleteFiles}}
	h.Dirty = func(l *log.Log, d time.Duration) { k.armFor(l, &own.maintain, d) }
	h.Changed = func(l *log.Log) { k.logChanged(t, l) }
	h.Freed = t.spaceFreed
	h.Removed = func(l *log.Log, d time.Duration) { k.armFor(l, &own.deleteFiles, d) }
}

// logChanged is called after every append to a log of t. The duties of all partitions together are due some time
// after the first change that they have not looked at, whatever care that log needs meanwhile.
func (k *scheduler) logChanged(t *Topic, l *log.Log) {
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
func (k *scheduler) logHasProducers(t *Topic, l *log.Log) {
	if l.Identified() {
		k.ask(&k.expiry, t.state.Load().settings.expiryInterval())
	}
}

// ask is arm for callers that come often: it costs one load while c is asked for as soon, and has not begun.
func (k *scheduler) ask(c *task, d time.Duration) {
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

// maintainLog does what a log that was written to wants.
func (k *scheduler) maintainLog(ctx context.Context, l *log.Log, _ time.Time) time.Duration {
	again, err := l.Tick(ctx)
	if err != nil && !k.eng.isClosed() {
		k.eng.logger.Error("care of a log failed", "dir", l.Dir(), "err", err)
	}
	return again
}

// deleteLogFiles unlinks files whose delay is over.
func (k *scheduler) deleteLogFiles(_ context.Context, l *log.Log, now time.Time) time.Duration {
	again, err := l.DeleteFiles(now)
	if err != nil && !k.eng.isClosed() {
		k.eng.logger.Warn("files of removed segments not unlinked", "dir", l.Dir(), "err", err)
	}
	return again
}

func (k *scheduler) writeCheckpoints(context.Context, *log.Log, time.Time) time.Duration {
	if err := k.eng.writeCheckpoints(); err != nil && !k.eng.isClosed() {
		k.eng.logger.Warn("checkpoint files not written", "dir", k.eng.dir, "err", err)
		return k.every
	}
	return 0
}

// armCheckpoint puts a checkpoint on the list unless there is one.
func (k *scheduler) armCheckpoint() { k.arm(&k.checkpoint, k.every) }

// armRetention sees that retention looks soon: after Open, and when rules have changed.
func (k *scheduler) armRetention() { k.arm(&k.retention, min(firstRetention, k.retainEvery)) }

// arm makes c due after d at the latest, and sees that this is noticed.
func (k *scheduler) arm(c *task, d time.Duration) { k.armFor(nil, c, d) }

func (k *scheduler) armFor(l *log.Log, c *task, d time.Duration) {
	at := time.Since(k.began) + max(d, 0)
	k.mu.Lock()
	defer k.mu.Unlock()
	if l != nil && c.log == nil { // the goroutine that does the task reads it without the lock: it is written once
		c.log = l
	}
	k.armLocked(c, at)
}

// armLocked puts c on the list, or moves it up.
func (k *scheduler) armLocked(c *task, at time.Duration) {
	switch {
	case c.busy:
		if c.wish == 0 || at < c.wish {
			c.wish = max(at, 1)
		}
		return
	case c.place == 0:
		k.seq++
		c.at, c.seq = at, k.seq
		k.due.Push(c)
	case at < c.at:
		c.at = at
		k.due.Fix(c)
	default:
		return
	}
	if c.place == 1 {
		k.wakeLocked()
	}
}

// wakeLocked sets the timer to the head of the list, unless somebody is at work who will.
func (k *scheduler) wakeLocked() {
	if k.running || k.due.Len() == 0 || k.eng.isClosed() {
		return
	}
	wait := k.due.First().at - time.Since(k.began)
	if k.timer == nil {
		k.timer = time.AfterFunc(wait, k.fire)
		return
	}
	k.timer.Reset(wait)
}

// fire is called by the timer.
func (k *scheduler) fire() {
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
func (k *scheduler) run() {
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

// take removes the first task that is due at now from the list; nil if there is none, which is the end of
// the goroutine that asks.
func (k *scheduler) take(now time.Time, goroutine bool) *task {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.due.Len() > 0 && k.due.First().at <= now.Sub(k.began) && !k.eng.isClosed() {
		c := k.due.Pop()
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

// perform does a task that take returned, and puts it back on the list if it is to come again.
func (k *scheduler) perform(ctx context.Context, c *task, now time.Time) {
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

// close lets nothing begin any more and asks long tasks to give up.
func (k *scheduler) close() {
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
		c := e.scheduler.take(now, false)
		if c == nil {
			return nil
		}
		err := worked(ctx, e, func() error {
			e.scheduler.perform(ctx, c, now)
			return nil
		})
		if err != nil {
			return err
		}
	}
}
