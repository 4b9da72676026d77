package topic

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// senderPool runs the duties of a producer's lanes on a few goroutines, however many lanes there are: first come first
// served, so that a lane's batch fills for as long as the round over the others takes. A goroutine exists only while
// there is something to do.
//
// At most mostActive of them compute or write, and at most as many again as mostBlocked wait for a sync. One that has
// shown no progress for two ticks (a hung disk, a callback that blocks) is stuck: it counts no longer, and another
// takes its place, until mostStuck are. The clock ticks only while the pool is short of goroutines.
type senderPool struct {
	p          *Producer
	mostActive int

	tick atomic.Uint64

	mu      sync.Mutex
	urgent  fifo[laneDuty] // completers
	ready   fifo[laneDuty] // senders
	workers map[*worker]struct{}
	count   [workerStates]int
	timer   *time.Timer
	ticking bool
}

const (
	// mostBlocked is how many goroutines wait for syncs at once: more than these do not make a disk faster.
	mostBlocked = 32
	mostStuck   = 64
	stuckTick   = 100 * time.Millisecond
)

// laneDuty is a lane's send or complete.
type laneDuty func(*worker)

// worker is one goroutine of the pool.
type worker struct {
	pool  *senderPool
	lane  atomic.Pointer[lane]
	moved atomic.Uint64 // the tick at which it last began something
	state workerState   // guarded by pool.mu
}

type workerState int8

const (
	workerActive workerState = iota
	workerBlocked
	workerStuck
	workerGone
	workerStates
)

func newSenderPool(p *Producer) *senderPool {
	return &senderPool{p: p, mostActive: max(2, runtime.GOMAXPROCS(0)), workers: map[*worker]struct{}{}}
}

// putReady queues a sender, putUrgent a completer, which goes before all senders.
func (s *senderPool) putReady(d laneDuty)  { s.put(&s.ready, d) }
func (s *senderPool) putUrgent(d laneDuty) { s.put(&s.urgent, d) }

func (s *senderPool) put(list *fifo[laneDuty], d laneDuty) {
	s.mu.Lock()
	list.push(d)
	w := s.hireLocked()
	s.mu.Unlock()
	s.start(w)
}

func (s *senderPool) start(w *worker) {
	if w != nil {
		s.p.start(w.run)
	}
}

// roomLocked tells whether another goroutine may begin. The more are stuck the more come at once: the next lanes may
// have the same disk.
func (s *senderPool) roomLocked() bool {
	return s.count[workerActive] < s.mostActive+s.count[workerStuck] && s.count[workerActive]+s.count[workerBlocked] < s.mostActive+mostBlocked
}

// hireLocked makes a worker if there is a duty for it and room. The caller starts it without the lock.
func (s *senderPool) hireLocked() *worker {
	if s.waitingLocked() == 0 {
		return nil
	}
	if !s.roomLocked() {
		s.tickLocked()
		return nil
	}
	w := &worker{pool: s}
	w.progress()
	s.workers[w] = struct{}{}
	s.count[workerActive]++
	return w
}

func (s *senderPool) waitingLocked() int { return s.urgent.len() + s.ready.len() }

// busy tells whether other lanes wait for a sender.
func (s *senderPool) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready.len() > 0
}

// spare tells whether a completer would begin at once. If not, the caller completes later, and the clock ticks should
// it get stuck before.
func (s *senderPool) spare() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waitingLocked() == 0 && s.roomLocked() {
		return true
	}
	s.tickLocked()
	return false
}

// watch lets the clock tick: a sender goes on with batches in flight that none completes until it is found stuck.
func (s *senderPool) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickLocked()
}

func (s *senderPool) tickLocked() {
	switch {
	case s.ticking:
		return
	case s.timer == nil:
		s.timer = time.AfterFunc(stuckTick, s.look)
	default:
		s.timer.Reset(stuckTick)
	}
	s.ticking = true
}

// look is the clock's work: it finds who is stuck and lets others take their places.
func (s *senderPool) look() {
	s.mu.Lock()
	now := s.tick.Add(1)
	var stuck []*lane
	for w := range s.workers {
		if w.state == workerStuck || now-w.moved.Load() < 2 || s.count[workerStuck] >= mostStuck {
			continue
		}
		w.enterLocked(workerStuck)
		if l := w.lane.Load(); l != nil {
			stuck = append(stuck, l)
		}
	}
	var fresh []*worker
	for range s.waitingLocked() {
		w := s.hireLocked()
		if w == nil {
			break
		}
		fresh = append(fresh, w)
	}
	s.ticking = false
	if s.waitingLocked() > 0 || s.count[workerActive]+s.count[workerBlocked] > 0 {
		s.tickLocked()
	}
	s.mu.Unlock()
	for _, w := range fresh {
		s.start(w)
	}
	for _, l := range stuck {
		l.completeBesides()
	}
}

// run is a worker's goroutine. A callback may end it (runtime.Goexit): another takes its place.
func (w *worker) run() {
	defer w.leave()
	for d := w.next(); d != nil; d = w.next() {
		d(w)
	}
}

// next gives the worker a duty, or nil, which ends it: there is none, or there are enough others.
func (w *worker) next() laneDuty {
	s := w.pool
	s.mu.Lock()
	defer s.mu.Unlock()
	w.enterLocked(workerActive)
	if s.count[workerActive] > s.mostActive+s.count[workerStuck] {
		return nil
	}
	if d := s.urgent.pop(); d != nil {
		return d
	}
	return s.ready.pop()
}

func (w *worker) leave() {
	s := w.pool
	s.mu.Lock()
	w.enterLocked(workerGone)
	delete(s.workers, w)
	other := s.hireLocked()
	s.mu.Unlock()
	s.start(other)
}

func (w *worker) enterLocked(state workerState) {
	w.pool.count[w.state]--
	w.state = state
	w.pool.count[w.state]++
}

// progress notes that the worker is not stuck.
func (w *worker) progress() { w.moved.Store(w.pool.tick.Load()) }

// block and unblock enclose a wait for the disk, during which another may compute.
func (w *worker) block() {
	s := w.pool
	w.progress()
	s.mu.Lock()
	w.enterLocked(workerBlocked)
	other := s.hireLocked()
	s.mu.Unlock()
	s.start(other)
}

func (w *worker) unblock() {
	s := w.pool
	w.progress()
	s.mu.Lock()
	defer s.mu.Unlock()
	w.enterLocked(workerActive)
}
