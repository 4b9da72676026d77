package group

import (
	"fmt"
	"slices"

	"github.com/quirelog/quire/topic"
)

// heaviest is the highest weight.
const heaviest = 1_000_000

// serving is in which order partitions are served.
type serving struct {
	rank        func(topic.TopicPartition) int
	weight      func(topic.TopicPartition) int
	byPartition bool // each partition has a weight for itself
	bytes       bool
	faults      []error
}

// TopicPriority serves the topics named first, in the order of their names here: a record of another topic is handed out only while none of
// them has one, and one of the second only while the first has none. It does not subscribe to them. It looks before every batch; a batch
// that is being handled is not interrupted ([topic.MaxPollRecords] bounds its size). As long as there is always something in the topics
// named, the others are not served at all: see [TopicWeights] for that. Together with [PartitionPriority] the last one given counts.
func TopicPriority(names ...string) JoinOption {
	names = slices.Clone(names)
	return PartitionPriority(func(tp topic.TopicPartition) int {
		if at := slices.Index(names, tp.Topic); at >= 0 {
			return len(names) - at
		}
		return 0
	})
}

// PartitionPriority is [TopicPriority] with a choice for each partition: one with a higher number is served as long as it has records, those
// with the same number take turns, a batch each. f is asked when a partition is assigned; it must be quick and must not use the Consumer. A
// panic in it counts as 0.
func PartitionPriority(f func(tp topic.TopicPartition) int) JoinOption {
	return func(c *joinConfig) { c.order.rank = f }
}

// TopicWeights has topics share the member by weights, 1 to 1,000,000, counted in records: of topics that always have something, one of
// weight 3 gets three records for each one of a topic of weight 1, which is also the weight of topics not named. What a topic does not use
// goes to the others, and is not saved up. Partitions of one topic take turns. With a priority too, weights decide among partitions of the
// same priority. Shares are kept by deficit round robin, however large batches are; in the long run they are exact to within a batch.
func TopicWeights(weights map[string]int) JoinOption {
	return func(c *joinConfig) {
		of := map[string]int{}
		c.order.faults = nil
		for name, w := range weights {
			of[name] = w
			if w < 1 || w > heaviest {
				c.order.faults = append(c.order.faults, fmt.Errorf("%w: weight %d of topic %q is not in [1, %d]", topic.ErrInvalid, w, name, heaviest))
			}
		}
		c.order.byPartition = false
		c.order.weight = func(tp topic.TopicPartition) int { return of[tp.Topic] }
	}
}

// PartitionWeights is [TopicWeights] with a weight for each partition; what is below 1 counts as 1. f is asked when a partition is assigned;
// it must be quick and must not use the Consumer. A panic in it counts as 1. Up to a batch of each partition is kept in memory.
func PartitionWeights(f func(tp topic.TopicPartition) int) JoinOption {
	return func(c *joinConfig) { c.order.weight, c.order.byPartition, c.order.faults = f, true, nil }
}

// WeighBytes counts the shares of [TopicWeights] and [PartitionWeights] in bytes of keys, values and headers instead of records.
func WeighBytes() JoinOption { return func(c *joinConfig) { c.order.bytes = true } }

// given tells whether anything else was chosen than that all partitions take turns.
func (o *serving) given() bool { return o.rank != nil || o.weight != nil }

// class gives a partition's class, and its weight.
func (o *serving) class(tp topic.TopicPartition) (id classID, weight int64) {
	id.rank = chosen(o.rank, tp)
	if o.weight == nil {
		return id, 1
	}
	if id.topic = tp.Topic; o.byPartition {
		id.partition = tp.Partition
	}
	return id, int64(min(max(chosen(o.weight, tp), 1), heaviest))
}

// chosen asks a user's function.
func chosen(f func(topic.TopicPartition) int, tp topic.TopicPartition) (n int) {
	if f == nil {
		return 0
	}
	defer func() { _ = recover() }()
	return f(tp)
}

// cost is what a class is charged for a batch.
func (o *serving) cost(b *Batch) int64 {
	switch {
	case o.weight == nil:
		return 1
	case !o.bytes:
		return int64(len(b.Records))
	}
	if b.bytes == 0 {
		b.bytes = max(b.size(), 1)
	}
	return b.bytes
}
