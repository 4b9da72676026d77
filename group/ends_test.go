package group_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// endRecords is how many records the topic of every case below has.
const endRecords = 6

// endLoop is one of the loops over records, with a handler for one record at a time. ctx is nil where a handler has none.
type endLoop struct {
	run      func(ctx context.Context, workers int) error
	close    func() error
	shutdown func(context.Context) error
	drain    func(context.Context) error
}

type endHandler func(ctx context.Context, offset int64) error

// loopKinds are all loops with workers. What is true of one at its end is true of all.
var loopKinds = map[string]func(t *testing.T, e *topictest.Engine, fn endHandler) endLoop{
	"Consumer.Run": func(t *testing.T, e *topictest.Engine, fn endHandler) endLoop {
		c := endMember(t, e)
		return endLoop{func(ctx context.Context, n int) error { return c.Run(ctx, n, oneByOne(fn)) }, c.Close, c.Shutdown, c.Drain}
	},
	"Consumer.RunByKey": func(t *testing.T, e *topictest.Engine, fn endHandler) endLoop {
		c := endMember(t, e)
		return endLoop{func(ctx context.Context, n int) error { return c.RunByKey(ctx, n, oneByOne(fn)) }, c.Close, c.Shutdown, c.Drain}
	},
	"Queue.Run": func(t *testing.T, e *topictest.Engine, fn endHandler) endLoop {
		q, err := group.OpenQueue(t.Context(), e.Engine, "ends", group.Backoff(0, 0), group.MaxAttempts(100))
		require.NoError(t, err)
		return endLoop{func(ctx context.Context, n int) error {
			return q.Run(ctx, n, func(ctx context.Context, d *group.Delivery) error { return fn(ctx, d.Offset) })
		}, q.Close, q.Shutdown, q.Drain}
	},
	"Router.Run": func(t *testing.T, e *topictest.Engine, fn endHandler) endLoop {
		route := group.ByFunc("copy", func(rec topic.Record) ([]topic.Record, error) {
			return []topic.Record{{Topic: "copies", Value: fmt.Append(nil, rec.Offset)}}, fn(nil, rec.Offset)
		})
		r, err := group.OpenRouter(t.Context(), e.Engine, "ends", group.From("ends"), group.Bind(route),
			group.JoinWith(group.ReadWith(topic.MaxPollRecords(1)), group.CommitEvery(0)))
		require.NoError(t, err)
		return endLoop{r.Run, r.Close, r.Shutdown, r.Drain}
	},
}

func endMember(t *testing.T, e *topictest.Engine) *group.Consumer {
	c, err := group.Join(t.Context(), e.Engine, "ends", group.Topics("ends"), group.CommitEvery(0), group.ReadWith(topic.MaxPollRecords(1)))
	require.NoError(t, err)
	return c
}

func oneByOne(fn endHandler) func(context.Context, *group.Batch) error {
	return func(ctx context.Context, b *group.Batch) error {
		for _, rec := range b.Records {
			if err := fn(ctx, rec.Offset); err != nil {
				return err
			}
		}
		return nil
	}
}

// endCase is a loop on its way to an end.
type endCase struct {
	*testing.T
	e     *topictest.Engine
	kind  string
	loop  endLoop
	ended chan error

	failed atomic.Bool
	fills  atomic.Int32
	mu     sync.Mutex
	done   map[int64]int // how often a record was handled with success
	told   []topic.LoopFacts
}

// eachLoop takes every kind of loop through a case. at is called for each record by the handler that begins in the case, a record counts as
// done when it returns nil; afterwards the power fails, and a loop that is undisturbed handles what is left: none of the records may be
// missing then, neither in what was handled nor in a router's copies.
func eachLoop(t *testing.T, at func(c *endCase, ctx context.Context, offset int64) error, play func(c *endCase)) {
	for kind, open := range loopKinds {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := &endCase{T: t, kind: kind, done: map[int64]int{}, ended: make(chan error, 1)}
				c.e = topictest.New(t, topic.WithEvents(topic.Events{Loop: c.tell}))
				tp := c.e.OpenTopic("ends")
				for i := range endRecords {
					_, err := tp.Append(t.Context(), topic.Record{Key: fmt.Append(nil, "k", i%2), Value: []byte("v")})
					require.NoError(t, err)
				}
				c.loop = open(t, c.e, func(ctx context.Context, offset int64) error {
					err := at(c, ctx, offset)
					if err == nil {
						c.count(offset)
					}
					return err
				})
				play(c)
				if p, err := c.e.Partition("ends", 0); err == nil && p.Topic().ID() == tp.ID() {
					c.nothingIsMissing(open)
				}
			})
		})
	}
}

func (c *endCase) tell(f topic.LoopFacts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, f)
}

func (c *endCase) count(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[offset]++
}

// handled is how many records were handled, and how often in all.
func (c *endCase) handled() (records, times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.done {
		times += n
	}
	return len(c.done), times
}

func (c *endCase) start(ctx context.Context, workers int) {
	go func() { c.ended <- c.loop.run(ctx, workers) }()
}

func (c *endCase) nothingIsMissing(open func(*testing.T, *topictest.Engine, endHandler) endLoop) {
	c.e.Crash(topictest.LoseUnsynced)
	loop := open(c.T, c.e, func(_ context.Context, offset int64) error {
		c.count(offset)
		return nil
	})
	ctx, stop := context.WithTimeout(c.Context(), 10*time.Minute)
	defer stop()
	require.ErrorIs(c, loop.run(ctx, 2), context.DeadlineExceeded)
	require.NoError(c, loop.close())
	records, _ := c.handled()
	require.Equal(c, endRecords, records, "each record is handled: %v", c.done)
	if c.kind == "Router.Run" {
		copies := map[string]bool{}
		for _, rec := range topictest.Records(c.T, c.e.OpenTopic("copies")) {
			copies[string(rec.Value)] = true
		}
		require.Len(c, copies, endRecords)
	}
}

// outcome is what Run has returned.
func (c *endCase) outcome() error {
	select {
	case err := <-c.ended:
		return err
	case <-time.After(time.Hour):
		require.Fail(c, "the loop does not end")
		return nil
	}
}

// A handler that fails, panics or ends its goroutine at its third record, once.
func TestLoopsWhoseHandlerFails(t *testing.T) {
	boom := errors.New("boom")
	panics := func(c *endCase, err error, value any) {
		var p *group.PanicError
		require.ErrorAs(c, err, &p)
		require.Equal(c, value, p.Value)
		require.Contains(c, string(p.Stack), "ends_test.go")
		require.Contains(c, p.Error(), "ends_test.go", "the text alone says where")
	}
	for _, end := range []struct {
		name string
		fail func() error
		is   func(c *endCase, err error)
		told bool
	}{
		{"error", func() error { return boom }, func(c *endCase, err error) { require.ErrorIs(c, err, boom) }, false},
		{"panic", func() error { panic("boom") }, func(c *endCase, err error) { panics(c, err, "boom") }, true},
		{"Goexit", func() error { runtime.Goexit(); return nil }, func(c *endCase, err error) { panics(c, err, nil) }, true},
	} {
		t.Run(end.name, func(t *testing.T) {
			at := func(c *endCase, _ context.Context, offset int64) error {
				if offset == 2 && c.failed.CompareAndSwap(false, true) {
					return end.fail()
				}
				return nil
			}
			eachLoop(t, at, func(c *endCase) {
				c.start(c.Context(), 1)
				time.Sleep(time.Minute)
				if c.kind == "Queue.Run" { // a failed attempt, and the queue goes on
					records, _ := c.handled()
					require.Equal(c, endRecords, records)
					require.NoError(c, c.loop.close())
					require.NoError(c, c.outcome())
				} else {
					err := c.outcome()
					end.is(c, err)
					if c.kind == "Router.Run" {
						var at *group.RouteError
						require.ErrorAs(c, err, &at)
						require.EqualValues(c, 2, at.Source.Offset)
					}
					c.start(c.Context(), 1) // another loop of the same member passes nothing over
					time.Sleep(time.Minute)
					records, _ := c.handled()
					require.Equal(c, endRecords, records)
					require.NoError(c, c.loop.close())
					require.NoError(c, c.outcome())
				}
				if end.told {
					require.Len(c, c.told, 1)
					require.Equal(c, topic.HandlerPanicked, c.told[0].What)
					require.Equal(c, "ends", c.told[0].Name)
					require.EqualValues(c, 2, c.told[0].Position.Offset)
					require.Contains(c, string(c.told[0].Stack), "ends_test.go")
					end.is(c, c.told[0].Err)
				} else {
					require.Empty(c, c.told)
				}
			})
		})
	}
}

// Ends that come from outside, while handlers are at work that take a second whatever they are told.
func TestLoopsThatAreEnded(t *testing.T) {
	why := errors.New("enough")
	for _, end := range []struct {
		name  string
		end   func(c *endCase, cancel context.CancelCauseFunc)
		want  []error // nil: none
		waits bool    // for the handlers, and what they did is not done again
	}{
		{"cancel", func(_ *endCase, cancel context.CancelCauseFunc) { cancel(why) }, []error{context.Canceled, why}, false},
		{"Close", func(c *endCase, _ context.CancelCauseFunc) { require.NoError(c, c.loop.close()) }, nil, false},
		{"Shutdown", func(c *endCase, _ context.CancelCauseFunc) { require.NoError(c, c.loop.shutdown(c.Context())) }, nil, true},
		{"Drain", func(c *endCase, _ context.CancelCauseFunc) { require.NoError(c, c.loop.drain(c.Context())) }, nil, true},
		{"engine's Close", func(c *endCase, _ context.CancelCauseFunc) { _ = c.e.Close() }, []error{topic.ErrClosed}, false},
		{"engine's Shutdown", func(c *endCase, _ context.CancelCauseFunc) { require.NoError(c, c.e.Shutdown(c.Context())) }, nil, true},
	} {
		t.Run(end.name, func(t *testing.T) {
			at := func(*endCase, context.Context, int64) error {
				time.Sleep(time.Second)
				return nil
			}
			eachLoop(t, at, func(c *endCase) {
				ctx, cancel := context.WithCancelCause(c.Context())
				defer cancel(nil)
				c.start(ctx, 2)
				time.Sleep(500 * time.Millisecond)
				end.end(c, cancel)
				if records, _ := c.handled(); end.waits {
					require.Positive(c, records, "it has waited")
				}
				err := c.outcome()
				if end.want == nil {
					require.NoError(c, err)
				}
				for _, want := range end.want {
					require.ErrorIs(c, err, want)
				}
				time.Sleep(time.Second) // handlers that a closed engine has not waited for
				before, _ := c.handled()
				require.Less(c, before, endRecords, "nothing more was taken")
				if end.waits {
					c.Cleanup(func() {
						records, times := c.handled()
						require.Equal(c, records, times, "nothing was done twice: %v", c.done)
					})
				}
			})
		})
	}
}

// Drain leaves handlers in peace, and Shutdown tells them; what gives up because it is told to is no failure, and is done again.
func TestLoopsTellTheirHandlers(t *testing.T) {
	for _, soft := range []bool{true, false} {
		t.Run(fmt.Sprint("soft ", soft), func(t *testing.T) {
			at := func(_ *endCase, ctx context.Context, _ int64) error {
				if ctx == nil { // a router's function
					time.Sleep(time.Second)
					return nil
				}
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(time.Second):
					return nil
				}
			}
			eachLoop(t, at, func(c *endCase) {
				c.start(c.Context(), 2)
				time.Sleep(500 * time.Millisecond)
				began := time.Now()
				if soft {
					require.NoError(c, c.loop.drain(c.Context()))
					require.Equal(c, 500*time.Millisecond, time.Since(began))
					records, _ := c.handled()
					require.Positive(c, records)
				} else {
					require.NoError(c, c.loop.shutdown(c.Context()))
					if c.kind != "Router.Run" {
						require.Zero(c, time.Since(began))
					}
				}
				require.NoError(c, c.outcome())
				require.Empty(c, c.told)
			})
		})
	}
}

// A Drain whose context ends closes: handlers are told then.
func TestDrainIsBounded(t *testing.T) {
	at := func(_ *endCase, ctx context.Context, _ int64) error {
		if ctx == nil {
			time.Sleep(time.Minute)
			return nil
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	eachLoop(t, at, func(c *endCase) {
		c.start(c.Context(), 2)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(c, c.loop.drain(ctx), context.DeadlineExceeded)
		require.Equal(c, 5*time.Second, time.Since(began))
		require.NoError(c, c.outcome())
	})
}

// A full disk holds every loop up, and when it has room again it goes on; both are told.
func TestLoopsOnAFullDiskThatHeals(t *testing.T) {
	at := func(c *endCase, _ context.Context, offset int64) error {
		if offset == 1 && c.fills.Add(1) <= 3 {
			c.e.FailWrites(0)
		}
		return nil
	}
	eachLoop(t, at, func(c *endCase) {
		c.start(c.Context(), 2)
		for range 4 { // the handler fills the disk again when it sees the record again
			time.Sleep(time.Minute)
			select {
			case err := <-c.ended:
				require.Fail(c, "the loop ended", "%v", err)
			default:
			}
			c.e.Heal()
		}
		time.Sleep(time.Minute)
		c.e.Heal()
		time.Sleep(time.Minute)
		records, _ := c.handled()
		require.Equal(c, endRecords, records)
		require.NoError(c, c.loop.shutdown(c.Context()))
		require.NoError(c, c.outcome())
		c.mu.Lock()
		defer c.mu.Unlock()
		var told []topic.LoopEvent
		for _, f := range c.told {
			told = append(told, f.What)
		}
		require.Contains(c, told, topic.AwaitsRoom)
		require.Equal(c, topic.FoundRoom, told[len(told)-1])
		require.Less(c, len(told), 20, "it is told once for each wait")
	})
}

// A topic that is deleted while handlers are at work: members and routers wait for one of the name, a queue is at its end.
func TestLoopsWhoseTopicIsDeleted(t *testing.T) {
	at := func(c *endCase, ctx context.Context, _ int64) error {
		time.Sleep(time.Second)
		if ctx != nil && c.kind != "Queue.Run" && c.failed.CompareAndSwap(false, true) {
			require.ErrorIs(c, context.Cause(ctx), group.ErrLost)
		}
		return nil
	}
	eachLoop(t, at, func(c *endCase) {
		c.start(c.Context(), 2)
		time.Sleep(500 * time.Millisecond)
		require.NoError(c, c.e.DeleteTopic(c.Context(), "ends"))
		synctest.Wait()
		tp := c.e.OpenTopic("ends")
		_, err := tp.Append(c.Context(), topic.Record{Value: []byte("anew")})
		require.NoError(c, err)
		if c.kind == "Queue.Run" {
			require.ErrorIs(c, c.outcome(), topic.ErrNotFound)
			return
		}
		time.Sleep(time.Minute)
		_, times := c.handled()
		require.GreaterOrEqual(c, times, 2, "the new topic's record")
		require.NoError(c, c.loop.shutdown(c.Context()))
		require.NoError(c, c.outcome())
	})
}
