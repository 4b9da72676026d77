package main

import (
	"fmt"
	"time"
)

// The groups, each with a table and a plot of its own.
const (
	groupAppend  = "append"
	groupDurable = "durable"
	groupRead    = "read"
	groupRandom  = "random"
	groupTail    = "end to end"
	groupOpen    = "open"
	groupIdle    = "idle"
)

// workloads is everything that is measured, in the order of the tables. Targets and reasons are those of the project's performance page;
// rows without a target complete the picture.
func workloads(t tier) []*workload {
	var all []*workload
	for _, list := range [][]*workload{appends(), durables(), scans(), randoms(), tails(), opens(), many(), compacts(), queues(), idles()} {
		for _, w := range list {
			if !w.full || t.fullMatrix {
				all = append(all, w)
			}
		}
	}
	return all
}

// appending makes the row of an append shape.
func appending(id, group string, s appendShape, w workload) *workload {
	w.id, w.group, w.level, w.open, w.score = id, group, s.level, s.open, byRate
	w.name = fmt.Sprintf("append %d B, batch %d, %v", s.size, s.records, s.level)
	if s.writers > 1 {
		w.name = fmt.Sprintf("append %d B, %d goroutines x %d, %v", s.size, s.writers, s.records, s.level)
	}
	return &w
}

func appends() []*workload {
	const (
		oneCall = "one pwrite is 470-900 ns; the rest must fit in 60 ns: no allocation, no timer, one lock"
		sparse  = "a sparse pointer-free index costs less than raw's dense one; CRC32C runs at 22 GB/s"
		oneCopy = "one copy, 128-256 KiB a call"
		g       = groupAppend
	)
	at := func(ratio float64) target { return target{ratio: ratio} }
	return []*workload{
		appending("P1", g, appendShape{OS, 1, 100, 1}, workload{target: at(0.85), why: oneCall, short: shortP1,
			limits: []limit{noAllocs(), writesAtMost(1.05), writtenAtMost(1.85)}}),
		appending("P2-100", g, appendShape{OS, 100, 100, 1}, workload{target: at(0.95), why: sparse, short: shortP2,
			limits: []limit{noAllocs(), writesAtMost(1.05), writtenAtMost(1.15)}}),
		appending("P2-1000", g, appendShape{OS, 1000, 100, 1}, workload{target: at(0.95), why: sparse, short: shortP2,
			limits: []limit{noAllocs(), writesAtMost(1.25), writtenAtMost(1.15)}}),
		appending("P3-1", g, appendShape{OS, 1, 1000, 1}, workload{why: oneCall,
			limits: []limit{noAllocs(), writesAtMost(1.05), writtenAtMost(1.1)}}),
		appending("P3-100", g, appendShape{OS, 100, 1000, 1}, workload{target: at(0.9), why: oneCopy, short: shortP3,
			limits: []limit{noAllocs(), writesAtMost(1.25), writtenAtMost(1.03)}}),
		appending("P3-1000", g, appendShape{OS, 1000, 1000, 1}, workload{target: at(0.9), why: oneCopy, short: shortP3,
			limits: []limit{noAllocs(), writesAtMost(2.5), writtenAtMost(1.03)}}),
		appending("I-1", g, appendShape{Interval, 1, 100, 1}, workload{full: true}),
		appending("I-100", g, appendShape{Interval, 100, 100, 1}, workload{}),
		appending("I-1000", g, appendShape{Interval, 1000, 100, 1}, workload{full: true}),
		appending("I-1-1000B", g, appendShape{Interval, 1, 1000, 1}, workload{full: true}),
		appending("I-100-1000B", g, appendShape{Interval, 100, 1000, 1}, workload{full: true}),
		appending("I-1000-1000B", g, appendShape{Interval, 1000, 1000, 1}, workload{full: true}),
	}
}

func durables() []*workload {
	const (
		prewritten = "preallocated and pre-written or recycled segment files: no journal commit for the size"
		group      = "group commit, write of round n+1 while round n syncs, one wake-up a waiter"
		g          = groupDurable
	)
	at := target{ratio: 1.3}
	return []*workload{
		appending("P4-1", g, appendShape{Durable, 1, 100, 1}, workload{target: at, why: prewritten, short: shortP4}),
		appending("P4-100", g, appendShape{Durable, 100, 100, 1}, workload{target: at, why: prewritten, short: shortP4,
			limits: []limit{writtenTwice()}}),
		appending("P4-1000", g, appendShape{Durable, 1000, 100, 1}, workload{target: at, why: prewritten, short: shortP4,
			limits: []limit{writtenTwice()}}),
		appending("P4-1-1000B", g, appendShape{Durable, 1, 1000, 1}, workload{full: true}),
		appending("P4-100-1000B", g, appendShape{Durable, 100, 1000, 1}, workload{full: true}),
		appending("P4-1000-1000B", g, appendShape{Durable, 1000, 1000, 1}, workload{full: true}),
		appending("P5", g, appendShape{Durable, 1, 100, 64}, workload{target: target{ratio: 1.2, p50: 300 * time.Microsecond},
			why: group, short: shortP5}),
	}
}

func scans() []*workload {
	const (
		inPlace = "1 MiB reads, iteration in place"
		slabs   = "one slab and one record array a fetch"
		g       = groupRead
	)
	return []*workload{
		{id: "P6-100B", group: g, name: "sequential read, borrowed, 100 B", open: scanShape{1000, 100, false}.open, score: byRate,
			target: target{ratio: 0.85}, why: inPlace, short: shortP6, limits: []limit{noAllocs(), readsAtMost(0.01)}},
		{id: "P6-1000B", group: g, name: "sequential read, borrowed, 1000 B", open: scanShape{100, 1000, false}.open, score: byRate,
			target: target{ratio: 0.85}, why: inPlace, short: shortP6, limits: []limit{noAllocs(), readsAtMost(0.01)}},
		{id: "P7", group: g, name: "sequential read, owned, 100 B", open: scanShape{1000, 100, true}.open, score: byRate,
			target: target{ratio: 0.3}, why: slabs, short: shortP7, limits: []limit{{"allocations/record", allocsPerRecord, 0.05}}},
	}
}

func randoms() []*workload {
	const g = groupRandom
	return []*workload{
		{id: "P8", group: g, name: "random read by offset, batches <= 4 KiB", open: getShape{30, 100}.open, score: byRate,
			target: target{ratio: 0.9}, why: "two binary searches, one small pread", short: shortP8},
		{id: "P9", group: g, name: "random read by offset, batches of 100 KB", open: getShape{1000, 100}.open, score: byRate,
			target: target{ratio: 5}, why: "check a batch's CRC once per open, remember it, then read only what is needed", short: shortP9},
		{id: "T", group: g, name: "random read by time, batches <= 4 KiB", open: findShape{30, 100}.open, score: byRate},
	}
}

func tails() []*workload {
	const g = groupTail
	return []*workload{
		{id: "P10", group: g, name: "one producer, one consumer, 10,000/s", open: tailShape{100 * time.Microsecond, 100}.open, score: byHalf,
			target: target{p50: 25 * time.Microsecond, p99: 180 * time.Microsecond}, short: shortP10,
			why: "serve the tail from memory; the floor is a goroutine wake-up (18-28 us here)"},
		{id: "P11", group: g, name: "one producer, one consumer, saturated", open: tailShape{0, 100}.open, score: byRate,
			target: target{ratio: 2}, why: "hand over what has gathered per wake-up", short: shortP11},
	}
}

func opens() []*workload {
	const (
		g       = groupOpen
		trusted = "sealed segments trusted by their side file, only the tail past the watermark checked (5.6 GB/s)"
	)
	return []*workload{
		{id: "P12-clean", group: g, name: "open after a clean stop", open: openShape{false}.open, score: byElapsed,
			target: target{elapsed: 2 * time.Millisecond}, why: trusted, short: shortP12},
		{id: "P12-killed", group: g, name: "open after a kill", open: openShape{true}.open, score: byElapsed,
			target: target{elapsed: 20 * time.Millisecond}, why: trusted, short: shortP12},
	}
}

// many opens engines with many partitions of ten segments each.
func many() []*workload {
	at := func(n int, full bool) []*workload {
		return []*workload{
			{id: fmt.Sprintf("O-%d", n), group: groupOpen, name: fmt.Sprintf("open an engine of %d partitions", n), full: full,
				open: partitionsShape{n, false}.open, score: byElapsed},
			{id: fmt.Sprintf("O-%d-use", n), group: groupOpen, name: fmt.Sprintf("open it and each of its %d partitions", n), full: full,
				open: partitionsShape{n, true}.open, score: byElapsed},
		}
	}
	return append(at(1000, false), at(10000, true)...)
}

func idles() []*workload {
	return []*workload{
		{id: "P13", group: groupIdle, name: "idle logs, each used once, cost of one", open: idleShape{}.open, score: byHeap, once: true,
			target: target{idle: idleCost{Heap: 1500, Files: 0.05}}, why: "shared flusher and timers, descriptors in an LRU", short: shortP13},
	}
}
