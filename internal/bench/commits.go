package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// commitShape is how offsets are committed: by so many groups at once, so many partitions with each commit.
type commitShape struct{ groups, partitions int }

func commitShapes() []commitShape {
	return []commitShape{{1, 1}, {1, 100}, {64, 1}, {64, 100}}
}

// commitFor commits for a while, every commit on disk before its group goes on, and tells how many commits there were.
func (c commitShape) commitFor(coord *group.Coordinator, d time.Duration) (s sample, err error) {
	var wg sync.WaitGroup
	counts, faults := make([]int64, c.groups), make([]error, c.groups)
	m := startMeter(nil)
	until := time.Now().Add(d)
	for g := range c.groups {
		wg.Go(func() {
			name := fmt.Sprint("g", g)
			list := make([]group.PartitionOffset, c.partitions)
			for p := range list {
				list[p] = group.PartitionOffset{TopicPartition: topic.TopicPartition{Topic: quireTopic, Partition: int32(p)}, LeaderEpoch: -1}
			}
			for time.Now().Before(until) && faults[g] == nil {
				for p := range list {
					list[p].Offset++
				}
				r := coord.Commit(context.Background(), name, group.CommitRequest{Generation: -1, ProducerID: -1, Offsets: list})
				faults[g] = r.Err
				counts[g]++
			}
		})
	}
	wg.Wait()
	s = m.stop()
	for _, n := range counts {
		s.records += n
	}
	return s, errors.Join(faults...)
}

// measureCommits prints how many offsets a second can be committed, beside raw, which writes and syncs 64 bytes for each commit.
func measureCommits(e *env, w io.Writer) (broken []string, err error) {
	eng, end, err := e.freshEngine()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if _, err := eng.Topic(context.Background(), quireTopic, topic.Partitions(100)); err != nil {
		return nil, err
	}
	coord, err := group.On(eng)
	if err != nil {
		return nil, err
	}
	shapes := commitShapes()
	ours := make([]outcome, len(shapes))
	base := &outcome{}
	for range e.rounds {
		for i, c := range shapes {
			s, err := c.commitFor(coord, e.slice)
			if err != nil {
				return nil, err
			}
			ours[i].samples = append(ours[i].samples, s)
		}
		s, err := rawCommits(e)
		if err != nil {
			return nil, err
		}
		base.samples = append(base.samples, s)
	}
	t := table{{"who", "commits/s", "offsets/s", "allocs/commit", "x raw"}, {"raw, one after the other", fmt.Sprintf("%.0f", mid(base, rate)), "-", "-", "1"}}
	for i, c := range shapes {
		o := &ours[i]
		t = append(t, []string{fmt.Sprintf("%d groups at once, %d offsets each", c.groups, c.partitions), fmt.Sprintf("%.0f", mid(o, rate)),
			fmt.Sprintf("%.0f", mid(o, rate)*float64(c.partitions)), showCount(mid(o, allocsPerRecord)), showRatio(roundRatio(o, base))})
	}
	out := &lines{w: w}
	out.line("\nCOMMITS: each on disk before its group goes on; raw writes and syncs 64 B")
	out.table(t.writeText, 1)
	if out.err != nil {
		return nil, out.err
	}
	return nil, measureCommitsBeside(e, w)
}

func rawCommits(e *env) (s sample, err error) {
	dir, err := e.fresh(raw{})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := raw{}.Open(dir, Options{Level: Durable})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	app, _ := st.(Appender)
	one := app.Prepare([][]byte{make([]byte, queueAck)})
	m := startMeter(st)
	for begin := time.Now(); time.Since(begin) < e.slice; s.records++ {
		if err := app.Append(one); err != nil {
			return s, err
		}
	}
	n := s.records
	s = m.stop()
	s.records = n
	return s, nil
}
