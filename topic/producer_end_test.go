package topic

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProducerCloseDuringSends(t *testing.T) {
	for range 20 {
		e := clientEngine(t)
		top := clientTopic(t, e, "t", Partitions(2), NoSync())
		p := clientProducer(t, e, BatchSize(300), BufferMemory(3000))
		var accepted, good atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					err := p.Send(t.Context(), "t", numbered(i), func(_ Position, err error) {
						assert.NoError(t, err)
						good.Add(1)
					})
					if err != nil {
						assert.ErrorIs(t, err, ErrClosed)
						return
					}
					accepted.Add(1)
				}
			})
		}
		for good.Load() < 50 {
			runtime.Gosched()
		}
		require.NoError(t, p.Close())
		wg.Wait()
		assert.Equal(t, accepted.Load(), good.Load(), "what was accepted is told before Close returns")
		total := 0
		for _, list := range values(t, top) {
			total += len(list)
		}
		assert.EqualValues(t, good.Load(), total)
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
	}
}

// A record that is in, while nobody works for it yet, is waited for.
func TestProducerCloseBetweenAddAndWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e)
		require.NoError(t, p.Send(t.Context(), "t", numbered(1), nil))
		synctest.Wait()
		l := p.everyLane()[0]
		require.True(t, p.memory.try(1000))
		var got acks
		l.mu.Lock()
		_, _, err := l.addLocked(&record.Record{Value: []byte("2")}, 1000, time.Now(), got.cb)
		woken := l.wakeLocked()
		l.mu.Unlock()
		require.NoError(t, err)
		require.True(t, woken)
		closed := make(chan error, 1)
		go func() { closed <- p.Close() }()
		synctest.Wait()
		require.Empty(t, closed, "Close waits for the sender that the record has claimed")
		l.wake(true)
		require.NoError(t, <-closed)
		require.Equal(t, 1, got.count())
		assert.NoError(t, got.errs[0])
	})
}

func TestProducerEndsWithItsEngine(t *testing.T) {
	e := clientEngine(t)
	clientTopic(t, e, "t")
	p := clientProducer(t, e)
	require.NoError(t, e.Close())
	assert.ErrorIs(t, p.Send(t.Context(), "t", numbered(1), nil), ErrClosed)
	_, err := e.NewProducer()
	assert.ErrorIs(t, err, ErrClosed)
	assert.NoError(t, p.Close())
}

func TestProducerManyAtOnce(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(3), NoSync())
	p := clientProducer(t, e, BatchSize(2000), BufferMemory(100_000), Linger(time.Millisecond))
	const senders, each = 8, 2000
	var acked atomic.Int64
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			last := map[int32]int64{}
			var mu sync.Mutex
			for i := range each {
				key := []byte{byte(s), byte(i % 5)}
				err := p.Send(t.Context(), "t", Record{Key: key, Value: fmt.Appendf(nil, "%d/%d", s, i)}, func(pos Position, err error) {
					assert.NoError(t, err)
					mu.Lock()
					defer mu.Unlock()
					if prev, ok := last[pos.Partition]; ok {
						assert.Greater(t, pos.Offset, prev)
					}
					last[pos.Partition] = pos.Offset
					acked.Add(1)
				})
				assert.NoError(t, err)
				if i%500 == 0 {
					assert.NoError(t, p.Flush(t.Context()))
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, p.Shutdown(t.Context()))
	assert.EqualValues(t, senders*each, acked.Load())
	total := 0
	for _, list := range values(t, top) {
		total += len(list)
	}
	assert.Equal(t, senders*each, total)
}
