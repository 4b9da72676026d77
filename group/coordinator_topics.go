package group

import (
	"context"
	"maps"
	"slices"

	"github.com/quirelog/quire/topic"
)

// ownTopics are those that engines, Kafka's brokers among them, keep for themselves.
var ownTopics = []string{
	OffsetsTopic, ShareStateTopic, topic.DelayedTopic, topic.RecurringTopic, "__transaction_state", "__cluster_metadata",
}

// metadata is what groups know of topics. It is shared and does not change.
func (c *Coordinator) metadata() Metadata {
	if m := c.meta.Load(); m != nil && !c.stale.Load() {
		return *m
	}
	c.stale.Store(false)
	list, err := c.eng.Topics(context.Background(), topic.WithInternal())
	if err != nil { // the engine is closing: what was known will do
		if m := c.meta.Load(); m != nil {
			return *m
		}
		return Metadata{}
	}
	meta := make(Metadata, len(list))
	for _, t := range list {
		meta[t.Name()] = TopicInfo{ID: t.ID(), Partitions: int32(t.Partitions()), Internal: slices.Contains(ownTopics, t.Name())}
	}
	c.meta.Store(&meta)
	return meta
}

// beginning is the topics that there were when the first of a group's members in this process joined.
type beginning struct {
	meta    Metadata
	members int
}

// enroll makes a member known, and tells what topics there were when the group began.
func (c *Coordinator) enroll(member *Consumer) Metadata {
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

// topicsChanged tells groups and members of this process of topics that came, grew or went.
func (c *Coordinator) topicsChanged() {
	c.stale.Store(true)
	shards := c.openShards()
	if len(shards) == 0 || c.closed.Load() {
		return
	}
	meta := c.metadata()
	for _, s := range shards {
		s.each(metadataChanged{meta})
	}
	for _, consumer := range c.openConsumers() {
		consumer.pokeTopics()
	}
	gone := c.learn(meta)
	if len(gone) > 0 {
		c.eng.Go(func() { c.forgetTopics(slices.Sorted(slices.Values(gone))) })
	}
}

// learn remembers the topics there are, and lists those that are gone since.
func (c *Coordinator) learn(meta Metadata) (gone []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, info := range c.known {
		if meta[name].ID != info.ID && name != OffsetsTopic {
			gone = append(gone, name)
		}
	}
	c.known = meta
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
