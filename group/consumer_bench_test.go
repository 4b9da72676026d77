package group_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// The time of one record through a member's loop, whose handler does nothing: by partition, by key with few and with many keys, and with
// weights.
func BenchmarkConsumer(b *testing.B) {
	type loop func(*group.Consumer, context.Context, int, func(context.Context, *group.Batch) error) error
	for _, bc := range []struct {
		name string
		keys int
		run  loop
		opts []group.JoinOption
	}{
		{"partitions", 100, (*group.Consumer).Run, nil},
		{"weights", 100, (*group.Consumer).Run, []group.JoinOption{group.PartitionWeights(func(tp topic.TopicPartition) int { return int(tp.Partition) })}},
		{"100 keys", 100, (*group.Consumer).RunByKey, nil},
		{"1000 keys", 1000, (*group.Consumer).RunByKey, nil},
	} {
		b.Run(bc.name, func(b *testing.B) {
			eng, err := topic.Open("data", topic.On(vfs.NewMem()))
			require.NoError(b, err)
			defer eng.Close()
			at, err := eng.Topic(b.Context(), "a", topic.Partitions(8), topic.NoSync())
			require.NoError(b, err)
			recs := make([]topic.Record, 1000)
			for i := range recs {
				recs[i] = topic.Record{Key: fmt.Append(nil, i%bc.keys), Value: make([]byte, 100)}
			}
			for n := 0; n < b.N; n += len(recs) {
				_, err := at.AppendBatch(b.Context(), recs)
				require.NoError(b, err)
			}
			c, err := group.Join(b.Context(), eng, "g", append(bc.opts, group.Topics("a"))...)
			require.NoError(b, err)
			var done atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			err = bc.run(c, b.Context(), 4, func(_ context.Context, batch *group.Batch) error {
				if done.Add(int64(len(batch.Records))) >= int64(b.N) {
					return c.Close()
				}
				return nil
			})
			require.NoError(b, err)
		})
	}
}
