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

func TestBudgetServesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		require.True(t, b.try(100))
		var mu sync.Mutex
		var order []int
		turn := make(chan struct{}, 3)
		for i, n := range []int64{80, 10, 10} {
			go func() {
				assert.NoError(t, b.wait(t.Context(), n, time.Hour, func() {}))
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				turn <- struct{}{}
			}()
			synctest.Wait()
		}
		assert.False(t, b.try(1), "nobody overtakes those who wait")
		b.release(20)
		synctest.Wait()
		assert.Empty(t, order, "20 would do for the second, but the first is first")
		b.release(60)
		<-turn
		b.release(20)
		<-turn
		<-turn
		assert.Equal(t, 0, order[0])
		assert.Len(t, order, 3)
		assert.EqualValues(t, 100, b.used())
	})
}

func TestBudgetWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		require.True(t, b.try(10))
		start := time.Now()

		err := b.wait(t.Context(), 5, 3*time.Second, func() {})
		var full *BufferFullError
		require.ErrorAs(t, err, &full)
		assert.ErrorIs(t, err, ErrBufferFull)
		assert.Equal(t, BufferFullError{Want: 5, Buffer: 10, Waited: 3 * time.Second}, *full)
		assert.Equal(t, 3*time.Second, time.Since(start))

		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		assert.ErrorIs(t, b.wait(ctx, 5, time.Hour, func() {}), cause)
		assert.Equal(t, 4*time.Second, time.Since(start))

		time.AfterFunc(time.Second, b.close)
		assert.ErrorIs(t, b.wait(t.Context(), 5, time.Hour, func() {}), ErrClosed)
		assert.Equal(t, 5*time.Second, time.Since(start))
		assert.ErrorIs(t, b.wait(t.Context(), 5, time.Hour, func() {}), ErrClosed)
		assert.False(t, b.contended())
	})
}

func TestBudgetWaiterThatGivesUpLetsTheNextThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		require.True(t, b.try(8))
		go func() { assert.ErrorIs(t, b.wait(t.Context(), 9, time.Second, func() {}), ErrBufferFull) }()
		synctest.Wait()
		require.NoError(t, b.wait(t.Context(), 2, time.Hour, func() {}))
		b.release(10)
		assert.Zero(t, b.used())
	})
}

func TestBudgetOverdraws(t *testing.T) {
	b := newBudget(10)
	require.True(t, b.try(10))
	require.NoError(t, b.overdraw(6))
	assert.ErrorIs(t, b.overdraw(5), ErrBufferFull)
	require.NoError(t, b.overdraw(4))
	b.release(15)
	assert.False(t, b.try(6))
	assert.True(t, b.try(5))
}

// What would fit waits behind what came first and does not.
func TestBudgetIsNotTakenPastThoseWhoWait(t *testing.T) {
	b := newBudget(10)
	require.True(t, b.try(6))
	b.enqueue(8)
	require.False(t, b.try(2))
}

// A disk budget can be used up to its last byte.
func TestDiskBudgetHoldsItsLimit(t *testing.T) {
	b := &diskBudget{}
	b.limit.Store(10)
	require.True(t, b.tryTake(4))
	require.True(t, b.tryTake(6))
	require.False(t, b.tryTake(1))
	require.EqualValues(t, 10, b.used.Load())
}
