package group_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// The end of a queue wakes every loop that sleeps.
func TestQueueEndWakesAllWhoSleep(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e)
		q := openQueue(t, e)
		ended := make(chan error, 3)
		for range 3 {
			go func() {
				var last error
				for _, err := range q.Deliveries(context.WithoutCancel(t.Context())) {
					last = err
				}
				ended <- last
			}()
		}
		synctest.Wait()
		require.NoError(t, q.Close())
		synctest.Wait()
		require.Len(t, ended, 3)
	})
}

// What is answered after the queue's end is refused, and counts as that.
func TestAnswerAfterTheEndIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one")
		q := openQueue(t, e)
		var last error
		for d, err := range q.Deliveries(t.Context()) {
			if last = err; err != nil {
				continue
			}
			require.NoError(t, e.DeleteTopic(t.Context(), "jobs"))
			synctest.Wait()
			d.Ack()
		}
		require.ErrorIs(t, last, topic.ErrNotFound)
		m := q.Metrics()
		assert.EqualValues(t, 1, m.Late)
		assert.Zero(t, m.Acknowledged)
	})
}

// A delivery has one answer, the first; more are no fault.
func TestSecondAnswerIsNone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one", "two")
		q := openQueue(t, e)
		drain(t, q, 2, func(d *group.Delivery) {
			d.Ack()
			d.Retry(errors.New("no"))
			d.Ack()
		})
		require.NoError(t, q.Flush())
		m := q.Metrics()
		assert.EqualValues(t, 2, m.Acknowledged)
		assert.Zero(t, m.Late)
		assert.Zero(t, m.Retried)
	})
}

// A record that the rate holds back does not wait for another that rests for longer.
func TestRateIsNotHeldUpByARest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "bad", "one", "two")
		q := openQueue(t, e, group.Rate(1, 1))
		began := time.Now()
		var at []time.Duration
		drain(t, q, 3, func(d *group.Delivery) {
			at = append(at, time.Since(began))
			if string(d.Value) == "bad" {
				d.Retry(group.RetryAfter(time.Hour, errors.New("later")))
				return
			}
			d.Ack()
		})
		assert.Equal(t, []time.Duration{0, time.Second, 2 * time.Second}, at)
	})
}

// A full window stops the reading of its partition, and of that one alone.
func TestFullWindowStopsItsPartition(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		jobs := e.OpenTopic("jobs", topic.Partitions(2))
		recs := make([]topic.Record, 5000)
		for i := range recs {
			recs[i] = topic.Record{Key: []byte("k"), Value: fmt.Appendf(nil, "job %d", i)}
		}
		_, err := jobs.AppendBatch(t.Context(), recs, topic.AppendTo(0))
		require.NoError(t, err)
		q := openQueue(t, e, group.OrderByKey(), group.Window(10), group.Lease(time.Hour))
		var loops sync.WaitGroup
		for range 2 {
			loops.Go(func() {
				for d, err := range q.Deliveries(t.Context()) {
					if err != nil {
						return
					}
					if d.Partition == 0 {
						time.Sleep(time.Minute)
					}
					d.Ack()
				}
			})
		}
		for i := range 20 {
			time.Sleep(time.Second)
			_, err := jobs.AppendBatch(t.Context(), []topic.Record{{Key: fmt.Appendf(nil, "other %d", i)}}, topic.AppendTo(1))
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		m := q.Metrics()
		assert.EqualValues(t, 20, m.Acknowledged, "of the other partition")
		assert.LessOrEqual(t, m.Open, 10+2*500)
		require.NoError(t, q.Close())
		loops.Wait()
	})
}

// A write of the state that fails while another waits its turn: what it held and what came meanwhile are in the next one.
func TestFailedStoreLosesNothingStaged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one", "two", "three")
		q := openQueue(t, e, group.MaxAttempts(5))
		var began sync.WaitGroup
		began.Add(3)
		writing, release := make(chan struct{}), make(chan struct{})
		handler := func(_ context.Context, d *group.Delivery) error {
			began.Done()
			began.Wait()
			switch string(d.Value) {
			case "one":
				e.Disk().Add(vfs.Rule{Op: vfs.OpWrite, Path: group.ShareStateTopic, Err: syscall.ENOSPC, Hook: func(vfs.Op, string) {
					close(writing)
					<-release
				}})
			default:
				<-writing
			}
			if string(d.Value) == "three" {
				return nil
			}
			return group.RetryAfter(time.Hour, errors.New("no "+string(d.Value)))
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- q.Run(ctx, 3, handler) }()
		<-writing
		synctest.Wait()
		close(release)
		synctest.Wait()
		time.Sleep(time.Minute)
		again := openQueue(t, e.Crash(topictest.LoseUnsynced), group.MaxAttempts(5))
		cancel()
		<-over
		list := entries(t, again)
		require.Len(t, list, 2)
		for i, value := range []string{"one", "two"} {
			assert.Equal(t, value, string(list[i].Value))
			assert.Equal(t, 1, list[i].Attempts)
			require.Len(t, list[i].Failed, 1)
			assert.Equal(t, "no "+value, list[i].Failed[0].Error)
			assert.False(t, list[i].Due.IsZero())
		}
	})
}

// Those who wait while a write of the state hangs share the next one. A write that has failed is not what a later call is told: that writes
// again.
func TestStoresAreShared(t *testing.T) {
	const jobs = 16
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		for range jobs {
			put(t, e, "job")
		}
		q := openQueue(t, e)
		var held []*group.Delivery
		drain(t, q, jobs, func(d *group.Delivery) {
			if held = append(held, d); len(held) < jobs {
				return
			}
			writes, release := 0, make(chan struct{})
			e.Disk().Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Hook: func(vfs.Op, string) {
				writes++
				<-release
			}})
			var flushes sync.WaitGroup
			for _, d := range held[:jobs/2] {
				flushes.Go(func() {
					d.Ack()
					assert.NoError(t, q.Flush())
				})
				synctest.Wait()
			}
			close(release)
			flushes.Wait()
			assert.Equal(t, 2, writes)
			e.Disk().Clear()
			for _, d := range held[jobs/2:] {
				e.Disk().Add(vfs.Rule{Op: vfs.OpWrite, Path: group.ShareStateTopic, Err: syscall.ENOSPC})
				d.Ack()
				require.ErrorIs(t, q.Flush(), topic.ErrNoSpace)
				require.NoError(t, q.Flush())
			}
		})
		again := openQueue(t, e.Crash(topictest.LoseUnsynced))
		require.Empty(t, entries(t, again))
	})
}
