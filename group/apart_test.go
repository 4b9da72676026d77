package group

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What belongs to an orderly end has its time when the context has ended, and ends for the same cause.
func TestGraceAfterAContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reason := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, reason)
		defer cancel()
		within, stop := withGrace(ctx, time.Second)
		defer stop()
		over, end := withGrace(ctx, time.Second)
		end()
		require.Error(t, over.Err())
		start := time.Now()
		<-within.Done()
		require.Equal(t, time.Minute+time.Second, time.Since(start))
		require.ErrorIs(t, context.Cause(within), reason)
	})
}
