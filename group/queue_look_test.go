package group

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// What became ready between a look and the sleep that follows it has woken no sleeper: the second look finds it. What was read is
// kept for its delivery.
func TestLookBeforeSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := topictest.New(t)
		_, err := e.OpenTopic("jobs").Append(t.Context(), topic.Record{Value: []byte("one")})
		require.NoError(t, err)
		q, err := OpenQueue(t.Context(), e.Engine, "jobs")
		require.NoError(t, err)
		more, err := q.fetch(t.Context())
		require.NoError(t, err)
		require.True(t, more)
		require.Positive(t, q.kept)
		began := time.Now()
		patience, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, q.wait(patience))
		require.Zero(t, time.Since(began))
		for d, err := range q.Deliveries(t.Context()) {
			require.NoError(t, err)
			d.Ack()
			break
		}
		require.Zero(t, q.kept)
		require.NoError(t, q.Close())
	})
}
