package group_test

import (
	"context"
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

// ends runs workers that hold a record each, and a loop, until the queue ends; it gives with what.
func ends(t testing.TB, q *group.Queue, end func()) (run, loop, answer error) {
	t.Helper()
	hold, over := make(chan *group.Delivery, 1), make(chan error, 2)
	go func() {
		over <- q.Run(t.Context(), 2, func(ctx context.Context, _ *group.Delivery) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	synctest.Wait()
	go func() {
		var last error
		for d, err := range q.Deliveries(t.Context()) {
			if last = err; err == nil {
				hold <- d
			}
		}
		over <- last
	}()
	d := <-hold
	synctest.Wait()
	end()
	first, second := <-over, <-over
	return first, second, d.Renew()
}

func TestDeletedQueueEndsAndBeginsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("jobs", topic.Partitions(3))
		put(t, e, "a:1", "b:1", "c:1", "d:1")
		q, other := openQueue(t, e), openQueue(t, e, group.QueueName("other"))
		drain(t, q, 1, (*group.Delivery).Ack)
		drain(t, other, 3, (*group.Delivery).Ack)
		run, loop, answer := ends(t, q, func() { require.NoError(t, group.DeleteQueue(t.Context(), e.Engine, "jobs", "jobs")) })
		for _, err := range []error{run, loop, answer} {
			require.ErrorIs(t, err, group.ErrGroupNotFound)
		}
		require.ErrorIs(t, answer, group.ErrInvalidRecordState)
		names, err := group.Queues(t.Context(), e.Engine, "jobs")
		require.NoError(t, err)
		assert.Equal(t, []string{"other"}, names)
		require.NoError(t, q.Close())
		_, err = q.Peek(t.Context(), 1)
		require.ErrorIs(t, err, group.ErrGroupNotFound)
		require.ErrorIs(t, group.DeleteQueue(t.Context(), e.Engine, "jobs", "jobs"), group.ErrGroupNotFound)
		require.ErrorIs(t, group.DeleteQueue(t.Context(), e.Engine, "nothing", "jobs"), topic.ErrNotFound)

		for range 2 {
			q = openQueue(t, e)
			assert.Len(t, drain(t, q, 4, func(d *group.Delivery) {
				assert.Equal(t, 1, d.Attempt)
				d.Retry(group.RetryAfter(time.Hour, nil))
			}), 4, "all are there again")
			require.NoError(t, q.Close())
			require.NoError(t, group.DeleteQueue(t.Context(), e.Engine, "jobs", "jobs"))
			e.Crash(topictest.LoseUnsynced)
		}
		openQueue(t, e, group.QueueName("an"))
		names, err = group.Queues(t.Context(), e.Engine, "jobs")
		require.NoError(t, err)
		assert.Equal(t, []string{"an", "other"}, names)
		other = openQueue(t, e, group.QueueName("other"))
		assert.Len(t, drain(t, other, 1, (*group.Delivery).Ack), 1, "the other queue is as it was")
		assert.Zero(t, other.Metrics().Open)
	})
}

func TestTopicDeletedUnderAQueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("jobs", topic.Partitions(2))
		put(t, e, "a:1", "b:1", "c:1", "d:1")
		q := openQueue(t, e, group.MaxAttempts(1))
		run, loop, answer := ends(t, q, func() { require.NoError(t, e.DeleteTopic(t.Context(), "jobs")) })
		for _, err := range []error{run, loop, answer} {
			require.ErrorIs(t, err, topic.ErrNotFound)
		}
		synctest.Wait()
		states := 0
		for rec, err := range e.OpenTopic(group.ShareStateTopic).Read(t.Context(), topic.UntilEnd()) {
			require.NoError(t, err)
			if rec.Value == nil {
				states++
			}
		}
		assert.Equal(t, 2, states, "tombstones of both partitions")

		// The next topic of that name has nothing of it, whether the queue is opened at once or later.
		for n := range 2 {
			e.OpenTopic("jobs")
			put(t, e, "new 1", "new 2")
			q = openQueue(t, e, group.MaxAttempts(1))
			assert.Equal(t, []string{"new 1", "new 2"}, drain(t, q, 2, (*group.Delivery).Ack))
			if n == 0 {
				require.NoError(t, q.Close())
				require.NoError(t, e.DeleteTopic(t.Context(), "jobs"))
				e.Reopen()
			}
		}
	})
}

// Partitions that come later are read, by those who sleep and by those who come, from their start.
func TestQueueTakesInNewPartitions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		tp := e.OpenTopic("jobs")
		q := openQueue(t, e, group.StartAt(topic.Latest))
		to := func(n int32) {
			_, err := tp.Append(t.Context(), topic.Record{Value: fmt.Append(nil, "in ", n)}, topic.AppendTo(n))
			require.NoError(t, err)
		}
		s := newShift()
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- q.Run(ctx, 3, s.job(0)) }()
		synctest.Wait()
		require.NoError(t, e.AlterTopic(t.Context(), "jobs", topic.Partitions(3)))
		synctest.Wait()
		to(2)
		synctest.Wait()
		assert.Equal(t, []string{"in 2 0s"}, s.log, "nothing else has woken them")
		to(1)
		to(0)
		synctest.Wait()
		assert.ElementsMatch(t, []string{"in 2 0s", "in 1 0s", "in 0 0s"}, s.log)
		stop()
		require.ErrorIs(t, <-over, context.Canceled)
		assert.Zero(t, q.Metrics().Backlog)

		// Nobody is there when it grows; or the queue is not even open.
		require.NoError(t, e.AlterTopic(t.Context(), "jobs", topic.Partitions(4)))
		to(3)
		assert.Equal(t, []string{"in 3"}, drain(t, q, 1, (*group.Delivery).Ack))
		require.NoError(t, q.Close())
		require.NoError(t, e.AlterTopic(t.Context(), "jobs", topic.Partitions(5)))
		to(4)
		q = openQueue(t, e, group.StartAt(topic.Latest))
		assert.Equal(t, []string{"in 4"}, drain(t, q, 1, (*group.Delivery).Ack), "the queue was there before the partition")
		assert.Zero(t, q.Metrics().Open)
	})
}

// Dead letters have a topic when the next one comes, whatever has become of it.
func TestDeadLettersAreMadeAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "first", "second", "last")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"))
		require.NoError(t, e.DeleteTopic(t.Context(), "jobs.dead"))
		drain(t, q, 3, func(d *group.Delivery) {
			if string(d.Value) == "last" {
				d.Ack()
				return
			}
			d.Reject(nil)
		})
		assert.Len(t, deadLetters(t, e), 2)
		n, err := q.Redrive(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 2, n)
	})
}
