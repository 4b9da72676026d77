package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// syncInterval is how often the interval level syncs, for every system.
const syncInterval = 10 * time.Millisecond

// A tier says how much is measured.
type tier struct {
	name       string
	rounds     int           // interleaved over the systems; medians are over these
	slice      time.Duration // one sample of one system ends after this long ...
	appendCap  int64         // ... or this many payload bytes
	durableCap int64
	dataBytes  int64 // payload of the logs that are read sequentially
	randBytes  int64 // payload of the logs that are read at random
	openBytes  int64 // payload of the logs that are opened
	paced      time.Duration
	idleLogs   int
	opened     int // partitions of an engine that is opened, at most
	topics     int
	used       int  // partitions of each topic that a long call is about
	fullMatrix bool // every combination of level, size and batch
}

var tiers = map[string]tier{
	"quick": {name: "quick", rounds: 5, slice: 60 * time.Millisecond, appendCap: 64 << 20, durableCap: 16 << 20,
		dataBytes: 128 << 20, randBytes: 128 << 20, openBytes: 128 << 20, paced: 250 * time.Millisecond, idleLogs: 4000, opened: 10000, topics: 3000, used: 200},
	"full": {name: "full", rounds: 9, slice: 400 * time.Millisecond, appendCap: 512 << 20, durableCap: 128 << 20,
		dataBytes: 512 << 20, randBytes: 1 << 30, openBytes: 1 << 30, paced: time.Second, idleLogs: 10000, opened: 10000, topics: 34000, used: 10000, fullMatrix: true},
}

// An env is what workloads share within one run.
type env struct {
	tier
	dir  string
	next int
	data map[string]filled // logs made for reading, by system and shape
}

// fresh makes a new directory for one opening.
func (e *env) fresh(sys System) (string, error) {
	e.next++
	dir := filepath.Join(e.dir, fmt.Sprintf("%s-%d", sys.Name(), e.next))
	return dir, os.MkdirAll(dir, 0o755)
}

// A trial is one system set up for one workload.
type trial interface {
	sample() (sample, error)
	close() error
}

// An outcome is all that one system showed in one workload.
type outcome struct {
	sys     System
	samples []sample
	err     error
}

// run measures one workload: every system once a round, in an order that turns with the rounds.
func (e *env) run(w *workload, systems []System, progress io.Writer) *result {
	r := &result{workload: w}
	var trials []trial
	for _, sys := range systems {
		if !takes(sys, w) {
			continue
		}
		t, err := w.open(e, sys)
		if t == nil && err == nil {
			continue // this system cannot do it
		}
		r.outcomes = append(r.outcomes, &outcome{sys: sys, err: err})
		trials = append(trials, t)
	}
	rounds := e.rounds
	if w.once {
		rounds = 1
	}
	for round := range rounds {
		for i := range trials {
			k := (i + round) % len(trials)
			_, _ = fmt.Fprintf(progress, "\r\x1b[K%s %s, round %d of %d: %s", w.id, w.name, round+1, rounds, r.outcomes[k].sys.Name())
			r.outcomes[k].take(trials[k])
		}
	}
	_, _ = fmt.Fprint(progress, "\r\x1b[K")
	for i, t := range trials {
		if t == nil {
			continue
		}
		if err := t.close(); err != nil && r.outcomes[i].err == nil {
			r.outcomes[i].err = err
		}
	}
	return r
}

func (o *outcome) take(t trial) {
	if o.err != nil {
		return
	}
	s, err := t.sample()
	if err != nil {
		o.err = err
		return
	}
	o.samples = append(o.samples, s)
}
