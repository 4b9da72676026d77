package main

import (
	"errors"
	"os"
	"sync"
	"time"
)

// appendShape is one append workload.
type appendShape struct {
	level   Level
	records int // a batch
	size    int // of a value, bytes
	writers int // goroutines; 0 means one
}

// open sets up nothing: each sample appends to a log of its own, so that no system carries the last sample's state into the next.
func (a appendShape) open(e *env, sys System) (trial, error) {
	return &appendTrial{e: e, sys: sys, shape: a}, nil
}

type appendTrial struct {
	e     *env
	sys   System
	shape appendShape
}

func (t *appendTrial) close() error { return nil }

func (t *appendTrial) limit() int64 {
	if t.shape.level == Durable {
		return t.e.durableCap
	}
	return t.e.appendCap
}

func (t *appendTrial) sample() (sample, error) {
	dir, err := t.e.fresh(t.sys)
	if err != nil {
		return sample{}, err
	}
	st, err := t.sys.Open(dir, Options{Level: t.shape.level, Expect: t.limit()})
	if err != nil {
		return sample{}, err
	}
	s, err := t.measure(st)
	return s, errors.Join(err, st.Close(), os.RemoveAll(dir))
}

func (t *appendTrial) measure(st Store) (sample, error) {
	a := st.(Appender)
	writers := t.writers(a)
	for _, w := range writers { // the first append makes files, buffers and goroutines
		if err := a.Append(w.batches[0]); err != nil {
			return sample{}, err
		}
	}
	stop := t.syncAside(st)
	m := startMeter(st)
	deadline := m.begin.Add(t.e.slice)
	var wg sync.WaitGroup
	for _, w := range writers[1:] {
		wg.Go(func() { w.run(a, deadline) })
	}
	writers[0].run(a, deadline)
	wg.Wait()
	s := m.stop()
	stop()
	return t.sum(s, writers)
}

// syncAside gives the interval level to systems that have a Sync but no interval.
func (t *appendTrial) syncAside(st Store) (stop func()) {
	y, ok := st.(Syncer)
	if _, own := st.(*rawLog); own || !ok || t.shape.level != Interval {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(syncInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = y.Sync() // a failure shows in the next append
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func (t *appendTrial) writers(a Appender) []*writer {
	n := max(1, t.shape.writers)
	list := make([]*writer, n)
	for i := range list {
		w := &writer{batches: prepare(a, t.shape.records, t.shape.size), each: 1}
		w.most = t.limit() / int64(n*t.shape.records*t.shape.size)
		if t.shape.level == Durable {
			w.lat = newLatencies(1 << 16)
		} else {
			w.each = max(1, 64/t.shape.records) // the clock costs 50 ns: look at it about every 64 records
		}
		list[i] = w
	}
	return list
}

func (t *appendTrial) sum(s sample, writers []*writer) (sample, error) {
	all := writers[0].lat
	for i, w := range writers {
		if w.err != nil {
			return s, w.err
		}
		s.batches += w.done
		if i > 0 && all != nil {
			all.merge(w.lat)
		}
	}
	s.records = s.batches * int64(t.shape.records)
	s.bytes = s.records * int64(t.shape.size)
	s.p50, s.p99 = all.at(0.50), all.at(0.99)
	return s, nil
}

// A writer appends prepared batches in turn until the deadline or its share of the bytes.
type writer struct {
	batches []any
	each    int // appends between two looks at the clock
	most    int64
	lat     *latencies // nil: not recorded
	done    int64
	err     error
}

func (w *writer) run(a Appender, deadline time.Time) {
	for w.done < w.most {
		begin := time.Now()
		if begin.After(deadline) {
			return
		}
		for range w.each {
			if w.err = a.Append(w.batches[w.done%preparedBatches]); w.err != nil {
				return
			}
			w.done++
		}
		if w.lat != nil {
			w.lat.add(time.Since(begin))
		}
	}
}
