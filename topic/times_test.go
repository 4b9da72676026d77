package topic

import (
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Times beyond what milliseconds hold lie after every record, times before 1970 before every record, for every call
// that takes one.
func TestTimesBeyondMilliseconds(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	top := openTopic(t, e, "t")
	p := partitionOf(t, top, 0)
	const n = 3
	for i := range n {
		_, err := top.Append(t.Context(), Record{Time: time.UnixMilli(int64(i))})
		require.NoError(t, err)
	}
	count := func(opts ...ReadOption) (got int) {
		for _, err := range top.Read(t.Context(), opts...) {
			require.NoError(t, err)
			got++
		}
		return got
	}
	c, err := e.NewConsumer()
	require.NoError(t, err)
	require.NoError(t, c.AssignTopics("t"))
	tp := TopicPartition{Topic: "t"}
	for _, far := range []time.Time{time.Unix(1<<62, 0), time.Unix(1<<63/1000+1, 0), time.Date(1<<30, 1, 1, 0, 0, 0, 0, time.UTC)} {
		_, _, ok, err := p.OffsetForTime(t.Context(), far)
		require.NoError(t, err)
		assert.False(t, ok, far.Unix())
		assert.Zero(t, count(FromTime(far), UntilEnd()), far.Unix())
		assert.Equal(t, n, count(UntilTime(far)), far.Unix())
		require.NoError(t, c.SeekToTime(far))
		pos, err := c.Position(tp)
		require.NoError(t, err)
		assert.EqualValues(t, n, pos)
		_, err = top.Append(t.Context(), Record{Time: far})
		assert.ErrorIs(t, err, ErrInvalidTimestamp)
		_, err = top.Append(t.Context(), Record{}, DeliverAt(far))
		assert.ErrorIs(t, err, ErrInvalidTimestamp)
	}
	for _, early := range []time.Time{time.Unix(-1<<62, 0), time.Unix(-1<<63, 0), time.UnixMilli(-1), time.UnixMilli(-2), time.UnixMilli(-3), time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)} {
		pos, at, ok, err := p.OffsetForTime(t.Context(), early)
		require.NoError(t, err)
		require.True(t, ok, early)
		assert.Zero(t, pos.Offset)
		assert.Equal(t, time.UnixMilli(0), at)
		assert.Equal(t, n, count(FromTime(early), UntilEnd()), early)
		assert.Zero(t, count(UntilTime(early)), early)
		require.NoError(t, c.SeekToTime(early))
		at0, err := c.Position(tp)
		require.NoError(t, err)
		assert.Zero(t, at0)
	}
}
