package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// getShape reads single records at random offsets.
type getShape struct {
	records, size int
}

func (w getShape) open(e *env, sys System) (trial, error) {
	s := shape{e.randBytes, w.records, w.size}
	st, g, err := openData[Getter](e, sys, s)
	if st == nil {
		return nil, err
	}
	t := &getTrial{e: e, st: st, g: g, count: s.count(), want: s.values()}
	return t, t.warm()
}

type getTrial struct {
	e     *env
	st    Store
	g     Getter
	count int64
	want  [][]byte
	round uint64
}

func (t *getTrial) close() error { return t.st.Close() }

// warm checks that offsets mean the same to everyone and lets systems load what they load once.
func (t *getTrial) warm() error {
	for _, off := range []int64{0, 1, t.count / 2, t.count - 1} {
		v, err := t.g.Get(off)
		if err == nil && !bytes.Equal(v, t.want[off%int64(len(t.want))]) {
			err = fmt.Errorf("record %d is not what was appended", off)
		}
		if err != nil {
			return errors.Join(err, t.st.Close())
		}
	}
	return nil
}

func (t *getTrial) sample() (sample, error) {
	t.round++
	pick := rand.New(rand.NewPCG(t.round, 0)) // the same offsets for every system in a round
	lat := newLatencies(1 << 17)
	var seen Tally
	m := startMeter(t.st)
	err := t.e.until(func() (bool, error) {
		begin := time.Now()
		for range 4 { // the clock would cost a tenth of one read
			v, err := t.g.Get(pick.Int64N(t.count))
			if err != nil {
				return false, err
			}
			seen.add(v)
		}
		lat.add(time.Since(begin) / 4)
		return true, nil
	})
	s := m.stop()
	s.records, s.bytes, s.batches = seen.Records, seen.Bytes, seen.Records
	s.p50, s.p99 = lat.at(0.50), lat.at(0.99)
	return s, err
}

// findShape looks up random times.
type findShape struct {
	records, size int
}

func (w findShape) open(e *env, sys System) (trial, error) {
	s := shape{e.randBytes, w.records, w.size}
	st, f, err := openData[Finder](e, sys, s)
	if st == nil {
		return nil, err
	}
	log, err := e.dataset(sys, s)
	return &findTrial{e: e, st: st, f: f, from: log.from, to: log.to}, err
}

type findTrial struct {
	e        *env
	st       Store
	f        Finder
	from, to int64
	round    uint64
}

func (t *findTrial) close() error { return t.st.Close() }

func (t *findTrial) sample() (sample, error) {
	t.round++
	pick := rand.New(rand.NewPCG(t.round, 1))
	n := int64(0)
	m := startMeter(t.st)
	err := t.e.until(func() (bool, error) {
		_, err := t.f.Find(t.from + pick.Int64N(t.to-t.from+1))
		n++
		return true, err
	})
	s := m.stop()
	s.records, s.batches = n, n
	return s, err
}
