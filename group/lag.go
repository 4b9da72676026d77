package group

import (
	"context"
	"fmt"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// PartitionLag tells how far a reader of a partition has come. An offset of -1 is not known.
type PartitionLag struct {
	topic.TopicPartition
	// Position is where the reading goes on: behind what was handed out; with [Consumer.RunByKey], the oldest record that is not finished. -1
	// before the reading has begun, if nothing was committed.
	Position int64
	// Committed is where the group would go on. -1 if nothing was committed.
	Committed int64
	// End is the end that the reader sees: the high watermark, with topic.ReadCommitted the last stable offset. -1 if it cannot be read.
	End int64
	// Lag is how many offsets lie before End, from Position or, where only that is known, from Committed. Compaction, transactions and
	// aborted records leave offsets without a record, so there may be fewer records. -1 if it is not known.
	Lag int64
}

// String is such as "orders-3 at 17, committed 12, end 40, lag 23"; what is not known is told as -1.
func (l PartitionLag) String() string {
	return fmt.Sprintf("%v at %d, committed %d, end %d, lag %d", l.TopicPartition, l.Position, l.Committed, l.End, l.Lag)
}

// lagOf fills in what follows from the rest.
func lagOf(l PartitionLag) PartitionLag {
	l.Lag = -1
	if from := l.Position; l.End >= 0 {
		if from < 0 {
			from = l.Committed
		}
		if from >= 0 {
			l.Lag = max(l.End-from, 0)
		}
	}
	return l
}

// Lag tells how far the member has come in each of its partitions, in order. It may be called at any time, and does not disturb the loop.
func (c *Consumer) Lag() []PartitionLag {
	if c.coord == nil {
		return nil
	}
	c.mu.Lock()
	list := make([]PartitionLag, 0, len(c.hold))
	for tp, h := range c.hold {
		list = append(list, PartitionLag{TopicPartition: tp, Position: h.position(), Committed: h.stored})
	}
	c.mu.Unlock()
	slices.SortFunc(list, func(a, b PartitionLag) int { return a.Compare(b.TopicPartition) })
	level := c.src.Isolation()
	for i := range list {
		list[i].End = c.coord.endOf(list[i].TopicPartition, level)
		list[i] = lagOf(list[i])
	}
	return list
}

// position is where the reading of a partition goes on.
func (h *holding) position() int64 {
	if h.window != nil {
		if oldest, ok := h.window.oldest(); ok {
			return oldest
		}
	}
	return max(h.next, h.mark)
}

// endOf is the end of a partition for readers of a level, -1 if it is not open. It does not look at the disk.
func (c *Coordinator) endOf(tp topic.TopicPartition, level topic.IsolationLevel) int64 {
	p, err := c.eng.Partition(tp.Topic, tp.Partition)
	if err != nil {
		return -1
	}
	if !p.Opened() {
		return -1
	}
	end := p.High
	if level == topic.ReadCommitted {
		end = p.Stable
	}
	at, err := end()
	if err != nil {
		return -1
	}
	return at
}

// endWithin is the high watermark of a partition, -1 if it cannot be read; an error is the context's cause.
func (c *Coordinator) endWithin(ctx context.Context, tp topic.TopicPartition) (int64, error) {
	if p, err := c.eng.Partition(tp.Topic, tp.Partition); err != nil || warm(ctx, p) != nil {
		return -1, bounded.Cause(ctx)
	}
	return c.endOf(tp, topic.ReadUncommitted), nil
}

// begun notes where the source begins with partitions for which nothing was committed. It is the loop's.
func (c *Consumer) begun(ctx context.Context) {
	c.mu.Lock()
	fresh := slices.DeleteFunc(c.fresh, func(h *holding) bool { return c.hold[h.tp] != h || h.next >= 0 })
	c.fresh = nil
	c.mu.Unlock()
	for _, h := range fresh {
		at, err := c.src.PositionWithin(ctx, h.tp)
		c.mu.Lock()
		if err == nil {
			h.from, h.next = at, at
		} else {
			c.fresh = append(c.fresh, h) // the reading says why
		}
		c.mu.Unlock()
	}
}

// GroupLag is a row of [Coordinator.Lag]: a partition, and who reads it, "" if nobody does.
type GroupLag struct {
	PartitionLag
	MemberID   string
	InstanceID string
	ClientID   string
	ClientHost string
}

// Lag tells how far a group has come: in each partition for which it has committed something, or that is assigned to a member, by topic and
// partition, as Kafka's kafka-consumer-groups --describe. Lag counts from what is committed to the high watermark. Topics that are gone are
// told without an end. It opens the partitions that were ever used. A group that does not exist has none.
func (c *Coordinator) Lag(ctx context.Context, group string) ([]GroupLag, error) {
	offsets, err := c.Offsets(ctx, group)
	if err != nil {
		return nil, err
	}
	d, err := c.Describe(ctx, group)
	if err != nil {
		return nil, err
	}
	rows := map[topic.TopicPartition]*GroupLag{}
	row := func(tp topic.TopicPartition) *GroupLag {
		if rows[tp] == nil {
			rows[tp] = &GroupLag{PartitionLag: PartitionLag{TopicPartition: tp, Position: -1, Committed: -1}}
		}
		return rows[tp]
	}
	for _, o := range offsets {
		if o.Err == nil && o.Offset >= 0 {
			row(o.TopicPartition).Committed = o.Offset
		}
	}
	for _, m := range d.Members {
		for _, tp := range m.Assigned {
			r := row(tp)
			r.MemberID, r.InstanceID, r.ClientID, r.ClientHost = m.MemberID, m.InstanceID, m.ClientID, m.ClientHost
		}
	}
	list := make([]GroupLag, 0, len(rows))
	for tp, r := range rows {
		if r.End, err = c.endWithin(ctx, tp); err != nil {
			return nil, err
		}
		r.PartitionLag = lagOf(r.PartitionLag)
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b GroupLag) int { return a.Compare(b.TopicPartition) })
	return list, nil
}
