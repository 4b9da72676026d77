package watermark

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAdvanceOnlyRaises(t *testing.T) {
	var m Mark
	require.True(t, m.Advance(5))
	require.False(t, m.Advance(5))
	require.False(t, m.Advance(4))
	require.EqualValues(t, 5, m.Load())
	m.Store(2)
	require.EqualValues(t, 2, m.Load())
}

func TestWaitReturnsWhenReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Mark
		start := time.Now()
		time.AfterFunc(time.Second, func() { m.Advance(1) })
		time.AfterFunc(3*time.Second, func() { m.Advance(2) })
		require.NoError(t, m.Wait(t.Context(), 2))
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Mark
		reason := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, reason)
		defer cancel()
		require.ErrorIs(t, m.Wait(ctx, 1), reason)
		m.Store(1)
		require.NoError(t, m.Wait(ctx, 1), "a value that is there needs no context")
	})
}

func TestChangedClosesOnceAndIsReplaced(t *testing.T) {
	var m Mark
	first := m.Changed()
	require.Equal(t, first, m.Changed(), "waiters share one channel")
	m.Store(0)
	<-first
	second := m.Changed()
	select {
	case <-second:
		t.Fatal("closed before any change")
	default:
	}
	m.Wake()
	<-second
}

// Every waiter follows a writer that never pauses: a lost wake-up hangs the test.
func TestNoWakeUpIsLost(t *testing.T) {
	const last = 20000
	var m Mark
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for v := int64(1); v <= last; v++ {
				if err := m.Wait(context.Background(), v); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for v := int64(1); v <= last; v++ {
		m.Advance(v)
	}
	wg.Wait()
}

func TestNobodyWaitingCostsNothing(t *testing.T) {
	var m Mark
	next := int64(0)
	require.Zero(t, testing.AllocsPerRun(100, func() { next++; m.Advance(next) }))
}
