package group

import (
	"math"

	"github.com/quirelog/quire/topic"
)

// AcknowledgedByQueues tells below which offset all of the named queues have finished a partition, for retention to let go of it: give it
// to the engine as a hook, and name the queues in the topic's settings.
//
//	eng, err := topic.Open("data", topic.WithRetention(topic.RetentionHooks{Acknowledged: group.AcknowledgedByQueues}))
//	jobs, err := eng.Topic(ctx, "jobs", topic.Retention(-1), topic.Set(topic.KeyRetentionGroups, "resizer,indexer"))
//
// With a negative retention nothing goes before all of them are done. ok is false while one of them is not open. What it tells is durable.
func AcknowledgedByQueues(p *topic.Partition, queues []string) (offset int64, ok bool) {
	h, err := hubOf(p.Topic().Engine())
	if err != nil {
		return 0, false
	}
	offset = math.MaxInt64
	for _, name := range queues {
		q := h.find(queueID{p.Topic().ID(), name})
		if q == nil {
			return 0, false
		}
		at, known := q.finishedBelow(p.ID())
		if !known {
			return 0, false
		}
		offset = min(offset, at)
	}
	return offset, len(queues) > 0
}

// finishedBelow is the durable start of a partition; false for one that the topic got after the queue was opened, or while it is opened.
func (q *Queue) finishedBelow(partition int32) (int64, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.opened || int(partition) >= len(q.parts) {
		return 0, false
	}
	return q.parts[partition].safe, true
}
