package topic

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCallbackPanicsAreContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		e := clientEngine(t, Logger(slog.New(slog.NewTextHandler(&text, nil))))
		clientTopic(t, e, "t")
		p := clientProducer(t, e, Linger(time.Second))
		var told []int
		for i := range 10 {
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), func(Position, error) {
				told = append(told, i)
				if i%3 == 1 {
					panic("at " + strconv.Itoa(i))
				}
			}))
		}
		require.NoError(t, p.Flush(t.Context()))
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, told)
		require.NoError(t, p.Close())
		assert.Contains(t, text.String(), "at 4")
		assert.Contains(t, text.String(), "TestCallbackPanicsAreContained", "the stack shows where")
	})
}

func TestCallbackThatEndsItsGoroutine(t *testing.T) {
	e := clientEngine(t)
	clientTopic(t, e, "t")
	p := clientProducer(t, e, BatchSize(200))
	var told []int
	for i := range 100 {
		require.NoError(t, p.Send(t.Context(), "t", numbered(i), func(Position, error) {
			told = append(told, i)
			if i%7 == 3 {
				runtime.Goexit() // as t.FailNow does
			}
		}))
	}
	require.NoError(t, p.Flush(t.Context()))
	for i := range 100 {
		require.Equal(t, i, told[i])
	}
	require.Len(t, told, 100)
	require.NoError(t, p.Close())
}

func TestCallbackMaySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e, BatchSize(1000), BufferMemory(1000))
		var chain func(n int) func(Position, error)
		var last atomic.Int64
		chain = func(n int) func(Position, error) {
			return func(pos Position, err error) {
				assert.NoError(t, err)
				last.Store(pos.Offset)
				if n > 0 {
					assert.NoError(t, p.Send(context.Background(), "t", Record{Value: make([]byte, 700)}, chain(n-1)))
				}
			}
		}
		start := time.Now()
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), chain(200)))
		synctest.Wait()
		assert.EqualValues(t, 200, last.Load())
		assert.Equal(t, start, time.Now())
		require.NoError(t, p.Close())
	})
}

// Two records for one: the buffer may be overdrawn as much again, then a Send in a callback is refused at
// once instead of waiting for itself.
func TestCallbackOverdrawsWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e, BatchSize(1000), BufferMemory(2000))
		start := time.Now()
		var sent int
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), func(Position, error) {
			for sent < 100 {
				if err := p.Send(context.Background(), "t", Record{Value: make([]byte, 900)}, nil); err != nil {
					assert.ErrorIs(t, err, ErrBufferFull)
					return
				}
				sent++
			}
		}))
		synctest.Wait()
		assert.GreaterOrEqual(t, sent, 4)
		assert.Less(t, sent, 100)
		assert.Equal(t, start, time.Now())
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
	})
}

func TestCallbackMayNotWaitForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e)
		done := make(chan struct{})
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), func(Position, error) {
			defer close(done)
			assert.ErrorIs(t, p.Flush(context.Background()), ErrInCallback)
			assert.ErrorIs(t, p.Shutdown(context.Background()), ErrInCallback)
			_, err := p.SendSync(context.Background(), "t", numbered(1))
			assert.ErrorIs(t, err, ErrInCallback)
		}))
		<-done
		require.NoError(t, p.Flush(t.Context()), "not inside one")
		require.NoError(t, p.Close())
	})
}

func TestCallbackMayCloseTheProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t", Partitions(2))
		p := clientProducer(t, e, BatchSize(200), PartitionBy(Manual()))
		var got acks
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), func(pos Position, err error) {
			assert.NoError(t, p.Close())
			got.cb(pos, err)
			assert.ErrorIs(t, p.Send(t.Context(), "t", numbered(1), nil), ErrClosed)
		}))
		start := time.Now()
		synctest.Wait()
		require.NoError(t, p.Close())
		assert.Equal(t, start, time.Now())
		require.Equal(t, 1, got.count())
	})
}

func TestCallbackMayCloseTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t", Partitions(2))
		p := clientProducer(t, e, PartitionBy(Manual()))
		q := clientProducer(t, e, Linger(time.Minute))
		var got, other acks
		require.NoError(t, q.Send(t.Context(), "t", numbered(1), other.cb))
		closed := make(chan struct{})
		start := time.Now()
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), func(pos Position, err error) {
			got.cb(pos, err)
			assert.NoError(t, e.Close())
			close(closed)
		}))
		<-closed
		assert.Equal(t, start, time.Now())
		synctest.Wait()
		assert.Equal(t, 1, got.count())
		require.Equal(t, 1, other.count())
		assert.NoError(t, other.errs[0], "what another producer holds is delivered")
	})
}

func TestCallbackThatBlocksOnlyHoldsItsPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t", Partitions(2))
		p := clientProducer(t, e, PartitionBy(Manual()))
		release := make(chan struct{})
		require.NoError(t, p.Send(t.Context(), "t", Record{}, func(Position, error) { <-release }))
		synctest.Wait()
		_, err := p.SendSync(t.Context(), "t", Record{Partition: 1})
		require.NoError(t, err)
		start := time.Now()
		assert.Error(t, p.Close(), "bounded")
		assert.Less(t, time.Since(start), 6*time.Second)
		close(release)
	})
}

func TestOnErrorComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t", MaxMessageBytes(300))
		var list []string
		p := clientProducer(t, e, OnError(func(Position, error) { list = append(list, "on error"); panic("swallowed") }))
		require.NoError(t, p.Send(t.Context(), "t", Record{Value: make([]byte, 500)}, func(_ Position, err error) {
			assert.ErrorIs(t, err, ErrTooLarge)
			list = append(list, "callback")
		}))
		require.NoError(t, p.Flush(t.Context()))
		require.NoError(t, p.Send(t.Context(), "t", numbered(1), nil))
		require.NoError(t, p.Flush(t.Context()))
		require.NoError(t, p.Close())
		assert.Equal(t, []string{"on error", "callback"}, list)
	})
}
