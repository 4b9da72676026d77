package topic

import (
	"context"
	"sync"

	"github.com/quirelog/quire/internal/bounded"
)

// workers counts goroutines, so that somebody can wait, within limits, until there are none.
type workers struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n falls to zero; nil while nobody waits
}

func (w *workers) join() {
	w.mu.Lock()
	w.n++
	w.mu.Unlock()
}

func (w *workers) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 && w.none != nil {
		close(w.none)
		w.none = nil
	}
}

// wait returns when nobody is left, or with the cause of ctx.
func (w *workers) wait(ctx context.Context) error {
	w.mu.Lock()
	if w.n == 0 {
		w.mu.Unlock()
		return nil
	}
	if w.none == nil {
		w.none = make(chan struct{})
	}
	none := w.none
	w.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return bounded.Cause(ctx)
	}
}

// start runs a duty on a goroutine of the engine. Once the engine is closing it takes no more of them: then the
// producer's own Close, which the engine calls, is what waits for it. The duty has been counted among the workers
// by whoever claimed it.
func (p *Producer) start(f func()) {
	if !p.eng.goFunc(f) {
		go f()
	}
}
