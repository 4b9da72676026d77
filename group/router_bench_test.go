package group_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// BenchmarkRouter copies records of 100 bytes, in memory, each to one of so many topics: what the router itself costs.
func BenchmarkRouter(b *testing.B) {
	for _, topics := range []int{1, 10} {
		b.Run(fmt.Sprintf("to %d topics", topics), func(b *testing.B) {
			eng := benchEngine(b, 1)
			src, err := eng.Topic(b.Context(), "orders")
			if err != nil {
				b.Fatal(err)
			}
			for left := b.N; left > 0; left -= 500 {
				recs := make([]topic.Record, min(left, 500))
				for i := range recs {
					recs[i] = topic.Record{Key: fmt.Appendf(nil, "shop.%d.paid", i%topics), Value: make([]byte, 100)}
				}
				if _, err := src.AppendBatch(b.Context(), recs, topic.AppendTo(0)); err != nil {
					b.Fatal(err)
				}
			}
			var list []group.Binding
			for i := range topics {
				list = append(list, group.ByPattern(fmt.Sprintf("*.%d.#", i), fmt.Sprint("to-", i)))
			}
			ctx, stop := context.WithCancel(b.Context())
			r, err := group.OpenRouter(ctx, eng, "r", group.From("orders"), group.Bind(list...), group.JoinWith(
				group.OnCommit(func(l []group.PartitionOffset, _ error) {
					if len(l) > 0 && l[0].Offset >= int64(b.N) {
						stop()
					}
				}), group.CommitEvery(0)))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			_ = r.Run(ctx, 1)
			b.StopTimer()
			if got := r.Metrics().Copies; got != int64(b.N) {
				b.Fatalf("%d of %d copies", got, b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
