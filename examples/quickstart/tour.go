package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/topic"
)

// tour is the story, from the first record to the verdict.
func tour(ctx context.Context, dir string, stdout, stderr io.Writer) (good bool, err error) {
	visits, err := examples.AccessLog()
	if err != nil {
		return false, err
	}
	fmt.Fprintf(stdout, "input      %d lines of a web server's log, %s\n", len(visits), size(inputSize(visits)))

	progress := examples.NewBar(stdout, "writing", killAfter)
	acks, err := killAWriter(ctx, dir, stderr, progress.Show)
	progress.Done()
	if err != nil {
		return false, err
	}
	fmt.Fprintf(stdout, "killed     the writing process, after %d records were acknowledged\n", len(acks))

	v, err := reopen(ctx, dir, visits, acks, stdout)
	if err != nil {
		return false, err
	}
	onDisk, err := directorySize(dir)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(stdout, "on disk    %s, %.0f %% of the input\n", size(onDisk), 100*float64(onDisk)/float64(inputSize(visits)))
	fmt.Fprintf(stdout, "produced=%d consumed=%d lost=%d reordered=%d\n", v.produced, v.consumed, v.lost, v.reordered)
	return v.good(len(visits)), nil
}

// A verdict is the last line.
type verdict struct{ produced, consumed, lost, reordered int }

func (v verdict) good(total int) bool { return v == verdict{produced: total, consumed: total} }

// reopen opens what the killed process left, finishes its work and checks everything.
func reopen(ctx context.Context, dir string, visits []examples.Visit, acks []ack, out io.Writer) (v verdict, err error) {
	begin := time.Now()
	eng, t, err := open(ctx, dir)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()

	left, err := findSurvivors(ctx, t, visits, acks)
	if err != nil {
		return v, err
	}
	fmt.Fprintf(out, "reopened   %d of %d acknowledged records are there, and %d more (%v)\n",
		len(acks)-left.lost, len(acks), left.count-len(acks)+left.lost, since(begin))

	written, err := writeRest(ctx, eng, left.missing(visits), out)
	if err != nil {
		return v, err
	}
	counted, err := readBack(ctx, eng, t, visits, out)
	if err != nil {
		return v, err
	}
	v = verdict{left.count + written, counted.consumed, left.lost + counted.lost(), counted.reordered}
	if !v.good(len(visits)) {
		return v, nil // the questions make no sense of a damaged topic
	}
	return v, ask(ctx, t, counted, out)
}

// writeRest sends what is still missing and returns how many records were acknowledged.
func writeRest(ctx context.Context, eng *topic.Engine, rest []examples.Visit, out io.Writer) (int, error) {
	begin := time.Now()
	progress := examples.NewBar(out, "writing", int64(len(rest)))
	var written atomic.Int64
	err := produce(ctx, eng, rest, func(examples.Visit, topic.Position) {
		progress.Show(written.Add(1))
	})
	progress.Done()
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "written    the other %d, each on disk when acknowledged (%v)\n", written.Load(), since(begin))
	return int(written.Load()), nil
}

// readBack consumes everything and holds it against the input.
func readBack(ctx context.Context, eng *topic.Engine, t *topic.Topic, visits []examples.Visit, out io.Writer) (*tally, error) {
	begin := time.Now()
	progress := examples.NewBar(out, "reading", int64(len(visits)))
	counted := newTally(visits)
	err := consume(ctx, eng, t, func(rec *topic.Record) {
		counted.add(rec)
		progress.Show(int64(counted.consumed))
	})
	progress.Done()
	if err != nil {
		return nil, err
	}
	sum := counted.digest()
	if sum != digestOf(visits) || counted.twice > 0 || counted.strange > 0 {
		fmt.Fprintf(out, "DIFFERENT  from the input: %d records came twice, %d are no lines of it\n", counted.twice, counted.strange)
	}
	fmt.Fprintf(out, "read back  %d records of %d clients, sha256 %x... (%v)\n", counted.consumed, len(counted.last), sum[:6], since(begin))
	return counted, nil
}

func since(begin time.Time) time.Duration { return time.Since(begin).Round(100 * time.Microsecond) }
