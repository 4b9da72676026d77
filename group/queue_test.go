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
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

func openQueue(t testing.TB, e *topictest.Engine, opts ...group.QueueOption) *group.Queue {
	t.Helper()
	q, err := group.OpenQueue(t.Context(), e.Engine, "jobs", opts...)
	require.NoError(t, err)
	return q
}

// put appends jobs; a job "a:1" has the key "a".
func put(t testing.TB, e *topictest.Engine, jobs ...string) {
	t.Helper()
	tp := e.OpenTopic("jobs")
	for _, job := range jobs {
		r := topic.Record{Value: []byte(job), Headers: []topic.Header{{Key: "trace", Value: []byte("t-" + job)}}}
		if len(job) > 1 && job[1] == ':' {
			r.Key = []byte(job[:1])
		}
		_, err := tp.Append(t.Context(), r)
		require.NoError(t, err)
	}
}

// drain takes n deliveries.
func drain(t testing.TB, q *group.Queue, n int, do func(d *group.Delivery)) (got []string) {
	t.Helper()
	for d, err := range q.Deliveries(t.Context()) {
		require.NoError(t, err)
		got = append(got, string(d.Value))
		do(d)
		if len(got) == n {
			break
		}
	}
	return got
}

func inBubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestQueueDeliversOnceAndRemembersItOverACleanStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one", "two", "three")
		q := openQueue(t, e)
		assert.Equal(t, []string{"one", "two"}, drain(t, q, 2, (*group.Delivery).Ack))
		e.Reopen()
		q = openQueue(t, e)
		assert.Equal(t, []string{"three"}, drain(t, q, 1, func(d *group.Delivery) {
			assert.Equal(t, 1, d.Attempt)
			d.Ack()
		}))
		m := q.Metrics()
		assert.Zero(t, m.Open)
		assert.Zero(t, m.Backlog)
	})
}

func TestQueueIsOpenOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		q := openQueue(t, e)
		_, err := group.OpenQueue(t.Context(), e.Engine, "jobs")
		require.ErrorIs(t, err, topic.ErrExists)
		other := openQueue(t, e, group.QueueName("other"))
		put(t, e, "one")
		assert.Equal(t, []string{"one"}, drain(t, q, 1, (*group.Delivery).Ack))
		assert.Equal(t, []string{"one"}, drain(t, other, 1, (*group.Delivery).Ack), "each queue has every record")
		require.NoError(t, q.Close())
		require.NoError(t, q.Close())
		openQueue(t, e)
	})
}

func TestQueueRefusesFaultyOptionsAllAtOnce(t *testing.T) {
	e := topictest.New(t)
	_, err := group.OpenQueue(t.Context(), e.Engine, "jobs", group.Lease(0), group.MaxAttempts(0), group.Backoff(2, 1), group.Window(0), group.DeadLetter("jobs"))
	require.ErrorIs(t, err, topic.ErrInvalid)
	for _, part := range []string{"lease", "attempts", "backoff", "window", "dead letters"} {
		assert.ErrorContains(t, err, part)
	}
	for _, dead := range []string{group.ShareStateTopic, "no topic!"} {
		_, err := group.OpenQueue(t.Context(), e.Engine, "jobs", group.DeadLetter(dead))
		require.ErrorIs(t, err, topic.ErrInvalid)
	}
}

func TestLeaseEndsAndTheLateAnswerIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one")
		q := openQueue(t, e, group.Lease(10*time.Second))
		began := time.Now()
		var first *group.Delivery
		var seen []string
		for d, err := range q.Deliveries(t.Context()) {
			var late *group.AckError
			switch {
			case errors.As(err, &late):
				require.ErrorIs(t, err, group.ErrInvalidRecordState)
				seen = append(seen, fmt.Sprintf("attempt %d refused", late.Attempt))
				put(t, e, "end")
			case err != nil:
				require.NoError(t, err)
			case d.Attempt == 1 && first == nil:
				first = d
			case d.Attempt == 2:
				assert.Equal(t, 10*time.Second, time.Since(began), "the lease ends to the nanosecond")
				first.Ack()
				require.Error(t, first.Renew())
				d.Ack()
				seen = append(seen, "second acknowledged")
			}
			if d != nil && string(d.Value) == "end" {
				d.Ack()
				break
			}
		}
		assert.Equal(t, []string{"second acknowledged", "attempt 1 refused"}, seen)
	})
}

func TestRenewedLeaseHolds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one")
		q := openQueue(t, e, group.Lease(10*time.Second))
		drain(t, q, 1, func(d *group.Delivery) {
			for range 5 {
				time.Sleep(9 * time.Second)
				require.NoError(t, d.Renew())
			}
			d.Ack()
		})
		assert.EqualValues(t, 1, q.Metrics().Acknowledged)
		assert.Zero(t, q.Metrics().Expired)
	})
}

func TestFailedAttemptsRestAndEndAmongTheDeadLetters(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "k:job")
		q := openQueue(t, e, group.MaxAttempts(3), group.Backoff(time.Second, 10*time.Second), group.DeadLetter("jobs.dead"))
		began := time.Now()
		var times []time.Duration
		ctx, stop := context.WithCancel(t.Context())
		err := q.Run(ctx, 2, func(_ context.Context, d *group.Delivery) error {
			times = append(times, time.Since(began))
			switch d.Attempt {
			case 1:
				return errors.New("no luck")
			case 2:
				return group.RetryAfter(7*time.Second, errors.New("throttled"))
			}
			time.AfterFunc(time.Minute, stop)
			panic("boom")
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, times, 3)
		assert.Zero(t, times[0])
		assert.GreaterOrEqual(t, times[1], 500*time.Millisecond)
		assert.LessOrEqual(t, times[1], time.Second)
		assert.Equal(t, times[1]+7*time.Second, times[2])

		letters := deadLetters(t, e)
		require.Len(t, letters, 1)
		l := letters[0]
		assert.Equal(t, "k:job", string(l.Value))
		assert.Equal(t, "k", string(l.Key))
		assert.Equal(t, []topic.Header{{Key: "trace", Value: []byte("t-k:job")}}, l.Headers)
		assert.Equal(t, group.MaxAttemptsReached, l.Reason)
		assert.Equal(t, "jobs", l.Queue)
		assert.Equal(t, "jobs/0@0", topic.Position{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset}.String())
		require.Len(t, l.Attempts, 3)
		assert.Equal(t, "no luck", l.Attempts[0].Error)
		assert.Equal(t, "throttled", l.Attempts[1].Error)
		assert.Contains(t, l.Attempts[2].Error, "boom")
		for i, a := range l.Attempts {
			assert.Equal(t, i+1, a.Number)
			assert.WithinDuration(t, began.Add(times[i]), a.Time, time.Millisecond)
		}
	})
}

func deadLetters(t testing.TB, e *topictest.Engine) (list []group.DeadRecord) {
	t.Helper()
	for rec, err := range e.OpenTopic("jobs.dead").Read(t.Context(), topic.UntilEnd()) {
		require.NoError(t, err)
		d, ok := group.ParseDeadRecord(*rec)
		require.True(t, ok)
		list = append(list, d)
	}
	return list
}

func TestRejectedRecordIsDeadAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "bad", "good")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"))
		drain(t, q, 2, func(d *group.Delivery) {
			if string(d.Value) == "bad" {
				d.Reject(errors.New("not an image"))
				return
			}
			d.Ack()
		})
		require.NoError(t, q.Flush())
		// The letter is written by whoever takes the next record.
		put(t, e, "last")
		drain(t, q, 1, (*group.Delivery).Ack)
		letters := deadLetters(t, e)
		require.Len(t, letters, 1)
		assert.Equal(t, group.Rejected, letters[0].Reason)
		assert.Equal(t, "not an image", letters[0].Attempts[0].Error)
	})
}

func TestAttemptsAndRestSurviveACrash(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one")
		opts := []group.QueueOption{group.MaxAttempts(3), group.DeadLetter("jobs.dead")}
		q := openQueue(t, e, opts...)
		drain(t, q, 1, func(d *group.Delivery) { d.Retry(group.RetryAfter(time.Hour, errors.New("first"))) })
		began := time.Now()
		e.Crash(topictest.LoseUnsynced)
		q = openQueue(t, e, opts...)
		for d, err := range q.Deliveries(t.Context()) {
			require.NoError(t, err)
			assert.Equal(t, 2, d.Attempt)
			assert.WithinDuration(t, began.Add(time.Hour), time.Now(), time.Millisecond)
			e.Crash(topictest.LoseUnsynced) // in the middle of its second attempt
			break
		}
		q = openQueue(t, e, opts...)
		drain(t, q, 1, func(d *group.Delivery) {
			assert.Equal(t, 3, d.Attempt)
			d.Retry(errors.New("third"))
		})
		put(t, e, "end")
		drain(t, q, 1, (*group.Delivery).Ack)
		letters := deadLetters(t, e)
		require.Len(t, letters, 1)
		require.Len(t, letters[0].Attempts, 3)
		assert.Equal(t, "first", letters[0].Attempts[0].Error)
		assert.Contains(t, letters[0].Attempts[1].Error, "not known")
		assert.Equal(t, "third", letters[0].Attempts[2].Error)
	})
}

func TestOrderByKeyHoldsBackOnlyItsKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "a:1", "a:2", "b:1", "b:2")
		q := openQueue(t, e, group.OrderByKey(), group.Backoff(time.Second, time.Second))
		failed := false
		got := drain(t, q, 5, func(d *group.Delivery) {
			if string(d.Value) == "a:1" && !failed {
				failed = true
				d.Retry(errors.New("again"))
				return
			}
			d.Ack()
		})
		assert.Equal(t, []string{"a:1", "b:1", "b:2", "a:1", "a:2"}, got)
	})
}

func TestPriorityGoesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "low", "low", "urgent", "low")
		q := openQueue(t, e, group.Priority(func(r *topic.Record) int { return len(r.Value) }))
		assert.Equal(t, []string{"urgent", "low", "low", "low"}, drain(t, q, 4, (*group.Delivery).Ack))
	})
}

func TestWaitersAreWokenAndShareTheWork(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		q := openQueue(t, e)
		busy, most, done := 0, 0, 0
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error)
		var mu = make(chan struct{}, 1)
		go func() {
			over <- q.Run(ctx, 4, func(context.Context, *group.Delivery) error {
				mu <- struct{}{}
				busy++
				most = max(most, busy)
				<-mu
				time.Sleep(time.Second)
				mu <- struct{}{}
				busy--
				done++
				<-mu
				return nil
			})
		}()
		synctest.Wait()
		began := time.Now()
		put(t, e, "one", "two", "three", "four", "five", "six", "seven", "eight")
		synctest.Wait()
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 8, done, "four at a time take two seconds, %v", time.Since(began))
		assert.Equal(t, 4, most)
		stop()
		require.ErrorIs(t, <-over, context.Canceled)
	})
}

func TestLoopEndsWithItsEngine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		q := openQueue(t, e)
		over := make(chan error, 2)
		go func() { over <- q.Run(t.Context(), 3, func(context.Context, *group.Delivery) error { return nil }) }()
		go func() {
			for _, err := range q.Deliveries(t.Context()) {
				over <- err
			}
		}()
		synctest.Wait()
		e.Reopen()
		require.ErrorIs(t, <-over, topic.ErrClosed)
		require.ErrorIs(t, <-over, topic.ErrClosed)
	})
}

func TestStoppedRunCountsNothingAgainstARecord(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one")
		q := openQueue(t, e)
		ctx, stop := context.WithCancel(t.Context())
		require.ErrorIs(t, q.Run(ctx, 1, func(ctx context.Context, _ *group.Delivery) error {
			stop()
			return context.Cause(ctx)
		}), context.Canceled)
		drain(t, q, 1, func(d *group.Delivery) {
			assert.Equal(t, 1, d.Attempt)
			d.Ack()
		})
	})
}

func TestLogStartBeyondTheQueueEndsWhatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one", "two", "three", "four")
		q := openQueue(t, e)
		p, err := e.OpenTopic("jobs").Partition(0)
		require.NoError(t, err)
		got := drain(t, q, 2, func(d *group.Delivery) {
			if d.Offset == 0 {
				_, err := p.DeleteRecords(t.Context(), 3)
				require.NoError(t, err)
			}
			d.Ack()
		})
		assert.Equal(t, []string{"one", "four"}, got)
		assert.EqualValues(t, 2, q.Metrics().Vanished)
		assert.Zero(t, q.Metrics().Open)
	})
}

// Metrics show what time and retention have done though no loop has looked since.
func TestMetricsShowWhatIsDue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one", "two", "three")
		q := openQueue(t, e, group.Lease(time.Second))
		p, err := e.OpenTopic("jobs").Partition(0)
		require.NoError(t, err)
		drain(t, q, 2, func(d *group.Delivery) {
			if d.Offset == 0 {
				d.Retry(group.RetryAfter(time.Minute, nil))
				return
			}
			m := q.Metrics()
			assert.Equal(t, []int{1, 1, 1}, []int{m.Resting, m.InFlight, m.Ready})
			time.Sleep(time.Hour)
			m = q.Metrics()
			assert.Equal(t, []int{0, 0, 3}, []int{m.Resting, m.InFlight, m.Ready})
			assert.EqualValues(t, 1, m.Expired)
			_, err := p.DeleteRecords(t.Context(), 2)
			require.NoError(t, err)
			m = q.Metrics()
			assert.EqualValues(t, 2, m.Vanished)
			assert.Equal(t, 1, m.Open)
		})
		require.NoError(t, q.Close())
		assert.Equal(t, 1, q.Metrics().Open)
	})
}

func TestRedrivePutsBackWhatIsWantedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "a:bad", "b:bad", "c:good")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"))
		drain(t, q, 3, func(d *group.Delivery) {
			if string(d.Value) == "c:good" {
				d.Ack()
				return
			}
			d.Reject(errors.New("no"))
		})
		put(t, e, "d:good")
		drain(t, q, 1, (*group.Delivery).Ack)
		onlyB := func(d group.DeadRecord) bool { return string(d.Key) == "b" && d.Reason == group.Rejected }
		for _, want := range []int{1, 0} {
			n, err := q.Redrive(t.Context(), onlyB)
			require.NoError(t, err)
			assert.Equal(t, want, n)
		}
		e.Crash(topictest.LoseUnsynced)
		q = openQueue(t, e, group.DeadLetter("jobs.dead"))
		n, err := q.Redrive(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		got := drain(t, q, 2, func(d *group.Delivery) {
			assert.Equal(t, 1, d.Attempt)
			assert.Equal(t, []topic.Header{{Key: "trace", Value: []byte("t-" + string(d.Value))}}, d.Headers)
			d.Ack()
		})
		assert.Equal(t, []string{"b:bad", "a:bad"}, got)

		_, err = openQueue(t, e, group.QueueName("plain")).Redrive(t.Context(), nil)
		require.ErrorIs(t, err, topic.ErrInvalid)
		n, err = q.Redrive(t.Context(), func(group.DeadRecord) bool { panic("boom") })
		require.NoError(t, err, "nothing is left to ask about")
		assert.Zero(t, n)
	})
}

func TestDiskFaultsLoseNoAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one", "two")
		q := openQueue(t, e)
		var fault error
		for d, err := range q.Deliveries(t.Context()) {
			if err != nil {
				fault = err
				break
			}
			d.Ack()
			e.Disk().Add(vfs.Rule{Op: vfs.OpWrite, Count: vfs.Forever})
		}
		require.Error(t, fault, "the loop says that the answer is not stored")
		require.Error(t, q.Flush())
		e.Crash(topictest.LoseUnsynced)
		q = openQueue(t, e)
		assert.Equal(t, []string{"one", "two"}, drain(t, q, 2, (*group.Delivery).Ack))
		require.NoError(t, q.Close())
	})
}

func TestIdleQueueHasNoTimer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one")
		q := openQueue(t, e)
		drain(t, q, 1, (*group.Delivery).Ack)
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- q.Run(ctx, 3, func(context.Context, *group.Delivery) error { return nil }) }()
		began := time.Now()
		time.Sleep(24 * time.Hour)
		before := e.Metrics()
		time.Sleep(24 * time.Hour)
		assert.Equal(t, before, e.Metrics(), "nothing happens in a day")
		stop()
		require.ErrorIs(t, <-over, context.Canceled)
		assert.Equal(t, 48*time.Hour, time.Since(began))
	})
}
