package bounded_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/bounded"
)

func TestMutexExcludes(t *testing.T) {
	var m bounded.Mutex
	var wg sync.WaitGroup
	n := 0
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				ctx := context.Background()
				if i%3 == 0 {
					ctx = t.Context()
				}
				if m.LockWithin(ctx) == nil {
					n++
					if i%64 == 0 {
						runtime.Gosched()
					}
					m.Unlock()
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 16000, n)
	require.True(t, m.TryLock())
	require.False(t, m.TryLock())
	m.Unlock()
}

// TestMutexEveryWaiterComes has many wait for one that holds it long, some of whom leave: the rest get it one after the other.
func TestMutexEveryWaiterComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m bounded.Mutex
		m.Lock()
		reason := errors.New("enough")
		var wg sync.WaitGroup
		got, left := 0, 0
		var mu sync.Mutex
		for i := range 20 {
			wg.Go(func() {
				ctx := t.Context()
				if i%2 == 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(i+1)*time.Second, reason)
					defer cancel()
				}
				err := m.LockWithin(ctx)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					require.ErrorIs(t, err, reason)
					left++
					return
				}
				got++
				m.Unlock()
			})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 10, left)
		m.Unlock()
		wg.Wait()
		require.Equal(t, 10, got)
		require.True(t, m.TryLock())
	})
}

func TestRunReturnsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c bounded.Calls
		reason, hung := errors.New("enough"), make(chan struct{})
		for _, grace := range []time.Duration{0, 100 * time.Millisecond} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, reason)
			start := time.Now()
			out, err := bounded.Err(ctx, &c, grace, func() error { <-hung; return nil })
			require.ErrorIs(t, err, reason)
			require.Equal(t, bounded.Alone, out)
			require.Equal(t, time.Second+grace, time.Since(start))
			cancel()
			out, err = bounded.Err(ctx, &c, grace, func() error { t.Error("runs after its context ended"); return nil })
			require.ErrorIs(t, err, reason)
			require.Equal(t, bounded.NotBegun, out)
		}
		waiting, cancel := context.WithTimeoutCause(t.Context(), time.Second, reason)
		defer cancel()
		require.ErrorIs(t, c.Wait(waiting), reason)
		close(hung)
		require.NoError(t, c.Wait(t.Context()))
	})
}

// TestRunWithoutEnd runs in the caller's goroutine.
func TestRunWithoutEnd(t *testing.T) {
	var c bounded.Calls
	n := testing.AllocsPerRun(100, func() {
		if out := c.Run(context.Background(), 0, func() {}); out != bounded.Ended {
			t.Error(out)
		}
	})
	require.Zero(t, n)
}

func TestRunWithinTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c bounded.Calls
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v, out, err := bounded.Do(ctx, &c, time.Second, func() (int, error) {
			time.Sleep(1500 * time.Millisecond)
			return 7, errors.New("its own")
		})
		require.EqualError(t, err, "its own")
		require.Equal(t, bounded.Ended, out)
		require.Equal(t, 7, v)
	})
}

// TestMostAlone: when as many go on alone as may, the next is not begun until one has ended.
func TestMostAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c bounded.Calls
		hung := make(chan struct{}, bounded.MostAlone)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range bounded.MostAlone {
			wg.Go(func() { c.Run(ctx, 0, func() { <-hung }) })
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		late, lateCancel := context.WithTimeout(t.Context(), time.Second)
		defer lateCancel()
		require.Equal(t, bounded.NotBegun, c.Run(late, 0, func() { t.Error("one too many") }))
		time.AfterFunc(time.Second, func() { hung <- struct{}{} })
		ran := false
		require.Equal(t, bounded.Ended, c.Run(t.Context(), 0, func() { ran = true }))
		require.True(t, ran)
		close(hung)
		require.NoError(t, c.Wait(t.Context()))
	})
}

func TestPanicsAreTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c bounded.Calls
		require.PanicsWithValue(t, "boom", func() { c.Run(t.Context(), 0, func() { panic("boom") }) })
		ended := make(chan bool, 1)
		go func() {
			defer func() { ended <- recover() == nil }()
			c.Run(t.Context(), 0, runtime.Goexit)
			t.Error("goes on after Goexit")
		}()
		require.True(t, <-ended)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hung := make(chan struct{})
		require.Equal(t, bounded.Alone, c.Run(ctx, 0, func() { <-hung; panic("of no caller") }))
		close(hung)
		require.NoError(t, c.Wait(t.Context()))
	})
}

func BenchmarkRun(b *testing.B) {
	for name, ctx := range map[string]context.Context{"endless": context.Background(), "cancellable": b.Context()} {
		b.Run(name, func(b *testing.B) {
			var c bounded.Calls
			b.ReportAllocs()
			for b.Loop() {
				c.Run(ctx, 0, func() {})
			}
		})
	}
}

func BenchmarkMutex(b *testing.B) {
	var m bounded.Mutex
	var s sync.Mutex
	for name, l := range map[string]sync.Locker{"bounded": &m, "sync": &s} {
		b.Run(name, func(b *testing.B) {
			held := 0
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l.Lock()
					held++
					l.Unlock()
				}
			})
		})
	}
}

// A cause names the context's end too, and is that of its own context only.
func TestCauseIsOfItsContext(t *testing.T) {
	reason := errors.New("enough")
	ended := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		return ctx
	}
	a, b, plain := ended(reason), ended(errors.New("other")), ended(nil)
	require.ErrorIs(t, bounded.Cause(a), reason)
	require.ErrorIs(t, bounded.Cause(a), context.Canceled)
	require.Equal(t, context.Canceled, bounded.Cause(plain))
	require.NoError(t, bounded.Cause(t.Context()))
	for _, ctx := range []context.Context{a, b, plain} {
		require.True(t, bounded.IsCause(ctx, bounded.Cause(ctx)))
		require.False(t, bounded.IsCause(t.Context(), bounded.Cause(ctx)))
	}
	require.True(t, bounded.IsCause(a, reason))
	require.False(t, bounded.IsCause(a, bounded.Cause(b)))
	require.False(t, bounded.IsCause(a, errors.Join(bounded.Cause(a))))
}
