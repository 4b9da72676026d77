package group_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// benchKeys is how many keys, and tenants, the jobs of BenchmarkQueue have.
const benchKeys = 64

// BenchmarkQueue is deliveries with acknowledgement to 16 workers, in memory: what the queue itself costs.
func BenchmarkQueue(b *testing.B) {
	number := func(r *topic.Record) int { return int(r.Value[0] % 4) }
	for _, c := range []struct {
		name string
		opts []group.QueueOption
	}{
		{"plain", nil},
		{"ordered", []group.QueueOption{group.OrderByKey()}},
		{"priority", []group.QueueOption{group.Priority(number)}},
		{"fair", []group.QueueOption{group.FairBy(func(r *topic.Record) string { return string(r.Key) })}},
		{"limited", []group.QueueOption{group.MaxInFlight(64), group.MaxInFlightPerKey(8), group.Rate(1e9, 1000), group.RatePerKey(1e9, 1000)}},
	} {
		b.Run(c.name, func(b *testing.B) { benchQueue(b, c.opts) })
	}
}

// stock appends jobs.
func stock(b *testing.B, eng *topic.Engine, n int) {
	t, err := eng.Topic(b.Context(), "a")
	if err != nil {
		b.Fatal(err)
	}
	recs := make([]topic.Record, n)
	for i := range recs {
		recs[i] = topic.Record{Key: fmt.Append(nil, "key ", i%benchKeys), Value: fmt.Append(nil, i)}
	}
	for len(recs) > 0 {
		n := min(len(recs), 1000)
		if _, err := t.AppendBatch(b.Context(), recs[:n]); err != nil {
			b.Fatal(err)
		}
		recs = recs[n:]
	}
}

func benchQueue(b *testing.B, opts []group.QueueOption) {
	eng := benchEngine(b, 1)
	stock(b, eng, b.N)
	q, err := group.OpenQueue(b.Context(), eng, "a", opts...)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	left := atomic.Int64{}
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	err = q.Run(ctx, 16, func(context.Context, *group.Delivery) error {
		if left.Add(-1) == 0 {
			stop()
		}
		return nil
	})
	b.StopTimer()
	if got := q.Metrics().Acknowledged; !errors.Is(err, context.Canceled) || got != int64(b.N) {
		b.Fatalf("%d of %d jobs acknowledged: %v", got, b.N, err)
	}
}

// BenchmarkQueueStorm is 20,000 records in one window that all fail once, rest, and are done: the time of the whole, in memory.
func BenchmarkQueueStorm(b *testing.B) {
	for _, n := range []int{1000, 5000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				storm(b, n)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "us/record")
		})
	}
}

func storm(b *testing.B, n int) {
	eng := benchEngine(b, 1)
	stock(b, eng, n)
	q, err := group.OpenQueue(b.Context(), eng, "a", group.Window(20000), group.Backoff(time.Second, time.Second))
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	left := atomic.Int64{}
	left.Store(int64(n))
	err = q.Run(ctx, 16, func(_ context.Context, d *group.Delivery) error {
		if d.Attempt == 1 {
			return errors.New("no")
		}
		if left.Add(-1) == 0 {
			stop()
		}
		return nil
	})
	if closing := q.Close(); !errors.Is(err, context.Canceled) || closing != nil || left.Load() != 0 {
		b.Fatalf("%d left: %v", left.Load(), err)
	}
}
