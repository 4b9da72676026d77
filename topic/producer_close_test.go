package topic

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// closers are the ways in which a producer ends.
var closers = map[string]func(context.Context, *Engine, *Producer) error{
	"producer closed":    func(_ context.Context, _ *Engine, p *Producer) error { return p.Close() },
	"producer shut down": func(ctx context.Context, _ *Engine, p *Producer) error { return p.Shutdown(ctx) },
	"engine closed":      func(_ context.Context, e *Engine, _ *Producer) error { return e.Close() },
	"engine shut down":   func(ctx context.Context, e *Engine, _ *Producer) error { return e.Shutdown(ctx) },
}

// Everything that Send accepted is in the log after any way of closing, also after a power cut that follows.
func TestCloseDeliversAcceptedSends(t *testing.T) {
	for how, end := range closers {
		for kind, opts := range map[string][]ProducerOption{
			"default":       nil,
			"lingering":     {Linger(time.Minute), BatchSize(1 << 20)},
			"small batches": {BatchSize(100), MaxInFlight(1)},
			"acks none":     {Acks(None)},
		} {
			t.Run(how+"/"+kind, func(t *testing.T) {
				disk := vfs.NewCrash()
				e := openOn(t, disk)
				openTopic(t, e, "t", Partitions(3))
				p := clientProducer(t, e, opts...)
				var told atomic.Int64
				for i := range 1000 {
					var cb func(Position, error)
					if i%2 == 0 {
						cb = func(_ Position, err error) {
							assert.NoError(t, err)
							told.Add(1)
						}
					}
					require.NoError(t, p.Send(t.Context(), "t", numbered(i), cb))
				}
				require.NoError(t, end(t.Context(), e, p))
				assert.EqualValues(t, 500, told.Load(), "callbacks have run")
				require.NoError(t, e.Close())
				after := openOn(t, disk.After(vfs.KeepNone, 0))
				total := 0
				for _, list := range values(t, openTopic(t, after, "t")) {
					total += len(list)
				}
				assert.Equal(t, 1000, total)
			})
		}
	}
}

// What is to be delivered later is stored by any way of closing.
func TestCloseStoresDelayedSends(t *testing.T) {
	for how, end := range closers {
		t.Run(how, func(t *testing.T) {
			disk := vfs.NewCrash()
			e := openOn(t, disk)
			openTopic(t, e, "t")
			p := clientProducer(t, e)
			for i := range 100 {
				require.NoError(t, p.Send(t.Context(), "t", numbered(i), nil, DeliverAfter(time.Hour)))
			}
			require.NoError(t, end(t.Context(), e, p))
			require.NoError(t, e.Close())
			after := openOn(t, disk.After(vfs.KeepNone, 0))
			total := 0
			for _, err := range openTopic(t, after, "t").Scheduled(t.Context()) {
				require.NoError(t, err)
				total++
			}
			assert.Equal(t, 100, total)
		})
	}
}

// undelivered is the count in an error, which it must have.
func undelivered(t *testing.T, err error) *UndeliveredError {
	t.Helper()
	require.ErrorIs(t, err, ErrUndelivered)
	var e *UndeliveredError
	require.ErrorAs(t, err, &e)
	return e
}

// On a full disk Close tries for the delivery timeout and then counts what it could not deliver.
func TestCloseCountsWhatAFullDiskRefuses(t *testing.T) {
	for how, end := range closers {
		for _, kind := range []string{"sends", "delayed sends"} {
			t.Run(how+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e, disk := faultyEngine(t)
					clientTopic(t, e, "t")
					p := clientProducer(t, e, DeliveryTimeout(10*time.Second), BatchSize(100))
					var opts []AppendOption
					if kind == "delayed sends" {
						opts = []AppendOption{DeliverAfter(time.Hour)}
					}
					_, err := p.SendSync(t.Context(), "t", numbered(0), opts...)
					require.NoError(t, err)
					disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Err: syscall.ENOSPC})
					for i := range 100 {
						require.NoError(t, p.Send(t.Context(), "t", numbered(i), nil, opts...))
					}
					start := time.Now()
					err = end(t.Context(), e, p)
					lost := undelivered(t, err)
					assert.EqualValues(t, 100, lost.Records)
					assert.Zero(t, lost.Uncertain)
					assert.ErrorIs(t, err, syscall.ENOSPC)
					assert.LessOrEqual(t, time.Since(start), 11*time.Second)
				})
			})
		}
	}
}

// A disk that has room again within the delivery timeout takes everything.
func TestCloseWaitsForAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		top := clientTopic(t, e, "t")
		p := clientProducer(t, e)
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Err: syscall.ENOSPC})
		for i := range 10 {
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), nil))
		}
		time.AfterFunc(time.Minute, disk.Clear)
		require.NoError(t, p.Close())
		assert.Len(t, values(t, top)[0], 10)
	})
}

// A failure before Close is its error if there was nothing to tell it to, and only then.
func TestCloseTellsUntoldFailures(t *testing.T) {
	for name, c := range map[string]struct {
		opts []ProducerOption
		cb   func(Position, error)
		want int64
	}{
		"nothing to tell": {want: 1},
		"callback":        {cb: func(Position, error) {}},
		"on error":        {opts: []ProducerOption{OnError(func(Position, error) {})}},
		"interceptor":     {opts: []ProducerOption{Intercept(ProducerInterceptor{OnAck: func(Position, error) {}})}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := clientEngine(t)
				clientTopic(t, e, "t", MaxMessageBytes(300))
				p := clientProducer(t, e, c.opts...)
				require.NoError(t, p.Send(t.Context(), "t", Record{Value: make([]byte, 500)}, c.cb))
				require.NoError(t, p.Flush(t.Context()))
				err := p.Close()
				if c.want == 0 {
					require.NoError(t, err)
					return
				}
				assert.Equal(t, c.want, undelivered(t, err).Records)
				assert.ErrorIs(t, err, ErrTooLarge)
				assert.Equal(t, err, p.Close(), "and again")
				assert.NoError(t, e.Close(), "told once")
			})
		})
	}
}

// A context that ends first: the count, and every callback.
func TestShutdownBoundsDelivery(t *testing.T) {
	for _, how := range []string{"producer shut down", "engine shut down"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, disk := faultyEngine(t)
				clientTopic(t, e, "t")
				p := clientProducer(t, e, BatchSize(100))
				disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Err: syscall.ENOSPC})
				var got acks
				for i := range 50 {
					require.NoError(t, p.Send(t.Context(), "t", numbered(i), got.cb))
				}
				why := errors.New("enough")
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
				defer cancel()
				start := time.Now()
				err := closers[how](ctx, e, p)
				assert.ErrorIs(t, err, why)
				assert.EqualValues(t, 50, undelivered(t, err).Records)
				assert.Equal(t, time.Second, time.Since(start))
				require.Equal(t, 50, got.count())
				for _, err := range got.errs {
					assert.ErrorIs(t, err, ErrClosed)
				}
			})
		})
	}
}

// A disk that does not answer: within the delivery timeout, or soon after the context, the outcomes are told.
func TestProducerCloseWhileTheDiskHangs(t *testing.T) {
	for name, limit := range map[string]time.Duration{"close": 0, "shutdown": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, disk := faultyEngine(t)
				clientTopic(t, e, "t")
				p := clientProducer(t, e, DeliveryTimeout(20*time.Second))
				_, err := p.SendSync(t.Context(), "t", numbered(0))
				require.NoError(t, err)
				release := make(chan struct{})
				disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "t-0", Count: vfs.Forever, Hook: func(vfs.Op, string) { <-release }})
				var got acks
				require.NoError(t, p.Send(t.Context(), "t", numbered(1), got.cb))
				synctest.Wait()
				require.NoError(t, p.Send(t.Context(), "t", numbered(2), got.cb))
				synctest.Wait()
				start := time.Now()
				if limit > 0 {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					err = p.Shutdown(ctx)
					assert.LessOrEqual(t, time.Since(start), limit+lastGrace)
				} else {
					err = p.Close()
					assert.LessOrEqual(t, time.Since(start), 25*time.Second)
				}
				lost := undelivered(t, err)
				assert.EqualValues(t, 2, lost.Records)
				assert.EqualValues(t, 2, lost.Uncertain)
				require.Equal(t, 2, got.count(), "before it returns")
				assert.ErrorIs(t, got.errs[0], ErrUncertain)
				close(release)
				disk.Clear()
			})
		})
	}
}

// The same of delayed sends.
func TestCloseOfDelayedSendsWhileTheDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e, DeliveryTimeout(20*time.Second))
		_, err := p.SendSync(t.Context(), "t", numbered(0), DeliverAfter(time.Hour))
		require.NoError(t, err)
		release := make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpSync, Count: vfs.Forever, Hook: func(vfs.Op, string) { <-release }})
		go func() {
			_, _ = e.topics[DelayedTopic].Append(context.Background(), Record{}, AppendTo(levelPart(levelOf(time.Hour))))
		}()
		synctest.Wait()
		require.NoError(t, p.Send(t.Context(), "t", numbered(1), nil, DeliverAfter(time.Hour)))
		start := time.Now()
		err = p.Close()
		assert.EqualValues(t, 1, undelivered(t, err).Uncertain)
		assert.ErrorIs(t, err, ErrDeliveryTimeout)
		assert.Equal(t, 20*time.Second, time.Since(start))
		close(release)
		disk.Clear()
	})
}

// A callback closes its producer while more records wait behind it: they are delivered.
func TestCallbackClosesTheProducerBeforeMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t", Partitions(2))
		p := clientProducer(t, e, BatchSize(200), Linger(time.Minute))
		var got acks
		sent := make(chan struct{})
		for i := range 100 {
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), func(pos Position, err error) {
				if i == 0 {
					<-sent
					assert.NoError(t, p.Close())
				}
				got.cb(pos, err)
			}))
		}
		close(sent)
		synctest.Wait()
		assert.Equal(t, 100, got.count())
		total := 0
		for _, list := range values(t, top) {
			total += len(list)
		}
		assert.Equal(t, 100, total)
		e.mu.RLock()
		assert.Empty(t, e.members, "the engine forgets the producer")
		e.mu.RUnlock()
	})
}

// A callback closes the engine while more records wait behind it: Close does not wait for itself longer than the
// grace, counts what has no outcome, and every callback is called.
func TestCallbackClosesTheEngineBeforeMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t", Partitions(2))
		p := clientProducer(t, e, BatchSize(100), PartitionBy(Manual()))
		var got acks
		closed := make(chan error, 1)
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), func(pos Position, err error) {
			time.Sleep(time.Second)
			got.cb(pos, err)
			closed <- e.Close()
		}))
		synctest.Wait()
		for i := range 100 {
			rec := numbered(i)
			rec.Partition = int32(i % 2)
			require.NoError(t, p.Send(t.Context(), "t", rec, got.cb))
		}
		start := time.Now()
		err := <-closed
		assert.ErrorIs(t, err, ErrInCallback)
		assert.EqualValues(t, 50, undelivered(t, err).Records, "those of the other partition are delivered")
		assert.LessOrEqual(t, time.Since(start), 12*time.Second)
		synctest.Wait()
		assert.Equal(t, 101, got.count())
	})
}

// A callback of a delayed send closes the engine while more of them wait.
func TestDelayedCallbackClosesTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e)
		var got acks
		closed := make(chan error, 1)
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), func(pos Position, err error) {
			time.Sleep(time.Second)
			got.cb(pos, err)
			closed <- e.Close()
		}, DeliverAfter(time.Hour)))
		synctest.Wait()
		for i := range 10 {
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), got.cb, DeliverAfter(time.Hour)))
		}
		start := time.Now()
		err := <-closed
		assert.EqualValues(t, 10, undelivered(t, err).Records)
		assert.LessOrEqual(t, time.Since(start), 12*time.Second)
		synctest.Wait()
		assert.Equal(t, 11, got.count())
		assert.False(t, p.later.add(p, delayedSend{}), "no send comes in behind Close")
	})
}

// While the engine's Close delivers, no producer comes.
func TestCloseTakesNoNewProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e)
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Err: syscall.ENOSPC})
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), nil))
		closed := make(chan error, 1)
		go func() { closed <- e.Close() }()
		synctest.Wait()
		_, err := e.NewProducer()
		assert.ErrorIs(t, err, ErrClosed)
		require.Empty(t, closed)
		disk.Clear()
		assert.NoError(t, <-closed)
	})
}

// A callback that never returns, with records behind it, holds Close up for a bounded time.
func TestCloseWithRecordsBehindABlockedCallback(t *testing.T) {
	for how, end := range closers {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, err := Open("", InMemory())
				require.NoError(t, err)
				clientTopic(t, e, "t", Partitions(2))
				p := clientProducer(t, e, BatchSize(100), PartitionBy(Manual()))
				release := make(chan struct{})
				for i := range int32(2) {
					require.NoError(t, p.Send(t.Context(), "t", Record{Partition: i}, func(Position, error) { <-release }))
				}
				synctest.Wait()
				for i := range int32(100) {
					require.NoError(t, p.Send(t.Context(), "t", Record{Partition: i % 2}, nil))
				}
				start := time.Now()
				err = end(t.Context(), e, p)
				assert.LessOrEqual(t, time.Since(start), 2*closeGrace)
				lost := undelivered(t, err)
				assert.EqualValues(t, 100, lost.Records)
				assert.EqualValues(t, 100, lost.Uncertain)
				close(release)
				synctest.Wait()
				_ = e.Close()
			})
		})
	}
}

// An event function that runs on a producer's goroutine may close the engine.
func TestEventOnAProducersGoroutineClosesTheEngine(t *testing.T) {
	for kind, opts := range map[string][]AppendOption{"sends": nil, "delayed sends": {DeliverAfter(time.Hour)}} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var e *Engine
				var err error
				closed := make(chan error, 10)
				e, err = Open("", InMemory(), WithEvents(Events{PartitionOpened: func(OpenedFacts) { closed <- e.Close() }}))
				require.NoError(t, err)
				clientTopic(t, e, "t")
				p := clientProducer(t, e)
				var got acks
				require.NoError(t, p.Send(t.Context(), "t", numbered(0), got.cb, opts...))
				start := time.Now()
				<-closed
				assert.LessOrEqual(t, time.Since(start), 2*closeGrace)
				synctest.Wait()
				assert.Equal(t, 1, got.count())
				assert.ErrorIs(t, p.Send(t.Context(), "t", numbered(1), nil), ErrClosed)
			})
		})
	}
}
