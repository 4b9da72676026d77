package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// groupQueue is the workload of a work queue: jobs are delivered and acknowledged one by one, each acknowledgement on disk before its worker
// waits again. Raw writes and syncs 64 bytes for each job, one after the other: what a queue must do at least that shares no syncs.
const groupQueue = "queue"

// queueShape is a queue with jobs and workers.
type queueShape struct {
	workers, size int
}

// queueAck is the bytes that raw writes for an acknowledgement.
const queueAck = 64

func queues() []*workload {
	row := func(id string, s queueShape, full bool) *workload {
		return &workload{id: id, group: groupQueue, level: Durable, full: full, open: s.open, score: byRate,
			name: fmt.Sprintf("deliveries of %d B with ack, %d workers, %v", s.size, s.workers, Durable)}
	}
	return []*workload{row("Q-1", queueShape{1, 100}, false), row("Q-16", queueShape{16, 100}, false), row("Q-64", queueShape{64, 100}, true)}
}

func (w queueShape) open(e *env, sys System) (trial, error) {
	_, isRaw := sys.(raw)
	_, isQuire := sys.(quire)
	if !isRaw && !isQuire {
		return nil, nil
	}
	return &queueTrial{e: e, sys: sys, shape: w, plain: isRaw}, nil
}

type queueTrial struct {
	e     *env
	sys   System
	shape queueShape
	plain bool
}

func (t *queueTrial) close() error { return nil }

// jobs is how many there are: as many as fill some slices.
func (t *queueTrial) jobs() int { return int(t.e.slice.Microseconds()) / 300 * min(t.shape.workers, 8) }

func (t *queueTrial) sample() (s sample, err error) {
	dir, err := t.e.fresh(t.sys)
	if err != nil {
		return s, err
	}
	if t.plain {
		s, err = t.sync(dir)
	} else {
		s, err = t.deliver(dir)
	}
	n := int64(t.jobs())
	s.records, s.batches, s.bytes = n, n, n*int64(t.shape.size)
	return s, errors.Join(err, os.RemoveAll(dir))
}

func (t *queueTrial) sync(dir string) (s sample, err error) {
	st, err := t.sys.Open(dir, Options{Level: Durable, Expect: int64(t.jobs() * queueAck)})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	app, _ := st.(Appender)
	ack := app.Prepare([][]byte{make([]byte, queueAck)})
	m := startMeter(st)
	for range t.jobs() {
		if err := app.Append(ack); err != nil {
			return s, err
		}
	}
	return m.stop(), nil
}

func (t *queueTrial) deliver(dir string) (s sample, err error) {
	st, err := openQuire(dir, Options{Level: OS}, 1)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := t.fill(st.part); err != nil {
		return s, err
	}
	q, err := group.OpenQueue(st.ctx, st.eng, quireTopic)
	if err != nil {
		return s, err
	}
	ctx, stop := context.WithCancel(st.ctx)
	defer stop()
	left := atomic.Int64{}
	left.Store(int64(t.jobs()))
	m := startMeter(st)
	err = q.Run(ctx, t.shape.workers, func(context.Context, *group.Delivery) error {
		if left.Add(-1) == 0 {
			stop()
		}
		return nil
	})
	s = m.stop()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if got := q.Metrics().Acknowledged; err == nil && got != int64(t.jobs()) {
		err = fmt.Errorf("%d of %d jobs acknowledged", got, t.jobs())
	}
	return s, err
}

func (t *queueTrial) fill(p *topic.Partition) error {
	recs := make([]topic.Record, t.jobs())
	for i := range recs {
		recs[i].Value = make([]byte, t.shape.size)
	}
	_, err := p.Append(context.Background(), recs...)
	return err
}
