package group

import (
	"context"
	"math"

	"github.com/quirelog/quire/timingwheel"
	"github.com/quirelog/quire/topic"
)

// A Batch is records of one partition, in order, given to one handler. Until it has returned no other batch of the partition is handed out,
// with [Consumer.RunByKey] no other batch of the key.
type Batch struct {
	Topic     string
	Partition int32
	// Records belong to the handler; they share memory, so keeping one keeps them all.
	Records []topic.Record

	ctx    context.Context
	cancel context.CancelCauseFunc
	late   timingwheel.Timer
	c      *Consumer
	hold   *holding
	lane   *keyLane // of a record with a key, with RunByKey
	marked int      // how many records are, with RunByKey
	bytes  int64    // of its records, once they were asked for
	failed bool     // the handler gave up; nothing of the key is handed out any more
	fault  error    // what a handler that ends its goroutine would have said
}

// TopicPartition is where the records come from.
func (b *Batch) TopicPartition() topic.TopicPartition {
	return topic.TopicPartition{Topic: b.Topic, Partition: b.Partition}
}

// Context is cancelled when the partition goes to another member (its cause is [ErrRevoked]), is lost ([ErrLost], [ErrLate]), or the
// Consumer is closed (topic.ErrClosed). The handler should then return soon: others wait for it. It ends with the loop's context, and when
// the handler has returned.
func (b *Batch) Context() context.Context { return b.ctx }

// Mark marks all records of the batch as processed. What is marked after the partition was lost does not count.
func (b *Batch) Mark() { b.MarkThrough(math.MaxInt64) }

// MarkThrough marks the batch's records up to the one at offset as processed.
func (b *Batch) MarkThrough(offset int64) {
	if b.c == nil || len(b.Records) == 0 {
		return
	}
	last := b.Records[len(b.Records)-1].Offset
	b.c.markBatch(b, min(offset, last))
}

// size is the bytes of the batch's records: keys, values and headers.
func (b *Batch) size() (n int64) {
	for i := range b.Records {
		n += int64(sizeOf(&b.Records[i]))
	}
	return n
}
