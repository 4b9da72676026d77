package group

import (
	"context"
	"errors"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// revoke hands partitions over: nothing of them is given out any more, handlers come to their ends, and what was marked is committed.
func (m *membership) revoke(ctx context.Context, parts []topic.TopicPartition, why error) (fault error) {
	c := m.c
	parts, lost := c.deleted(c.held(parts))
	if err := m.lose(ctx, lost, ErrLost); err != nil {
		return errors.Join(err, m.revoke(ctx, parts, why))
	}
	if len(parts) == 0 {
		return nil
	}
	c.withdraw(parts, why)
	if err := c.awaitHandlers(ctx, parts); err != nil {
		return err
	}
	defer func() { // also when the callback ends the goroutine
		// What cannot be committed is read again by the next owner: it is reported to OnCommit, and the partitions go all the same.
		within, stop := withGrace(ctx, endGrace)
		defer stop()
		_ = m.commitLast(within)
		fault = errors.Join(fault, m.release(parts))
	}()
	return c.callBack(ctx, c.cfg.onRevoke, parts)
}

// held is those of the partitions that the member has: some may have gone before a loop ended in the middle of this.
func (c *Consumer) held(parts []topic.TopicPartition) []topic.TopicPartition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(parts), func(tp topic.TopicPartition) bool { return c.hold[tp] == nil })
}

// deleted tells apart partitions of topics that were deleted, or made anew under their names: what was read of those is nothing to commit.
func (c *Consumer) deleted(parts []topic.TopicPartition) (there, gone []topic.TopicPartition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tp := range parts {
		if h := c.hold[tp]; h != nil && h.topic != c.coord.info(tp.Topic).ID {
			gone = append(gone, tp)
		} else {
			there = append(there, tp)
		}
	}
	return there, gone
}

// callBack calls one of the user's functions, if there is one. A panic in it is its error.
func (c *Consumer) callBack(ctx context.Context, f Callback, parts []topic.TopicPartition) (err error) {
	if f == nil {
		return nil
	}
	guard(func() error { return f(ctx, slices.Clone(parts)) }, func(e error) {
		if err = e; err != nil {
			err = userError{err}
			c.room.loop.tellPanic(c.coord.eng, topic.Position{Topic: parts[0].Topic, Partition: parts[0].Partition, Epoch: -1}, err)
		}
	})
	return err
}

// commitLast commits before partitions go. A member that is closed in the middle of a rebalance may commit once the generation has begun.
func (m *membership) commitLast(ctx context.Context) error {
	for {
		err := m.c.commit(ctx)
		early := errors.Is(err, ErrRebalanceInProgress) || errors.Is(err, ErrIllegalGeneration)
		if !early || !m.advance(ctx) {
			return err
		}
	}
}

// advance waits for the next answer of a rebalance; false when there is none to wait for, or it is no good.
func (m *membership) advance(ctx context.Context) bool {
	var a answer
	select {
	case a = <-m.joining:
		m.joining = nil
		r := a.(JoinResponse)
		return r.Err == nil && m.joined(ctx, r) == nil
	case a = <-m.syncing:
		m.syncing = nil
		r := a.(SyncResponse)
		return r.Err == nil || errors.Is(r.Err, ErrRebalanceInProgress)
	case <-m.c.over:
		return false
	case <-ctx.Done():
		return false
	case <-m.none():
		return false
	}
}

// none is ready when no answer is under way.
func (m *membership) none() <-chan struct{} {
	if m.joining != nil || m.syncing != nil {
		return nil
	}
	ready := make(chan struct{})
	close(ready)
	return ready
}

// lose drops partitions that are gone already.
func (m *membership) lose(ctx context.Context, parts []topic.TopicPartition, why error) error {
	if len(parts) == 0 {
		return nil
	}
	c := m.c
	c.withdraw(parts, why)
	c.stats.lost.Add(int64(len(parts)))
	return errors.Join(m.release(parts), c.callBack(ctx, c.cfg.onLost, parts))
}

// withdraw cancels the contexts of batches and drops what was read ahead.
func (c *Consumer) withdraw(parts []topic.TopicPartition, why error) {
	_, lost := c.deleted(parts)
	gone, all := setOf(lost), setOf(parts)
	c.mu.Lock()
	defer c.mu.Unlock()
	for b := range c.out {
		switch at := b.TopicPartition(); {
		case gone[at]:
			b.cancel(ErrLost)
		case all[at]:
			b.cancel(why)
		}
	}
	for _, tp := range parts {
		if h := c.hold[tp]; h != nil {
			h.ready = nil
			c.touchLocked(tp)
		}
	}
}

// awaitHandlers waits until no batch of the partitions is out.
func (c *Consumer) awaitHandlers(ctx context.Context, parts []topic.TopicPartition) error {
	for {
		changed := c.finished.Changed()
		if !c.anyOut(parts) {
			return nil
		}
		select {
		case <-changed:
		case <-c.over: // the engine closes
			return topic.ErrClosed
		case <-ctx.Done():
			return bounded.Cause(ctx)
		}
	}
}

func (c *Consumer) anyOut(parts []topic.TopicPartition) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(parts, func(tp topic.TopicPartition) bool { return c.busy[tp] > 0 })
}

// release stops reading partitions.
func (m *membership) release(parts []topic.TopicPartition) error {
	c := m.c
	c.mu.Lock()
	for _, tp := range parts {
		delete(c.hold, tp)
		delete(c.paused, tp)
	}
	c.seeks = slices.DeleteFunc(c.seeks, func(s seek) bool { return c.hold[s.tp] == nil })
	rest := c.heldLocked()
	c.classifyLocked(rest)
	c.mu.Unlock()
	return m.read(rest)
}

// read has the source read partitions. Of those whose topic is gone the loop learns by topics that changed.
func (m *membership) read(parts []topic.TopicPartition) error {
	c := m.c
	parts = slices.DeleteFunc(slices.Clone(parts), c.coord.lacks)
	err := c.src.Assign(parts...)
	if errors.Is(err, topic.ErrNotFound) { // deleted just now
		c.coord.stale.Store(true)
		return nil
	}
	return err
}

// adopt takes partitions: their positions are what was committed, or where the reading begins by choice.
func (m *membership) adopt(ctx context.Context, parts []topic.TopicPartition) error {
	c := m.c
	parts = slices.DeleteFunc(parts, c.coord.lacks)
	if len(parts) > 0 {
		r := request[FetchOffsetsResponse](ctx, c.coord, c.group, FetchOffsetsRequest{Epoch: -1, Partitions: parts}, nil)
		if r.Err != nil {
			m.in = false // joins again, and is told again
			return r.Err
		}
		if err := c.warm(ctx, parts); err != nil {
			return err
		}
		if err := m.settleDown(r.Offsets); err != nil {
			return err
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return c.callBack(ctx, c.cfg.onAssign, parts)
}

// warm opens partitions that were used, so that their ends can be told without a look at the disk. What is wrong with one the reading says.
func (c *Consumer) warm(ctx context.Context, parts []topic.TopicPartition) error {
	for _, tp := range parts {
		if p, err := c.coord.eng.Partition(tp.Topic, tp.Partition); err == nil {
			_ = warm(ctx, p)
		}
	}
	return bounded.Cause(ctx)
}

// warm opens a partition, unless it was never used: then there is nothing to open.
func warm(ctx context.Context, p *topic.Partition) error {
	if p.Opened() {
		return nil
	}
	return p.Warm(ctx)
}

// settleDown starts reading where the group stands.
func (m *membership) settleDown(offsets []PartitionOffset) error {
	c := m.c
	c.mu.Lock()
	for _, o := range offsets {
		h := &holding{
			tp: o.TopicPartition, topic: c.coord.info(o.Topic).ID, next: o.Offset, from: o.Offset, mark: -1, committed: o.Offset,
			stored: o.Offset, done: parseSpans(o.Offset, o.Metadata),
		}
		h.noted = h.note(o.Offset, c.coord.cfg.MaxMetadata)
		if c.keyed {
			h.window = newWindow()
		}
		c.hold[o.TopicPartition] = h
		c.touchLocked(h.tp)
		c.fresh = append(c.fresh, h)
	}
	all := c.heldLocked()
	c.classifyLocked(all)
	c.mu.Unlock()
	if err := m.read(all); err != nil {
		return err
	}
	for _, o := range offsets {
		if err := m.start(o); err != nil && !errors.Is(err, topic.ErrInvalid) {
			return err
		}
	}
	return nil
}

// start sets a position. Where nothing is committed it is left to the reading's own rule, but for a partition that came after the group's
// members: what was written to it before they found it is not passed over.
func (m *membership) start(o PartitionOffset) error {
	switch then := m.c.origin[o.Topic]; {
	case o.Offset >= 0:
		return m.c.src.Seek(o.TopicPartition, o.Offset)
	case then.ID != m.c.coord.info(o.Topic).ID || o.Partition >= then.Partitions:
		return m.c.src.SeekToStart(o.TopicPartition)
	}
	return nil
}
