package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// A shape is the content of a log that is read: payload bytes in records of size, records to a batch.
type shape struct {
	total   int64
	records int
	size    int
}

func (s shape) count() int64 { return s.total / int64(s.size) / int64(s.records) * int64(s.records) }

// readSegment is the segment size of logs made for reading: several segments even in the quick tier.
const readSegment = 64 << 20

// A filled log: where it lies and when its first and last record were appended, in milliseconds since the epoch.
type filled struct {
	dir      string
	from, to int64
}

// dataset makes the log once a run and system.
func (e *env) dataset(sys System, s shape) (filled, error) {
	key := fmt.Sprintf("%s-%d-%d-%d", sys.Name(), s.total, s.records, s.size)
	if f, ok := e.data[key]; ok {
		return f, nil
	}
	dir, err := e.fresh(sys)
	if err != nil {
		return filled{}, err
	}
	f := filled{dir: dir, from: time.Now().UnixMilli()}
	st, err := sys.Open(dir, Options{SegmentBytes: readSegment})
	if err != nil {
		return f, err
	}
	if err := fill(st.(Appender), s); err != nil {
		return f, errors.Join(err, st.Close())
	}
	f.to = time.Now().UnixMilli()
	if err := st.Close(); err != nil {
		return f, err
	}
	e.data[key] = f
	return f, nil
}

// forget removes a log that no later workload reads.
func (e *env) forget() {
	for key, f := range e.data {
		delete(e.data, key)
		_ = os.RemoveAll(f.dir)
	}
}

func fill(a Appender, s shape) error {
	batches := prepare(a, s.records, s.size)
	for i := range s.count() / int64(s.records) {
		if err := a.Append(batches[i%preparedBatches]); err != nil {
			return err
		}
	}
	return nil
}

// values are what the records must be, over and over.
func (s shape) values() [][]byte {
	var all [][]byte
	for i := range preparedBatches {
		all = append(all, makeValues(s.records, s.size, uint64(i))...)
	}
	return all
}

// openData opens a log made for reading. A nil store says that the system lacks what the workload needs.
func openData[T any](e *env, sys System, s shape) (st Store, can T, err error) {
	f, err := e.dataset(sys, s)
	if err != nil {
		return nil, can, err
	}
	st, err = sys.Open(f.dir, Options{SegmentBytes: readSegment})
	if err != nil {
		return nil, can, err
	}
	can, ok := st.(T)
	if !ok {
		return nil, can, st.Close()
	}
	return st, can, nil
}

// until loops until the slice of time is used up.
func (e *env) until(f func() (more bool, err error)) error {
	deadline := time.Now().Add(e.slice)
	for time.Now().Before(deadline) {
		if more, err := f(); err != nil || !more {
			return err
		}
	}
	return nil
}
