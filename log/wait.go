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

// Watch sends on ch, without ever blocking, whenever the high watermark, the
// last stable offset or the start has changed, and when the log closes. Give ch a
// capacity of at least one; many logs may share it. stop ends the watch.
func (l *Log) Watch(ch chan<- struct{}) (stop func()) {
	return l.watchers.add(ch)
}

// keptWatchers is for how many watchers the memory is kept: those who follow a log come back
// each time they have read all there is.
const keptWatchers = 4

// watchers are the channels to notify. notify costs one load while there are none.
type watchers struct {
	count atomic.Int32
	last  uint32 // id of the newest; guarded by mu
	mu    sync.Mutex
	list  []watcher
}

type watcher struct {
	id uint32
	ch chan<- struct{}
}

func (w *watchers) add(ch chan<- struct{}) (stop func()) {
	w.mu.Lock()
	w.last++
	id := w.last
	w.list = append(w.list, watcher{id, ch})
	w.count.Store(int32(len(w.list)))
	w.mu.Unlock()
	return func() { w.remove(id) }
}

func (w *watchers) remove(id uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.list {
		if w.list[i].id == id {
			w.list = slices.Delete(w.list, i, i+1)
			break
		}
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
	for i := range w.list {
		select {
		case w.list[i].ch <- struct{}{}:
		default: // a token is waiting there already
		}
	}
}
