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
	cur, err := sc.Scan(w.owned)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, st.Close()
	}
	if err == nil {
		err = cur.Close()
	}
	return &scanTrial{e: e, st: st, sc: sc, shape: s, owned: w.owned}, err
}

type scanTrial struct {
	e     *env
	st    Store
	sc    Scanner
	shape shape
	owned bool
}

func (t *scanTrial) close() error { return t.st.Close() }

// sample is one pass, as far as the time allows.
func (t *scanTrial) sample() (sample, error) {
	cur, err := t.sc.Scan(t.owned)
	if err != nil {
		return sample{}, err
	}
	m := startMeter(t.st)
	seen, err := cur.Read(m.begin.Add(t.e.slice))
	s := m.stop()
	s.records, s.bytes = seen.Records, seen.Bytes
	if err == nil && seen.Bytes != seen.Records*int64(t.shape.size) {
		err = fmt.Errorf("%d records with %d bytes, want %d bytes each", seen.Records, seen.Bytes, t.shape.size)
	}
	return s, errors.Join(err, cur.Close())
}
