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
