package log

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, vfs.NewMem(), &Config{Replicated: true})
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(context.Background())
		type result struct {
			name string
			err  error
		}
		got := map[string]error{}
		results := make(chan result, 9)
		done := func() { r := <-results; got[r.name] = r.err }
		wait := func(name string, ctx context.Context, offset int64, b Bound) {
			go func() {
				results <- result{name, l.Wait(ctx, offset, b)}
			}()
			synctest.Wait()
		}
		wait("end 0", context.Background(), 0, End)
		put(t, l, "a")
		done()
		wait("high 0", context.Background(), 0, High)
		wait("stable 0", context.Background(), 0, Stable)
		wait("high 1", context.Background(), 1, High)
		wait("cancelled", ctx, 5, High)
		require.Len(t, got, 1)
		l.AdvanceHigh(1)
		done()
		done()
		synctest.Wait()
		cancel(why)
		done()
		put(t, l, "b")
		l.AdvanceHigh(99)
		done()
		require.ErrorIs(t, got["cancelled"], why)
		require.ErrorIs(t, got["cancelled"], context.Canceled)
		delete(got, "cancelled")
		require.Equal(t, map[string]error{"end 0": nil, "high 0": nil, "stable 0": nil, "high 1": nil}, got)
		require.NoError(t, l.Wait(ctx, 0, High), "what is there needs no context")
		require.NoError(t, l.Close())
	})
}

// watch has changes sent on ch, as far as it has room.
func watch(l *Log, ch chan<- struct{}) (stop func()) {
	w := &channel{ch}
	l.AddWatcher(w)
	return func() { l.RemoveWatcher(w) }
}

type channel struct{ ch chan<- struct{} }

func (c *channel) Changed() {
	select {
	case c.ch <- struct{}{}:
	default: // a token is waiting there already
	}
}

func TestWatch(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{})
	shared, other := make(chan struct{}, 1), make(chan struct{}, 1)
	stop := watch(l, shared)
	stopOther := watch(l, other)
	put(t, l, "a")
	put(t, l, "b")
	<-shared
	<-other
	stopOther()
	stopOther()
	require.Empty(t, shared, "never more than one token")
	_, err := l.DeleteRecords(1)
	require.NoError(t, err)
	<-shared
	require.Empty(t, other)
	require.NoError(t, l.Close())
	<-shared
	stop()
	require.Zero(t, l.watchers.count.Load())
}

// A record that comes between Wait's first look and its second is not waited for again: its
// round would stand still, since nothing else comes.
func TestWaitLooksAgain(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{})
	const rounds = 100_000
	var begun, ended atomic.Int64
	go func() {
		for offset := range int64(rounds) {
			begun.Store(offset + 1)
			if l.Wait(context.Background(), offset, End) == nil {
				ended.Store(offset + 1)
			}
		}
	}()
	for offset := range int64(rounds) {
		for begun.Load() <= offset {
			runtime.Gosched()
		}
		for spin := offset % 64; spin > 0 && begun.Load() > offset; spin-- { // meet it anywhere
		}
		l.end.Advance(offset + 1)
		for ended.Load() <= offset {
			runtime.Gosched()
		}
	}
	l.end.Store(0)
}

// A follower of a log whose level does not wait for the disk hears of each append.
func TestWatchAtAWeakLevel(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{Durability: OS})
	ch := make(chan struct{}, 1)
	defer watch(l, ch)()
	for range 3 {
		_, err := l.Append(t.Context(), batchOf(t, "v"), AppendOptions{})
		require.NoError(t, err)
		select {
		case <-ch:
		default:
			t.Fatal("nothing was sent")
		}
	}
}

// A record whose append has returned has been told of, also where the one that made it visible, a sync round or the writer that rolls, has
// not come to that yet when the other settles it.
func TestVisibleIsTold(t *testing.T) {
	settle := map[string]func(l *Log){
		"by a roll":  func(l *Log) { l.mu.Lock(); defer l.mu.Unlock(); l.tipSyncedLocked() },
		"by a round": func(l *Log) { require.NoError(t, l.Flush(t.Context())) },
	}
	for name, settle := range settle {
		l := openLog(t, vfs.NewMem(), &Config{})
		_, err := l.Append(t.Context(), batchOf(t, "v"), AppendOptions{NoWait: true})
		require.NoError(t, err)
		ch := make(chan struct{}, 1)
		stop := watch(l, ch)
		require.True(t, l.high.Advance(1), "%s: by the other, which goes on later", name)
		require.Empty(t, ch)
		settle(l)
		require.NoError(t, l.Commit(t.Context(), 1))
		require.Len(t, ch, 1, name)
		require.EqualValues(t, 1, l.Stable(), name)
		stop()
		require.NoError(t, l.Close())
	}
}
