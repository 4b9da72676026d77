package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		return err
	}
	defer eng.Close()
	lines, err := fill(ctx, eng)
	if err != nil {
		return err
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	work := &tally{left: lines, done: cancel, out: out}
	var wg sync.WaitGroup
	faults := make([]error, 3)
	for i, name := range []string{"ann", "ben", "cem"} {
		m := &member{name: name, work: work}
		if i == 0 {
			m.most = lines / 10 // she goes home early
		}
		if err := m.join(ctx, eng); err != nil {
			return err
		}
		wg.Go(func() { faults[i] = m.run(reading) })
	}
	wg.Wait()
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return report(eng, out, lines)
}

// fill appends the access log, each client's lines to one partition.
func fill(ctx context.Context, eng *topic.Engine) (int, error) {
	visits, err := examples.AccessLog()
	if err != nil {
		return 0, err
	}
	log, err := eng.Topic(ctx, "visits", topic.Partitions(12))
	if err != nil {
		return 0, err
	}
	recs := make([]topic.Record, len(visits))
	for i, v := range visits {
		recs[i] = topic.Record{Key: []byte(v.Client), Value: v.Text, Time: v.Time}
	}
	_, err = log.AppendBatch(ctx, recs)
	return len(recs), err
}

// report tells how far the group has come.
func report(eng *topic.Engine, out io.Writer, lines int) error {
	groups, err := group.On(eng)
	if err != nil {
		return err
	}
	rows, err := groups.Lag(context.Background(), "counters")
	if err != nil {
		return err
	}
	var sum, lag int64
	for _, r := range rows {
		sum += r.Committed
		lag += r.Lag
	}
	fmt.Fprintf(out, "%d lines, %d committed in %d partitions, %d to go\n", lines, sum, len(rows), lag)
	return nil
}
