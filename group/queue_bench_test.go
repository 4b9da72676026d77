package group_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

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

func benchQueue(b *testing.B, opts []group.QueueOption) {
	eng := benchEngine(b, 1)
	t, err := eng.Topic(b.Context(), "a")
	if err != nil {
		b.Fatal(err)
	}
	recs := make([]topic.Record, b.N)
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
	if got := q.Metrics().Acknowledged; err != nil || got != int64(b.N) {
		b.Fatalf("%d of %d jobs acknowledged: %v", got, b.N, err)
	}
}
