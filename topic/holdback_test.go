package topic

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHoldBackHandsOnInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "mails")
		began := time.Now()
		for range 3 {
			_, err := tp.Append(t.Context(), say("x"))
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 62*time.Second-time.Millisecond-3*time.Second)
		defer cancel()
		var at []time.Duration
		for rec, err := range HoldBack(ctx, tp.Read(ctx), time.Minute) {
			require.NoError(t, err)
			at = append(at, time.Since(began))
			assert.Equal(t, time.Minute, time.Since(rec.Time))
		}
		assert.Equal(t, []time.Duration{60 * time.Second, 61 * time.Second}, at, "the third comes after the context's end")
	})
}

func TestRetryLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "jobs", Partitions(2))
		_, err := e.RetryLadder(t.Context(), "none", time.Second)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = e.RetryLadder(t.Context(), "jobs", 0)
		require.ErrorIs(t, err, ErrInvalid)
		ladder, err := e.RetryLadder(t.Context(), "jobs", 5*time.Second, time.Minute)
		require.NoError(t, err)
		_, err = tp.Append(t.Context(), Record{Key: []byte("k"), Value: []byte("v"), Headers: []Header{{Key: "h", Value: []byte("1")}}})
		require.NoError(t, err)
		p := PartitionForKey([]byte("k"), 2)
		var rec *Record
		first := func(seq func(func(*Record, error) bool)) *Record {
			for r, err := range seq {
				require.NoError(t, err)
				return r
			}
			return nil
		}
		rec = first(tp.Read(t.Context(), OnPartitions(p)))
		for rung, wait := range []time.Duration{5 * time.Second, time.Minute} {
			assert.Equal(t, rung, Attempt(rec))
			failed := time.Now()
			_, err = ladder.Failed(t.Context(), rec, errors.New("no answer"))
			require.NoError(t, err)
			rec = first(ladder.Read(t.Context(), rung, p))
			assert.Equal(t, wait, time.Since(failed))
		}
		pos, err := ladder.Failed(t.Context(), rec, nil)
		require.NoError(t, err)
		assert.Equal(t, "jobs.dead", pos.Topic)
		rec = first(ladder.Dead().Read(t.Context(), OnPartitions(p)))
		assert.Equal(t, "v", string(rec.Value))
		assert.Equal(t, []string{"h=1", "retry.attempt=3", "retry.error=unknown"}, headersOf(rec))
	})
}

func headersOf(rec *Record) (list []string) {
	for _, h := range rec.Headers {
		list = append(list, h.Key+"="+string(h.Value))
	}
	return list
}
