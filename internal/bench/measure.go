package main

import (
	"runtime"
	"time"
)

// A sample is one measurement of one system.
type sample struct {
	records, bytes, batches int64 // payload only
	elapsed                 time.Duration
	allocs, allocBytes      uint64
	calls                   Calls
	exactCalls              bool // counted by the store, not by the kernel for the whole process
	p50, p99                time.Duration
	idle                    idleCost
}

// idleCost is what one log costs while nobody uses it.
type idleCost struct {
	Heap, Goroutines, Files float64
	CPU                     float64 // share of one core, all logs together
	Logs                    int
}

func (s sample) rate() float64 {
	if s.elapsed <= 0 {
		return 0
	}
	return float64(s.records) / s.elapsed.Seconds()
}

func perRecord(n uint64, records int64) float64 {
	if records == 0 {
		return 0
	}
	return float64(n) / float64(records)
}

// A meter takes the counts before and after the timed part. Everything that costs time itself happens outside of it.
type meter struct {
	store Store
	mem   runtime.MemStats
	calls Calls
	exact bool
	begin time.Time
}

// startMeter collects the garbage of whoever ran before and starts the clock.
func startMeter(st Store) *meter {
	m := &meter{store: st}
	runtime.GC()
	m.calls, m.exact = callsOf(st)
	runtime.ReadMemStats(&m.mem)
	m.begin = time.Now()
	return m
}

func (m *meter) stop() sample {
	s := sample{elapsed: time.Since(m.begin), exactCalls: m.exact}
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	calls, _ := callsOf(m.store)
	s.calls = calls.Minus(m.calls)
	s.allocs = after.Mallocs - m.mem.Mallocs
	s.allocBytes = after.TotalAlloc - m.mem.TotalAlloc
	return s
}

func callsOf(st Store) (c Calls, exact bool) {
	if m, ok := st.(Measured); ok {
		return m.Calls(), true
	}
	return processCalls(), false
}
