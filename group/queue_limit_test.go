package group_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// shift is what workers did: when each job began, and how many were under way at a time.
type shift struct {
	mu    sync.Mutex
	began time.Time
	log   []string
	busy  map[string]int // by key, "" is all
	most  map[string]int
	last  time.Duration // when the last one ended
}

func newShift() *shift {
	return &shift{began: time.Now(), busy: map[string]int{}, most: map[string]int{}}
}

// job is a handler that takes a time.
func (s *shift) job(takes time.Duration) func(context.Context, *group.Delivery) error {
	return func(_ context.Context, d *group.Delivery) error {
		s.note(d, 1)
		time.Sleep(takes)
		s.note(d, -1)
		return nil
	}
}

func (s *shift) note(d *group.Delivery, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range []string{"", string(d.Key)} {
		s.busy[key] += by
		s.most[key] = max(s.most[key], s.busy[key])
	}
	s.last = time.Since(s.began)
	if by > 0 {
		s.log = append(s.log, fmt.Sprintf("%s %v", d.Value, s.last))
	}
}

// runFor runs workers for a time.
func runFor(t testing.TB, q *group.Queue, workers int, span time.Duration, fn func(context.Context, *group.Delivery) error) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), span)
	defer stop()
	require.ErrorIs(t, q.Run(ctx, workers, fn), context.DeadlineExceeded)
}

func TestRateIsExactAndSharedByAll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		q := openQueue(t, e, group.Rate(2, 3))
		put(t, e, "1", "2", "3", "4", "5", "6")
		s := newShift()
		over := make(chan struct{})
		go func() {
			runFor(t, q, 2, time.Hour, s.job(0))
			close(over)
		}()
		runFor(t, q, 2, time.Hour, s.job(0))
		<-over
		at := func(list ...time.Duration) (want []string) {
			for i, d := range list {
				want = append(want, fmt.Sprintf("%d %v", i+1, d))
			}
			return want
		}
		half := 500 * time.Millisecond
		assert.ElementsMatch(t, at(0, 0, 0, half, 2*half, 3*half), s.log, "a full bucket, then one every half second")
		// An hour later there are three tokens and no more.
		put(t, e, "1", "2", "3", "4")
		s = newShift()
		runFor(t, q, 4, time.Minute, s.job(0))
		assert.ElementsMatch(t, at(0, 0, 0, half), s.log)
	})
}

func TestRateOfAKeyHoldsBackOnlyThatKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		q := openQueue(t, e, group.RatePerKey(1, 2))
		put(t, e, "a:1", "a:2", "a:3", "a:4", "b:1", "-", "b:2", "b:3", "-", "-")
		s := newShift()
		synctest.Wait()
		runFor(t, q, 3, 1500*time.Millisecond, s.job(0))
		assert.ElementsMatch(t, []string{"a:1 0s", "a:2 0s", "b:1 0s", "- 0s", "b:2 0s", "- 0s", "- 0s", "a:3 1s", "b:3 1s"}, s.log)
		m := q.Metrics()
		assert.Equal(t, 1, m.Limited, "a:4 waits for its key's token")
		assert.Zero(t, m.Ready)
		s = newShift()
		runFor(t, q, 1, time.Second, s.job(0))
		assert.Equal(t, []string{"a:4 500ms"}, s.log)
	})
}

func TestNoMoreInFlightThanAllowed(t *testing.T) {
	for _, c := range []struct {
		name      string
		opts      []group.QueueOption
		most      int
		mostOfKey int
		ends      time.Duration // 12 jobs of a second, of two keys
	}{
		{"of all", []group.QueueOption{group.MaxInFlight(3)}, 3, 3, 4 * time.Second},
		{"of a key", []group.QueueOption{group.MaxInFlightPerKey(2)}, 4, 2, 3 * time.Second},
		{"of both", []group.QueueOption{group.MaxInFlight(3), group.MaxInFlightPerKey(2)}, 3, 2, 4 * time.Second},
		{"and in order", []group.QueueOption{group.MaxInFlightPerKey(2), group.OrderByKey()}, 2, 1, 6 * time.Second},
		{"not limited", nil, 10, 6, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				e := topictest.New(t)
				q := openQueue(t, e, c.opts...)
				for n := range 6 {
					put(t, e, fmt.Sprint("a:", n), fmt.Sprint("b:", n))
				}
				s := newShift()
				runFor(t, q, 10, time.Hour, s.job(time.Second))
				assert.Equal(t, c.most, s.most[""])
				assert.LessOrEqual(t, max(s.most["a"], s.most["b"]), c.mostOfKey)
				assert.Equal(t, c.ends, s.last)
				assert.Len(t, s.log, 12)
				assert.Zero(t, q.Metrics().InFlight)
			})
		})
	}
}

// Whoever dies with a delivery in hand gives its place back when the lease ends.
func TestLeaseThatEndsMakesRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "lost", "next")
		q := openQueue(t, e, group.MaxInFlight(1), group.Lease(10*time.Second), group.MaxAttempts(1))
		began := time.Now()
		var got []string
		for d, err := range q.Deliveries(t.Context()) {
			if err != nil {
				require.ErrorIs(t, err, group.ErrInvalidRecordState)
				continue
			}
			got = append(got, fmt.Sprintf("%s %v", d.Value, time.Since(began)))
			if len(got) == 2 {
				d.Ack()
				break
			}
			assert.Equal(t, 1, q.Metrics().InFlight)
		}
		assert.Equal(t, []string{"lost 0s", "next 10s"}, got)
	})
}

// Attempts take tokens, dead letters do not.
func TestAttemptsTakeTokens(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "bad", "bad too")
		q := openQueue(t, e, group.Rate(1, 1), group.MaxAttempts(2), group.Backoff(0, 0), group.DeadLetter("jobs.dead"))
		s := newShift()
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, stop)
		require.ErrorIs(t, q.Run(ctx, 1, func(ctx context.Context, d *group.Delivery) error {
			_ = s.job(0)(ctx, d)
			return errors.New("no")
		}), context.Canceled)
		assert.Equal(t, []string{"bad 0s", "bad 1s", "bad too 2s", "bad too 3s"}, s.log)
		assert.Len(t, deadLetters(t, e), 2)
	})
}

func TestFaultyLimitsAreRefused(t *testing.T) {
	e := topictest.New(t)
	for _, opt := range []group.QueueOption{
		group.MaxInFlight(-1), group.MaxInFlightPerKey(-1), group.Rate(0, 1), group.Rate(-1, 1), group.Rate(1, 0), group.RatePerKey(1e-12, 1),
		group.RatePerKey(0.1, math.MaxInt), group.Rate(nan(), 1),
	} {
		_, err := group.OpenQueue(t.Context(), e.Engine, "jobs", opt)
		require.ErrorIs(t, err, topic.ErrInvalid)
	}
	require.NoError(t, openQueue(t, e, group.Rate(1e9, 1), group.RatePerKey(1e-6, 1), group.MaxInFlight(0)).Close())
}

func nan() float64 { zero := 0.0; return zero / zero }

// tenantOf is the part of a job before the colon.
func tenantOf(r *topic.Record) string { return string(r.Key) }

// A tenant's thousand jobs do not hold up another's one.
func TestTenantsTakeTurns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		for n := range 1000 {
			put(t, e, fmt.Sprint("a:", n))
		}
		put(t, e, "b:0", "b:1", "b:2", "c:0", "c:1")
		q := openQueue(t, e, group.FairBy(tenantOf))
		got := drain(t, q, 10, (*group.Delivery).Ack)
		assert.Equal(t, []string{"a:0", "b:0", "c:0", "a:1", "b:1", "c:1", "a:2", "b:2", "a:3", "a:4"}, got)
		put(t, e, "d:0", "b:3")
		assert.Equal(t, []string{"a:5", "d:0", "b:3", "a:6"}, drain(t, q, 4, (*group.Delivery).Ack))
	})
}

// Fairness looks as far as the window, and no further.
func TestFairnessEndsWithTheWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		for n := range 1000 {
			put(t, e, fmt.Sprint("a:", n))
		}
		put(t, e, "b:0")
		q := openQueue(t, e, group.FairBy(tenantOf), group.Window(100))
		got := drain(t, q, 1001, (*group.Delivery).Ack)
		// Records are read 500 at a time, while fewer than 100 are open: b's comes with the third read, after 901 of a's are done.
		assert.Equal(t, 902, slices.Index(got, "b:0"))
	})
}

func TestTenantsOfTheHighestPriorityTakeTurnsFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "a:1", "a:1", "a:2", "a:2", "b:1", "b:2", "c:2")
		q := openQueue(t, e, group.FairBy(tenantOf), group.Priority(func(r *topic.Record) int { return int(r.Value[2] - '0') }))
		assert.Equal(t, []string{"a:2", "b:2", "c:2", "a:2", "a:1", "b:1", "a:1"}, drain(t, q, 7, (*group.Delivery).Ack))
	})
}

// The most urgent of all that the window has room for is first, however far behind it lies.
func TestPriorityLooksThroughTheWholeWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		tp := e.OpenTopic("jobs")
		recs := make([]topic.Record, 2000)
		for n := range recs {
			recs[n] = topic.Record{Value: fmt.Append(nil, n), Headers: []topic.Header{{Key: "priority", Value: fmt.Append(nil, n/1000)}}}
		}
		recs[1999].Headers[0].Value = []byte("9")
		recs[5].Headers[0].Value = []byte("-3")
		recs[6].Headers[0].Value = []byte("none")
		_, err := tp.AppendBatch(t.Context(), recs)
		require.NoError(t, err)
		q := openQueue(t, e, group.Priority(group.ByHeader("priority")))
		got := drain(t, q, 2000, (*group.Delivery).Ack)
		assert.Equal(t, []string{"1999", "1000", "1001"}, got[:3])
		assert.Equal(t, "5", got[1999])
		assert.Equal(t, "6", got[1005], "what is no number is 0")
	})
}

// A callback that panics says nothing.
func TestCallbacksOfAQueueMayPanic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one", "two")
		q := openQueue(t, e, group.FairBy(func(*topic.Record) string { panic("boom") }), group.Priority(func(*topic.Record) int { panic("boom") }))
		assert.Equal(t, []string{"one", "two"}, drain(t, q, 2, (*group.Delivery).Ack))
	})
}

// A queue that nobody waits at has no timer, however empty its buckets are; nor does one whose workers wait for records.
func TestIdleLimitsCostNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		q := openQueue(t, e, group.Rate(1e-3, 1), group.RatePerKey(1e-3, 1), group.MaxInFlight(1), group.FairBy(tenantOf))
		put(t, e, "a:1")
		s := newShift()
		runFor(t, q, 4, 365*24*time.Hour, s.job(0))
		assert.Equal(t, []string{"a:1 0s"}, s.log)
		put(t, e, "a:2", "b:1")
		runFor(t, q, 4, time.Second, s.job(0))
		assert.Len(t, s.log, 2)
		synctest.Wait()
		before := e.Metrics()
		time.Sleep(999 * time.Second)
		synctest.Wait()
		assert.Equal(t, before, e.Metrics())
		assert.Equal(t, 1, q.Metrics().Ready)
	})
}

// The key may be made of anything in the record.
func TestKeysOfOnesOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "a:x", "b:x", "c:y", "d:-", "e:x", "f:-")
		q := openQueue(t, e, group.OrderByKey(), group.KeyBy(func(r *topic.Record) []byte {
			if r.Value[2] == '-' {
				return nil
			}
			return r.Value[2:]
		}))
		s := newShift()
		runFor(t, q, 6, time.Minute, s.job(time.Second))
		assert.ElementsMatch(t, []string{"a:x 0s", "c:y 0s", "d:- 0s", "f:- 0s", "b:x 1s", "e:x 2s"}, s.log)
	})
}

func TestKeyFunctionThatPanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "a:1", "a:2", "b:1")
		q := openQueue(t, e, group.MaxInFlightPerKey(1), group.KeyBy(func(*topic.Record) []byte { panic("boom") }))
		s := newShift()
		runFor(t, q, 3, time.Minute, s.job(time.Second))
		assert.ElementsMatch(t, []string{"a:1 0s", "b:1 0s", "a:2 1s"}, s.log)
	})
}
