package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

const (
	pollActive = 100 // partitions that get records
	pollRate   = 500 // records a second, one by one
	// What waiting may cost at most with a thousand times as many assigned. Noise moves both by less.
	mostPollRatio = 3
)

// pollCost is what records cost a reader that waits for each.
type pollCost struct {
	lag *latencies
	cpu float64 // share of one core, the appending included
}

// measurePollMany prints what a record costs that comes to one of many assigned partitions.
func measurePollMany(e *env, w io.Writer) (broken []string, err error) {
	t := table{{"reader", "assigned", "active", "p50", "p99", "% CPU"}}
	for _, reader := range []string{"consumer", "group"} {
		var few *pollCost
		for _, assigned := range []int{10, 1000, 10_000} {
			cost, err := costOfPolls(e, reader, assigned)
			if err != nil {
				return nil, err
			}
			t = append(t, []string{
				reader, fmt.Sprint(assigned), fmt.Sprint(min(assigned, pollActive)), showDuration(cost.lag.at(0.5)), showDuration(cost.lag.at(0.99)),
				fmt.Sprintf("%.1f", cost.cpu*100),
			})
			if few == nil {
				few = cost
			} else if cost.cpu > mostPollRatio*few.cpu {
				broken = append(broken, fmt.Sprintf("%s with %d partitions assigned takes %.0f %% CPU for %d records/s, with 10 %.0f %%",
					reader, assigned, cost.cpu*100, pollRate, few.cpu*100))
			}
		}
	}
	out := &lines{w: w}
	out.line("\nWAITING POLLS: %d records/s, appended one by one without sync; the time until the reader has one", pollRate)
	out.table(t.writeText, 1)
	return broken, out.err
}

func costOfPolls(e *env, reader string, assigned int) (c *pollCost, err error) {
	dir, err := e.fresh(quire{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	eng, err := topic.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
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
	began, cpu := time.Now(), cpuTime()
	for i := 0; time.Since(began) < 8*e.slice; i++ {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / pollRate)))
		if err := one(i%active*assigned/active, true); err != nil {
			return nil, err
		}
		if err := await(seen, done); err != nil {
			return nil, err
		}
	}
	c.cpu = float64(cpuTime()-cpu) / float64(time.Since(began))
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
