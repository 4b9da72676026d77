package timingwheel

import (
	"runtime/debug"
	"sync"
	"time"
)

// Tick is the grain of a [Runner]: a timer fires at the first whole tick that is not before its time.
const Tick = time.Millisecond

// patience is how often the duty to run callbacks is looked at: who has not moved on since the last look hangs.
const patience = 10 * Tick

// Timer is an entry of a [Runner]: its Value is called when the time comes. Set Value before the first [Runner.After]
// and leave it alone while the timer is pending.
type Timer = Entry[func()]

// RunnerConfig is what a [Runner] may be told. The zero value is ready.
type RunnerConfig struct {
	// Go starts a goroutine that runs f; false says that it will not, and then nothing fires any more. An owner that
	// waits for its goroutines gives its own. Default: the go statement.
	Go func(f func()) bool
	// Panicked is told what a callback panicked with and where. Default: nobody is; the runner goes on either way.
	Panicked func(value any, stack []byte)
}

// Runner fires timers by itself: one wheel, asleep on one timer of package time until its next slot that is not
// empty. It has a goroutine only while callbacks run, and one timer of package time only while something is pending.
//
// Time is measured on the monotonic clock: neither setting the clock of the machine nor daylight saving moves a
// deadline. No callback runs early; it runs at most one [Tick] late, beside what the machine needs to wake up.
//
// Callbacks run one after the other, by deadline. One that takes longer than 20 ms holds up nobody: the others go on
// in another goroutine, at most one for each callback that hangs. One that panics, or ends its goroutine, ends alone.
// All methods may be called at once from any goroutine, also from callbacks.
type Runner struct {
	cfg     RunnerConfig
	origin  time.Time
	drainFn func()

	mu       sync.Mutex
	wheel    *Wheel[func()]
	timer    *time.Timer // made by the first timer
	armed    bool        // the timer is set and has not rung
	armedFor int64       // the tick it is set for
	draining bool        // some goroutine has the duty to run callbacks
	turn     uint64      // of that duty; a goroutine that comes back to another turn has lost it
	begun    uint64      // callbacks so far
	seen     uint64      // begun when the duty was looked at last
	closed   bool
}

// NewRunner makes a runner. It costs nothing until a timer is set.
func NewRunner(cfg RunnerConfig) *Runner {
	if cfg.Go == nil {
		cfg.Go = func(f func()) bool { go f(); return true }
	}
	now := time.Now()
	// Ticks begin with the clock's milliseconds, so that a deadline of whole milliseconds is met exactly.
	r := &Runner{cfg: cfg, origin: now.Add(-time.Duration(now.Nanosecond()) % Tick), wheel: New[func()](0)}
	r.drainFn = r.drain
	return r
}

// now is the tick that the clock is in.
func (r *Runner) now() int64 { return int64(time.Since(r.origin) / Tick) }

// After makes t fire once d from now, or as soon as possible when d is not positive; a pending t gets the new time
// instead of the old one. It reports whether t was pending. After Close nothing fires any more.
func (r *Runner) After(t *Timer, d time.Duration) (was bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was = r.wheel.Reset(t, r.tickLocked(d))
	r.armLocked()
	return was
}

// tickLocked is the first whole tick at least d from now.
func (r *Runner) tickLocked(d time.Duration) int64 {
	since := time.Since(r.origin)
	due := since + max(d, 0)
	if due < since {
		return int64(1<<63-1) / int64(Tick) // three centuries on: as long as a Duration can tell
	}
	tick := int64(due / Tick)
	if due%Tick != 0 {
		tick++
	}
	return tick
}

// Stop takes t out. It reports false when t was not pending: it has not been set, was stopped, or its callback has
// begun and may be running now.
func (r *Runner) Stop(t *Timer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wheel.Cancel(t)
}

// Len is the number of timers pending.
func (r *Runner) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wheel.Len()
}

// Close lets no more callbacks begin. It does not wait for those that run.
func (r *Runner) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// armLocked sees that the timer rings at the wheel's next tick. While callbacks run the timer watches over them.
func (r *Runner) armLocked() {
	next, ok := r.wheel.Next()
	if !ok || r.draining || r.closed || r.armed && r.armedFor <= next {
		return // one that rings too early finds nothing and sets itself right
	}
	r.setLocked(next)
}

func (r *Runner) setLocked(tick int64) {
	wait := time.Until(r.origin.Add(time.Duration(tick) * Tick))
	r.armed, r.armedFor = true, tick
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.ring)
		return
	}
	r.timer.Reset(wait)
}

// ring is the timer's work: to start a goroutine for what is due, or another one when a callback hangs.
func (r *Runner) ring() {
	if !r.rung() {
		return
	}
	if !r.cfg.Go(r.drainFn) {
		r.Close()
	}
}

// rung tells whether a goroutine is to be started.
func (r *Runner) rung() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = false
	if r.closed {
		return false
	}
	progress := r.begun != r.seen
	r.seen = r.begun
	if r.draining && progress {
		r.setLocked(r.now() + int64(patience/Tick))
		return false
	}
	if !r.draining {
		next, ok := r.wheel.Next()
		if !ok {
			return false
		}
		if next > r.now() {
			r.setLocked(next)
			return false
		}
	}
	r.draining = true
	r.turn++ // whoever had the duty has lost it
	r.setLocked(r.now() + int64(patience/Tick))
	return true
}

// drain runs callbacks until nothing is due, or until it has lost the duty.
func (r *Runner) drain() {
	r.mu.Lock()
	r.turn++
	turn := r.turn
	r.mu.Unlock()
	done := false
	defer func() {
		if !done && r.holds(turn) && !r.cfg.Go(r.drainFn) { // a callback ended the goroutine
			r.Close()
		}
	}()
	for f := r.take(turn); f != nil; f = r.take(turn) {
		r.call(f)
	}
	done = true
}

func (r *Runner) holds(turn uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining && r.turn == turn
}

// take gives the next callback that is due, or nil, which ends the duty.
func (r *Runner) take(turn uint64) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turn != turn {
		return nil
	}
	if r.closed {
		r.draining = false
		return nil
	}
	t := r.wheel.Pop(r.wheel.Now()) // what else is due at the tick begun needs no look at the clock
	if t == nil {
		t = r.wheel.Pop(r.now())
	}
	if t == nil {
		r.draining, r.armed = false, false
		if r.wheel.Len() == 0 {
			r.timer.Stop()
		}
		r.armLocked()
		return nil
	}
	r.begun++
	return t.Value
}

func (r *Runner) call(f func()) {
	defer func() {
		if v := recover(); v != nil && r.cfg.Panicked != nil {
			r.cfg.Panicked(v, debug.Stack())
		}
	}()
	f()
}
