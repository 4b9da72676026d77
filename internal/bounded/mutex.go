package bounded

import (
	"context"
	"sync/atomic"

	"github.com/quirelog/quire/internal/invariant"
)

// Mutex is a mutex with a wait that a context can end. Those who wait are durably blocked in a testing/synctest bubble, so
// it may be held while a disk hangs. The zero Mutex is free. A Mutex must not be copied.
//
// It is one word: nil while it is free, thin while it is held and was never waited for, and for good what those who wait
// need from the first wait on.
type Mutex struct{ state atomic.Pointer[queue] }

// queue is a mutex that was waited for.
type queue struct {
	held    atomic.Bool
	waiting atomic.Int32
	bell    waker // for one of those who wait to look
}

// waker wakes one who waits, at once or when it comes to wait.
type waker interface {
	ring()
	await(ctx context.Context) error
}

// bell has room for one token.
type bell chan struct{}

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

func (b bell) await(ctx context.Context) error {
	select {
	case <-b:
		return nil
	case <-ctx.Done():
		return Cause(ctx)
	}
}

// thin stands for a holder that none has waited for. It has no bell: it is every mutex's.
var thin = new(queue)

// spins is how often Lock looks before it sleeps: a holder writes some bytes to the page cache, as a rule.
const spins = 64

// TryLock takes the mutex if it is free.
func (m *Mutex) TryLock() bool {
	switch q := m.state.Load(); q {
	case nil:
		return m.state.CompareAndSwap(nil, thin)
	case thin:
		return false
	default:
		return !q.held.Load() && q.held.CompareAndSwap(false, true)
	}
}

// Lock takes the mutex.
func (m *Mutex) Lock() {
	if !m.state.CompareAndSwap(nil, thin) {
		_ = m.wait(context.Background())
	}
}

// LockWithin takes the mutex, or returns the cause of ctx when that ends first.
func (m *Mutex) LockWithin(ctx context.Context) error {
	if m.state.CompareAndSwap(nil, thin) {
		return nil
	}
	return m.wait(ctx)
}

func (m *Mutex) wait(ctx context.Context) error {
	for range spins {
		if m.TryLock() {
			return nil
		}
	}
	q := m.inflate()
	if q == nil {
		return nil
	}
	q.waiting.Add(1)
	defer q.waiting.Add(-1)
	for !q.held.CompareAndSwap(false, true) {
		if err := q.bell.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// inflate gives the mutex a queue for its holder and those who wait. nil: it was free, and is the caller's now.
func (m *Mutex) inflate() *queue {
	for {
		switch q := m.state.Load(); q {
		case nil:
			if m.state.CompareAndSwap(nil, thin) {
				return nil
			}
		case thin:
			fresh := &queue{bell: make(bell, 1)}
			fresh.held.Store(true)
			if m.state.CompareAndSwap(thin, fresh) {
				return fresh
			}
		default:
			return q
		}
	}
}

// Unlock frees the mutex. One who waits counts itself before it looks whether the mutex is free, and Unlock frees it before
// it looks whether any waits: one of the two sees the other (I2).
func (m *Mutex) Unlock() {
	if m.state.CompareAndSwap(thin, nil) {
		return
	}
	q := m.state.Load()
	invariant.Check(q != nil, "bounded: unlock of a free mutex")
	q.held.Store(false)
	if q.waiting.Load() > 0 {
		q.bell.ring()
	}
}
