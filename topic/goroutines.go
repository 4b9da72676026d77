package topic

import (
	"context"
	"runtime"
	"strconv"
	"sync"
)

// goroutines counts those of an engine, so that Close can wait for them. A Close called from one of them
// (from a user's callback) must not wait for itself: its stack tells.
type goroutines struct {
	mu      sync.Mutex
	closed  bool
	running int
	left    chan struct{} // a token when one has left; room for one
}

// start runs f in a new goroutine; false, and f does not run, after close.
func (g *goroutines) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running++
	go g.run(f)
	return true
}

// lend counts the caller's goroutine among those of the engine while it runs f; false, and f does not run, after close.
func (g *goroutines) lend(f func()) bool {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	g.running++
	g.mu.Unlock()
	g.run(f)
	return true
}

// timerPanicked is told of a timer's function that panicked.
func (e *Engine) timerPanicked(value any, stack []byte) {
	e.logger.Error("a timer's function panicked", "panic", value, "stack", string(stack))
}

// runName is how the runtime calls run.
const runName = "topic.(*goroutines).run"

func (g *goroutines) run(f func()) {
	defer g.leave()
	f()
}

func (g *goroutines) leave() {
	g.mu.Lock()
	g.running--
	g.mu.Unlock()
	select {
	case g.left <- struct{}{}:
	default:
	}
}

// close lets none start any more.
func (g *goroutines) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// onEngineGoroutine tells whether the caller runs on a goroutine of this engine, or of another one.
func onEngineGoroutine() bool { return stackHas(runName) }

// size is how many there are.
func (g *goroutines) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running
}

// wait waits until all but the caller have left, or ctx ends. It returns how many remain. A
// caller on another engine's goroutine looks like one of ours: then the last one is not waited for.
func (g *goroutines) wait(ctx context.Context) int {
	self := 0
	if onEngineGoroutine() {
		self = 1
	}
	return max(g.waitFor(ctx, self)-self, 0)
}

// waitFor waits until at most rest are left, and returns how many are.
func (g *goroutines) waitFor(ctx context.Context, rest int) int {
	for {
		if n := g.size(); n <= rest {
			return n
		}
		select {
		case <-g.left:
		case <-ctx.Done():
			return g.size()
		}
	}
}

// goroutineNumber is the number that the runtime prints in a stack trace: "goroutine 18 [running]:". It only
// serves to recognize a Close from within a Close.
func goroutineNumber() uint64 {
	const prefix = len("goroutine ")
	var buf [64]byte
	text := buf[:runtime.Stack(buf[:], false)]
	end := prefix
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	if end <= prefix {
		return 0
	}
	n, _ := strconv.ParseUint(string(text[prefix:end]), 10, 64)
	return n
}
