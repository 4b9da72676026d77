package bounded

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// MostAlone is how many calls of a Calls go on without a caller before others wait to begin: each may hold a thread of the operating system.
const MostAlone = 64

// Calls are calls that may hang. The zero Calls is ready. A Calls must not be copied.
type Calls struct {
	mu    sync.Mutex
	alone int           // go on without a caller
	ended chan struct{} // closed when one of them has ended; nil while none waits for that
}

// Outcome is what has become of a call.
type Outcome int8

const (
	Ended    Outcome = iota // it has returned
	Alone                   // the context has ended; the call goes on, and what it uses belongs to it until it ends
	NotBegun                // the context ended before: the call never runs
)

// Run calls f and waits until it has returned; when ctx cannot end, that is all. Otherwise f runs in a goroutine of its own,
// and when ctx ends first, Run waits at most grace more.
func (c *Calls) Run(ctx context.Context, grace time.Duration, f func()) Outcome {
	if ctx.Done() == nil {
		f()
		return Ended
	}
	if !c.admit(ctx) {
		return NotBegun
	}
	k := &call{calls: c, done: make(chan struct{})}
	go k.run(f)
	select {
	case <-k.done:
	case <-ctx.Done():
		if !k.endsWithin(grace) && k.leaveAlone() {
			return Alone
		}
		<-k.done
	}
	k.hand()
	return Ended
}

// Do is Run for a call with results. Unless the call has ended, the error is the cause of ctx.
func Do[T any](ctx context.Context, c *Calls, grace time.Duration, f func() (T, error)) (T, Outcome, error) {
	if ctx.Done() == nil {
		v, err := f()
		return v, Ended, err
	}
	got := new(struct {
		v   T
		err error
	})
	if out := c.Run(ctx, grace, func() { got.v, got.err = f() }); out != Ended {
		var none T
		return none, out, Cause(ctx)
	}
	return got.v, Ended, got.err
}

// Err is Do for a call that gives nothing but an error.
func Err(ctx context.Context, c *Calls, grace time.Duration, f func() error) (Outcome, error) {
	_, out, err := Do(ctx, c, grace, func() (struct{}, error) { return struct{}{}, f() })
	return out, err
}

// admit waits until one more call may come to go on alone; false when ctx ends first.
func (c *Calls) admit(ctx context.Context) bool {
	for ctx.Err() == nil {
		c.mu.Lock()
		if c.alone < MostAlone {
			c.mu.Unlock()
			return true
		}
		ended := c.endedLocked()
		c.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
	return false
}

// Wait waits until no call goes on alone, or returns the cause of ctx.
func (c *Calls) Wait(ctx context.Context) error {
	for {
		c.mu.Lock()
		if c.alone == 0 {
			c.mu.Unlock()
			return nil
		}
		ended := c.endedLocked()
		c.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			return Cause(ctx)
		}
	}
}

func (c *Calls) endedLocked() <-chan struct{} {
	if c.ended == nil {
		c.ended = make(chan struct{})
	}
	return c.ended
}

// call is one call on its way. over and alone are guarded by calls.mu.
type call struct {
	calls    *Calls
	done     chan struct{}
	over     bool
	alone    bool
	returned bool // set before done is closed, as is panicked
	panicked any
}

func (k *call) run(f func()) {
	defer k.end()
	f()
	k.returned = true
}

// end hands the outcome over, or drops it when none waits.
func (k *call) end() {
	if !k.returned {
		k.panicked = recover()
	}
	c := k.calls
	c.mu.Lock()
	k.over = true
	if k.alone {
		c.alone--
		if c.ended != nil {
			close(c.ended)
			c.ended = nil
		}
	}
	c.mu.Unlock()
	close(k.done)
}

// endsWithin waits for the end of the call.
func (k *call) endsWithin(grace time.Duration) bool {
	if grace <= 0 {
		return false
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-k.done:
		return true
	case <-timer.C:
		return false
	}
}

// leaveAlone lets the call go on without its caller, unless it has ended.
func (k *call) leaveAlone() bool {
	k.calls.mu.Lock()
	defer k.calls.mu.Unlock()
	if k.over {
		return false
	}
	k.alone = true
	k.calls.alone++
	return true
}

// hand gives a panic or Goexit of the call to its caller.
func (k *call) hand() {
	switch {
	case k.returned:
	case k.panicked != nil:
		panic(k.panicked)
	default:
		runtime.Goexit()
	}
}
