package bounded_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/bounded"
)

// TestOrLater: what a call gives is its caller's, or, when that has left, the late function's; never both, nor none.
func TestOrLater(t *testing.T) {
	for _, takes := range []time.Duration{500 * time.Millisecond, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var c bounded.Calls
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var late []int
			v, out, err := bounded.OrLater(ctx, &c, 0, func() (int, error) { time.Sleep(takes); return 7, nil }, func(v int, _ error) { late = append(late, v) })
			require.NoError(t, c.Wait(t.Context()))
			synctest.Wait()
			if takes < time.Second {
				require.Equal(t, bounded.Ended, out)
				require.NoError(t, err)
				require.Equal(t, 7, v)
				require.Empty(t, late)
				return
			}
			require.Equal(t, bounded.Alone, out)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, []int{7}, late)
		})
	}
}

// lateContext does something when it is asked for the n-th time whether it has ended.
type lateContext struct {
	context.Context
	asked, n int
	do       func()
}

func (c *lateContext) Err() error {
	if c.asked++; c.asked == c.n {
		c.do()
	}
	return c.Context.Err()
}

// A call that ends when its caller has left, and has not yet said so, gives what it has all the same.
func TestOrLaterAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c bounded.Calls
		ends := make(chan struct{})
		within, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctx := &lateContext{Context: within, n: 2, do: func() {
			close(ends)
			require.NoError(t, c.Wait(t.Context()))
		}}
		var late []int
		_, out, err := bounded.OrLater(ctx, &c, 0, func() (int, error) { <-ends; return 7, nil }, func(v int, _ error) { late = append(late, v) })
		require.Equal(t, bounded.Alone, out)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []int{7}, late)
	})
}
