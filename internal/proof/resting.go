package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const (
	restingCases = 400 // restarts in the fast tier
	restingRest  = 20 * time.Millisecond
	// restingTime is when a queue that has not come for its records is asleep for good.
	restingTime = 20 * time.Second
)

// runResting restarts queues whose records rest: stopped in good order, killed, or by a power cut. Nothing is appended afterwards; what
// brings the workers back is time alone.
func runResting(r *runner, t *tally, seed uint64) {
	r.each(restingCases*r.count, func(i int) {
		name := caseName{t.lane.name, "queue", strconv.Itoa(i), "restart", seed}
		r.try(t, name, func() error { return restartResting(i, seed) })
	})
}

func replayResting(_ *runner, c caseName) error {
	number, err := strconv.Atoi(c.Op)
	if err != nil {
		return fmt.Errorf("proof: operation %q is not the number of a restart", c.Op)
	}
	return restartResting(number, c.Seed)
}

func restartResting(number int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, uint64(number)))
	disk, records := vfs.NewCrash(), 1+rng.IntN(6)
	opts := []group.QueueOption{group.Backoff(restingRest, restingRest), group.Window(1 + rng.IntN(8))}
	if rng.IntN(3) == 0 {
		opts = append(opts, group.OrderByKey())
	}
	eng, err := failAll(disk, records, opts)
	if err != nil {
		return err
	}
	switch rng.IntN(3) {
	case 0:
		if err := eng.Close(); err != nil {
			return err
		}
	case 1:
		disk = disk.Kill(seed)
		_ = eng.Close() // of the program that is dead
	default:
		disk = disk.After(vfs.KeepNone, seed)
		_ = eng.Close()
	}
	return finishAll(disk, records, 1+rng.IntN(16), opts)
}

func openResting(disk *vfs.Crash, opts []group.QueueOption) (*topic.Engine, *group.Queue, error) {
	eng, err := topic.Open("data", topic.On(disk), topic.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, nil, err
	}
	q, err := group.OpenQueue(context.Background(), eng, "jobs", opts...)
	if err != nil {
		return nil, nil, errors.Join(err, eng.Close())
	}
	return eng, q, nil
}

// failAll makes records and fails each once.
func failAll(disk *vfs.Crash, records int, opts []group.QueueOption) (*topic.Engine, error) {
	eng, q, err := openResting(disk, append(opts, group.Window(1000)))
	if err != nil {
		return nil, err
	}
	for range records {
		if _, err := q.Topic().Append(context.Background(), topic.Record{Value: []byte("job")}); err != nil {
			return nil, errors.Join(err, eng.Close())
		}
	}
	for d, err := range q.Deliveries(context.Background()) {
		if err != nil {
			return nil, errors.Join(err, eng.Close())
		}
		d.Retry(errors.New("not yet"))
		if records--; records == 0 {
			break
		}
	}
	return eng, nil
}

// finishAll opens the queue anew and waits until the records are done.
func finishAll(disk *vfs.Crash, records, workers int, opts []group.QueueOption) error {
	eng, q, err := openResting(disk, opts)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), restingTime)
	defer stop()
	var left atomic.Int64
	left.Store(int64(records))
	err = q.Run(ctx, workers, func(context.Context, *group.Delivery) error {
		if left.Add(-1) == 0 {
			stop()
		}
		return nil
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	m := q.Metrics()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	if err = errors.Join(err, eng.Close()); err != nil {
		return err
	}
	if n := left.Load(); n > 0 {
		return faultf(death, "the queue sleeps with %d of %d records: %+v", n, records, m)
	}
	return nil
}
