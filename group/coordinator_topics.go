package group

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// ownTopics are those that engines, Kafka's brokers among them, keep for themselves.
var ownTopics = []string{
	OffsetsTopic, ShareStateTopic, topic.DelayedTopic, topic.RecurringTopic, "__transaction_state", "__cluster_metadata",
}

// info is what is known of one topic now, nothing of one that does not exist. An engine that is closing tells what it told last.
func (c *Coordinator) info(name string) assignor.TopicInfo {
	p, err := c.eng.Partition(name, 0)
	switch {
	case err == nil:
		return infoOf(p.Topic())
	case errors.Is(err, topic.ErrClosed) && c.meta.Load() != nil:
		return (*c.meta.Load())[name]
	}
	return assignor.TopicInfo{}
}

// lacks tells of a partition that its topic has not, or that has no topic.
func (c *Coordinator) lacks(tp topic.TopicPartition) bool {
	return tp.Partition >= c.info(tp.Topic).Partitions
}

func infoOf(t *topic.Topic) assignor.TopicInfo {
	return assignor.TopicInfo{ID: t.ID(), Partitions: int32(t.Partitions()), Internal: slices.Contains(ownTopics, t.Name())}
}

func idsOf(meta assignor.Metadata) map[string]topic.ID {
	ids := make(map[string]topic.ID, len(meta))
	for name, info := range meta {
		ids[name] = info.ID
	}
	return ids
}

// metadata is all topics. It is shared and does not change; making it anew after a change costs as much as there are topics, so that what
// needs to know of few asks for their info.
func (c *Coordinator) metadata() assignor.Metadata {
	if m := c.meta.Load(); m != nil && !c.stale.Load() {
		return *m
	}
	c.stale.Store(false)
	list, err := c.eng.Topics(context.Background(), topic.WithInternal())
	if err != nil { // the engine is closing: what was known will do
		if m := c.meta.Load(); m != nil {
			return *m
		}
		return assignor.Metadata{}
	}
	meta := make(assignor.Metadata, len(list))
	for _, t := range list {
		meta[t.Name()] = infoOf(t)
	}
	c.meta.Store(&meta)
	return meta
}

// beginning is the topics that there were when the first of a group's members in this process joined.
type beginning struct {
	meta    assignor.Metadata
	members int
}

// enroll makes a member known, and tells what topics there were when the group began.
func (c *Coordinator) enroll(member *Consumer) assignor.Metadata {
	meta := c.metadata()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locals[member] = struct{}{}
	b := c.begun[member.group]
	if b == nil {
		b = &beginning{meta: meta}
		c.begun[member.group] = b
	}
	b.members++
	return b.meta
}

// strike ends that, and gives the shards.
func (c *Coordinator) strike(member *Consumer) []*shard {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.locals, member)
	b := c.begun[member.group]
	if b.members--; b.members == 0 {
		delete(c.begun, member.group)
	}
	return c.shards
}

// topicsChanged tells members of this process of topics that came, grew or went; groups learn it when they are asked something for which it
// matters. What it costs does not depend on how many topics there are.
func (c *Coordinator) topicsChanged(names []string) {
	c.stale.Store(true)
	c.changes.Add(1)
	if len(c.openShards()) == 0 || c.closed.Load() {
		return
	}
	for _, consumer := range c.openConsumers() {
		if consumer.concerned(names) {
			consumer.pokeTopics()
		}
	}
	gone := c.learn(names)
	if len(gone) > 0 {
		c.eng.Go(func() { c.forgetTopics(slices.Sorted(slices.Values(gone))) })
	}
}

// learn remembers what has become of topics, and lists those that are gone.
func (c *Coordinator) learn(names []string) (gone []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		was, known := c.known[name]
		now := c.info(name)
		if known && now.ID != was && name != OffsetsTopic {
			gone = append(gone, name)
		}
		if c.known[name] = now.ID; now.Partitions == 0 {
			delete(c.known, name)
		}
	}
	return gone
}

// forgetTopics takes back the offsets of deleted topics, of all groups. What it cannot store is found again when the partition is read.
func (c *Coordinator) forgetTopics(names []string) {
	for _, s := range c.openShards() {
		if s.load(context.Background()) != nil {
			continue
		}
		for _, name := range names {
			s.each(topicDeleted{name})
		}
	}
}

func (c *Coordinator) openConsumers() []*Consumer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.locals))
}

// drain has the members of this process hand over what they read, all at once, before the engine shuts down.
func (c *Coordinator) drain(ctx context.Context) error {
	return allAtOnce(c.openConsumers(), func(consumer *Consumer) error { return consumer.Shutdown(ctx) })
}

// engineClosing ends everything without waiting.
func (c *Coordinator) engineClosing() {
	c.closed.Store(true)
	c.timers.Close()
	for _, s := range c.openShards() {
		s.end(topic.ErrClosed)
	}
	for _, consumer := range c.openConsumers() {
		consumer.engineClosing()
	}
}
