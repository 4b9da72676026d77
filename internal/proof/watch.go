package main

import (
	"fmt"
	"os"
	"runtime/pprof"
	"sync"
	"time"
)

// patience is how long one case may take.
const patience = 5 * time.Minute

// watchdog ends the program when a case hangs: nothing in one process can end the
// case itself.
type watchdog struct {
	mu      sync.Mutex
	running map[*watched]struct{}
	timer   *time.Timer
}

type watched struct {
	name  caseName
	since time.Time
}

func newWatchdog() *watchdog {
	w := &watchdog{running: map[*watched]struct{}{}}
	w.timer = time.AfterFunc(patience/10, w.look)
	return w
}

// begin notes that a case runs until the returned function is called.
func (w *watchdog) begin(name caseName) (done func()) {
	c := &watched{name, time.Now()}
	w.mu.Lock()
	w.running[c] = struct{}{}
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		delete(w.running, c)
		w.mu.Unlock()
	}
}

func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.running {
		if time.Since(c.since) > patience {
			fmt.Fprintf(os.Stderr, "death: a case hangs for %v\n\tgo run . -replay %s\n", patience, c.name)
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			os.Exit(1)
		}
	}
	w.timer.Reset(patience / 10)
}

func (w *watchdog) stop() { w.timer.Stop() }
