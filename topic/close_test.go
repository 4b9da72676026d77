package topic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeMember is a producer or consumer as the engine sees it.
type fakeMember struct {
	closed  atomic.Int32
	drained atomic.Int32
	onClose func()
}

func (f *fakeMember) closeFromEngine() {
	f.closed.Add(1)
	if f.onClose != nil {
		f.onClose()
	}
}

func (f *fakeMember) drainFromEngine(ctx context.Context) error {
	f.drained.Add(1)
	return context.Cause(ctx)
}

func TestCloseEndsMembers(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	stays, goes := &fakeMember{}, &fakeMember{}
	stays.onClose = func() { assert.NoError(t, e.Close(), "a member may call Close again") }
	var wg sync.WaitGroup
	wg.Add(1)
	_, err := e.register(stays)
	require.NoError(t, err)
	unregister, err := e.register(goes)
	require.NoError(t, err)
	unregister()
	unregister()
	go func() {
		defer wg.Done()
		assert.NoError(t, e.Shutdown(t.Context()))
	}()
	wg.Wait()
	assert.EqualValues(t, 1, stays.closed.Load())
	assert.EqualValues(t, 1, stays.drained.Load())
	assert.Zero(t, goes.closed.Load())
}

func TestShutdownTellsWhatDidNotDrain(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	m := &fakeMember{}
	_, err := e.register(m)
	require.NoError(t, err)
	why := errors.New("late")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	assert.ErrorIs(t, e.Shutdown(ctx), why)
	assert.EqualValues(t, 1, m.closed.Load())
}

// Close may be called by any goroutine of the engine, and by any event function.
func TestCloseFromInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Open("", InMemory())
		require.NoError(t, err)
		inside, outside := make(chan error, 1), make(chan error, 1)
		other := make(chan struct{})
		require.True(t, e.goFunc(func() { // one that ends by itself
			<-e.closing
			time.Sleep(time.Second)
			close(other)
		}))
		require.True(t, e.goFunc(func() {
			inside <- e.Close()
			select {
			case <-other:
			default:
				t.Error("Close did not wait for the others")
			}
		}))
		synctest.Wait()
		go func() { outside <- e.Close() }()
		assert.NoError(t, <-inside)
		assert.NoError(t, <-outside)
		synctest.Wait() // the one that called Close ends after it
		assert.Zero(t, e.goroutines.size())
	})
	for name, events := range map[string]func(e **Engine) Events{
		"created": func(e **Engine) Events { return Events{TopicCreated: func(TopicFacts) { (*e).Close() }} },
		"opened":  func(e **Engine) Events { return Events{PartitionOpened: func(OpenedFacts) { (*e).Close() }} },
		"rolled":  func(e **Engine) Events { return Events{SegmentRolled: func(SegmentFacts) { (*e).Close() }} },
		"closed":  func(e **Engine) Events { return Events{Closed: func(error) { (*e).Close() }} },
		"panic":   func(e **Engine) Events { return Events{TopicCreated: func(TopicFacts) { panic("mine") }} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var e *Engine
				var err error
				e, err = Open("", InMemory(), WithEvents(events(&e)))
				require.NoError(t, err)
				tp, err := e.Topic(t.Context(), "orders", SegmentBytes(200), quick())
				require.NoError(t, err)
				for range 5 {
					if _, err = tp.Append(t.Context(), Record{Value: make([]byte, 100)}); err != nil {
						assert.ErrorIs(t, err, ErrClosed)
					}
					synctest.Wait()
				}
				require.NoError(t, e.Close())
			})
		})
	}
}

// A callback that never comes back does not hold Close up for ever.
func TestCloseWithBlockedCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Open("", InMemory())
		require.NoError(t, err)
		release := make(chan struct{})
		require.True(t, e.goFunc(func() { <-release }))
		began := time.Now()
		assert.Error(t, e.Close())
		assert.Equal(t, closeGrace, time.Since(began))
		close(release)
	})
}

func TestCloseDuringEverything(t *testing.T) {
	for range 20 {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "orders", Partitions(2))
		var wg sync.WaitGroup
		run := func(f func() error) {
			wg.Go(func() {
				for {
					if err := f(); err != nil {
						assert.ErrorIs(t, err, ErrClosed)
						return
					}
					runtime.Gosched() // on one processor too they take turns
				}
			})
		}
		n := 0
		run(func() error { _, err := tp.Append(context.Background(), Record{}); return err })
		run(func() error { return e.Flush(context.Background()) })
		run(func() error { return e.Checkpoint(context.Background()) })
		run(func() error { _, err := e.nextProducerID(); return err })
		run(func() error {
			n++
			_, err := e.Topic(context.Background(), fmt.Sprint("t", n))
			return err
		})
		run(func() error {
			raw, err := partitionOf(t, tp, 1).FetchRaw(context.Background(), 0, Fetch{MaxWait: time.Hour, MinBytes: 1 << 19})
			if err == nil {
				raw.Release()
			}
			return err
		})
		for range 50 { // let them all be somewhere
			runtime.Gosched()
		}
		require.NoError(t, e.Close())
		wg.Wait()
		assert.Zero(t, e.goroutines.size())
		assert.Zero(t, e.openFiles())
	}
}

// On a disk that fails Close returns, with the error, and does not claim a clean stop.
func TestCloseOnFailingDisk(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	e := openOn(t, fault)
	tp := openTopic(t, e, "orders", SyncEvery(time.Hour), Partitions(2))
	_, err := tp.Append(t.Context(), Record{})
	require.NoError(t, err)
	fault.Add(vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO, Count: vfs.Forever})
	assert.ErrorIs(t, e.Close(), syscall.EIO)
	assert.NotContains(t, filesIn(t, mem, "data"), cleanFile)
	again, err := Open("data", On(mem))
	require.NoError(t, err, "the lock is free")
	assert.False(t, again.startedOK)
	require.NoError(t, again.Close())
	assert.NotContains(t, filesIn(t, mem, "data"), cleanFile, "nobody has looked at the partitions yet")
	again = openOn(t, mem)
	for n := range int32(2) {
		require.NoError(t, partitionOf(t, openTopic(t, again, "orders"), n).Warm(t.Context()))
	}
	require.NoError(t, again.Close())
	assert.Contains(t, filesIn(t, mem, "data"), cleanFile)
}

func TestCloseMakesWeakLevelsDurable(t *testing.T) {
	disk := vfs.NewCrash()
	e := openOn(t, disk)
	_, err := openTopic(t, e, "orders", NoSync()).Append(t.Context(), Record{})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	after := openOn(t, disk.After(vfs.KeepNone, 0))
	assert.True(t, after.startedOK)
	assert.Len(t, stored(t, partitionOf(t, openTopic(t, after, "orders"), 0)), 1)
}

// However many producers have a callback that never returns, Close takes the one grace and says so; what others
// wait for the disk with is told as unknown before.
func TestCloseWithBlockedProducerCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Open("", InMemory())
		require.NoError(t, err)
		_, err = e.Topic(t.Context(), "orders")
		require.NoError(t, err)
		release := make(chan struct{})
		for range 3 {
			p, err := e.NewProducer()
			require.NoError(t, err)
			require.NoError(t, p.Send(t.Context(), "orders", Record{}, func(Position, error) { <-release }))
		}
		synctest.Wait()
		time.Sleep(time.Second) // past any linger
		began := time.Now()
		assert.ErrorContains(t, e.Close(), "callback")
		assert.Equal(t, closeGrace, time.Since(began))
		close(release)
	})
}

// A callback that takes its time, but less than the grace, is waited for.
func TestCloseWaitsForSlowCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Open("", InMemory())
		require.NoError(t, err)
		_, err = e.Topic(t.Context(), "orders")
		require.NoError(t, err)
		var returned atomic.Int32
		for range 3 {
			p, err := e.NewProducer()
			require.NoError(t, err)
			require.NoError(t, p.Send(t.Context(), "orders", Record{}, func(Position, error) {
				time.Sleep(closeGrace - time.Second)
				returned.Add(1)
			}))
			time.Sleep(100 * time.Millisecond)
		}
		assert.NoError(t, e.Close())
		assert.EqualValues(t, 3, returned.Load())
	})
}

// Close waits for calls that read all of the directory, which end with ErrClosed; one of them may make it.
func TestCloseWaitsForVerify(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, e *Engine, progress func(Progress)) error{
		"verify": func(ctx context.Context, e *Engine, progress func(Progress)) error {
			_, err := e.Verify(ctx, VerifyOptions{Progress: progress})
			return err
		},
		"scrub": func(ctx context.Context, e *Engine, progress func(Progress)) error {
			_, err := e.Scrub(ctx, ScrubOptions{Progress: progress})
			return err
		},
	} {
		for _, ctx := range []context.Context{context.Background(), nil} {
			synctest.Test(t, func(t *testing.T) {
				if ctx == nil { // one that can end
					ctx = t.Context()
				}
				stocked := func() *Engine {
					e := openOn(t, vfs.NewMem())
					tp := openTopic(t, e, "t", SegmentBytes(2<<20), quick())
					for range 12 {
						_, err := tp.Append(t.Context(), Record{Value: make([]byte, 1_000_000)}, AppendTo(0))
						require.NoError(t, err, name)
					}
					return e
				}
				e := stocked()
				ended, closed := make(chan error, 1), make(chan error, 1)
				begun, release := make(chan struct{}), make(chan struct{})
				go func() {
					ended <- call(ctx, e, func(Progress) {
						select {
						case <-begun:
						default:
							close(begun)
						}
						<-release
					})
				}()
				<-begun
				go func() { closed <- e.Close() }()
				synctest.Wait()
				require.Empty(t, closed, name)
				close(release)
				require.ErrorIs(t, <-ended, ErrClosed, name)
				require.NoError(t, <-closed, name)

				e = stocked()
				began := time.Now()
				err := call(ctx, e, func(Progress) { require.NoError(t, e.Close(), name) })
				require.ErrorIs(t, err, ErrClosed, name)
				require.Zero(t, time.Since(began), name)
			})
		}
	}
}

// What a call holds, or gets, when its context has ended goes back.
func TestNothingIsHeldForACallerThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Open("", InMemory())
		require.NoError(t, err)
		p := partitionOf(t, openTopic(t, e, "orders"), 0)
		appendTo(t, p, 1)
		ended, end := context.WithCancel(t.Context())
		end()
		freed := 0
		_, _, err = holding(ended, e, func() { freed++ }, func() (struct{}, error) { t.Error("runs"); return struct{}{}, nil })
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 1, freed)

		claimed := partitionOf(t, openTopic(t, e, "claimed"), 0)
		require.ErrorIs(t, claimed.Warm(ended), context.Canceled)
		require.NoError(t, claimed.Warm(t.Context()))

		slice, err := p.FetchRaw(t.Context(), 0, Fetch{})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = pinned(ctx, p, func() (*RawSlice, error) { time.Sleep(time.Minute); return slice, nil })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = slice.WriteTo(io.Discard)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		_, err = slice.WriteTo(io.Discard)
		require.Error(t, err, "released")

		require.NoError(t, e.Close())
		_, err = awaited(t.Context(), e, func() (struct{}, error) { t.Error("runs"); return struct{}{}, nil })
		require.ErrorIs(t, err, ErrClosed)
	})
}

// A read that goes on when its caller has left keeps what it reads with.
func TestReadThatIsLeftKeepsItsFinder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		p := partitionOf(t, openTopic(t, e, "orders"), 0)
		appendTo(t, p, 1)
		l, err := p.open()
		require.NoError(t, err)
		goOn := make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpRead, Path: "*.log", Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) { <-goOn }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		finder := new(log.Finder)
		_, err = p.get(ctx, l, &finder, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Nil(t, finder)
		close(goOn)
	})
}
