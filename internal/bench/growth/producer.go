package growth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/quirelog/quire/topic"
)

const (
	producerBuffer = 32 << 20 // BufferMemory
	producerBatch  = topic.DefaultBatchSize
	// engineHeap is what an engine may take beside what an option names, for each partition and in all.
	engineHeap, partitionHeap = 24 << 20, 16 << 10
	// mostProducerGoroutines is what a producer may add at most, however many partitions there are.
	mostProducerGoroutines = 200
)

// producing is one goroutine that sends records to all partitions in turn.
type producing struct {
	size    int
	durable bool
}

func (s producing) curve(id string) Curve {
	c := Curve{ID: id, Name: fmt.Sprintf("Producer, %d B, NoSync", s.size), Unit: "record", Limits: Limits{2, 0.5, -1, 0.05, 0.1},
		Machine: "a write for each batch, and the less in a batch the more partitions share the buffer"}
	if s.durable {
		c.Name = fmt.Sprintf("Producer, %d B, durable", s.size)
		c.Machine = "an fdatasync for each file, and the less in a batch the more partitions share the buffer"
		c.Limits.Syncs = 0.5
	}
	return c
}

// count is how many records a sample sends: at most a few for each partition of the largest size.
func (s producing) count(e *env) int {
	if s.size > recordBytes {
		return [...]int{200, 10_000, 200_000}[e.Scale]
	}
	return [...]int{200, 40_000, 500_000}[e.Scale]
}

func (s producing) quire(m *manyPartitions) (show func() (sample, error), end func() error, err error) {
	var lost atomic.Pointer[error]
	p, err := m.NewProducer(topic.BufferMemory(producerBuffer), topic.PartitionBy(topic.RoundRobin()),
		topic.OnError(func(_ topic.Position, err error) { lost.CompareAndSwap(nil, &err) }))
	if err != nil {
		return nil, nil, err
	}
	ctx, rec := context.Background(), topic.Record{Value: make([]byte, s.size)}
	return m.show(func() (int, error) {
		before := runtime.NumGoroutine()
		for range s.count(m.e) {
			if err := p.Send(ctx, growing, rec, nil); err != nil {
				return 0, err
			}
		}
		more := runtime.NumGoroutine() - before
		err := p.Flush(ctx)
		if more > mostProducerGoroutines {
			err = errors.Join(err, fmt.Errorf("the producer has %d goroutines > %d", more, mostProducerGoroutines))
		}
		if first := lost.Load(); first != nil {
			err = errors.Join(err, *first)
		}
		return s.count(m.e), err
	}), p.Close, nil
}

func (s producing) raw(e *env, r *rawFiles) (show func() (sample, error), end func() error, err error) {
	batches := make([][]byte, len(r.files))
	return plain(func() (int, error) { return s.count(e), s.sendRaw(r, batches, s.count(e)) }), nil, nil
}

// sendRaw gathers a batch for each file and writes it when it is full, or when the buffer is.
func (s producing) sendRaw(r *rawFiles, batches [][]byte, count int) error {
	value, held := make([]byte, s.size+10), 0
	for i := range count {
		f := i % len(batches)
		if len(batches[f]) == 0 {
			batches[f] = append(batches[f], make([]byte, rawFrame)...)
		}
		batches[f] = append(batches[f], value...)
		held += len(value)
		if len(batches[f]) >= producerBatch {
			held -= len(batches[f])
			if err := r.files[f].append(batches[f], s.durable); err != nil {
				return err
			}
			batches[f] = batches[f][:0]
		}
		if held >= producerBuffer {
			held = 0
			if err := s.flushRaw(r, batches); err != nil {
				return err
			}
		}
	}
	return s.flushRaw(r, batches)
}

func (s producing) flushRaw(r *rawFiles, batches [][]byte) error {
	return each(len(batches), func(f int) (err error) {
		if len(batches[f]) > 0 {
			err = r.files[f].append(batches[f], s.durable)
			batches[f] = batches[f][:0]
		}
		return err
	})
}
