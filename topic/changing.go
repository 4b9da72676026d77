package topic

import (
	"context"
	"fmt"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// beginChange waits until the caller alone may create, alter or delete the topics of these names. Without an error the caller must call
// endChange. Changes of other topics go on meanwhile, and share writes and syncs.
func (e *Engine) beginChange(ctx context.Context, names ...string) error {
	if err := e.mayChange(ctx); err != nil {
		return err
	}
	for {
		busy, err := e.claimNames(names)
		if busy == nil || err != nil {
			return err
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return bounded.Cause(ctx)
		case <-e.closing:
			return ErrClosed
		}
	}
}

// claimNames claims all names, or gives what to wait for.
func (e *Engine) claimNames(names []string) (busy <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	for _, name := range names {
		if busy := e.changing[e.fold(name)]; busy != nil {
			return busy, nil
		}
	}
	done := make(chan struct{})
	for _, name := range names {
		e.changing[e.fold(name)] = done
	}
	return nil, nil
}

func (e *Engine) endChange(names ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	done := e.changing[e.fold(names[0])]
	for _, name := range names {
		delete(e.changing, e.fold(name))
	}
	close(done)
}

// changesDone waits for the changes of topics that are under way; the engine is closed and begins no others.
func (e *Engine) changesDone() {
	for {
		done := e.anyChange()
		if done == nil {
			return
		}
		<-done
	}
}

func (e *Engine) anyChange() chan struct{} {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, done := range e.changing {
		return done
	}
	return nil
}

// nameFree tells who else has a name, and finishes a deletion that still holds it. The caller has begun a change of the name.
func (e *Engine) nameFree(name string) error {
	e.mu.RLock()
	other, taken := e.folded[e.fold(name)]
	gone := e.removing[e.fold(name)]
	e.mu.RUnlock()
	switch {
	case taken && other == name:
		return fmt.Errorf("%w: topic %q", ErrExists, name)
	case taken:
		return e.taken(name, other)
	case gone == nil:
		return nil
	}
	return e.finishDelete(gone)
}

// collides tells whether a topic of another name stands in the way of this one.
func (e *Engine) collides(name string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	other, taken := e.folded[e.fold(name)]
	return taken && other != name
}

func (e *Engine) publish(t *Topic) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.topics[t.name] = t
	e.folded[e.fold(t.name)] = t.name
}

// unpublish makes the topic of a removal unknown; its name is not free yet.
func (e *Engine) unpublish(r *removal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.topics, r.name)
	delete(e.folded, e.fold(r.name))
	e.removing[e.fold(r.name)] = r
}

// nameFreed notes that nothing has the name of a deleted topic any more.
func (e *Engine) nameFreed(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.removing, e.fold(name))
}

// manifest is the catalog at this moment.
func (e *Engine) manifest() *catalog.Manifest {
	if e.readOnly {
		m := *e.found
		m.Topics = append([]catalog.Topic(nil), m.Topics...)
		return &m
	}
	return e.catalog.Manifest()
}
