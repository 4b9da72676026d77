package topic

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// How many of a target's messages a sequence covers, over the wrap of sequences too.
func TestMessagesUpToASequence(t *testing.T) {
	for _, tc := range []struct {
		first int32
		last  int32
		want  int
	}{
		{5, 4, 0}, {5, 5, 1}, {5, 7, 3},
		{0, math.MaxInt32, 0}, {0, 0, 1},
		{math.MaxInt32, math.MaxInt32 - 1, 0}, {math.MaxInt32, math.MaxInt32, 1}, {math.MaxInt32, 0, 2}, {math.MaxInt32, 1, 3},
	} {
		n := &delayLane{sequence: tc.first, ids: make([]delayKey, 3)}
		require.Equal(t, tc.want, n.upTo(tc.last), "from %d up to %d", tc.first, tc.last)
	}
}

// What the target has of a lane's messages is told by its producer's state, and by its batches where that has expired.
func TestDeliveredIsFoundWithoutProducerState(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	l, err := partitionOf(t, openTopic(t, e, "mails"), 0).open()
	require.NoError(t, err)
	b := record.NewBuilder(record.BuilderConfig{HasProducer: true, ProducerID: 7})
	require.NoError(t, b.Add(&record.Record{Timestamp: 1000, Value: []byte("v")}))
	sealed, err := b.Seal()
	require.NoError(t, err)
	_, err = l.Append(context.Background(), sealed, log.AppendOptions{})
	require.NoError(t, err)
	n := &delayLane{producer: 7, ids: make([]delayKey, 2)}
	stranger := &delayLane{producer: 8, ids: make([]delayKey, 2)}
	for _, state := range []string{"known", "expired"} {
		count, err := n.delivered(l)
		require.NoError(t, err)
		require.Equal(t, 1, count, state)
		count, err = stranger.delivered(l)
		require.NoError(t, err)
		require.Zero(t, count, state)
		l.ExpireProducers(time.Now().Add(48 * time.Hour))
	}
	require.Empty(t, l.Producers())
}

func TestLevelsOfDelays(t *testing.T) {
	require.EqualValues(t, 0, levelOf(0))
	require.EqualValues(t, 0, levelOf(-1))
	require.EqualValues(t, delayLevels-1, levelOf(math.MaxInt64))
}
