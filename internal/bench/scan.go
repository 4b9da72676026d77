package main

import (
	"errors"
	"fmt"
)

// scanShape is a sequential read from the first record on.
type scanShape struct {
	records, size int
	owned         bool
}

func (w scanShape) open(e *env, sys System) (trial, error) {
	s := shape{e.dataBytes, w.records, w.size}
	st, sc, err := openData[Scanner](e, sys, s)
	if st == nil {
		return nil, err
	}
	return &scanTrial{e: e, st: st, sc: sc, shape: s, owned: w.owned}, nil
}

type scanTrial struct {
	e     *env
	st    Store
	sc    Scanner
	shape shape
	owned bool
}

func (t *scanTrial) close() error { return t.st.Close() }

// sample starts over at the beginning as often as the time allows. A whole pass must have seen every record.
func (t *scanTrial) sample() (sample, error) {
	cur, err := t.sc.Scan(t.owned)
	if err != nil {
		return sample{}, err
	}
	if _, err := cur.Read(1); err != nil { // buffers are made once a cursor
		return sample{}, errors.Join(err, cur.Close())
	}
	var seen Tally
	step := max(1, (1<<20)/t.shape.size)
	m := startMeter(t.st)
	err = t.e.until(func() (bool, error) {
		part, err := cur.Read(step)
		seen.merge(part)
		return part.Records > 0, err
	})
	s := m.stop()
	s.records, s.bytes = seen.Records, seen.Bytes
	if err == nil && seen.Bytes != seen.Records*int64(t.shape.size) {
		err = fmt.Errorf("%d records with %d bytes, want %d bytes each", seen.Records, seen.Bytes, t.shape.size)
	}
	return s, errors.Join(err, cur.Close())
}
