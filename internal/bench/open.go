package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// openShape opens a log of openBytes after a clean stop or after a kill.
type openShape struct {
	killed bool
}

// The log that is opened, and what is appended between two openings: a kill leaves a tail that nobody has synced.
var (
	openLog  = shape{records: 100, size: 1000}
	openTail = int64(4 << 20)
)

func (w openShape) open(e *env, sys System) (trial, error) {
	dir, err := e.fresh(sys)
	if err != nil {
		return nil, err
	}
	t := &openTrial{sys: sys, dir: dir, killed: w.killed}
	_, err = t.child(e.openBytes)
	return t, err
}

type openTrial struct {
	sys     System
	dir     string
	killed  bool
	records int64 // that must be there
}

func (t *openTrial) close() error { return os.RemoveAll(t.dir) }

// child opens the log, appends, and ends as the workload says. What was acknowledged must be there at the next opening.
func (t *openTrial) child(fill int64) (report, error) {
	rep, err := runChild(order{Do: "open", System: t.sys.Name(), Dir: t.dir, Fill: fill, Kill: t.killed})
	if err == nil && rep.Records != t.records {
		err = fmt.Errorf("opened with %d records of %d acknowledged", rep.Records, t.records)
	}
	t.records = rep.After
	return rep, err
}

func (t *openTrial) sample() (sample, error) {
	rep, err := t.child(openTail)
	return sample{elapsed: rep.Opened, records: 1, batches: 1}, err
}

// open is the child's side. The level is os: what matters here is what lies in the files, and a killed process loses nothing of that.
func (o order) open(sys System) (rep report, st Store, err error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return rep, nil, err
	}
	begin := time.Now()
	st, err = sys.Open(o.Dir, Options{SegmentBytes: readSegment})
	if err != nil {
		return rep, nil, err
	}
	c, ok := st.(Counted)
	if !ok {
		return rep, nil, errors.Join(errors.New("cannot tell how many records it holds"), st.Close())
	}
	if rep.Records, err = c.Count(); err != nil {
		return rep, st, err
	}
	rep.Opened = time.Since(begin)
	s := openLog
	s.total = o.Fill
	if err := fill(st.(Appender), s); err != nil {
		return rep, st, err
	}
	rep.After = rep.Records + s.count()
	return rep, st, nil
}
