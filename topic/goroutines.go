package topic

import (
	"runtime"
	"strconv"
	"sync"
	"time"
)

// goroutines is those of an engine. Each is known by its number, so that a Close called from one of them
// (from a user's callback) does not wait for itself.
type goroutines struct {
	mu      sync.Mutex
	closed  bool
	running int
	numbers map[uint64]struct{}
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

func (g *goroutines) run(f func()) {
	me := goroutineNumber()
	g.mu.Lock()
	if g.numbers == nil {
		g.numbers = map[uint64]struct{}{}
	}
	g.numbers[me] = struct{}{}
	g.mu.Unlock()
	defer g.leave(me)
	f()
}

func (g *goroutines) leave(number uint64) {
	g.mu.Lock()
	g.running--
	delete(g.numbers, number)
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

// mine tells whether the calling goroutine is one of them.
func (g *goroutines) mine() bool {
	me := goroutineNumber()
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.numbers[me]
	return ok
}

// size is how many there are.
func (g *goroutines) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running
}

// wait waits until all but the caller have left, at most for the given time. It returns how many remain.
func (g *goroutines) wait(most time.Duration) int {
	self := 0
	if g.mine() {
		self = 1
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		n := g.size() - self
		if n <= 0 {
			return 0
		}
		select {
		case <-g.left:
		case <-timer.C:
			return n
		}
	}
}

// goroutineNumber is the number that the runtime prints in a stack trace: "goroutine 18 [running]:". It only
// serves to tell goroutines apart at start and at Close.
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
