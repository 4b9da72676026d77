package topic

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/quirelog/quire/log"
)

// housekeeper does what is due by time alone: the fsyncs of level interval, the care of logs written to, and
// the checkpoint files. Its one goroutine exists only while something is due later, asleep on one timer; an
// idle engine has neither.
type housekeeper struct {
	eng   *Engine
	every time.Duration // between two checkpoints while there are changes
	wake  chan struct{} // a token when the list has a new head; room for one
	// tendHook is tend, made once for the hooks of all logs.
	tendHook func(*log.Log, time.Duration)

	mu      sync.Mutex
	due     dutyHeap
	running bool // the goroutine exists
	armed   bool // a checkpoint is on the list
	seq     uint64
}

// duty is one thing due: the care of a log, or, without a log, a checkpoint.
type duty struct {
	at  time.Time
	seq uint64 // keeps the order of duties due at one time
	log *log.Log
}

type dutyHeap []duty

func (h dutyHeap) Len() int { return len(h) }
func (h dutyHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h dutyHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dutyHeap) Push(x any)   { *h = append(*h, x.(duty)) }
func (h *dutyHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = duty{}
	*h = (*h)[:last]
	return d
}

func (k *housekeeper) init(e *Engine, every time.Duration) {
	k.eng, k.every, k.wake = e, every, make(chan struct{}, 1)
	k.tendHook = k.tend
}

// tend is the logs' hook: l wants care at the latest after d.
func (k *housekeeper) tend(l *log.Log, d time.Duration) {
	k.add(l, time.Now().Add(d))
	k.armCheckpoint()
}

// armCheckpoint puts a checkpoint on the list unless there is one.
func (k *housekeeper) armCheckpoint() {
	k.mu.Lock()
	armed := k.armed
	k.armed = true
	k.mu.Unlock()
	if !armed {
		k.add(nil, time.Now().Add(k.every))
	}
}

// add puts a duty on the list and sees that somebody waits for it.
func (k *housekeeper) add(l *log.Log, at time.Time) {
	k.mu.Lock()
	k.seq++
	heap.Push(&k.due, duty{at, k.seq, l})
	head := k.due[0].seq == k.seq
	start := !k.running
	k.running = true
	k.mu.Unlock()
	switch {
	case start && !k.eng.goFunc(k.run):
		k.mu.Lock()
		k.running = false // the engine is closing: Close does what is left
		k.mu.Unlock()
	case head && !start:
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// take removes the first duty due at now. With none due it tells how long the first one lies ahead; with none
// at all it is the end of the goroutine that asks.
func (k *housekeeper) take(now time.Time, goroutine bool) (d duty, ok bool, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.due) == 0 {
		if goroutine {
			k.running = false
			k.due = nil
		}
		return duty{}, false, 0
	}
	if wait := k.due[0].at.Sub(now); wait > 0 {
		return duty{}, false, wait
	}
	return heap.Pop(&k.due).(duty), true, 0
}

// run is the goroutine.
func (k *housekeeper) run() {
	var timer *time.Timer
	for !k.eng.isClosed() {
		d, ok, wait := k.take(time.Now(), true)
		switch {
		case ok:
			k.do(d)
			continue
		case wait == 0:
			return
		case timer == nil:
			timer = time.NewTimer(wait)
			defer timer.Stop()
		default:
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-k.wake:
		case <-k.eng.closing:
		}
	}
}

// do does one duty and puts it back on the list if the log says so.
func (k *housekeeper) do(d duty) {
	if d.log == nil {
		k.mu.Lock()
		k.armed = false
		k.mu.Unlock()
		if err := k.eng.writeCheckpoints(); err != nil && !k.eng.isClosed() {
			k.eng.logger.Warn("checkpoint files not written", "dir", k.eng.dir, "err", err)
			k.armCheckpoint()
		}
		return
	}
	again, err := d.log.Tick(context.Background())
	if err != nil && !k.eng.isClosed() {
		k.eng.logger.Error("care of a log failed", "dir", d.log.Dir(), "err", err)
	}
	if again > 0 {
		k.add(d.log, time.Now().Add(again))
	}
}

// Tick does by hand what is due at now: for tests and operators that do not want to wait. The engine does the
// same by itself in time.
func (e *Engine) Tick(ctx context.Context, now time.Time) error {
	for {
		if err := e.usable(ctx); err != nil {
			return err
		}
		d, ok, _ := e.keeper.take(now, false)
		if !ok {
			return nil
		}
		e.keeper.doAt(d, now)
	}
}

// doAt is do for Tick: what wants to come again is due after now.
func (k *housekeeper) doAt(d duty, now time.Time) {
	if present := time.Now(); now.Before(present) {
		now = present
	}
	if d.log == nil {
		k.do(d)
		return
	}
	if again, _ := d.log.Tick(context.Background()); again > 0 {
		k.add(d.log, now.Add(again))
	}
}
