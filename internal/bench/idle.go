package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
)

// idleShape opens many logs in a child, appends one record to each and measures what they cost while nothing happens.
type idleShape struct{}

// idleFewer is for systems whose creation costs so many syncs that the full number would take minutes. Costs are given per log.
var idleFewer = map[string]int{"raft-wal": 100, "tidwall": 1000, "raw": 1000}

func (idleShape) open(e *env, sys System) (trial, error) {
	n := e.idleLogs
	if fewer, ok := idleFewer[sys.Name()]; ok {
		n = min(n, fewer)
	}
	return &idleTrial{e: e, sys: sys, logs: n}, nil
}

type idleTrial struct {
	e    *env
	sys  System
	logs int
}

func (t *idleTrial) close() error { return nil }

func (t *idleTrial) sample() (sample, error) {
	dir, err := t.e.fresh(t.sys)
	if err != nil {
		return sample{}, err
	}
	rep, err := runChild(order{Do: "idle", System: t.sys.Name(), Dir: dir, Logs: t.logs, Kill: true}) // closing them all shows nothing
	return sample{idle: rep.Idle, records: int64(t.logs), elapsed: rep.Opened}, errors.Join(err, os.RemoveAll(dir))
}

const (
	settle = 300 * time.Millisecond // what is due shortly after the appends happens in this time
	watch  = 500 * time.Millisecond // idle CPU is counted over this time
)

func (o order) idle(sys System) (rep report, st Store, err error) {
	heap, goroutines, files := machine.HeapInUse(), runtime.NumGoroutine(), openFiles()
	begin := time.Now()
	if st, err = openIdle(sys, o.Dir, o.Logs); err != nil {
		return rep, nil, err
	}
	rep.Opened = time.Since(begin)
	time.Sleep(settle)
	n := float64(o.Logs)
	rep.Idle = idleCost{
		Heap:       (machine.HeapInUse() - heap) / n,
		Goroutines: float64(runtime.NumGoroutine()-goroutines) / n,
		Files:      float64(openFiles()-files) / n,
		Logs:       o.Logs,
	}
	cpu := cpuTime()
	time.Sleep(watch)
	rep.Idle.CPU = float64(cpuTime()-cpu) / float64(watch)
	runtime.KeepAlive(st)
	return rep, st, nil
}

func openIdle(sys System, dir string, n int) (Store, error) {
	if y, ok := sys.(Idler); ok {
		return y.OpenIdle(dir, n)
	}
	var all stores
	value := makeValues(1, 100, 0)
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, errors.Join(err, all.Close())
		}
		st, err := sys.Open(sub, Options{SegmentBytes: 1 << 20})
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all = append(all, st)
		a := st.(Appender)
		if err := a.Append(a.Prepare(value)); err != nil {
			return nil, errors.Join(err, all.Close())
		}
	}
	return all, nil
}

type stores []Store

func (s stores) Close() error {
	var errs []error
	for _, st := range s {
		errs = append(errs, st.Close())
	}
	return errors.Join(errs...)
}
