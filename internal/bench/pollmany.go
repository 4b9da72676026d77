package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

const (
	pollActive = 100 // partitions that get records
	pollRate   = 500 // records a second, one by one
	// mostPollAllocs is how many allocations a record may cost at most, however many partitions are assigned: noise cannot move it.
	mostPollAllocs = 40
)

// pollCost is what records cost a reader that waits for each.
type pollCost struct {
	lag    *latencies
	cpu    float64 // share of one core, the appending included
	allocs float64 // a record, the appending included
}

// polls are the readers and how many partitions are assigned to each.
func (t tier) polls() (readers []string, assigned []int) {
	if t.fullMatrix {
		return []string{"consumer", "group"}, []int{10, 1000, 10_000}
	}
	return []string{"group"}, []int{10, 1000}
}

// measurePollMany prints what a record costs that comes to one of many assigned partitions.
func measurePollMany(e *env, w io.Writer) (broken []string, err error) {
	t := table{{"reader", "assigned", "active", "p50", "p99", "% CPU", "allocs/rec"}}
	readers, sizes := e.polls()
	for _, reader := range readers {
		for _, assigned := range sizes {
			cost, err := costOfPolls(e, reader, assigned)
			if err != nil {
				return nil, err
			}
			t = append(t, []string{
				reader, fmt.Sprint(assigned), fmt.Sprint(min(assigned, pollActive)), showDuration(cost.lag.at(0.5)), showDuration(cost.lag.at(0.99)),
				fmt.Sprintf("%.1f", cost.cpu*100), showCount(cost.allocs),
			})
			if cost.allocs > mostPollAllocs {
				broken = append(broken, fmt.Sprintf("%s with %d partitions assigned: %.1f allocations a record > %d", reader, assigned, cost.allocs, mostPollAllocs))
			}
		}
	}
	out := &lines{w: w}
	out.line("\nWAITING POLLS: %d records/s, appended one by one without sync; the time until the reader has one", pollRate)
	out.table(t.writeText, 1)
	return broken, out.err
}

func costOfPolls(e *env, reader string, assigned int) (c *pollCost, err error) {
	eng, end, err := e.freshEngine()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	top, err := eng.Topic(ctx, quireTopic, topic.Partitions(assigned), topic.NoSync())
	if err != nil {
		return nil, err
	}
	c = &pollCost{lag: newLatencies(4 * pollRate)}
	seen, done := make(chan struct{}, pollRate), make(chan error, 1)
	go func() {
		done <- follow(ctx, eng, reader, func(r *topic.Record) {
			if sent := int64(binary.LittleEndian.Uint64(r.Value)); sent > 0 {
				c.lag.add(time.Duration(time.Now().UnixNano() - sent))
			}
			seen <- struct{}{}
		})
	}()
	one := func(part int, timed bool) error {
		value := make([]byte, 100)
		if timed {
			binary.LittleEndian.PutUint64(value, uint64(time.Now().UnixNano()))
		}
		_, err := top.Append(ctx, topic.Record{Value: value}, topic.AppendTo(int32(part)))
		return err
	}
	active := min(assigned, pollActive)
	for i := range active { // all are open, and read to their ends, when the clock starts
		if err := one(i*assigned/active, false); err != nil {
			return nil, err
		}
		if err := await(seen, done); err != nil {
			return nil, err
		}
	}
	m, cpu, n := startMeter(nil), cpuTime(), int64(0)
	for ; time.Since(m.begin) < 8*e.slice; n++ {
		time.Sleep(time.Until(m.begin.Add(time.Duration(n) * time.Second / pollRate)))
		if err := one(int(n)%active*assigned/active, true); err != nil {
			return nil, err
		}
		if err := await(seen, done); err != nil {
			return nil, err
		}
	}
	s := m.stop()
	c.cpu, c.allocs = float64(cpuTime()-cpu)/float64(s.elapsed), perRecord(s.allocs, n)
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return c, nil
}

// await waits for a record to be read.
func await(seen <-chan struct{}, done chan error) error {
	select {
	case <-seen:
		return nil
	case err := <-done:
		done <- err
		return errors.Join(errors.New("the reader has stopped"), err)
	}
}

// follow reads until ctx ends.
func follow(ctx context.Context, eng *topic.Engine, reader string, f func(*topic.Record)) (err error) {
	if reader == "group" {
		m, err := group.Join(ctx, eng, "followers", group.Topics(quireTopic))
		if err != nil {
			return err
		}
		for b, err := range m.Batches(ctx) {
			if err != nil {
				return errors.Join(err, m.Close())
			}
			for i := range b.Records {
				f(&b.Records[i])
			}
		}
		return errors.Join(ctx.Err(), m.Close())
	}
	c, err := eng.NewConsumer(topic.MaxWait(topic.Forever))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.AssignTopics(quireTopic); err != nil {
		return err
	}
	for {
		recs, err := c.Poll(ctx)
		if err != nil {
			return err
		}
		for i := range recs {
			f(&recs[i])
		}
	}
}
