package topic

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
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

// A producer keeps nothing of topics that were deleted, whether or not it sends to them again, and a new topic of the same
// name gets the first record that is sent after it was made.
func TestProducerForgetsDeletedTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		p := clientProducer(t, e)
		for i := range 20 {
			clientTopic(t, e, "t", Partitions(3))
			pos, err := p.SendSync(t.Context(), "t", numbered(i))
			require.NoError(t, err)
			assert.Zero(t, pos.Offset)
			clientTopic(t, e, strconv.Itoa(i))
			_, err = p.SendSync(t.Context(), strconv.Itoa(i), numbered(i))
			require.NoError(t, err)
			require.NoError(t, e.DeleteTopic(t.Context(), "t"))
			require.NoError(t, e.DeleteTopic(t.Context(), strconv.Itoa(i)))
			require.ErrorIs(t, p.Send(t.Context(), "t", numbered(i), nil), ErrNotFound)
		}
		assert.Empty(t, *p.routes.Load())
		assert.Empty(t, p.everyLane())
		require.NoError(t, p.Close())
	})
}

// What a lane holds when its topic is deleted has its outcome, and the lane is forgotten with the next deletion. One that a
// Send has made at that moment takes no more than what it was made for.
func TestLanesOfADeletedTopicAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t", Partitions(2))
		clientTopic(t, e, "other")
		p := clientProducer(t, e, Linger(time.Hour), DeliveryTimeout(2*time.Hour), PartitionBy(Manual()))
		r, err := p.route("t")
		require.NoError(t, err)
		var got acks
		require.NoError(t, p.Send(t.Context(), "t", to(0, "x"), got.cb))
		require.NoError(t, p.Send(t.Context(), "other", to(0, "x"), got.cb))
		require.NoError(t, e.DeleteTopic(t.Context(), "t"))
		synctest.Wait()
		require.Equal(t, 1, got.count(), "it lingers for nothing")
		require.ErrorIs(t, got.errs[0], ErrNotFound)
		late, err := r.lane(1)
		require.NoError(t, err)
		_, err = late.add(t.Context(), &record.Record{}, 100, time.Now(), got.cb)
		require.NoError(t, err)
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, 3, got.count())
		_, err = late.add(t.Context(), &record.Record{}, 100, time.Now(), got.cb)
		require.ErrorIs(t, err, errRetired)
		clientTopic(t, e, "next")
		require.NoError(t, p.Send(t.Context(), "next", to(0, "x"), got.cb))
		require.NoError(t, e.DeleteTopic(t.Context(), "next"))
		require.NoError(t, p.Flush(t.Context()))
		for _, l := range p.everyLane() {
			assert.NotSame(t, top, l.route.topic)
		}
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
	})
}
