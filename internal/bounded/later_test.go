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
