package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/quirelog/quire/topic"
)

// followEvery is how often a directory that another program writes is looked at again.
const followEvery = 500 * time.Millisecond

func (t *tool) consume(name string, args []string) error {
	f := t.flags(name, "TOPIC", "Print records of a topic. Only reads, also beside a program that writes.")
	dir := dirFlag(f)
	from := placeFlag(f, "from", "start", "begin at this `place`: "+placeHelp)
	until := placeFlag(f, "until", "end", "stop before this `place`")
	partitions := f.String("partitions", "", "only these, such as 0,2 (default all)")
	most := f.Int("n", -1, "stop after so many records")
	follow := f.Bool("follow", false, "at the end wait for more, whatever -until says; stop by an interrupt")
	committed := f.Bool("committed", false, "leave out open and aborted transactions")
	format := f.String("format", "text", "text or json")
	shown := f.String("columns", "", "in text, what stands before the value: "+strings.Join(columnNames, ","))
	rest, err := t.parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	r := &reading{t: t, topic: rest[0], from: *from, until: *until, left: *most, at: map[int32]int64{}}
	if *committed {
		r.level = topic.ReadCommitted
	}
	if r.print, err = t.printer(*format, *shown); err != nil {
		return t.misuse(f, "%v", err)
	}
	if r.only, err = parsePartitions(*partitions); err != nil {
		return t.misuse(f, "%v", err)
	}
	if !*follow {
		return t.reading(*dir, r.round)
	}
	return r.follow(*dir)
}

// placeFlag is a flag whose value is a place.
func placeFlag(f *flag.FlagSet, name, value, usage string) *place {
	pl := &place{word: value}
	f.Func(name, usage+fmt.Sprintf(" (default %s)", value), func(s string) (err error) {
		*pl, err = parsePlace(s, time.Now())
		return err
	})
	return pl
}

// printer gives the function that prints a record.
func (t *tool) printer(format, shown string) (func(*topic.Record) error, error) {
	c, err := parseColumns(shown)
	switch {
	case err != nil:
		return nil, err
	case format == "json":
		return func(rec *topic.Record) error { return t.json(recordFacts(rec)) }, nil
	case format == "text":
		return func(rec *topic.Record) error { return c.print(t.stdout, rec) }, nil
	}
	return nil, fmt.Errorf("format %q is neither text nor json", format)
}

func parsePartitions(list string) ([]int32, error) {
	if list == "" {
		return nil, nil
	}
	var only []int32
	for _, word := range strings.Split(list, ",") {
		n, err := strconv.ParseUint(word, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("partition %q: %w", word, err)
		}
		only = append(only, int32(n))
	}
	return only, nil
}

// A reading is one run of consume.
type reading struct {
	t           *tool
	topic       string
	from, until place
	only        []int32 // nil: all partitions
	left        int     // records still to print; negative: no bound
	level       topic.IsolationLevel
	print       func(*topic.Record) error
	at          map[int32]int64 // by partition: the next offset; none before the first round
}

// follow reads again and again. Each round opens the directory anew: what another program writes shows only then.
func (r *reading) follow(dir string) error {
	r.until = place{word: "end"}
	for {
		err := r.t.reading(dir, r.round)
		if r.t.ctx.Err() != nil {
			return nil // an interrupt is how this ends
		}
		if err = errors.Join(err, r.t.stdout.Flush()); err != nil || r.left == 0 {
			return err
		}
		pause := time.NewTimer(followEvery)
		select {
		case <-r.t.ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
	}
}

// round prints what there is from where the last round ended.
func (r *reading) round(eng *topic.Engine) error {
	have, err := r.t.existing(eng, r.topic)
	if err != nil {
		return err
	}
	c, err := eng.NewConsumer(topic.Isolation(r.level), topic.OnOutOfRange(topic.Earliest))
	if err != nil {
		return err
	}
	defer c.Close()
	ends, err := r.assign(c, have)
	if err != nil {
		return err
	}
	for len(ends) > 0 && r.left != 0 {
		records, err := c.Poll(r.t.ctx)
		if err != nil {
			return err
		}
		for i := range records {
			if err := r.record(&records[i], ends); err != nil {
				return err
			}
		}
		if err := r.finish(c, ends); err != nil {
			return err
		}
	}
	return nil
}

// assign seeks to the beginnings and returns the ends of the partitions in which there is something to read.
func (r *reading) assign(c *topic.Consumer, have *topic.Topic) (ends map[int32]int64, err error) {
	if r.only == nil {
		for n := range int32(have.Partitions()) {
			r.only = append(r.only, n)
		}
	}
	ends = map[int32]int64{}
	var parts []topic.TopicPartition
	for _, n := range r.only {
		p, err := have.Partition(n)
		if err != nil {
			return nil, err
		}
		end, err := r.bounds(r.t.ctx, p)
		if err != nil {
			return nil, err
		}
		if end > r.at[n] {
			ends[n] = end
			parts = append(parts, topic.TopicPartition{Topic: r.topic, Partition: n})
		}
	}
	if err := c.Assign(parts...); err != nil {
		return nil, err
	}
	for _, tp := range parts {
		if err := c.Seek(tp, r.at[tp.Partition]); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// bounds sets where a partition is to be read from, at the first round, and returns where to stop.
func (r *reading) bounds(ctx context.Context, p *topic.Partition) (end int64, err error) {
	if _, known := r.at[p.ID()]; !known {
		if r.at[p.ID()], err = r.from.resolve(ctx, p, r.level); err != nil {
			return 0, err
		}
	}
	return r.until.resolve(ctx, p, r.level)
}

// record prints one that lies before its partition's end.
func (r *reading) record(rec *topic.Record, ends map[int32]int64) error {
	if end, ok := ends[rec.Partition]; !ok || rec.Offset >= end || r.left == 0 {
		return nil
	}
	if r.left > 0 {
		r.left--
	}
	return r.print(rec)
}

// finish notes how far each partition is read and lets go of those that are at their end.
func (r *reading) finish(c *topic.Consumer, ends map[int32]int64) error {
	var rest []topic.TopicPartition
	for n, end := range ends {
		tp := topic.TopicPartition{Topic: r.topic, Partition: n}
		pos, err := c.Position(tp)
		if err != nil {
			return err
		}
		r.at[n] = pos
		if pos >= end {
			delete(ends, n)
		} else {
			rest = append(rest, tp)
		}
	}
	if len(rest) == len(c.Assignment()) {
		return nil
	}
	return c.Assign(rest...)
}
