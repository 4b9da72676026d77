package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quirelog/quire/topic"
)

// List describes all groups, by name: those with members, and those that have committed something. It reads the whole topic of the groups
// unless that was done already.
func (c *Coordinator) List(ctx context.Context) ([]Description, error) {
	shards, err := c.allShards(ctx, false)
	if err != nil {
		return nil, err
	}
	var list []Description
	for _, s := range shards {
		if err := s.load(ctx); err != nil {
			return nil, err
		}
		list = append(list, s.describe("")...)
	}
	slices.SortFunc(list, func(a, b Description) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Describe describes a group; one that does not exist is Dead.
func (c *Coordinator) Describe(ctx context.Context, group string) (Description, error) {
	s, err := c.shardOf(ctx, group, false)
	if err != nil {
		return Description{}, err
	}
	if s != nil {
		if err := s.load(ctx); err != nil {
			return Description{}, err
		}
		if list := s.describe(group); len(list) > 0 {
			return list[0], nil
		}
	}
	return Description{Name: group}, nil
}

// describe describes the group of a name, or all if it is "".
func (s *shard) describe(name string) (list []Description) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.seats {
		if (name == "" || name == t.m.name) && !t.m.unused() {
			list = append(list, t.m.describe())
		}
	}
	return list
}

// Delete deletes a group without members, with what it has committed. [ErrGroupNotFound], [ErrNonEmptyGroup].
func (c *Coordinator) Delete(ctx context.Context, group string) error {
	return request[DeleteGroupResponse](ctx, c, group, DeleteGroupRequest{}, nil).Err
}

// Offsets lists what a group has committed, by topic and partition; nothing for a group that does not exist.
func (c *Coordinator) Offsets(ctx context.Context, group string) ([]PartitionOffset, error) {
	r := c.FetchOffsets(ctx, group, FetchOffsetsRequest{Epoch: -1})
	return r.Offsets, r.Err
}

// A Reset says where a group is to go on in a partition.
type Reset struct {
	kind   resetKind
	offset int64
	time   time.Time
}

type resetKind int8

const (
	resetEarliest resetKind = iota
	resetLatest
	resetTime
	resetShift
	resetOffset
)

// ToEarliest is the first record there is.
func ToEarliest() Reset { return Reset{kind: resetEarliest} }

// ToLatest is the end.
func ToLatest() Reset { return Reset{kind: resetLatest} }

// ToTime is the first record not older than t; the end if there is none.
func ToTime(t time.Time) Reset { return Reset{kind: resetTime, time: t} }

// ShiftBy is n records further than what was committed, back if n is negative; where nothing was committed, than the first record.
func ShiftBy(n int64) Reset { return Reset{kind: resetShift, offset: n} }

// ToOffset is an offset.
func ToOffset(offset int64) Reset { return Reset{kind: resetOffset, offset: offset} }

// ResetOffsets sets where a group without members goes on, in the partitions named, or if none is in all for which it has committed
// something. What lies outside a partition becomes its nearest end. It returns what it committed, which is on disk at return.
// [ErrNonEmptyGroup] while the group has members; topic.ErrNotFound, which changes nothing.
func (c *Coordinator) ResetOffsets(ctx context.Context, group string, to Reset, parts ...topic.TopicPartition) ([]PartitionOffset, error) {
	old, err := c.Offsets(ctx, group)
	if err != nil {
		return nil, err
	}
	was := make(map[topic.TopicPartition]int64, len(old))
	for _, o := range old {
		was[o.TopicPartition] = o.Offset
	}
	if len(parts) == 0 {
		for _, o := range old {
			parts = append(parts, o.TopicPartition)
		}
	}
	list := make([]PartitionOffset, 0, len(parts))
	for _, tp := range parts {
		at, ok := was[tp]
		if !ok {
			at = -1
		}
		offset, err := c.resolve(ctx, tp, to, at)
		if err != nil {
			return nil, fmt.Errorf("group: resetting %s: %w", tp, err)
		}
		list = append(list, PartitionOffset{TopicPartition: tp, Offset: offset, LeaderEpoch: -1})
	}
	return list, c.SetOffsets(ctx, group, list)
}

// resolve finds the offset that a Reset means; was is what was committed, or -1.
func (c *Coordinator) resolve(ctx context.Context, tp topic.TopicPartition, to Reset, was int64) (int64, error) {
	p, err := c.eng.Partition(tp.Topic, tp.Partition)
	if err != nil {
		return 0, err
	}
	if err := warm(ctx, p); err != nil {
		return 0, err
	}
	marks, err := p.Offsets()
	if err != nil {
		return 0, err
	}
	offset := to.offset
	switch to.kind {
	case resetEarliest:
		offset = marks.Start
	case resetLatest:
		offset = marks.High
	case resetTime:
		pos, _, ok, err := p.OffsetForTime(ctx, to.time)
		if err != nil {
			return 0, err
		}
		if offset = pos.Offset; !ok {
			offset = marks.High
		}
	case resetShift:
		if was < 0 {
			was = marks.Start
		}
		offset += was
	}
	return min(max(offset, marks.Start), marks.High), nil
}

// SetOffsets sets where a group without members goes on, as a list says, such as one that Offsets gave; on disk at return. Offsets are
// taken as they are. [ErrNonEmptyGroup] while the group has members.
func (c *Coordinator) SetOffsets(ctx context.Context, group string, list []PartitionOffset) error {
	if len(list) == 0 && c.eng != nil {
		return nil
	}
	r := c.Commit(ctx, group, CommitRequest{Generation: -1, ProducerID: -1, Offsets: list})
	if errors.Is(r.Err, ErrUnknownMember) {
		return ErrNonEmptyGroup
	}
	faults := []error{r.Err}
	for _, o := range r.Offsets {
		faults = append(faults, o.Err)
	}
	return errors.Join(faults...)
}
