package watermark

import (
	"context"
	"sync/atomic"

	"github.com/quirelog/quire/internal/bounded"
)

// Mark is a number one can wait for. The zero Mark is ready and holds 0. All
// methods may be called at once from any goroutine. A Mark must not be copied.
type Mark struct {
	value atomic.Int64
	// changed is closed by the next change; nil while nobody waits (I3).
	changed atomic.Pointer[chan struct{}]
}

// Load returns the current value.
func (m *Mark) Load() int64 { return m.value.Load() }

// Store sets the value, also to a smaller one, and wakes every waiter.
func (m *Mark) Store(v int64) {
	m.value.Store(v)
	m.Wake()
}

// Advance raises the value to v and wakes every waiter. It reports whether v
// was above the old value; a smaller or equal v changes nothing.
func (m *Mark) Advance(v int64) bool {
	for {
		old := m.value.Load()
		if v <= old {
			return false
		}
		if m.value.CompareAndSwap(old, v) {
			m.Wake()
			return true
		}
	}
}

// Wake wakes every waiter without a change, so that they look again at
// whatever else they depend on.
func (m *Mark) Wake() {
	// The value is stored before the channel is taken, and a waiter registers
	// its channel before it loads the value: one of the two sees the other (I2).
	if m.changed.Load() == nil {
		return
	}
	if ch := m.changed.Swap(nil); ch != nil {
		close(*ch)
	}
}

// Changed returns a channel that is closed at the next change after this call.
// Take the channel first and Load afterwards, else a change in between is missed.
func (m *Mark) Changed() <-chan struct{} {
	for {
		if ch := m.changed.Load(); ch != nil {
			return *ch
		}
		fresh := make(chan struct{})
		if m.changed.CompareAndSwap(nil, &fresh) {
			return fresh
		}
	}
}

// Wait waits until the value is at least minimum. It returns the context's cause when ctx
// ends first, and nil without looking at ctx when the value is there already.
func (m *Mark) Wait(ctx context.Context, minimum int64) error {
	for {
		if m.Load() >= minimum {
			return nil
		}
		ch := m.Changed()
		if m.Load() >= minimum {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return bounded.Cause(ctx)
		}
	}
}
