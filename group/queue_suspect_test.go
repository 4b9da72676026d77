package group_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// crashes runs a queue whose handlers of some jobs end the process, as often as it takes, and tells how the jobs ended.
func crashes(t *testing.T, jobs, workers, attempts int, kills func(job string) bool) (done, dead map[string]bool) {
	t.Helper()
	e := topictest.New(t)
	for n := range jobs {
		put(t, e, fmt.Sprint(n))
	}
	done = map[string]bool{}
	var mu sync.Mutex
	for round := 0; ; round++ {
		require.Less(t, round, 10*attempts, "it does not come to an end")
		q := openQueue(t, e, group.MaxAttempts(attempts), group.DeadLetter("jobs.dead"))
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		killed, over := make(chan struct{}, jobs), make(chan error, 1)
		go func() {
			over <- q.Run(ctx, workers, func(ctx context.Context, d *group.Delivery) error {
				if kills(string(d.Value)) {
					time.Sleep(time.Millisecond)
					killed <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				}
				time.Sleep(10 * time.Millisecond)
				if ctx.Err() == nil {
					mu.Lock()
					defer mu.Unlock()
					done[string(d.Value)] = true
				}
				return nil
			})
		}()
		select {
		case <-killed:
			e.Crash(topictest.LoseUnsynced)
			<-over
			stop()
			continue
		case err := <-over:
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		stop()
		dead = map[string]bool{}
		for _, d := range deadLetters(t, e) {
			dead[string(d.Value)] = true
		}
		require.Zero(t, q.Metrics().Open)
		return done, dead
	}
}

// A record that ends the process uses up its own attempts, and takes none of those along that happen to be in flight beside it.
func TestCrashingRecordTakesNoInnocentsAlong(t *testing.T) {
	for _, c := range []struct {
		jobs, workers, attempts int
		bad                     []string
	}{
		{64, 64, 5, []string{"17"}},
		{64, 64, 2, []string{"63"}},
		{64, 64, 3, []string{"0"}},
		{150, 64, 5, []string{"3", "40", "100", "149"}},
		{20, 8, 10, []string{"4", "5"}},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				bad := map[string]bool{}
				for _, job := range c.bad {
					bad[job] = true
				}
				done, dead := crashes(t, c.jobs, c.workers, c.attempts, func(job string) bool { return bad[job] })
				require.Equal(t, bad, dead)
				require.Len(t, done, c.jobs-len(bad))
			})
		})
	}
}

// A suspect whose handler does not end holds the others up for as long as a lease lasts, and no longer; one that has to wait for others waits
// no longer either; and one that has failed without ending the process is no suspect any more.
func TestSuspectsHoldOthersUpForALeaseAtMost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "suspect", "other")
		opts := []group.QueueOption{group.MaxAttempts(4), group.Lease(20 * time.Second), group.Backoff(time.Second, time.Second)}
		for range 2 {
			q := openQueue(t, e, opts...)
			for d, err := range q.Deliveries(t.Context()) {
				require.NoError(t, err)
				require.Equal(t, "suspect", string(d.Value))
				e.Crash(topictest.LoseUnsynced)
				break
			}
		}
		q := openQueue(t, e, opts...)
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error, 1)
		began, times := time.Now(), map[string][]time.Duration{}
		var mu sync.Mutex
		go func() {
			over <- q.Run(ctx, 3, func(_ context.Context, d *group.Delivery) error {
				mu.Lock()
				times[string(d.Value)] = append(times[string(d.Value)], time.Since(began).Round(time.Second))
				mu.Unlock()
				if string(d.Value) == "suspect" && d.Attempt == 3 {
					time.Sleep(time.Minute)
					return errors.New("no")
				}
				time.Sleep(100 * time.Second)
				return nil
			})
		}()
		time.Sleep(time.Minute + 300*time.Millisecond)
		put(t, e, "late")
		time.Sleep(10 * time.Minute)
		stop()
		require.ErrorIs(t, <-over, context.Canceled)
		require.Equal(t, map[string][]time.Duration{"suspect": {0, 61 * time.Second}, "other": {20 * time.Second}, "late": {60 * time.Second}}, times)
	})
}

// Failing is no crime: records that fail, are given back, or outlive their leases, are retried side by side up to the last attempt.
func TestFailedRecordsAreNoSuspects(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		for n := range 8 {
			put(t, e, fmt.Sprint(n))
		}
		q := openQueue(t, e, group.MaxAttempts(6), group.Backoff(0, 0), group.Lease(time.Second))
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for d := range q.Deliveries(ctx) {
					if d == nil {
						continue // its answer was too late
					}
					switch time.Sleep(999 * time.Millisecond); d.Attempt {
					case 1, 2:
						d.Release()
					case 3:
						time.Sleep(time.Millisecond)
						d.Ack()
					case 6:
						d.Ack()
					default:
						d.Retry(errors.New("no"))
					}
				}
			})
		}
		time.Sleep(6100 * time.Millisecond)
		require.EqualValues(t, 8, q.Metrics().Acknowledged)
		require.EqualValues(t, 8, q.Metrics().Expired)
		stop()
		wg.Wait()
	})
}

// A suspect begins when those that are in flight have ended.
func TestSuspectWaitsForThoseInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "suspect")
		opts := []group.QueueOption{group.MaxAttempts(4), group.Lease(time.Minute), group.Priority(func(r *topic.Record) int { return len(r.Key) })}
		for range 2 {
			q := openQueue(t, e, opts...)
			for _, err := range q.Deliveries(t.Context()) {
				require.NoError(t, err)
				e.Crash(topictest.LoseUnsynced)
				break
			}
		}
		put(t, e, "k:urgent")
		began, times := time.Now(), sync.Map{}
		runFor(t, openQueue(t, e, opts...), 2, time.Hour, func(_ context.Context, d *group.Delivery) error {
			times.Store(string(d.Value), time.Since(began))
			time.Sleep(30 * time.Second)
			return nil
		})
		urgent, _ := times.Load("k:urgent")
		suspect, _ := times.Load("suspect")
		require.Equal(t, []any{time.Duration(0), 30 * time.Second}, []any{urgent, suspect})
	})
}
