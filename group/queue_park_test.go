package group_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// loopEvents notes what the engine tells of loops.
type loopEvents struct {
	mu   sync.Mutex
	list []topic.LoopFacts
}

func (l *loopEvents) option() topic.Option {
	return topic.WithEvents(topic.Events{Loop: func(f topic.LoopFacts) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = append(l.list, f)
	}})
}

func (l *loopEvents) refused() (list []topic.LoopFacts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.list {
		if f.What == topic.DeadLetterRefused {
			list = append(list, f)
		}
	}
	return list
}

// entries lists a queue's unfinished records.
func entries(t testing.TB, q *group.Queue) (list []group.QueueEntry) {
	t.Helper()
	for e, err := range q.Entries(t.Context()) {
		require.NoError(t, err)
		list = append(list, e)
	}
	return list
}

// aside is what happens to a queue whose job "bad" dies while the topic of the dead letters is as refuse makes it: all others are done, the
// bad one is told of once, parked, kept over a restart, and a dead letter as soon as mend has made it possible.
func aside(t *testing.T, value []byte, want error, refuse, mend func(e *topictest.Engine)) {
	t.Helper()
	told := &loopEvents{}
	e := topictest.New(t, told.option())
	jobs := e.OpenTopic("jobs")
	refuse(e)
	ids := []string{"first", "bad", "last"}
	for _, id := range ids {
		r := topic.Record{Value: []byte(id)}
		if id == "bad" {
			r.Value = value
		}
		_, err := jobs.Append(t.Context(), r)
		require.NoError(t, err)
	}
	opts := []group.QueueOption{group.DeadLetter("jobs.dead"), group.OrderByKey(), group.Window(1)}
	work := func(_ context.Context, d *group.Delivery) error {
		if bytes.Equal(d.Value, value) {
			return group.Reject(errors.New("bad"))
		}
		return nil
	}
	q := openQueue(t, e, opts...)
	runFor(t, q, 2, time.Minute, work)
	m := q.Metrics()
	require.Equal(t, [3]int{1, 1, 2}, [3]int{m.Parked, m.Open, int(m.Acknowledged)})
	list := entries(t, q)
	require.Len(t, list, 1)
	require.Equal(t, group.EntryParked, list[0].State)
	require.ErrorIs(t, list[0].Refusal, want)
	require.Equal(t, value, list[0].Value)
	require.Equal(t, "bad", list[0].Failed[0].Error)
	require.Len(t, told.refused(), 1, "told once")
	require.Equal(t, topic.Position{Topic: "jobs", Offset: 1}, told.refused()[0].Position)
	require.ErrorIs(t, told.refused()[0].Err, want)

	e.Reopen()
	q = openQueue(t, e, opts...)
	runFor(t, q, 2, time.Minute, work)
	require.Equal(t, 1, q.Metrics().Parked)
	mend(e)
	runFor(t, q, 2, time.Hour, work)
	require.Equal(t, [2]int{}, [2]int{q.Metrics().Open, q.Metrics().Parked})
	letters := lettersIn(t, e)
	require.Len(t, letters, 1)
	require.Equal(t, value, letters[0].Value)
}

// lettersIn lists what there is of dead letters among other records.
func lettersIn(t testing.TB, e *topictest.Engine) (list []group.DeadRecord) {
	for rec, err := range e.OpenTopic("jobs.dead").Read(t.Context(), topic.UntilEnd()) {
		require.NoError(t, err)
		if d, ok := group.ParseDeadRecord(*rec); ok {
			list = append(list, d)
		}
	}
	return list
}

func alterDead(t *testing.T, opts ...topic.TopicOption) func(e *topictest.Engine) {
	return func(e *topictest.Engine) { require.NoError(t, e.AlterTopic(t.Context(), "jobs.dead", opts...)) }
}

func createDead(opts ...topic.TopicOption) func(e *topictest.Engine) {
	return func(e *topictest.Engine) { e.OpenTopic("jobs.dead", opts...) }
}

// A dead letter that is refused, for whatever reason, is no reason to stop.
func TestRefusedDeadLetterStopsNoOthers(t *testing.T) {
	for name, c := range map[string]struct {
		value        []byte
		want         error
		refuse, mend func(t *testing.T) func(e *topictest.Engine)
	}{
		"too large": {
			make([]byte, 1_048_516), topic.ErrTooLarge,
			func(*testing.T) func(*topictest.Engine) { return createDead() },
			func(t *testing.T) func(*topictest.Engine) { return alterDead(t, topic.MaxMessageBytes(2<<20)) },
		},
		"compacted, and no key": {
			[]byte("bad"), topic.ErrInvalidRecord,
			func(*testing.T) func(*topictest.Engine) { return createDead(topic.CleanupWith(topic.CleanupCompact)) },
			func(t *testing.T) func(*topictest.Engine) {
				return alterDead(t, topic.CleanupWith(topic.CleanupDelete))
			},
		},
		"over budget": {
			make([]byte, 3000), topic.ErrQuota,
			func(*testing.T) func(*topictest.Engine) { return createDead(topic.Budget(2000, topic.RefuseAppends)) },
			func(t *testing.T) func(*topictest.Engine) {
				return alterDead(t, topic.Budget(1<<20, topic.RefuseAppends))
			},
		},
		"over a budget that blocks": {
			make([]byte, 3000), context.DeadlineExceeded,
			func(t *testing.T) func(*topictest.Engine) {
				return func(e *topictest.Engine) {
					dead := e.OpenTopic("jobs.dead", topic.Budget(5000, topic.BlockAppends))
					_, err := dead.Append(t.Context(), topic.Record{Value: make([]byte, 3000)})
					require.NoError(t, err)
				}
			},
			func(t *testing.T) func(*topictest.Engine) {
				return alterDead(t, topic.Budget(1<<20, topic.BlockAppends))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) { aside(t, c.value, c.want, c.refuse(t), c.mend(t)) })
		})
	}
}

// A letter whose topic is deleted under it holds nothing up, and is written to the topic that takes its place.
func TestTopicOfDeadLettersIsDeletedUnderALetter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "bad", "good")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"))
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		ended := make(chan error)
		deleteUnder(t, e, "jobs.dead", func() {
			go func() {
				ended <- q.Run(ctx, 1, func(_ context.Context, d *group.Delivery) error {
					if string(d.Value) == "bad" {
						return group.Reject(nil)
					}
					return nil
				})
			}()
		})
		require.ErrorIs(t, <-ended, context.DeadlineExceeded)
		require.Len(t, deadLetters(t, e), 1)
		require.Zero(t, q.Metrics().Open)
	})
}

// A fence is its owner's word, as long as it stands.
func TestDeadLettersWaitBehindAFence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		p, err := e.OpenTopic("jobs.dead").Partition(0)
		require.NoError(t, err)
		require.NoError(t, p.Fence(errors.New("by its owner")))
		put(t, e, "bad", "good")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"))
		work := func(_ context.Context, d *group.Delivery) error {
			if string(d.Value) == "bad" {
				return group.Reject(nil)
			}
			return nil
		}
		runFor(t, q, 1, time.Minute, work)
		require.EqualValues(t, 1, q.Metrics().Acknowledged)
		require.ErrorIs(t, entries(t, q)[0].Refusal, topic.ErrFenced)
		lifted, err := p.Unfence()
		require.NoError(t, err)
		require.True(t, lifted)
		runFor(t, q, 1, time.Hour, work)
		require.Len(t, deadLetters(t, e), 1)
	})
}

// A topic of dead letters that the queue makes takes what the queue's topic takes.
func TestLargestRecordsBecomeDeadLetters(t *testing.T) {
	for _, size := range []int{1_048_516, 3 << 20} {
		inBubble(t, func(t *testing.T) {
			e := topictest.New(t)
			jobs := e.OpenTopic("jobs", topic.MaxMessageBytes(max(1_048_588, size+200)))
			_, err := jobs.Append(t.Context(), topic.Record{Value: make([]byte, size)})
			require.NoError(t, err)
			q := openQueue(t, e, group.DeadLetter("jobs.dead"))
			drain(t, q, 1, func(d *group.Delivery) { d.Reject(errors.New("no")) })
			runFor(t, q, 1, time.Second, func(context.Context, *group.Delivery) error { return nil })
			require.Zero(t, q.Metrics().Open)
			require.Len(t, deadLetters(t, e), 1)
		})
	}
}

// Parked records are put back on demand: those that are wanted, delivered as if for the first time.
func TestRedrivePutsParkedRecordsBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("jobs.dead", topic.CleanupWith(topic.CleanupCompact))
		put(t, e, "one", "two", "three")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"), group.MaxAttempts(2), group.Backoff(0, 0))
		fail := func(context.Context, *group.Delivery) error { return errors.New("no") }
		runFor(t, q, 2, time.Second, fail)
		require.Equal(t, 3, q.Metrics().Parked)
		n, err := q.Redrive(t.Context(), func(d group.DeadRecord) bool {
			require.Equal(t, 2, d.Deliveries)
			require.Len(t, d.Attempts, 2)
			require.Equal(t, []topic.Header{{Key: "trace", Value: []byte("t-" + string(d.Value))}}, d.Headers)
			return string(d.Value) != "two"
		})
		require.NoError(t, err)
		require.Equal(t, 2, n)
		e.Crash(topictest.LoseUnsynced)
		q = openQueue(t, e, group.DeadLetter("jobs.dead"), group.MaxAttempts(2))
		require.Equal(t, []string{"one", "three"}, drain(t, q, 2, func(d *group.Delivery) {
			require.Equal(t, 1, d.Attempt)
			d.Ack()
		}))
		runFor(t, q, 1, time.Second, fail)
		require.Equal(t, 1, q.Metrics().Parked)
		_, err = q.Redrive(t.Context(), func(group.DeadRecord) bool { panic("boom") })
		require.ErrorContains(t, err, "boom")
		require.Equal(t, 1, q.Metrics().Parked)
	})
}

// Dead records without a letter are put back whatever a queue is doing with them: while they rest, when their rest is over and no worker is
// there, while a worker tries to write their letters, before one has tried, and when the queue was opened anew.
func TestRedriveFindsEveryDeadRecordWithoutALetter(t *testing.T) {
	reject := func(context.Context, *group.Delivery) error { return group.Reject(nil) }
	rejected := func(t *testing.T, q *group.Queue) { drain(t, q, 3, func(d *group.Delivery) { d.Reject(nil) }) }
	for name, c := range map[string]struct {
		do     func(t *testing.T, e *topictest.Engine, q *group.Queue) *group.Queue
		parked int
	}{
		"resting": {func(t *testing.T, _ *topictest.Engine, q *group.Queue) *group.Queue {
			runFor(t, q, 2, time.Millisecond, reject)
			return q
		}, 3},
		"rested": {func(t *testing.T, _ *topictest.Engine, q *group.Queue) *group.Queue {
			runFor(t, q, 2, time.Millisecond, reject)
			time.Sleep(time.Minute)
			require.Len(t, entries(t, q), 3)
			return q
		}, 3},
		"not tried": {func(t *testing.T, _ *topictest.Engine, q *group.Queue) *group.Queue {
			rejected(t, q)
			return q
		}, 2},
		"opened anew": {func(t *testing.T, e *topictest.Engine, q *group.Queue) *group.Queue {
			rejected(t, q)
			e.Crash(topictest.LoseUnsynced)
			return openQueue(t, e, group.DeadLetter("jobs.dead"))
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				e := topictest.New(t)
				e.OpenTopic("jobs.dead", topic.CleanupWith(topic.CleanupCompact))
				put(t, e, "one", "two", "three")
				q := c.do(t, e, openQueue(t, e, group.DeadLetter("jobs.dead")))
				require.Equal(t, c.parked, q.Metrics().Parked)
				require.LessOrEqual(t, q.Metrics().Ready+q.Metrics().Parked, 3)
				n, err := q.Redrive(t.Context(), func(d group.DeadRecord) bool {
					_, err := q.Redrive(t.Context(), nil)
					require.ErrorIs(t, err, topic.ErrExists)
					return string(d.Value) != "two"
				})
				require.NoError(t, err)
				require.Equal(t, 2, n)
				require.Equal(t, []string{"one", "three"}, drain(t, q, 2, (*group.Delivery).Ack))
				n, err = q.Redrive(t.Context(), nil)
				require.NoError(t, err)
				require.Equal(t, 1, n)
			})
		})
	}
}

// A letter that is under way is waited for: it may be refused.
func TestRedriveWaitsForALetterThatIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		dead := e.OpenTopic("jobs.dead", topic.Budget(5000, topic.BlockAppends))
		_, err := dead.Append(t.Context(), topic.Record{Value: make([]byte, 3000)})
		require.NoError(t, err)
		jobs := e.OpenTopic("jobs")
		_, err = jobs.Append(t.Context(), topic.Record{Value: make([]byte, 3000)})
		require.NoError(t, err)
		q := openQueue(t, e, group.DeadLetter("jobs.dead"))
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error)
		tried := 0
		go func() {
			over <- q.Run(ctx, 1, func(context.Context, *group.Delivery) error {
				if tried++; tried > 1 {
					return nil
				}
				return group.Reject(nil)
			})
		}()
		time.Sleep(time.Second)
		require.Zero(t, q.Metrics().Parked)
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = q.Redrive(hasty, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		n, err := q.Redrive(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		time.Sleep(time.Second)
		require.Zero(t, q.Metrics().Open)
		stop()
		require.ErrorIs(t, <-over, context.Canceled)
		require.Equal(t, 2, tried)
	})
}

// "Retry for ever": what is kept of a record's attempts is bounded, so that its state always fits, and its dead letter too.
func TestHistoryOfARecordIsBounded(t *testing.T) {
	attempts := 3000
	if !testing.Short() {
		attempts = math.MaxInt16
	}
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one")
		q := openQueue(t, e, group.MaxAttempts(attempts), group.Backoff(0, 0), group.DeadLetter("jobs.dead"))
		n := 0
		runFor(t, q, 1, time.Second, func(_ context.Context, d *group.Delivery) error {
			n++
			return fmt.Errorf("%d %s", n, strings.Repeat("x", 480))
		})
		require.Equal(t, attempts, n)
		letters := deadLetters(t, e)
		require.Len(t, letters, 1)
		require.Equal(t, attempts, letters[0].Deliveries)
		var numbers []int
		for _, a := range letters[0].Attempts {
			numbers = append(numbers, a.Number)
		}
		last := attempts
		require.Equal(t, []int{1, 2, 3, 4, 5, last - 5, last - 4, last - 3, last - 2, last - 1, last}, numbers)
		require.Contains(t, letters[0].Attempts[5].Error, "not kept")
		require.True(t, strings.HasPrefix(letters[0].Attempts[10].Error, fmt.Sprint(last, " xxx")))
	})
}

// hostileError is one whose text is long, or cannot be made.
type hostileError func() string

func (f hostileError) Error() string { return f() }

// What handlers return is taken as it is: texts of megabytes, in the midst of a rune, panics in Error, and Error that asks the queue.
func TestHostileErrorsEndNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "long", "runes", "panics", "asks")
		q := openQueue(t, e, group.MaxAttempts(1), group.DeadLetter("jobs.dead"))
		runFor(t, q, 2, time.Minute, func(_ context.Context, d *group.Delivery) error {
			return map[string]error{
				"long":   errors.New(strings.Repeat("y", 3<<20)),
				"runes":  errors.New("x" + strings.Repeat("é", 400)),
				"panics": hostileError(func() string { panic("no text") }),
				"asks":   hostileError(func() string { return fmt.Sprint(q.Metrics().InFlight > 0) }),
			}[string(d.Value)]
		})
		texts := map[string]string{}
		for _, d := range deadLetters(t, e) {
			texts[string(d.Value)] = d.Attempts[0].Error
		}
		assert.Equal(t, map[string]string{
			"long": strings.Repeat("y", 512), "runes": "x" + strings.Repeat("é", 255), "panics": "error that cannot be printed", "asks": "true",
		}, texts)
	})
}

// Two queues that are each other's dead letters hand a record to and fro a bounded number of times, and then keep it.
func TestQueuesThatAreEachOthersDeadLettersEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "one")
		a := openQueue(t, e, group.DeadLetter("other"), group.MaxAttempts(1))
		b, err := group.OpenQueue(t.Context(), e.Engine, "other", group.DeadLetter("jobs"), group.MaxAttempts(1))
		require.NoError(t, err)
		var handled atomic.Int64
		fail := func(context.Context, *group.Delivery) error {
			handled.Add(1)
			return errors.New("no")
		}
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error, 2)
		for _, q := range []*group.Queue{a, b} {
			go func() { over <- q.Run(ctx, 2, fail) }()
		}
		time.Sleep(time.Hour)
		stop()
		for range 2 {
			require.ErrorIs(t, <-over, context.Canceled)
		}
		require.EqualValues(t, 17, handled.Load())
		list := slices.Concat(entries(t, a), entries(t, b))
		require.Len(t, list, 1)
		require.Equal(t, group.EntryParked, list[0].State)
		require.Equal(t, "one", string(list[0].Value))
	})
}

// Parked records are no part of the window, and what was done behind them is not read again.
func TestParkedRecordsHoldBackNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("jobs.dead", topic.CleanupWith(topic.CleanupCompact))
		jobs := e.OpenTopic("jobs")
		for range 30 {
			_, err := jobs.AppendBatch(t.Context(), make([]topic.Record, 100))
			require.NoError(t, err)
		}
		opts := []group.QueueOption{group.DeadLetter("jobs.dead"), group.Window(2), group.OrderByKey(), group.KeyBy(func(*topic.Record) []byte { return []byte("k") })}
		q := openQueue(t, e, opts...)
		runFor(t, q, 4, time.Minute, func(_ context.Context, d *group.Delivery) error {
			if d.Offset < 20 {
				return group.Reject(nil)
			}
			return nil
		})
		m := q.Metrics()
		require.Equal(t, [4]int{20, 20, 2980, 0}, [4]int{m.Parked, m.Open, int(m.Acknowledged), int(m.Backlog)})
		e.Reopen()
		jobs = e.OpenTopic("jobs")
		q = openQueue(t, e, opts...)
		put(t, e, "new")
		runFor(t, q, 4, time.Minute, func(_ context.Context, d *group.Delivery) error {
			assert.Equal(t, "new", string(d.Value))
			return nil
		})
		require.EqualValues(t, 1, q.Metrics().Acknowledged)
		require.Less(t, jobs.Metrics().RecordsOut, int64(1500))
	})
}

// Keys may be as long as records: they are not what fills the memory.
func TestLongKeysAreKeptShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		jobs := e.OpenTopic("jobs")
		for _, end := range []string{"a", "b", "a"} {
			_, err := jobs.Append(t.Context(), topic.Record{Key: []byte(strings.Repeat("k", 500_000) + end), Value: []byte(end)})
			require.NoError(t, err)
		}
		q := openQueue(t, e, group.OrderByKey())
		var states []group.EntryState
		for _, x := range entries(t, q) {
			states = append(states, x.State)
		}
		require.Equal(t, []group.EntryState{group.EntryReady, group.EntryReady, group.EntryBehind}, states)
	})
}

// A record that can be read no more fails as others do, and stops none of them.
func TestUnreadableRecordStopsNoOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := vfs.NewCrash()
		eng, err := topic.Open("data", topic.On(disk))
		require.NoError(t, err)
		defer eng.Close()
		jobs, err := eng.Topic(t.Context(), "jobs")
		require.NoError(t, err)
		for _, job := range []string{"rotten", "sound", "sound too"} {
			_, err := jobs.Append(t.Context(), topic.Record{Value: []byte(job)})
			require.NoError(t, err)
		}
		q, err := group.OpenQueue(t.Context(), eng, "jobs", group.MaxAttempts(3), group.DeadLetter("jobs.dead"))
		require.NoError(t, err)
		drain(t, q, 1, func(d *group.Delivery) { d.Retry(errors.New("once")) })
		file, err := disk.Open("data/jobs-0/00000000000000000000.log")
		require.NoError(t, err)
		_, err = file.WriteAt([]byte("XXXX"), 68)
		require.NoError(t, errors.Join(err, file.Close()))
		runFor(t, q, 2, time.Hour, func(_ context.Context, d *group.Delivery) error { return nil })
		require.EqualValues(t, 2, q.Metrics().Acknowledged)
		list := entries(t, q)
		require.Len(t, list, 1)
		require.Equal(t, group.EntryParked, list[0].State)
		require.ErrorIs(t, list[0].Refusal, topic.ErrCorrupt)
		require.Equal(t, 3, list[0].Attempts)
		require.Equal(t, "once", list[0].Failed[0].Error)
		n, err := q.Redrive(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

// A letter that the queue's topic does not take any more stays where it is, and those behind it are put back.
func TestRedriveGoesOnBehindALetterThatIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		put(t, e, "first", strings.Repeat("x", 5000), "last")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"))
		drain(t, q, 3, func(d *group.Delivery) { d.Reject(nil) })
		runFor(t, q, 1, time.Second, func(context.Context, *group.Delivery) error { return nil })
		require.NoError(t, e.AlterTopic(t.Context(), "jobs", topic.MaxMessageBytes(1000)))
		for _, want := range []int{2, 0} {
			n, err := q.Redrive(t.Context(), nil)
			require.ErrorIs(t, err, topic.ErrTooLarge)
			require.Equal(t, want, n)
		}
		require.Equal(t, []string{"first", "last"}, drain(t, q, 2, (*group.Delivery).Ack))
		require.NoError(t, e.AlterTopic(t.Context(), "jobs", topic.MaxMessageBytes(20_000)))
		n, err := q.Redrive(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}

// The workers that are there when a record is parked come back for it, also those that sleep by then.
func TestParkedRecordIsTriedAgainByThoseWhoAreThere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("jobs.dead", topic.CleanupWith(topic.CleanupCompact))
		e.OpenTopic("jobs")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"))
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error)
		go func() {
			over <- q.Run(ctx, 3, func(context.Context, *group.Delivery) error {
				time.Sleep(time.Second)
				return group.Reject(nil)
			})
		}()
		time.Sleep(time.Second)
		put(t, e, "bad")
		time.Sleep(time.Minute)
		require.Equal(t, 1, q.Metrics().Parked)
		require.NoError(t, e.AlterTopic(t.Context(), "jobs.dead", topic.CleanupWith(topic.CleanupDelete)))
		time.Sleep(10 * time.Minute)
		require.Zero(t, q.Metrics().Parked)
		require.Len(t, deadLetters(t, e), 1)
		stop()
		require.ErrorIs(t, <-over, context.Canceled)
	})
}

// A parked record has left its key; put back, it stands behind those that came to it meanwhile.
func TestRedrivenRecordStandsAtTheEndOfItsKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("jobs.dead", topic.Budget(100, topic.RefuseAppends))
		put(t, e, "k:bad", "k:next")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"), group.OrderByKey(), group.Lease(time.Hour))
		drain(t, q, 1, func(d *group.Delivery) { d.Reject(nil) })
		for d, err := range q.Deliveries(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, "k:next", string(d.Value))
			n, err := q.Redrive(t.Context(), nil)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			time.Sleep(30 * time.Minute)
			require.Equal(t, group.EntryBehind, entries(t, q)[0].State)
			d.Ack()
			break
		}
		require.Equal(t, []string{"k:bad"}, drain(t, q, 1, (*group.Delivery).Ack))
	})
}

// Redrive wakes those who sleep; and a record whose letter is taken while Redrive asks about it is put back once, as that letter.
func TestRedriveBesideWorkers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("jobs.dead", topic.CleanupWith(topic.CleanupCompact))
		put(t, e, "one", "two")
		q := openQueue(t, e, group.DeadLetter("jobs.dead"))
		seen := map[string]int{}
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error)
		go func() {
			over <- q.Run(ctx, 1, func(_ context.Context, d *group.Delivery) error {
				if seen[string(d.Value)]++; seen[string(d.Value)] == 1 {
					return group.Reject(nil)
				}
				return nil
			})
		}()
		time.Sleep(time.Hour)
		require.Equal(t, 2, q.Metrics().Parked)
		require.Less(t, e.OpenTopic("jobs.dead").Metrics().AppendErrors, int64(60), "ever more seldom")
		n, err := q.Redrive(t.Context(), func(d group.DeadRecord) bool { return string(d.Value) == "one" })
		require.NoError(t, err)
		require.Equal(t, 1, n)
		time.Sleep(time.Second)
		require.EqualValues(t, 1, q.Metrics().Acknowledged, "nothing but Redrive has woken the worker")
		n, err = q.Redrive(t.Context(), func(group.DeadRecord) bool {
			require.NoError(t, e.AlterTopic(t.Context(), "jobs.dead", topic.CleanupWith(topic.CleanupDelete)))
			time.Sleep(10 * time.Minute)
			return true
		})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		time.Sleep(time.Hour)
		require.Zero(t, q.Metrics().Open)
		stop()
		require.ErrorIs(t, <-over, context.Canceled)
		require.Equal(t, map[string]int{"one": 2, "two": 2}, seen)
	})
}

// A topic of the states that takes little at a time, since it was made so, is no reason to stop: its snapshots may not fit, what changes does.
func TestSmallStateTopicIsNoReasonToStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic(group.ShareStateTopic, topic.MaxMessageBytes(1200))
		jobs := e.OpenTopic("jobs")
		_, err := jobs.AppendBatch(t.Context(), make([]topic.Record, 1500))
		require.NoError(t, err)
		q := openQueue(t, e)
		drain(t, q, 1500, func(d *group.Delivery) {
			if d.Offset%2 == 0 {
				d.Retry(group.RetryAfter(time.Hour, errors.New(strings.Repeat("x", 600))))
				return
			}
			d.Ack()
		})
		require.NoError(t, q.Close())
		e.Reopen()
		q = openQueue(t, e)
		drain(t, q, 750, func(d *group.Delivery) {
			require.Zero(t, d.Offset%2)
			require.Equal(t, 2, d.Attempt)
			d.Ack()
		})
	})
}
