package log

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quirelog/quire/internal/bounded"
)

// Wait waits until a record at offset, or after it, is visible under the bound.
// It returns the context's cause when ctx ends first and [ErrClosed] when the log closes.
func (l *Log) Wait(ctx context.Context, offset int64, b Bound) error {
	m := l.mark(b)
	for {
		if m.Load() > offset {
			return nil
		}
		changed := m.Changed()
		if m.Load() > offset {
			return nil
		}
		if l.closed.Load() {
			return ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return bounded.Cause(ctx)
		}
	}
}

// Watcher is told whenever the high watermark, the last stable offset or the start of a log has
// changed, and when the log closes; now and then also when nothing has. Changed is called with
// locks held, in the goroutine that makes the change: it must neither wait nor call the log.
type Watcher interface{ Changed() }

// AddWatcher has w told of changes until RemoveWatcher.
func (l *Log) AddWatcher(w Watcher) { l.watchers.add(w) }

// RemoveWatcher ends that: when it returns, w is not called any more.
func (l *Log) RemoveWatcher(w Watcher) { l.watchers.remove(w) }

// keptWatchers is for how many watchers the memory is kept: those who follow a log come back
// each time they have read all there is.
const keptWatchers = 4

// watchers are to be told of changes. notify costs one load while there are none.
type watchers struct {
	count atomic.Int32
	mu    sync.Mutex
	list  []Watcher
}

func (w *watchers) add(one Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, one)
	w.count.Store(int32(len(w.list)))
}

func (w *watchers) remove(one Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.list, one); i >= 0 {
		w.list = slices.Delete(w.list, i, i+1)
	}
	if len(w.list) == 0 && cap(w.list) > keptWatchers {
		w.list = nil
	}
	w.count.Store(int32(len(w.list)))
}

// notify tells every watcher that something changed.
func (w *watchers) notify() {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.list {
		one.Changed()
	}
}
