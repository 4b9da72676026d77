package main

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	russell "github.com/RussellLuo/timingwheel"
	antlabs "github.com/antlabs/timer"
	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/timingwheel"
)

// A timerSystem keeps deadlines.
type timerSystem struct {
	name, note string
	fires      bool // calls functions by itself
	make       func(n int, fire func(i int)) timers
}

// timers is a timerSystem set up for n deadlines, numbered from 0.
type timers interface {
	add(i int, after time.Duration)
	cancel(i int)
	close()
}

func timerSystems() []timerSystem {
	return []timerSystem{
		{"quire wheel", "package timingwheel, Wheel: no clock, no lock; entries are the caller's", false, newQuireWheel},
		{"quire runner", "package timingwheel, Runner: with clock and lock, calls functions one by one", true, newQuireRunner},
		{"time.AfterFunc", "the runtime; a goroutine for each function called", true, newRuntimeTimers},
		{"container/heap", "a binary heap with indexes: no clock, no lock", false, newHeapTimers},
		{"RussellLuo", "RussellLuo/timingwheel, tick 1 ms; a goroutine for each function called", true, newRussell},
		{"antlabs wheel", "antlabs/timer, tick 10 ms; a goroutine for each function called", true, newAntlabs(antlabs.WithTimeWheel())},
		{"antlabs heap", "antlabs/timer, a heap under a lock; a goroutine for each function called", true, newAntlabs(antlabs.WithMinHeap())},
	}
}

type quireWheel struct {
	wheel   *timingwheel.Wheel[*int]
	entries []timingwheel.Entry[*int]
}

func newQuireWheel(n int, _ func(int)) timers {
	return &quireWheel{timingwheel.New[*int](0), make([]timingwheel.Entry[*int], n)}
}
func (q *quireWheel) add(i int, d time.Duration) {
	q.wheel.Add(&q.entries[i], int64(d/time.Millisecond))
}
func (q *quireWheel) cancel(i int) { q.wheel.Cancel(&q.entries[i]) }
func (q *quireWheel) close()       {}

type quireRunner struct {
	runner *timingwheel.Runner
	timers []timingwheel.Timer
}

func newQuireRunner(n int, fire func(int)) timers {
	q := &quireRunner{timingwheel.NewRunner(timingwheel.RunnerConfig{}), make([]timingwheel.Timer, n)}
	if fire == nil {
		return q
	}
	for i := range q.timers {
		q.timers[i].Value = func() { fire(i) }
	}
	return q
}
func (q *quireRunner) add(i int, d time.Duration) { q.runner.After(&q.timers[i], d) }
func (q *quireRunner) cancel(i int)               { q.runner.Stop(&q.timers[i]) }
func (q *quireRunner) close()                     { q.runner.Close() }

type runtimeTimers struct {
	list []*time.Timer
	fire func(int)
}

func newRuntimeTimers(n int, fire func(int)) timers {
	return &runtimeTimers{make([]*time.Timer, n), fire}
}
func (r *runtimeTimers) add(i int, d time.Duration) {
	r.list[i] = time.AfterFunc(d, funcFor(r.fire, i))
}
func (r *runtimeTimers) cancel(i int) { r.list[i].Stop() }
func (r *runtimeTimers) close()       {}

// funcFor is what a timer calls; the same function for all when nobody asks which.
func funcFor(fire func(int), i int) func() {
	if fire == nil {
		return nothing
	}
	return func() { fire(i) }
}

func nothing() {}

type heapEntry struct {
	due   int64
	index int
	value *int
}

type heapTimers struct {
	entries []heapEntry
	heap    []*heapEntry
}

func newHeapTimers(n int, _ func(int)) timers { return &heapTimers{entries: make([]heapEntry, n)} }

func (h *heapTimers) Len() int           { return len(h.heap) }
func (h *heapTimers) Less(i, j int) bool { return h.heap[i].due < h.heap[j].due }
func (h *heapTimers) Swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].index, h.heap[j].index = i, j
}
func (h *heapTimers) Push(x any) {
	e := x.(*heapEntry)
	e.index = len(h.heap)
	h.heap = append(h.heap, e)
}
func (h *heapTimers) Pop() any {
	e := h.heap[len(h.heap)-1]
	h.heap = h.heap[:len(h.heap)-1]
	return e
}
func (h *heapTimers) add(i int, d time.Duration) {
	h.entries[i].due = int64(d / time.Millisecond)
	heap.Push(h, &h.entries[i])
}
func (h *heapTimers) cancel(i int) { heap.Remove(h, h.entries[i].index) }
func (h *heapTimers) close()       {}

type russellTimers struct {
	wheel *russell.TimingWheel
	list  []*russell.Timer
	fire  func(int)
}

func newRussell(n int, fire func(int)) timers {
	r := &russellTimers{russell.NewTimingWheel(time.Millisecond, 64), make([]*russell.Timer, n), fire}
	r.wheel.Start()
	return r
}
func (r *russellTimers) add(i int, d time.Duration) {
	r.list[i] = r.wheel.AfterFunc(d, funcFor(r.fire, i))
}
func (r *russellTimers) cancel(i int) { r.list[i].Stop() }
func (r *russellTimers) close()       { r.wheel.Stop() }

type antlabsTimers struct {
	timer antlabs.Timer
	list  []antlabs.TimeNoder
	fire  func(int)
}

func newAntlabs(o antlabs.Option) func(int, func(int)) timers {
	return func(n int, fire func(int)) timers {
		a := &antlabsTimers{antlabs.NewTimer(o), make([]antlabs.TimeNoder, n), fire}
		go a.timer.Run()
		return a
	}
}
func (a *antlabsTimers) add(i int, d time.Duration) {
	a.list[i] = a.timer.AfterFunc(d, funcFor(a.fire, i))
}
func (a *antlabsTimers) cancel(i int) { a.list[i].Stop() }
func (a *antlabsTimers) close()       { a.timer.Stop() }

// timerCost is what one deadline costs with a million of them pending.
type timerCost struct {
	add           time.Duration
	cancel        time.Duration // in the order added
	scattered     time.Duration // in another order, where every one is a cache miss
	bytes, allocs float64
}

// pendingTimers is P14's number.
const pendingTimers = 1_000_000

// costOfTimers adds timers due in 1 to 11 minutes and cancels them, twice.
func costOfTimers(sys timerSystem) (c timerCost) {
	r := rand.New(rand.NewPCG(1, 2))
	delays := make([]time.Duration, pendingTimers)
	for i := range delays {
		delays[i] = time.Minute + time.Duration(r.Int64N(int64(10*time.Minute)))
	}
	order := r.Perm(pendingTimers)
	before := machine.HeapInUse()
	t := sys.make(pendingTimers, nil)
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	begin := time.Now()
	for i, d := range delays {
		t.add(i, d)
	}
	c.add = time.Since(begin)
	runtime.ReadMemStats(&m1)
	c.allocs = float64(m1.Mallocs-m0.Mallocs) / pendingTimers
	c.bytes = (machine.HeapInUse() - before) / pendingTimers
	begin = time.Now()
	for i := range delays {
		t.cancel(i)
	}
	c.cancel = time.Since(begin)
	for i, d := range delays {
		t.add(i, d)
	}
	begin = time.Now()
	for _, i := range order {
		t.cancel(i)
	}
	c.scattered = time.Since(begin)
	t.close()
	runtime.KeepAlive(delays)
	return c
}

// punctuality is how late functions were called with many a second.
type punctuality struct {
	p50, p99    time.Duration
	early, lost int
}

const firedPerSecond = 100_000

// lateness sets timers that come due evenly, 100,000 a second, and notes when each was called.
func lateness(sys timerSystem, span time.Duration) (p punctuality) {
	n := int(span.Seconds() * firedPerSecond)
	begin := time.Now()
	late := make([]time.Duration, n)
	due := make([]time.Duration, n)
	var called atomic.Int64
	var all sync.WaitGroup
	all.Add(n)
	t := sys.make(n, func(i int) {
		late[i] = time.Since(begin) - due[i]
		called.Add(1)
		all.Done()
	})
	const ahead = time.Second
	for _, i := range rand.New(rand.NewPCG(3, 4)).Perm(n) {
		due[i] = ahead + time.Duration(i)*time.Second/firedPerSecond
		t.add(i, due[i]-time.Since(begin))
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2*(ahead+span) + 10*time.Second):
		p.lost = n - int(called.Load())
	}
	t.close()
	for _, d := range late {
		if d < 0 {
			p.early++
		}
	}
	slices.Sort(late)
	p.p50, p.p99 = late[n/2], late[n*99/100]
	return p
}

// measureTimers prints P14: the cost of a million timers, and how punctual they are. What noise cannot move fails it.
func measureTimers(e *env, w io.Writer) (broken []string, err error) {
	t := table{{"P14", "add ns", "cancel ns", "in another order", "bytes", "allocs", "p50 late", "p99 late", "early"}}
	var notes []string
	rounds := 1
	if e.fullMatrix {
		rounds = min(e.rounds, 3)
	}
	for _, sys := range timerSystems() {
		var adds, cancels, scattered []time.Duration
		var c timerCost
		for range rounds {
			c = costOfTimers(sys)
			adds, cancels, scattered = append(adds, c.add), append(cancels, c.cancel), append(scattered, c.scattered)
		}
		line := []string{sys.name, fmt.Sprint(int64(median(adds)) / pendingTimers), fmt.Sprint(int64(median(cancels)) / pendingTimers),
			fmt.Sprint(int64(median(scattered)) / pendingTimers), fmt.Sprintf("%.0f", c.bytes), fmt.Sprintf("%.2f", c.allocs), "-", "-", "-"}
		ours := sys.name == "quire wheel" || sys.name == "quire runner"
		if ours && (c.allocs > 0.01 || c.bytes > 41) {
			broken = append(broken, fmt.Sprintf("%s: %.2f allocations, %.1f bytes a timer > 0.01, 41", sys.name, c.allocs, c.bytes))
		}
		if sys.fires {
			p := lateness(sys, max(e.paced, 500*time.Millisecond))
			line[6], line[7], line[8] = showDuration(p.p50), showDuration(p.p99), fmt.Sprint(p.early)
			if ours && (p.early > 0 || p.lost > 0) {
				broken = append(broken, fmt.Sprintf("%s: %d early, %d lost", sys.name, p.early, p.lost))
			}
		}
		t = append(t, line)
		notes = append(notes, sys.name+": "+sys.note)
	}
	out := &lines{w: w}
	out.line("\nTIMERS: %d pending; lateness with %d called a second (targets: add <= 320, cancel <= 61, 40 bytes, 0 allocations, none early)", pendingTimers, firedPerSecond)
	out.table(t.writeText, 1)
	for _, n := range notes {
		out.line("- %s", n)
	}
	return broken, out.err
}
