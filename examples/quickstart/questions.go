package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/quirelog/quire/topic"
)

// noon is the time that is asked for: the middle of the log's second day.
var noon = time.Date(2015, time.May, 18, 12, 0, 0, 0, time.UTC)

// ask puts three questions to the topic, each answered without reading what lies before, and checks the answers against what was consumed.
func ask(ctx context.Context, t *topic.Topic, counted *tally, out io.Writer) error {
	if err := askByTime(ctx, t, counted, out); err != nil {
		return err
	}
	if err := askByOffset(ctx, t, counted, out); err != nil {
		return err
	}
	return askByKey(counted, out)
}

// askByTime looks up, in each partition, the first record at or after noon.
func askByTime(ctx context.Context, t *topic.Topic, counted *tally, out io.Writer) error {
	begin := time.Now()
	answers := make([]int64, t.Partitions())
	for n := range answers {
		p, err := t.Partition(int32(n))
		if err != nil {
			return err
		}
		pos, _, ok, err := p.OffsetForTime(ctx, noon)
		if err != nil {
			return err
		}
		answers[n] = -1
		if ok {
			answers[n] = pos.Offset
		}
	}
	took := time.Since(begin)
	for n, offset := range answers {
		if want := counted.firstAt(int32(n), noon); offset != want {
			return fmt.Errorf("partition %d: the first record at or after %v is %d, the topic says %d", n, noon, want, offset)
		}
	}
	fmt.Fprintf(out, "by time    first events at or after %s: offsets %v (%v)\n", noon.Format("2 Jan 2006 15:04"), answers, took.Round(time.Microsecond))
	return nil
}

// askByOffset reads one record from the middle of a partition.
func askByOffset(ctx context.Context, t *topic.Topic, counted *tally, out io.Writer) error {
	want := counted.places[len(counted.places)/2]
	begin := time.Now()
	for rec, err := range t.Read(ctx, topic.OnPartitions(want.partition), topic.FromOffset(want.offset)) {
		if err != nil {
			return err
		}
		took := time.Since(begin)
		line := lineOf(rec)
		if (place{rec.Partition, rec.Offset}) != want || line != counted.lines[want] {
			return fmt.Errorf("asked for offset %d of partition %d, got %d", want.offset, want.partition, rec.Offset)
		}
		fmt.Fprintf(out, "by offset  %s/%d@%d is line %d, %s from %s (%v)\n", rec.Topic, rec.Partition, rec.Offset, line+1,
			rec.Time.UTC().Format(time.DateTime), rec.Key, took.Round(time.Microsecond))
		return nil
	}
	return fmt.Errorf("no record at offset %d of partition %d", want.offset, want.partition)
}

// askByKey shows what a key is for: one client's records lie in one partition, in the order in which they were sent.
func askByKey(counted *tally, out io.Writer) error {
	client, visits := counted.busiest()
	homes := map[int32]bool{}
	for _, p := range visits {
		homes[p.partition] = true
	}
	if len(homes) != 1 {
		return fmt.Errorf("records of %s lie in %d partitions", client, len(homes))
	}
	fmt.Fprintf(out, "by key     %s, the busiest client: %d events, all in partition %d, in order\n", client, len(visits), visits[0].partition)
	return nil
}
