package topic

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a Poll leaves of a batch the next one returns as it lies; the two slices never reach into each other.
func TestPollsOfOneBatchAreApart(t *testing.T) {
	eng := clientEngine(t)
	top := clientTopic(t, eng, "t")
	recs := make([]Record, 10)
	for i := range recs {
		recs[i].Value = []byte{byte(i)}
	}
	_, err := top.AppendBatch(t.Context(), recs)
	require.NoError(t, err)
	c := clientConsumer(t, eng, MaxPollRecords(3))
	require.NoError(t, c.Assign(TopicPartition{Topic: "t"}))
	var polled [][]Record
	for range 4 {
		got, err := c.Poll(t.Context())
		require.NoError(t, err)
		polled = append(polled, got)
		_ = append(got, Record{Value: []byte("the caller's")})
	}
	for i, want := range []int{3, 3, 3, 1} {
		require.Len(t, polled[i], want)
		for j, r := range polled[i] {
			require.EqualValues(t, 3*i+j, r.Offset)
			require.Equal(t, []byte{byte(3*i + j)}, r.Value)
		}
	}
}

// PollFrom goes by the order of its arguments, never waits, and leaves the other partitions alone.
func TestPollFromNamedPartitions(t *testing.T) {
	eng := clientEngine(t)
	top := clientTopic(t, eng, "t", Partitions(3))
	for p := range int32(3) {
		for i := range 4 {
			_, err := top.Append(t.Context(), Record{Value: []byte{byte(i)}}, AppendTo(p))
			require.NoError(t, err)
		}
	}
	at := func(p int32) TopicPartition { return TopicPartition{Topic: "t", Partition: p} }
	c := clientConsumer(t, eng, MaxPollRecords(6))
	require.NoError(t, c.Assign(at(0), at(1), at(2)))
	require.NoError(t, c.Pause(at(1)))
	shape := func(parts ...TopicPartition) (list []int32) {
		recs, err := c.PollFrom(parts...)
		require.NoError(t, err)
		for _, r := range recs {
			list = append(list, r.Partition)
		}
		return list
	}
	require.Equal(t, []int32{1, 1, 1, 1, 0, 0}, shape(at(1), at(0)))
	require.Equal(t, []int32{0, 0}, shape(at(0), at(1)))
	require.Empty(t, shape(at(0), at(1)))
	require.Empty(t, shape())
	recs, err := c.Poll(t.Context())
	require.NoError(t, err)
	require.Len(t, recs, 4, "the partition that was not named")
	_, err = c.PollFrom(at(0), at(7))
	require.ErrorIs(t, err, ErrInvalid)
	require.Equal(t, ReadUncommitted, c.Isolation())
	require.NoError(t, c.Close())
	_, err = c.PollFrom(at(0))
	require.ErrorIs(t, err, ErrClosed)
}

// Partitions that take turns are not read again and again for what their turns leave.
func TestTurnsReadWhatTheyUse(t *testing.T) {
	eng := clientEngine(t)
	top := clientTopic(t, eng, "t", Partitions(2))
	recs := make([]Record, 10)
	for i := range recs {
		recs[i].Value = make([]byte, 100)
	}
	const batches = 300
	for p := range int32(2) {
		for range batches {
			_, err := top.AppendBatch(t.Context(), recs, AppendTo(p))
			require.NoError(t, err)
		}
	}
	c := clientConsumer(t, eng, MaxPollRecords(100))
	at := []TopicPartition{{Topic: "t"}, {Topic: "t", Partition: 1}}
	require.NoError(t, c.Assign(at...))
	got := 0
	for turn := 0; got < 2*batches*len(recs); turn++ {
		recs, err := c.PollFrom(at[turn%2])
		require.NoError(t, err)
		require.NotEmpty(t, recs)
		got += len(recs)
	}
	m := top.Metrics()
	require.Less(t, m.BytesOut, 4*m.BytesIn)
}
