package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

const (
	stormJobs    = 20_000
	stormWorkers = 64
	stormRest    = time.Second
	// mostStormRecords is how many records of state a job may cost at most: noise cannot move it.
	mostStormRecords = 6
)

// measureStorm prints what a storm of retries costs: jobs that all fail once, rest side by side, and are done. A quarter of them shows
// whether the cost of each grows with their number.
func measureStorm(e *env, w io.Writer) (broken []string, err error) {
	t := table{{"jobs that fail once", "s", "us/job", "records of state/job"}}
	for _, jobs := range []int{stormJobs / 4, stormJobs} {
		took, records, err := storm(e, jobs)
		if err != nil {
			return nil, err
		}
		each := float64(records) / float64(jobs)
		t = append(t, []string{fmt.Sprint(jobs), fmt.Sprintf("%.2f", took.Seconds()),
			fmt.Sprintf("%.0f", float64((took-stormRest).Microseconds())/float64(jobs)), fmt.Sprintf("%.2f", each)})
		if each > mostStormRecords {
			broken = append(broken, fmt.Sprintf("storm of %d: %.2f records of state a job > %d", jobs, each, mostStormRecords))
		}
	}
	out := &lines{w: w}
	out.line("\nRETRY STORM: a queue whose jobs fail, rest %v at once and are done, %d workers, on disk", stormRest, stormWorkers)
	out.table(t.writeText, 1)
	return broken, out.err
}

// storm runs one, and counts the records that the queue's state took.
func storm(e *env, jobs int) (took time.Duration, records int64, err error) {
	eng, end, err := e.freshEngine()
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, end()) }()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	t, err := eng.Topic(ctx, quireTopic)
	if err != nil {
		return 0, 0, err
	}
	recs := make([]topic.Record, 1000)
	for i := range recs {
		recs[i].Value = make([]byte, 100)
	}
	for range jobs / len(recs) {
		if _, err := t.AppendBatch(ctx, recs); err != nil {
			return 0, 0, err
		}
	}
	q, err := group.OpenQueue(ctx, eng, quireTopic, group.Window(stormJobs), group.Backoff(stormRest, stormRest))
	if err != nil {
		return 0, 0, err
	}
	var done atomic.Int64
	begin := time.Now()
	err = q.Run(ctx, stormWorkers, func(_ context.Context, d *group.Delivery) error {
		if d.Attempt == 1 {
			return errors.New("not yet")
		}
		if done.Add(1) == int64(jobs) {
			stop()
		}
		return nil
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	took = time.Since(begin)
	if err = errors.Join(err, q.Close()); err != nil {
		return 0, 0, err
	}
	records, err = stateRecords(eng)
	return took, records, err
}

// stateRecords is how many records there were in the topic of the queues' states.
func stateRecords(eng *topic.Engine) (n int64, err error) {
	t, err := eng.Topic(context.Background(), group.ShareStateTopic)
	if err != nil {
		return 0, err
	}
	for i := range t.Partitions() {
		p, err := t.Partition(int32(i))
		if err != nil {
			return 0, err
		}
		end, err := p.End()
		if err != nil {
			return 0, err
		}
		n += end
	}
	return n, nil
}
