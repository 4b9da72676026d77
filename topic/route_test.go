package topic

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Topics come and go under senders: every accepted record has its outcome, and the producer goes on.
func TestProducerWhileTopicsAreDeleted(t *testing.T) {
	e := clientEngine(t)
	p := clientProducer(t, e)
	names := []string{"a", "b", "c", "d"}
	over, stop := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	var accepted, told sync.Map
	for s := range 4 {
		senders.Go(func() {
			for i := 0; over.Err() == nil; i++ {
				key := [2]int{s, i}
				err := p.Send(over, names[i%len(names)], Record{Value: []byte("v")}, func(_ Position, err error) {
					told.Store(key, true)
					if err != nil {
						assert.ErrorIs(t, err, ErrNotFound)
					}
				})
				if err == nil {
					accepted.Store(key, true)
				} else if !errors.Is(err, ErrNotFound) {
					assert.ErrorIs(t, err, context.Canceled)
				}
			}
		})
	}
	for round := range 200 {
		name := names[round%len(names)]
		clientTopic(t, e, name)
		require.NoError(t, e.DeleteTopic(t.Context(), name))
	}
	stop()
	senders.Wait()
	require.NoError(t, p.Flush(t.Context()))
	accepted.Range(func(key, _ any) bool {
		_, ok := told.Load(key)
		return assert.True(t, ok, "record %v has no outcome", key)
	})
	require.NoError(t, p.Close())
}

// Records that may go anywhere fill the batch of one partition before another one has its turn.
func TestLooseRecordsFillBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t", Partitions(8))
		p := clientProducer(t, e, Linger(time.Second))
		for range 5000 {
			require.NoError(t, p.Send(t.Context(), "t", Record{Value: []byte("0123456789")}, nil))
		}
		require.NoError(t, p.Shutdown(t.Context()))
		batches, partial := 0, 0
		for id := range top.Partitions() {
			for b, err := range top.Batches(t.Context(), int32(id), UntilEnd()) {
				require.NoError(t, err)
				batches++
				if len(b) < DefaultBatchSize*9/10 {
					partial++
				}
			}
		}
		assert.Greater(t, batches, 4)
		assert.LessOrEqual(t, partial, 1, "of %d batches only the last may have room left", batches)
	})
}
