package topic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bounded"
)

// ErrBufferFull: the producer's buffer memory stayed full for as long as [MaxBlock] allows. Nothing was sent.
var ErrBufferFull = errors.New("topic: producer buffer full")

// BufferFullError tells how long a Send waited for buffer memory. It matches [ErrBufferFull].
type BufferFullError struct {
	Want   int64         // bytes asked for
	Buffer int64         // bytes the producer may use
	Waited time.Duration // zero inside a callback, where waiting could be for ever
}

func (e *BufferFullError) Error() string {
	return fmt.Sprintf("topic: producer buffer full: no %d of %d bytes within %v", e.Want, e.Buffer, e.Waited)
}

// Is reports whether target is [ErrBufferFull].
func (e *BufferFullError) Is(target error) bool { return target == ErrBufferFull }

// budget shares a number of bytes out, first come first served. Waiters wait on a channel of their own,
// outside the mutex.
type budget struct {
	total int64

	mu      sync.Mutex
	free    int64 // below zero while callbacks have more than the budget
	waiting []*claim
	closed  bool
	waiters atomic.Int32 // len(waiting), for a look without the lock
}

// claim is one waiter; granted is guarded by budget.mu, ready is closed once it is set.
type claim struct {
	bytes   int64
	granted bool
	ready   chan struct{}
}

func newBudget(total int64) *budget { return &budget{total: total, free: total} }

// try takes n bytes if they are there and nobody waits for some.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) > 0 || b.free < n {
		return false
	}
	b.free -= n
	return true
}

// overdraw takes n bytes without waiting and past the queue, as much beyond the budget as the budget is:
// for callbacks, whose waiting would stop what they wait for.
func (b *budget) overdraw(n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free-n < -b.total {
		return &BufferFullError{Want: n, Buffer: b.total}
	}
	b.free -= n
	return nil
}

// wait takes n bytes, waiting in turn for at most the given time. n must not be above the total. short is called when
// they are not there at once.
func (b *budget) wait(ctx context.Context, n int64, most time.Duration, short func()) error {
	c, err := b.enqueue(n)
	if c == nil {
		return err
	}
	short()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-c.ready:
		return b.outcome(c, nil)
	case <-ctx.Done():
		return b.outcome(c, bounded.Cause(ctx))
	case <-timer.C:
		return b.outcome(c, &BufferFullError{Want: n, Buffer: b.total, Waited: most})
	}
}

// enqueue takes the bytes at once (and returns no claim) or queues a claim for them.
func (b *budget) enqueue(n int64) (*claim, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, ErrClosed
	case len(b.waiting) == 0 && b.free >= n:
		b.free -= n
		return nil, nil
	}
	c := &claim{bytes: n, ready: make(chan struct{})}
	b.waiting = append(b.waiting, c)
	b.waiters.Store(int32(len(b.waiting)))
	return c, nil
}

// outcome ends a claim: granted is granted, even if the wait ended for another reason at the same moment.
func (b *budget) outcome(c *claim, reason error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.granted {
		return nil
	}
	if i := slices.Index(b.waiting, c); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.waiters.Store(int32(len(b.waiting)))
		b.grantLocked() // the one behind may need less
	}
	if reason == nil {
		reason = ErrClosed
	}
	return reason
}

// release gives n bytes back and serves who waits.
func (b *budget) release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	b.grantLocked()
}

func (b *budget) grantLocked() {
	for len(b.waiting) > 0 && b.free >= b.waiting[0].bytes {
		c := b.waiting[0]
		b.waiting = slices.Delete(b.waiting, 0, 1)
		b.free -= c.bytes
		c.granted = true
		close(c.ready)
	}
	b.waiters.Store(int32(len(b.waiting)))
}

// close fails all who wait, and will wait, with ErrClosed.
func (b *budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, c := range b.waiting {
		close(c.ready)
	}
	b.waiting = nil
	b.waiters.Store(0)
}

// used is how many bytes are taken now.
func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free
}

// contended tells whether any Send waits.
func (b *budget) contended() bool { return b.waiters.Load() > 0 }
