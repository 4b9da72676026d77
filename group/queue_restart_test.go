package group_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// restingRestart fails records so that they rest, opens the queue anew in another engine on the same disk, and runs it until all are done.
// Nothing is appended in between: what ends the rests is time alone.
func restingRestart(t *testing.T, records, workers int, opts ...group.QueueOption) {
	t.Helper()
	e := topictest.New(t, topic.Logger(slog.New(slog.DiscardHandler)))
	jobs := make([]string, records)
	for i := range jobs {
		jobs[i] = fmt.Sprintf("%c:%d", 'a'+i%2, i) // of two keys
	}
	put(t, e, jobs...)
	opts = append([]group.QueueOption{group.Backoff(300*time.Millisecond, 300*time.Millisecond)}, opts...)
	q := openQueue(t, e, append(opts, group.Window(100))...)
	drain(t, q, records, func(d *group.Delivery) { d.Retry(errors.New("not yet")) })
	e.Reopen()
	q = openQueue(t, e, opts...)
	ctx, stop := context.WithTimeout(t.Context(), time.Hour)
	defer stop()
	var left atomic.Int64
	left.Store(int64(records))
	require.ErrorIs(t, q.Run(ctx, workers, func(context.Context, *group.Delivery) error {
		if left.Add(-1) == 0 {
			stop()
		}
		return nil
	}), context.Canceled)
	require.Zero(t, left.Load(), "records that no worker came for in an hour: %+v", q.Metrics())
}

// A queue that is opened with resting records comes for them when their rests are over, whichever of its workers reads them in.
func TestRestartedQueueComesForRestingRecords(t *testing.T) {
	restarts := 1000
	if testing.Short() {
		restarts = 100
	}
	kinds := [][]group.QueueOption{
		nil, {group.OrderByKey()}, {group.Priority(group.ByHeader("p"))}, {group.Rate(5, 1)}, {group.MaxInFlight(1)}, {group.Window(1)},
	}
	for n := range restarts {
		synctest.Test(t, func(t *testing.T) { restingRestart(t, 1+n%4, 2+n%15, kinds[n%len(kinds)]...) })
	}
}
