package topic

import "context"

// Attached is something that others build on an engine and that ends with it: package group keeps its queues so.
type Attached interface {
	// EndWithEngine is called once, when Close begins, while topics can still be written to: it finishes what is under way
	// until ctx ends, at most a few seconds, and lets nothing new begin.
	EndWithEngine(ctx context.Context) error
}

// Attach gives the value attached to the engine under key, which is a unless there was one before. Keys are compared with ==: take a type
// of your own for them, as with the keys of a context. ErrClosed after Close.
func (e *Engine) Attach(key any, a Attached) (Attached, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	for m := range e.members {
		if h, ok := m.c.(*attachment); ok && h.key == key {
			return h.a, nil
		}
	}
	e.members[&member{&attachment{key: key, a: a}}] = struct{}{}
	return a, nil
}

// attachment makes an Attached a member of the engine that takes its time to end.
type attachment struct {
	key any
	a   Attached
	err error
}

func (h *attachment) closeFromEngine() {}

func (h *attachment) settle(ctx context.Context) { h.err = h.a.EndWithEngine(ctx) }

func (h *attachment) gone(context.Context) error { return h.err }
