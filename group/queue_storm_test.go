package group_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// allowed are the errors that a queue may end with while its topic and itself are deleted and made again by others.
func allowed(err error) bool {
	for _, ok := range []error{nil, topic.ErrNotFound, topic.ErrExists, topic.ErrClosed, group.ErrGroupNotFound, group.ErrInvalidRecordState} {
		if errors.Is(err, ok) {
			return true
		}
	}
	return false
}

// Queues are opened, closed, deleted and looked at, topics grow, go and come again, and retention asks, all at once: everything ends, and with
// errors that say what has happened.
func TestQueuesInAStorm(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var wg sync.WaitGroup
		storm := func(seed uint64, most time.Duration, do func(rng *rand.Rand) error) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, 11))
				for ctx.Err() == nil {
					if err := do(rng); !allowed(err) && ctx.Err() == nil {
						t.Errorf("%d: %v", seed, err)
						stop()
					}
					time.Sleep(time.Duration(rng.Int64N(int64(most))))
				}
			})
		}
		jobs := func() (*topic.Topic, error) {
			return e.Topic(ctx, "jobs", topic.RetainUntilAcked("q0", "q1"), topic.SegmentBytes(500))
		}
		var handled atomic.Int64
		for n := range 2 {
			name := fmt.Sprint("q", n)
			storm(uint64(n), time.Second, func(rng *rand.Rand) error {
				if _, err := jobs(); err != nil {
					return err
				}
				q, err := group.OpenQueue(ctx, e.Engine, "jobs", group.QueueName(name), group.MaxInFlight(3), group.MaxInFlightPerKey(2))
				if err != nil {
					return err
				}
				span, cut := context.WithTimeout(ctx, time.Duration(rng.Int64N(int64(3*time.Second))))
				defer cut()
				err = q.Run(span, 4, func(context.Context, *group.Delivery) error {
					time.Sleep(10 * time.Millisecond)
					return nil
				})
				handled.Add(q.Metrics().Acknowledged)
				if span.Err() != nil && errors.Is(err, span.Err()) {
					err = nil
				}
				return errors.Join(err, q.Close())
			})
			storm(uint64(10+n), 4*time.Second, func(*rand.Rand) error { return group.DeleteQueue(ctx, e.Engine, "jobs", name) })
		}
		storm(20, 2*time.Second, func(rng *rand.Rand) error {
			if err := e.AlterTopic(ctx, "jobs", topic.Partitions(1+rng.IntN(4))); !errors.Is(err, topic.ErrInvalid) { // fewer than it has
				return err
			}
			return nil
		})
		storm(21, 5*time.Second, func(*rand.Rand) error { return e.DeleteTopic(ctx, "jobs") })
		storm(22, 300*time.Millisecond, func(*rand.Rand) error { return e.ApplyRetention(ctx) })
		storm(23, 20*time.Millisecond, func(rng *rand.Rand) error {
			tp, err := jobs()
			if err != nil {
				return err
			}
			_, err = tp.Append(ctx, topic.Record{Key: fmt.Append(nil, rng.IntN(5)), Value: make([]byte, 100)})
			return err
		})
		wg.Wait()
		require.Greater(t, handled.Load(), int64(100))
	})
}
