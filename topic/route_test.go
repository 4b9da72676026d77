package topic

import (
	"context"
	"errors"
	"sync"
	"testing"

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
