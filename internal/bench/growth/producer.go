package growth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
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

// curve allows a write for each record: how many share one goes by how fast they come (Linger is 0).
func (s producing) curve(id string) Curve {
	c := Curve{ID: id, Name: fmt.Sprintf("Producer, %d B, NoSync", s.size), Unit: "record", Limits: Limits{2, 1.1, -1, 0.05, 0.1},
		Machine: "a write for each batch, and the less in a batch the more partitions there are"}
	if s.durable {
		c.Name = fmt.Sprintf("Producer, %d B, durable", s.size)
		c.Machine = "an fdatasync for each file, and the less in a batch the more partitions there are"
		c.Limits.Syncs = 1.1
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
	q := &rawSending{producing: s, files: r.files, batches: make([][]byte, len(r.files))}
	q.work.L, q.room.L = &q.mu, &q.mu
	return plain(func() (int, error) { return s.count(e), q.send(s.count(e)) }), nil, nil
}

// rawSending is what a producer does, by system calls: one goroutine gathers batches, others write each as soon as one of them is free, the
// oldest first.
type rawSending struct {
	producing
	files   []*rawFile
	mu      sync.Mutex
	work    sync.Cond // a batch waits, or no more come
	room    sync.Cond // a batch was taken
	batches [][]byte  // by file
	waiting []int     // files with a batch, the oldest first
	held    int       // bytes in batches
	over    bool
}

func (q *rawSending) send(count int) error {
	q.over = false
	ended := make(chan error)
	go func() { ended <- each(q.writers(), func(int) error { return q.write() }) }()
	value := make([]byte, q.size+10)
	for i := range count {
		q.gather(i%len(q.files), value)
	}
	q.mu.Lock()
	q.over = true
	q.work.Broadcast()
	q.mu.Unlock()
	return <-ended
}

// writers is one for each core, or what shares fsyncs.
func (q *rawSending) writers() int {
	if q.durable {
		return workers
	}
	return runtime.GOMAXPROCS(0)
}

func (q *rawSending) gather(f int, value []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.held >= producerBuffer || len(q.batches[f]) >= producerBatch {
		q.room.Wait()
	}
	if len(q.batches[f]) == 0 {
		q.batches[f] = append(q.batches[f], make([]byte, rawFrame)...)
		q.waiting = append(q.waiting, f)
		q.work.Signal()
	}
	q.batches[f] = append(q.batches[f], value...)
	q.held += len(value)
}

// write takes batches until all are written; after a fault it writes no more.
func (q *rawSending) write() (err error) {
	var mine []byte
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.waiting) == 0 && !q.over {
			q.work.Wait()
		}
		if len(q.waiting) == 0 {
			return err
		}
		f := q.waiting[0]
		q.waiting = q.waiting[1:]
		mine, q.batches[f] = q.batches[f], mine[:0]
		q.held -= len(mine) - rawFrame
		q.room.Signal()
		q.mu.Unlock()
		if err == nil {
			err = q.files[f].append(mine, q.durable)
		}
		q.mu.Lock()
	}
}
