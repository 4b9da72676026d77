package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/topic"
)

// Mark says that the record, and all before it in its partition, have been processed: they are not read again by this group once that is
// committed. A record that this member was not given, or whose partition it has no more, is passed over, as is one before the last marked.
// While [Consumer.RunByKey] runs it says so of that record alone.
func (c *Consumer) Mark(rec topic.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hold[topic.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}]
	switch {
	case h == nil:
	case h.window != nil:
		c.finishLocked(h, rec.Offset)
	case rec.Offset >= h.from && rec.Offset < h.next:
		c.markLocked(h, rec.Offset+1)
	}
}

// markBatch marks a batch's records up to an offset.
func (c *Consumer) markBatch(b *Batch, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := b.hold
	switch {
	case c.hold[h.tp] != h:
	case h.window == nil:
		if offset >= h.from && offset < h.next {
			c.markLocked(h, offset+1)
		}
	default:
		for b.marked < len(b.Records) && b.Records[b.marked].Offset <= offset {
			c.finishLocked(h, b.Records[b.marked].Offset)
			b.marked++
		}
	}
}

// finishLocked marks a record that RunByKey has in hand.
func (c *Consumer) finishLocked(h *holding, offset int64) {
	c.finishedLocked(h)
	c.markLocked(h, h.window.finish(offset))
	c.touchLocked(h.tp)
	if c.asleep && h.quiet && c.thirstyLocked(h) { // there is room again
		c.src.Wakeup()
	}
}

// markLocked has a partition committed up to an offset, sooner or later.
func (c *Consumer) markLocked(h *holding, next int64) {
	if next <= h.mark {
		return
	}
	h.mark = next
	c.finishedLocked(h)
	if h.window == nil {
		h.done = h.done.from(next)
		if len(h.done) > 0 && h.done[0].first == next {
			h.mark = h.done[0].end
		}
	}
	if !c.due && !c.cfg.manual && c.ended == nil {
		c.due = true
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
	c.send(context.Background(), false, func(err error) {
		<-c.turn
		for _, f := range asyncs {
			c.tellCommit(func() { f(err) })
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
	arm := !c.due && !c.cfg.manual && c.ended == nil && len(c.dirtyLocked(false)) > 0
	c.due = c.due || arm
	c.mu.Unlock()
	if arm {
		c.coord.timers.After(&c.committer, max(c.cfg.interval, 100*timerGrain))
	}
}

// dirtyLocked lists what is marked and not committed; all, also what is finished beyond offsets that are committed already.
func (c *Consumer) dirtyLocked(all bool) []PartitionOffset {
	var list []PartitionOffset
	c.looked += len(c.dirty)
	c.dirty = slices.DeleteFunc(c.dirty, func(h *holding) bool {
		o, due := c.owedLocked(h)
		if h.dirty = due; due && (all || h.mark > h.committed) {
			list = append(list, o)
		}
		return !due
	})
	c.checkDirtyLocked()
	slices.SortFunc(list, func(a, b PartitionOffset) int { return a.Compare(b.TopicPartition) })
	return list
}

// owedLocked is what a commit would say of a partition, and whether the group has not been told that.
func (c *Consumer) owedLocked(h *holding) (o PartitionOffset, due bool) {
	if c.hold[h.tp] != h {
		return o, false
	}
	o = PartitionOffset{TopicPartition: h.tp, Offset: h.mark, LeaderEpoch: -1}
	if h.mark <= h.committed {
		o.Offset = max(h.from, h.mark)
	}
	if o.Offset < 0 {
		return o, false
	}
	o.Metadata = h.note(o.Offset, c.coord.cfg.MaxMetadata)
	return o, h.mark > h.committed || o.Metadata != h.noted
}

// checkDirtyLocked asserts that no partition was forgotten.
func (c *Consumer) checkDirtyLocked() {
	if !invariant.Enabled {
		return
	}
	for tp, h := range c.hold {
		if _, due := c.owedLocked(h); due {
			invariant.Check(h.dirty, "group: nothing would be committed of %v", tp)
		}
	}
}

// finishedLocked notes that a commit may have something to say of a partition.
func (c *Consumer) finishedLocked(h *holding) {
	if !h.dirty {
		h.dirty = true
		c.dirty = append(c.dirty, h)
	}
}

// note is what is finished beyond an offset, as metadata.
func (h *holding) note(offset int64, most int) string {
	list := h.done
	if h.window != nil {
		list = h.window.finished().and(list)
	}
	return list.text(offset, most)
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
	over := c.ended != nil || c.coord == nil
	c.due = true
	c.mu.Unlock()
	if !over {
		c.coord.timers.After(&c.committer, 0)
	}
}

func (c *Consumer) commit(ctx context.Context) error {
	if c.coord == nil {
		return unmade("Consumer")
	}
	done := make(chan error, 1)
	select {
	case c.turn <- struct{}{}:
	case <-c.over:
		return topic.ErrClosed
	case <-ctx.Done():
		return bounded.Cause(ctx)
	}
	c.send(ctx, true, func(err error) {
		<-c.turn
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return bounded.Cause(ctx)
	}
}

// send commits what is dirty. The caller has the turn, so that a later commit never overtakes an earlier one; then gets it back.
func (c *Consumer) send(ctx context.Context, all bool, then func(error)) {
	c.mu.Lock()
	list, id, ended := c.dirtyLocked(all), c.id, c.ended
	list = slices.DeleteFunc(list, func(o PartitionOffset) bool { return c.hold[o.TopicPartition].topic != c.coord.info(o.Topic).ID })
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
		c.count(err)
		then(err)
	}
}

// count counts a commit.
func (c *Consumer) count(err error) {
	if err != nil {
		c.stats.commitFailures.Add(1)
		return
	}
	c.stats.commits.Add(1)
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
		h := c.hold[o.TopicPartition]
		if h == nil {
			continue
		}
		h.noted = o.Metadata
		if h.stored = o.Offset; o.Offset <= h.mark {
			h.committed = max(h.committed, o.Offset)
		}
	}
	c.mu.Unlock()
	for _, o := range list {
		if err == nil && o.Err != nil {
			err = fmt.Errorf("group: committing %s: %w", o.TopicPartition, o.Err)
		}
	}
	c.count(err)
	if c.cfg.onCommit != nil {
		c.tellCommit(func() { c.cfg.onCommit(list, err) })
	}
	return err
}

// tellCommit calls a function that is told of a commit, and contains its panic. The shard's lock may be held.
func (c *Consumer) tellCommit(f func()) {
	guard(func() error { f(); return nil }, func(err error) {
		if err != nil {
			c.coord.eng.Go(func() { c.room.loop.tellPanic(c.coord.eng, topic.Position{Epoch: -1}, err) })
		}
	})
}

// Seek sets the position of a partition of the assignment: the next batch of it begins there, also if that is before what was read or
// marked already; what is marked later may then move the committed offset back. topic.ErrInvalid for a partition that is not the member's.
func (c *Consumer) Seek(tp topic.TopicPartition, offset int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hold[tp]
	switch {
	case c.coord == nil:
		return unmade("Consumer")
	case c.ended != nil:
		return c.ended
	case h == nil:
		return fmt.Errorf("%w: %s is not assigned", topic.ErrInvalid, tp)
	case offset < 0:
		return fmt.Errorf("%w: offset %d of %s is negative", topic.ErrInvalid, offset, tp)
	}
	c.seeks = append(c.seeks, seek{tp, offset})
	c.anewLocked(h, offset)
	c.src.Wakeup()
	return nil
}

// anewLocked begins anew with a partition: what is marked of batches handed out before does not count any more.
func (c *Consumer) anewLocked(h *holding, offset int64) *holding {
	fresh := &holding{
		tp: h.tp, topic: h.topic, quiet: h.quiet, class: h.class, next: offset, from: offset, mark: -1, committed: h.committed,
		stored: h.stored,
	}
	if offset < fresh.committed {
		fresh.committed = -1
	}
	if c.keyed {
		fresh.window = newWindow()
	}
	h.ready = nil
	c.hold[h.tp] = fresh
	c.touchLocked(h.tp)
	return fresh
}

// rewind has what is not marked of a batch handed out again, if the partition is still the member's. With RunByKey the end of the loop
// does that, and nothing more of the key is handed out until then.
func (c *Consumer) rewind(b *Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := b.hold
	switch {
	case c.hold[h.tp] != h:
	case h.window != nil:
		b.failed = true
	default:
		h.next = max(b.Records[0].Offset, h.mark)
		c.seeks = append(c.seeks, seek{h.tp, h.next})
		h.ready = nil
		c.touchLocked(h.tp)
	}
}

func (c *Consumer) applySeeks() error {
	c.mu.Lock()
	list := c.seeks
	c.seeks = nil
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
	if c.coord == nil {
		return unmade("Consumer")
	}
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
		c.touchLocked(tp)
	}
	c.src.Wakeup()
	return nil
}
