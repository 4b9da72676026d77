package group_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// A context that ends while partitions are given up ends the loop; the next loop goes on where this one was.
func TestContextEndsInARebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 2, 1)
		ctx, cancel := context.WithCancel(t.Context())
		c := join(t, eng, group.AssignWith(assignor.Range()), group.OnRevoke(func(context.Context, []topic.TopicPartition) error {
			cancel()
			return nil
		}))
		ended := make(chan error, 1)
		serve := func(ctx context.Context) {
			ended <- c.Run(ctx, 1, func(context.Context, *group.Batch) error { return nil })
		}
		go serve(ctx)
		synctest.Wait()
		var got []string
		other := join(t, eng, group.AssignWith(assignor.Range()))
		endOther := runs(t, other, &got)
		require.ErrorIs(t, <-ended, context.Canceled)
		go serve(t.Context())
		synctest.Wait()
		require.Len(t, c.Assignment(), 1)
		require.Len(t, other.Assignment(), 1)
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.NoError(t, other.Shutdown(t.Context()))
		require.NoError(t, <-endOther)
	})
}
