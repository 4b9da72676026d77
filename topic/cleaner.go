package topic

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// defaultCleanInterval is Kafka's log.cleaner.backoff.ms.
const defaultCleanInterval = 15 * time.Second

// cleaner compacts in the background what is dirty enough: the partition with the highest ratio of dirty bytes
// first, one at a time, again and again until none is left. It looks some seconds after something was written to
// a compacted topic, and when the next lag is over; between that it is nothing but a task on the
// scheduler's list. A partition whose compaction failed is left alone until it is compacted by hand.
type cleaner struct {
	every      time.Duration
	memory     int64 // bytes of the offset map
	rate       int64 // bytes per second, read and written; 0: no bound
	strategies map[string]CompactionStrategy

	mu          sync.Mutex // held for moments
	free        time.Time  // when the bytes accounted so far have had their time
	uncleanable map[*Partition]error
}

func (c *cleaner) init(o *options) {
	c.every, c.memory, c.rate, c.strategies = o.cleanEvery, o.cleanMemory, o.cleanRate, o.strategies
}

// throttle holds passes back to the rate, all together; nil without one.
func (c *cleaner) throttle() func(ctx context.Context, bytes int) error {
	if c.rate <= 0 {
		return nil
	}
	return func(ctx context.Context, bytes int) error {
		wait, took := c.book(time.Now(), bytes)
		if wait <= 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			c.unbook(took)
			return bounded.Cause(ctx)
		}
	}
}

// book gives bytes their time behind what was booked before, and tells how long to wait for its end and how long it is.
func (c *cleaner) book(now time.Time, bytes int) (wait, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.free.Before(now) {
		c.free = now
	}
	took = time.Duration(float64(bytes) / float64(c.rate) * float64(time.Second))
	c.free = c.free.Add(took)
	return c.free.Sub(now), took
}

// unbook gives time back that nobody waited for.
func (c *cleaner) unbook(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = c.free.Add(-took)
}

// giveUp leaves a partition alone from now on. It reports whether that is news.
func (c *cleaner) giveUp(p *Partition, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.uncleanable[p]
	if c.uncleanable == nil {
		c.uncleanable = map[*Partition]error{}
	}
	c.uncleanable[p] = err
	return !known
}

// markCleanable takes a partition up again.
func (c *cleaner) markCleanable(p *Partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.uncleanable, p)
}

// whyUncleanable is why a partition is left alone, nil if it is not.
func (c *cleaner) whyUncleanable(p *Partition) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uncleanable[p]
}

// Uncleanable is why the engine does not compact the partition any more, nil while it does: a compaction has
// failed, as over damaged bytes. A Compact by hand that succeeds takes it up again, and so does the next Open.
func (p *Partition) Uncleanable() error {
	if p.topic == nil {
		return unmade("Partition")
	}
	return p.topic.eng.cleaner.whyUncleanable(p)
}

// armCleaner sees that the cleaner looks soon, if anything is compacted.
func (e *Engine) armCleaner() {
	for _, t := range e.allTopics() {
		if t.state.Load().settings.compacts() {
			e.scheduler.arm(&e.scheduler.cleaning, e.cleaner.every)
			return
		}
	}
}

// clean is a task of the scheduler. A partition that cannot be compacted at the moment, or is no cleaner afterwards, is
// left for the next look and does not hold up the others.
func (e *Engine) clean(ctx context.Context, _ *log.Log, now time.Time) time.Duration {
	later := map[*Partition]bool{}
	unused := e.cleanUnused(ctx, now)
	for ctx.Err() == nil {
		p, next := e.dirtiest(ctx, now, later)
		if p == nil {
			return e.cleanAgain(now, earlier(next, unused), len(later) > 0)
		}
		moved, err := e.cleanOne(ctx, p, now)
		if err != nil && !p.settle(e, err) || err == nil && !moved {
			later[p] = true
		}
		if present := time.Now(); now.Before(present) {
			now = present
		}
	}
	return 0
}

// cleanAgain is after how long the cleaner looks again without a write: at next, if that is a time, and soon if
// something was left.
func (e *Engine) cleanAgain(now, next time.Time, left bool) time.Duration {
	switch {
	case left:
		return e.cleaner.every
	case next.IsZero():
		return 0
	}
	return max(next.Sub(now), e.cleaner.every)
}

// earlier is the first of two times of which the zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// settle says what a failed pass means. It reports false when it is nothing to do with the partition itself, or
// passes with time.
func (p *Partition) settle(e *Engine, err error) bool {
	switch {
	case e.isClosed(), errors.Is(err, context.Canceled), errors.Is(err, log.ErrBusy), errors.Is(err, ErrNoSpace), errors.Is(err, log.ErrTruncated):
		return false
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrClosed):
		return true
	}
	if e.cleaner.giveUp(p, err) {
		e.logger.Error("compaction failed, the partition is left alone", "topic", p.topic.name, "partition", p.id, "err", err)
		tell(e, e.events.CompactionFailed, PartitionFault{Topic: p.topic.name, Partition: p.id, Err: err})
	}
	return true
}

// dirtiest is the partition to compact next, nil if there is none; then next is when a lag is over. It leaves out
// those in later, and adds those that nothing may be removed from yet.
func (e *Engine) dirtiest(ctx context.Context, now time.Time, later map[*Partition]bool) (worst *Partition, next time.Time) {
	ratio := -1.0
	for _, p := range e.allPartitions() {
		t := p.topic.state.Load()
		if ctx.Err() != nil || !t.settings.compacts() || later[p] || e.cleaner.whyUncleanable(p) != nil {
			continue
		}
		if p.doubts.Load() > 0 {
			later[p] = true
			continue
		}
		found, ok := p.cleanable(now)
		if !ok {
			continue
		}
		if found.Wanted(t.config) {
			if found.Ratio > ratio {
				worst, ratio = p, found.Ratio
			}
			continue
		}
		next = soonest(now, next, found.DueAt, found.ReadyAt)
	}
	return worst, next
}

// cleanable tells what there is to clean in a partition that is in use.
func (p *Partition) cleanable(now time.Time) (log.Cleanable, bool) {
	l := p.log.Load()
	if l == nil {
		return log.Cleanable{}, false
	}
	found, err := l.Cleanable(now)
	if err != nil && !errors.Is(err, log.ErrClosed) {
		p.settle(p.topic.eng, err)
	}
	return found, err == nil
}

// cleanUnused looks after the partitions that nobody has used since Open, in no order. Their files' names tell
// whether there may be something to do; only then is one opened, for just that. next is when to look again.
func (e *Engine) cleanUnused(ctx context.Context, now time.Time) (next time.Time) {
	for _, p := range e.allPartitions() {
		if ctx.Err() != nil {
			return next
		}
		if p.log.Load() != nil || !p.topic.state.Load().settings.compacts() || e.cleaner.whyUncleanable(p) != nil {
			continue
		}
		at, err := p.cleanUnused(ctx, now)
		if err != nil && !p.settle(e, err) {
			at = now.Add(e.cleaner.every)
		}
		next = earlier(next, at)
	}
	return next
}

func (p *Partition) cleanUnused(ctx context.Context, now time.Time) (next time.Time, err error) {
	p.mu.Lock()
	at, checkpoint, unused := p.cleanAt, p.saved.cleaned, p.unused
	p.mu.Unlock()
	if unused || at == neverExpires || at > now.UnixMilli() {
		return expiryTime(at), nil
	}
	dirty, err := log.PeekDirty(p.topic.eng.fs, p.Dir(), checkpoint)
	if err == nil && dirty {
		next, err = p.cleanClosed(ctx, now)
	}
	if err != nil {
		return time.Time{}, p.fault(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanAt = neverExpires
	if !next.IsZero() {
		p.cleanAt = record.Millis(next)
	}
	return next, nil
}

// cleanClosed opens the log of an unused partition for nothing but a compaction.
func (p *Partition) cleanClosed(ctx context.Context, now time.Time) (next time.Time, err error) {
	l, wait, err := p.claim()
	if l != nil || wait != nil || err != nil {
		return now.Add(p.topic.eng.cleaner.every), err // somebody uses it, or only looks after it as we do: the next look sees
	}
	defer p.unclaim()
	l, facts, err := p.openLog(log.Hooks{Aside: p.chargeAside})
	if err != nil {
		return time.Time{}, err
	}
	if facts.notable() {
		p.noteOpened(&facts)
		p.topic.eng.tellOpened(p.topic, facts)
	}
	found, err := l.Cleanable(now)
	if err == nil && found.Wanted(l.Config()) {
		if _, err = p.compact(ctx, l, now, false); err == nil {
			found, err = l.Cleanable(now)
		}
	}
	err = errors.Join(err, l.Close())
	p.remeasure()
	p.noteOffsets(l)
	return soonest(now, found.DueAt, found.ReadyAt), err
}

// soonest is the first of the times that lie behind now, zero if none does.
func soonest(now time.Time, times ...time.Time) (first time.Time) {
	for _, at := range times {
		if at.After(now) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// cleanOne compacts one partition. It reports whether that has left less to do.
func (e *Engine) cleanOne(ctx context.Context, p *Partition, now time.Time) (moved bool, err error) {
	l, err := p.openWith(ctx)
	if err != nil {
		return false, err
	}
	before := l.FirstDirty()
	done, err := p.compact(ctx, l, now, false)
	if err == nil && done.MapFull && done.Checkpoint <= before {
		err = errors.New("topic: the offset map is too small for the partition's keys: raise CompactionMemory")
	}
	return done.Checkpoint > before, err
}
