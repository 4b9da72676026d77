package topic

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// onWarn calls a function whenever something is logged at Warn.
type onWarn struct {
	slog.Handler
	f func()
}

func (h onWarn) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn {
		h.f()
	}
	return nil
}

// The start may rise again between the moment a reset finds it and the read there.
func TestResetFollowsARisingStart(t *testing.T) {
	rises := int64(0)
	var part *Partition
	deleteOne := func() {
		if rises < 5 {
			rises++
			_, err := part.DeleteRecords(context.Background(), rises)
			assert.NoError(t, err)
		}
	}
	e := clientEngine(t, Logger(slog.New(onWarn{slog.NewTextHandler(t.Output(), nil), deleteOne})))
	top := clientTopic(t, e, "t")
	for i := range 10 {
		_, err := top.Append(t.Context(), numbered(i))
		require.NoError(t, err)
	}
	part, _ = top.Partition(0)
	c, err := e.NewConsumer(OnOutOfRange(Earliest))
	require.NoError(t, err)
	require.NoError(t, c.AssignTopics("t"))
	require.NoError(t, c.Seek(TopicPartition{"t", 0}, 0))
	deleteOne()
	recs, err := c.Poll(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, recs)
	assert.Equal(t, int64(5), recs[0].Offset)
}
