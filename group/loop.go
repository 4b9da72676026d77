package group

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/topic"
)

// Batches is the loop:
//
//	for batch, err := range c.Batches(ctx) {
//		if err != nil {
//			return err
//		}
//		for _, rec := range batch.Records {
//			handle(rec)
//			c.Mark(rec)
//		}
//	}
//
// A batch is in hand until the loop goes on. A rebalance that takes its partition away cancels its context and waits. A done context ends
// the loop without a pair, as does Close; an error comes once, as the last pair, with a nil batch: those of the callbacks, of the reading
// (*topic.OffsetRangeError if topic.OnOutOfRange is Fail; topic.ErrCorrupt), and of the coordinator ([ErrNotAvailable] when the group's
// records cannot be stored, [ErrFencedInstance], [ErrGroupFull], [ErrInconsistentProtocol]), topic.ErrConcurrentUse when another loop runs,
// topic.ErrClosed. The Consumer stays a member when a loop ends, and another loop may follow within MaxPollInterval.
func (c *Consumer) Batches(ctx context.Context) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		if err := c.enter(); err != nil {
			yield(nil, err)
			return
		}
		err := c.loop(ctx, yield)
		if err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

func (c *Consumer) loop(ctx context.Context, yield func(*Batch, error) bool) (err error) {
	defer func() { err = errors.Join(endOfLoop(ctx, err), c.exit(ctx)) }() // also when the body ends its goroutine
	for {
		b, err := c.next(ctx)
		if err != nil {
			return err
		}
		if !c.handOut(b, yield) {
			return nil
		}
	}
}

// handOut gives a batch to the loop's body. One that panics in it, or ends the goroutine, leaves what is not marked to be read again.
func (c *Consumer) handOut(b *Batch, yield func(*Batch, error) bool) (goesOn bool) {
	defer c.done(b)
	returned := false
	defer func() {
		if !returned {
			c.rewind(b)
		}
	}()
	goesOn = yield(b, nil)
	returned = true
	return goesOn
}

// endOfLoop is what a loop tells of its end: nothing of one in good order.
func endOfLoop(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errClosing):
		return nil
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// enter begins a loop.
func (c *Consumer) enter() error {
	if c.coord == nil {
		return unmade("Consumer")
	}
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	switch {
	case ended != nil:
		return ended
	case !c.looping.CompareAndSwap(false, true):
		return topic.ErrConcurrentUse
	}
	c.coord.timers.Stop(&c.away)
	return nil
}

// exit ends a loop; one that was asked to close does so.
func (c *Consumer) exit(ctx context.Context) error {
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	if closing {
		return c.finishApart(ctx)
	}
	c.coord.timers.After(&c.away, c.cfg.late)
	c.looping.Store(false)
	c.mu.Lock()
	closing = c.closing && c.ended == nil
	c.mu.Unlock()
	if closing { // between the two
		c.startClosing(true)
		return c.finishUnlessLooping(ctx)
	}
	return nil
}

// next gives the next batch to hand out, takes part in the group while it waits, and waits while the disk is full.
func (c *Consumer) next(ctx context.Context) (b *Batch, err error) {
	err = c.room.patiently(ctx, func() error {
		b, err = c.look(ctx)
		return err
	})
	if b != nil {
		c.room.found()
	}
	return b, err
}

func (c *Consumer) look(ctx context.Context) (*Batch, error) {
	for {
		if ctx.Err() != nil {
			return nil, bounded.Cause(ctx)
		}
		if err := c.member.attend(ctx); err != nil {
			return nil, err
		}
		if err := c.applySeeks(); err != nil {
			return nil, err
		}
		if c.cfg.order.given() {
			if err := c.topUp(ctx); err != nil {
				return nil, err
			}
		}
		if b := c.take(ctx); b != nil {
			c.stats.batches.Add(1)
			c.stats.records.Add(int64(len(b.Records)))
			c.stats.bytes.Add(b.size())
			return b, nil
		}
		if err := c.poll(ctx); err != nil {
			return nil, err
		}
	}
}

// take takes the next batch that may be handed out.
func (c *Consumer) take(ctx context.Context) *Batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.late {
		return nil
	}
	b := c.pickLocked()
	if b == nil {
		return nil
	}
	h := b.hold
	c.out[b] = struct{}{}
	c.busy[h.tp]++
	h.out++
	h.class.working++
	if h.window == nil {
		if first := b.Records[0].Offset; h.from < 0 || first < h.next { // the position was out of range: it begins anew
			h.from, h.mark, h.committed = first, -1, -1
		}
		h.next = b.Records[len(b.Records)-1].Offset + 1
	}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	b.late.Value = c.evict
	c.coord.timers.After(&b.late, c.cfg.late)
	return b
}

// done takes a batch back.
func (c *Consumer) done(b *Batch) {
	c.coord.timers.Stop(&b.late)
	b.cancel(nil)
	h := b.hold
	c.mu.Lock()
	delete(c.out, b)
	if c.busy[h.tp]--; c.busy[h.tp] == 0 {
		delete(c.busy, h.tp)
	}
	c.touchLocked(h.tp)
	h.out--
	h.class.working--
	news := h.window == nil || c.hold[h.tp] != h // the partition is free
	if h.window != nil && !b.failed {
		if next := h.window.leave(b); next != nil {
			c.readyLocked(h, next)
			news = true
		}
	}
	wake := c.asleep && news
	c.mu.Unlock()
	c.finished.Store(c.finished.Load() + 1)
	if wake {
		c.src.Wakeup()
	}
}

// poll reads, or sleeps until there is something to do.
func (c *Consumer) poll(ctx context.Context) error {
	if awake, err := c.hush(); awake || err != nil {
		return err
	}
	c.begun(ctx)
	recs, err := c.src.Poll(ctx)
	c.mu.Lock()
	c.asleep = false
	c.mu.Unlock()
	return c.took(ctx, recs, err)
}

// took takes what was read.
func (c *Consumer) took(ctx context.Context, recs []topic.Record, err error) error {
	switch {
	case errors.Is(err, topic.ErrWakeup):
		return nil
	case errors.Is(err, topic.ErrNotFound):
		return c.topicGone(ctx, err)
	case err != nil:
		return err
	}
	c.sort(recs)
	return nil
}

// hush keeps the source from reading partitions whose records could not be handed out. awake: a batch can be handed out by now, and the
// loop must not sleep.
func (c *Consumer) hush() (awake bool, err error) {
	c.mu.Lock()
	if c.anyHeadLocked() {
		c.mu.Unlock()
		return true, nil
	}
	c.asleep = true
	c.mu.Unlock()
	return false, c.pauseSource()
}

// pauseSource has the source read what is thirsty, and nothing else.
func (c *Consumer) pauseSource() error {
	quiet, loud := c.untold()
	return errors.Join(each(quiet, c.src.Pause), each(loud, c.src.Resume))
}

// each calls f for partitions, of which some may be of a topic that was deleted: the next look at topics takes them away.
func each(parts []topic.TopicPartition, f func(...topic.TopicPartition) error) error {
	for _, tp := range parts {
		if err := f(tp); err != nil && !errors.Is(err, topic.ErrInvalid) {
			return err
		}
	}
	return nil
}

// untold lists the partitions that the source is still to pause, or to resume.
func (c *Consumer) untold() (quiet, loud []topic.TopicPartition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked += len(c.touched)
	for i, h := range c.touched {
		c.touched[i], h.touched = nil, false
		want := !c.thirstyLocked(h)
		if c.hold[h.tp] != h || want == h.quiet {
			continue
		}
		if h.quiet = want; want {
			quiet = append(quiet, h.tp)
		} else {
			loud = append(loud, h.tp)
		}
	}
	c.touched = c.touched[:0]
	c.checkQuietLocked()
	return quiet, loud
}

// checkQuietLocked asserts that none was forgotten.
func (c *Consumer) checkQuietLocked() {
	if !invariant.Enabled {
		return
	}
	for tp, h := range c.hold {
		invariant.Check(h.quiet != c.thirstyLocked(h), "group: the source is told something else of %v", tp)
	}
}

// touchLocked notes that more of a partition may have to be read, or less.
func (c *Consumer) touchLocked(tp topic.TopicPartition) {
	if h := c.hold[tp]; h != nil && !h.touched {
		h.touched = true
		c.touched = append(c.touched, h)
	}
}

// sort makes batches of what was read, one for each run of records of a partition, or of each key in it.
func (c *Consumer) sort(recs []topic.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(recs) > 0 {
		first := &recs[0]
		n := slices.IndexFunc(recs, func(r topic.Record) bool { return r.Topic != first.Topic || r.Partition != first.Partition })
		if n < 0 {
			n = len(recs)
		}
		if h := c.hold[topic.TopicPartition{Topic: first.Topic, Partition: first.Partition}]; h != nil {
			c.sortLocked(h, recs[:n:n])
		}
		recs = recs[n:]
	}
}

func (c *Consumer) sortLocked(h *holding, recs []topic.Record) {
	if slices.ContainsFunc(c.seeks, func(s seek) bool { return s.tp == h.tp }) {
		return // it goes on elsewhere
	}
	if h.window == nil {
		if len(h.done) > 0 {
			recs = slices.DeleteFunc(recs, func(r topic.Record) bool { return h.done.hold(r.Offset) })
		}
		if len(recs) > 0 {
			c.readyLocked(h, c.batch(h, recs))
		}
		return
	}
	switch first := recs[0].Offset; {
	case h.from < 0:
		h.from = first
	case first < h.next: // the position was out of range: it begins anew
		h = c.anewLocked(h, first)
		h.committed = -1
	}
	h.next = recs[len(recs)-1].Offset + 1
	c.readyLocked(h, h.window.take(recs, h.done, func(recs []topic.Record) *Batch { return c.batch(h, recs) })...)
	h.done = h.done.from(h.next)
	c.markLocked(h, h.window.settle())
}

func (c *Consumer) batch(h *holding, recs []topic.Record) *Batch {
	return &Batch{Topic: h.tp.Topic, Partition: h.tp.Partition, Records: recs, c: c, hold: h}
}

// topicGone drops partitions of topics that were deleted, or made anew under their names.
func (c *Consumer) topicGone(ctx context.Context, why error) error {
	c.coord.stale.Store(true)
	c.topics.Store(true)
	_, gone := c.deleted(c.Assignment())
	if len(gone) == 0 {
		return why
	}
	return c.member.lose(ctx, gone, ErrLost)
}
