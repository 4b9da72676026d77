package group_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

func peek(t testing.TB, q *group.Queue, n int) (got []string) {
	t.Helper()
	list, err := q.Peek(t.Context(), n)
	require.NoError(t, err)
	for _, e := range list {
		assert.Equal(t, group.EntryReady, e.State)
		got = append(got, string(e.Value))
	}
	return got
}

// What Peek shows is what is delivered next, and is delivered all the same.
func TestPeekShowsWhatComesNext(t *testing.T) {
	for name, opts := range map[string][]group.QueueOption{
		"in order": nil,
		"fair":     {group.FairBy(tenantOf)},
		"urgent":   {group.Priority(func(r *topic.Record) int { return int(r.Value[2]) }), group.FairBy(tenantOf)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				e := topictest.New(t)
				q := openQueue(t, e, opts...)
				assert.Empty(t, peek(t, q, 3))
				for n := range 12 {
					put(t, e, fmt.Sprintf("%c:%d", 'a'+n*n%5, n%4))
				}
				for n := 12; n > 0; n -= 3 {
					next := peek(t, q, 5)
					require.Len(t, next, min(n, 5))
					assert.Equal(t, next[:3], drain(t, q, 3, func(d *group.Delivery) {
						assert.Equal(t, 1, d.Attempt)
						d.Ack()
					}))
				}
				assert.Empty(t, peek(t, q, 1))
			})
		})
	}
}

func TestEntriesTellHowEachRecordStands(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		q := openQueue(t, e, group.Lease(10*time.Second), group.OrderByKey(), group.MaxInFlightPerKey(1))
		put(t, e, "a:leased", "a:behind", "b:rests", "done", "c:run", "d:ready", "gone")
		began := time.Now()
		entry := func() map[string]group.QueueEntry {
			m := map[string]group.QueueEntry{}
			for e, err := range q.Entries(t.Context()) {
				require.NoError(t, err)
				m[string(e.Value)] = e
			}
			return m
		}
		seen := 0
		for d, err := range q.Deliveries(t.Context()) {
			require.NoError(t, err)
			if seen++; seen == 5 {
				break
			}
			switch string(d.Value) {
			case "b:rests":
				d.Retry(group.RetryAfter(time.Hour, errors.New("not now")))
			case "done":
				d.Ack()
			case "c:run":
				m := entry()
				require.Len(t, m, 6)
				leased := m["a:leased"]
				assert.Equal(t, group.EntryInFlight, leased.State)
				assert.Equal(t, 1, leased.Attempts)
				assert.Equal(t, began.Add(10*time.Second), leased.Until)
				assert.Equal(t, "jobs/0@0", topic.Position{Topic: leased.Topic, Partition: leased.Partition, Offset: leased.Offset}.String())
				assert.Equal(t, group.EntryBehind, m["a:behind"].State)
				rests := m["b:rests"]
				assert.Equal(t, group.EntryResting, rests.State)
				assert.Equal(t, began.Add(time.Hour), rests.Due)
				assert.Equal(t, []group.Attempt{{Number: 1, Time: began, Error: "not now"}}, rests.Failed)
				assert.Equal(t, group.EntryReady, m["d:ready"].State)
				assert.Zero(t, m["d:ready"].Attempts)
				met := q.Metrics()
				assert.Equal(t, [...]int{6, 2, 2, 1}, [...]int{met.Open, met.Ready, met.InFlight, met.Resting})
				time.Sleep(10 * time.Second)
				assert.Equal(t, 10*time.Second, q.Metrics().Oldest.Round(time.Second))
				assert.Equal(t, group.EntryReady, entry()["a:leased"].State, "its lease has ended")
			}
		}
		require.NoError(t, q.Close())
		_, err := q.Peek(t.Context(), 1)
		require.ErrorIs(t, err, topic.ErrClosed)
		for _, err := range q.Entries(t.Context()) {
			require.ErrorIs(t, err, topic.ErrClosed)
		}
	})
}

func TestEntriesOfARunHaveNoLease(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		q := openQueue(t, e, group.MaxInFlightPerKey(1), group.DeadLetter("jobs.dead"))
		put(t, e, "a:1", "a:2", "a:3")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		over := make(chan error)
		go func() {
			over <- q.Run(ctx, 2, func(ctx context.Context, d *group.Delivery) error {
				<-ctx.Done()
				return context.Cause(ctx)
			})
		}()
		synctest.Wait()
		var states []string
		for e, err := range q.Entries(t.Context()) {
			require.NoError(t, err)
			states = append(states, fmt.Sprint(e.State, e.Until.IsZero()))
		}
		assert.Equal(t, []string{"in flight true", "limited true", "limited true"}, states)
		stop()
		require.ErrorIs(t, <-over, context.Canceled)
	})
}

// A record that Peek reads is not lost to those who wait.
func TestPeekWakesThoseWhoWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		q := openQueue(t, e)
		s := newShift()
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- q.Run(ctx, 2, s.job(time.Second)) }()
		for n := range 20 {
			put(t, e, fmt.Sprint("job ", n))
			_, err := q.Peek(t.Context(), 1)
			require.NoError(t, err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Len(t, s.log, 20)
		stop()
		require.ErrorIs(t, <-over, context.Canceled)
	})
}
