package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/topic"
)

// Mark says that the record, and all before it in its partition, have been processed: they are not read again by this group once that is
// committed. A record that this member was not given, or whose partition it has no more, is passed over, as is one before the last marked.
func (c *Consumer) Mark(rec topic.Record) {
	c.mark(topic.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}, rec.Offset, nil)
}

// mark marks an offset; in, if not nil, is the holding it must belong to.
func (c *Consumer) mark(tp topic.TopicPartition, offset int64, in *holding) {
	c.mu.Lock()
	h := c.hold[tp]
	ok := h != nil && (in == nil || in == h) && offset >= h.from && offset < h.next && offset+1 > h.mark
	arm := false
	if ok {
		h.mark = offset + 1
		arm = !c.due && !c.cfg.manual && c.ended == nil
		c.due = c.due || arm
	}
	c.mu.Unlock()
	if arm {
		c.coord.timers.After(&c.committer, c.cfg.interval)
	}
}

// commitDue commits in the background.
func (c *Consumer) commitDue() {
	select {
	case c.turn <- struct{}{}:
	default: // somebody is committing: again when that is done
		c.coord.timers.After(&c.committer, timerGrain)
		return
	}
	c.mu.Lock()
	c.due = false
	asyncs := c.asyncs
	c.asyncs = nil
	c.mu.Unlock()
	c.send(context.Background(), func(err error) {
		<-c.turn
		for _, f := range asyncs {
			f(err)
		}
		if err != nil {
			c.retry()
		}
	})
}

// timerGrain is the shortest time worth waiting.
const timerGrain = time.Millisecond

// retry commits again later what could not be committed, as during a rebalance.
func (c *Consumer) retry() {
	c.mu.Lock()
	arm := !c.due && !c.cfg.manual && c.ended == nil && len(c.dirtyLocked()) > 0
	c.due = c.due || arm
	c.mu.Unlock()
	if arm {
		c.coord.timers.After(&c.committer, max(c.cfg.interval, 100*timerGrain))
	}
}

// dirtyLocked lists what is marked and not committed.
func (c *Consumer) dirtyLocked() []PartitionOffset {
	var list []PartitionOffset
	for tp, h := range c.hold {
		if h.mark > h.committed {
			list = append(list, PartitionOffset{TopicPartition: tp, Offset: h.mark, LeaderEpoch: -1})
		}
	}
	slices.SortFunc(list, func(a, b PartitionOffset) int { return a.Compare(b.TopicPartition) })
	return list
}

// Commit commits what was marked; it is on disk at return. Errors: the context's cause (the commit may be done all the same), [Code]s:
// [ErrRebalanceInProgress] or [ErrIllegalGeneration] while a rebalance is under way (what is marked stays so, and is committed later),
// [ErrUnknownMember] after the member was removed, [ErrNotAvailable]; topic.ErrClosed.
func (c *Consumer) Commit(ctx context.Context) error { return c.commit(ctx) }

// CommitAsync is Commit that does not wait: f, unless it is nil, is called once with the outcome, in the order of the calls. It must be
// quick and must not use the Consumer or the Coordinator. It is not called after the Consumer was closed.
func (c *Consumer) CommitAsync(f func(error)) {
	c.mu.Lock()
	if f != nil {
		c.asyncs = append(c.asyncs, f)
	}
	over := c.ended != nil
	c.due = true
	c.mu.Unlock()
	if !over {
		c.coord.timers.After(&c.committer, 0)
	}
}

func (c *Consumer) commit(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case c.turn <- struct{}{}:
	case <-c.over:
		return topic.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.send(ctx, func(err error) {
		<-c.turn
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// send commits what is marked. The caller has the turn, so that a later commit never overtakes an earlier one; then gets it back.
func (c *Consumer) send(ctx context.Context, then func(error)) {
	c.mu.Lock()
	list, id, ended := c.dirtyLocked(), c.id, c.ended
	c.mu.Unlock()
	switch {
	case ended != nil:
		then(ended)
		return
	case len(list) == 0:
		then(nil)
		return
	}
	req := CommitRequest{MemberID: id.member, InstanceID: c.cfg.instance, Generation: id.generation, ProducerID: -1, Offsets: list}
	err := c.coord.bring(ctx, c.group, req, nil, func(a answer) {
		then(c.committed(list, a.(CommitResponse)))
	})
	if err != nil {
		then(err)
	}
}

// committed takes the answer to a commit.
func (c *Consumer) committed(list []PartitionOffset, r CommitResponse) error {
	err := r.Err
	if err == nil {
		list = r.Offsets
	}
	c.mu.Lock()
	for _, o := range list {
		if err != nil || o.Err != nil {
			continue
		}
		if h := c.hold[o.TopicPartition]; h != nil && o.Offset <= h.mark {
			h.committed = max(h.committed, o.Offset)
		}
	}
	c.mu.Unlock()
	for _, o := range list {
		if err == nil && o.Err != nil {
			err = fmt.Errorf("group: committing %s: %w", o.TopicPartition, o.Err)
		}
	}
	if c.cfg.onCommit != nil {
		c.cfg.onCommit(list, err)
	}
	return err
}

// Seek sets the position of a partition of the assignment: the next batch of it begins there, also if that is before what was read or
// marked already; what is marked later may then move the committed offset back. topic.ErrInvalid for a partition that is not the member's.
func (c *Consumer) Seek(tp topic.TopicPartition, offset int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hold[tp]
	switch {
	case c.ended != nil:
		return c.ended
	case h == nil:
		return fmt.Errorf("%w: %s is not assigned", topic.ErrInvalid, tp)
	case offset < 0:
		return fmt.Errorf("%w: offset %d of %s is negative", topic.ErrInvalid, offset, tp)
	}
	c.seeks = append(c.seeks, seek{tp, offset})
	c.ready = slices.DeleteFunc(c.ready, func(b *Batch) bool { return b.TopicPartition() == tp })
	fresh := *h // what is marked of batches handed out before does not count any more
	fresh.from, fresh.next, fresh.mark = offset, offset, -1
	if offset < fresh.committed {
		fresh.committed = -1
	}
	c.hold[tp] = &fresh
	c.src.Wakeup()
	return nil
}

// rewind has what is not marked of a batch handed out again, if the partition is still the member's.
func (c *Consumer) rewind(b *Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tp := b.TopicPartition()
	h := c.hold[tp]
	if h == nil || h != b.hold {
		return
	}
	h.next = max(b.Records[0].Offset, h.mark)
	c.seeks = append(c.seeks, seek{tp, h.next})
	c.ready = slices.DeleteFunc(c.ready, func(b *Batch) bool { return b.TopicPartition() == tp })
}

func (c *Consumer) applySeeks() error {
	c.mu.Lock()
	list := c.seeks
	c.seeks = nil
	// Records that were read between Seek and here are dropped with it.
	c.ready = slices.DeleteFunc(c.ready, func(b *Batch) bool {
		return slices.ContainsFunc(list, func(s seek) bool { return s.tp == b.TopicPartition() })
	})
	c.mu.Unlock()
	for _, s := range list {
		if err := c.src.Seek(s.tp, s.offset); err != nil {
			return err
		}
	}
	return nil
}

// Pause keeps records of partitions from being handed out until Resume, or until they go to another member. topic.ErrInvalid for one that
// is not the member's; then nothing is changed.
func (c *Consumer) Pause(parts ...topic.TopicPartition) error { return c.setPaused(parts, true) }

// Resume ends a Pause.
func (c *Consumer) Resume(parts ...topic.TopicPartition) error { return c.setPaused(parts, false) }

func (c *Consumer) setPaused(parts []topic.TopicPartition, on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tp := range parts {
		if c.hold[tp] == nil {
			return fmt.Errorf("%w: %s is not assigned", topic.ErrInvalid, tp)
		}
	}
	for _, tp := range parts {
		if on {
			c.paused[tp] = true
		} else {
			delete(c.paused, tp)
		}
	}
	c.src.Wakeup()
	return nil
}
