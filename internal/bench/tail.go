package main

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"time"
)

// tailShape is one producer and one consumer of single records.
type tailShape struct {
	every time.Duration // between two records; 0 means as fast as it goes
	size  int
}

func (w tailShape) open(e *env, sys System) (trial, error) {
	return &tailTrial{e: e, sys: sys, shape: w}, nil
}

type tailTrial struct {
	e     *env
	sys   System
	shape tailShape
}

func (t *tailTrial) close() error { return nil }

func (t *tailTrial) sample() (sample, error) {
	dir, err := t.e.fresh(t.sys)
	if err != nil {
		return sample{}, err
	}
	st, err := t.sys.Open(dir, Options{Level: OS})
	if err != nil {
		return sample{}, err
	}
	s, err := t.measure(st)
	return s, errors.Join(err, st.Close(), os.RemoveAll(dir))
}

// records is how many are sent: what the time holds when paced, else a number that keeps slow systems within seconds.
func (t *tailTrial) records() int {
	if t.shape.every > 0 {
		return int(t.e.paced / t.shape.every)
	}
	return int(t.e.slice / (time.Microsecond))
}

func (w tailShape) stamps() int {
	if w.every > 0 {
		return 1
	}
	return stampEvery
}

func (t *tailTrial) measure(st Store) (sample, error) {
	tail, err := st.(Tailer).Tail()
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := t.records()
	zero := time.Now()
	c := &listener{tail: tail, zero: zero, every: t.shape.stamps(), want: n + 1, lat: newLatencies(n), first: make(chan struct{}), done: make(chan error, 1)}
	send := newSingle(st, t.shape, zero)
	go func() { c.done <- c.run(ctx) }()
	if err := send.one(time.Now()); err != nil { // the first record makes files, buffers and goroutines
		return sample{}, err
	}
	if err := send.flush(); err != nil {
		return sample{}, err
	}
	<-c.first
	m := startMeter(st)
	err = send.all(n, t.shape)
	if err != nil {
		cancel()
	}
	err = errors.Join(err, <-c.done)
	s := m.stop()
	s.records, s.batches, s.bytes = int64(n), int64(n), int64(n*t.shape.size)
	s.p50, s.p99 = c.lat.at(0.50), c.lat.at(0.99)
	return s, errors.Join(err, tail.Close())
}

// stampEvery: at full speed only some records carry a fresh time, because the clock costs as much as half a record.
const stampEvery = 64

// A listener takes what comes. Every value begins with the time of its sending, in nanoseconds since zero.
type listener struct {
	tail  Tail
	want  int
	seen  int
	every int // looks at the clock for one record in every
	lat   *latencies
	zero  time.Time // what the times in the values count from
	first chan struct{}
	done  chan error
}

func (c *listener) run(ctx context.Context) error {
	see := c.see // bound once: binding allocates
	for c.seen < c.want {
		if err := c.tail.Next(ctx, see); err != nil {
			if c.seen == 0 {
				close(c.first)
			}
			return err
		}
	}
	return nil
}

func (c *listener) see(v []byte) {
	c.seen++
	if c.seen == 1 {
		close(c.first)
		return
	}
	if c.seen%c.every != 0 {
		return
	}
	sent := time.Duration(binary.LittleEndian.Uint64(v))
	c.lat.add(time.Since(c.zero) - sent)
}

// single sends one record at a time: through the system's asynchronous producer when records come as fast as they can, else by appends.
type single struct {
	app    Appender
	async  Sender
	values [][]byte
	batch  []any
	zero   time.Time
	next   int
}

func newSingle(st Store, w tailShape, zero time.Time) *single {
	s := &single{zero: zero, values: makeValues(preparedBatches, w.size, 0)}
	if y, ok := st.(Sender); ok && w.every == 0 {
		s.async = y
		return s
	}
	s.app = st.(Appender)
	for i := range s.values {
		s.batch = append(s.batch, s.app.Prepare(s.values[i:i+1]))
	}
	return s
}

func (s *single) one(now time.Time) error {
	i := s.next % len(s.values)
	s.next++
	binary.LittleEndian.PutUint64(s.values[i], uint64(now.Sub(s.zero)))
	if s.async != nil {
		return s.async.Send(s.values[i])
	}
	return s.app.Append(s.batch[i])
}

func (s *single) flush() error {
	if s.async == nil {
		return nil
	}
	return s.async.Flush()
}

// all sends n records. Paced, it waits by looking at the clock: timers are up to a millisecond late in an idle process.
func (s *single) all(n int, w tailShape) error {
	begin := time.Now()
	now, fresh := begin, w.stamps()
	for i := range n {
		if (i+2)%fresh == 0 { // the listener counts from one and has seen one before
			now = time.Now()
		}
		for due := begin.Add(time.Duration(i) * w.every); w.every > 0 && now.Before(due); {
			now = time.Now()
		}
		if err := s.one(now); err != nil {
			return err
		}
	}
	return s.flush()
}
