package topic

import (
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMetrics(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", Partitions(3))
	openTopic(t, e, "idle")
	for range 4 {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(1))
		require.NoError(t, err)
	}
	raw, err := partitionOf(t, tp, 1).FetchRaw(t.Context(), 0, Fetch{})
	require.NoError(t, err)
	raw.Release()
	m := e.Metrics()
	require.Len(t, m.Topics, 2)
	assert.Equal(t, "idle", m.Topics[0].Topic)
	o := m.Topics[1]
	assert.Equal(t, [2]int{3, 1}, [2]int{o.Partitions, o.OpenPartitions})
	assert.Equal(t, [2]int64{4, 4}, [2]int64{o.RecordsIn, o.BatchesIn})
	assert.Equal(t, o.BytesIn, o.BytesOut)
	assert.Equal(t, o.BytesIn, o.LogBytes)
	assert.Equal(t, int64(1), o.Fetches)
	assert.Equal(t, 4, m.Total.Partitions)
	assert.Equal(t, int64(4), m.AppendTime.Count)
	assert.Positive(t, m.OpenFiles)
	for _, part := range []string{"orders", "idle", "total", "append time", "n=4"} {
		assert.Contains(t, m.String(), part)
	}
	require.NoError(t, e.Close())
	assert.Zero(t, e.Metrics().OpenFiles)
}

func TestHistogram(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{-1, 0, 999, time.Microsecond, 3 * time.Microsecond, time.Millisecond, 400 * time.Hour} {
		h.observe(d)
	}
	s := h.snapshot()
	assert.Equal(t, int64(7), s.Count)
	assert.Equal(t, int64(3), s.Buckets[0], "below a microsecond")
	assert.Equal(t, int64(1), s.Buckets[1])
	assert.Equal(t, int64(1), s.Buckets[2])
	assert.Equal(t, int64(1), s.Buckets[HistogramBuckets-1])
	assert.Equal(t, 2*time.Microsecond, s.Quantile(0.5))
	assert.Equal(t, BucketLimit(HistogramBuckets-1), s.Quantile(1))
	assert.Zero(t, Histogram{}.Quantile(0.5))
	assert.Zero(t, Histogram{}.Mean())
	for i := range HistogramBuckets - 1 {
		var one histogram
		one.observe(BucketLimit(i) - 1)
		assert.Equal(t, BucketLimit(i), one.snapshot().Quantile(0.5), "bucket %d", i)
	}
}
