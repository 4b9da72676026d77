package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const (
	fullCases   = 60 // in the fast tier
	fullRecords = 20
	// fullTime is when a loop that has not handled its records has stopped for good.
	fullTime = 30 * time.Second
)

// fullLoops are the loops that a full disk holds up.
var fullLoops = []string{"member", "keys", "queue", "router"}

// runFull runs loops on disks that are full now and then, wherever they stand: they wait, go on, and miss nothing, also after a power cut.
func runFull(r *runner, t *tally, seed uint64) {
	r.each(fullCases*r.count, func(i int) {
		name := caseName{t.lane.name, fullLoops[i%len(fullLoops)], strconv.Itoa(i), "heals", seed}
		r.try(t, name, func() error { return loopOnFullDisk(fullLoops[i%len(fullLoops)], i, seed) })
	})
}

func replayFull(_ *runner, c caseName) error {
	number, err := strconv.Atoi(c.Op)
	if err != nil {
		return fmt.Errorf("proof: operation %q is not the number of a case", c.Op)
	}
	return loopOnFullDisk(c.Scenario, number, c.Seed)
}

// fullCase is one loop and what it has handled.
type fullCase struct {
	kind string
	goal int // records after which the power is cut
	mu   sync.Mutex
	seen map[int64]bool
	stop context.CancelFunc
}

func loopOnFullDisk(kind string, number int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, uint64(number)))
	disk := vfs.NewCrash()
	faults := vfs.NewFault(disk)
	eng, err := openFull(faults)
	if err != nil {
		return err
	}
	c := &fullCase{kind: kind, goal: 1 + rng.IntN(fullRecords), seen: map[int64]bool{}}
	calm, healed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(healed)
		fillAndHeal(faults, rng, calm)
	}()
	err = c.handle(eng)
	close(calm)
	<-healed
	if err != nil {
		return errors.Join(err, eng.Close())
	}
	after := disk.After(vfs.KeepNone, seed)
	_ = eng.Close() // of the program that is dead
	if eng, err = openFull(after); err != nil {
		return err
	}
	return errors.Join(c.finish(eng), eng.Close())
}

// openFull opens an engine with records to handle; a disk that had one before has them already.
func openFull(fs vfs.FS) (*topic.Engine, error) {
	eng, err := topic.Open("data", topic.On(fs), topic.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	t, err := eng.Topic(context.Background(), "jobs")
	if err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	p, err := t.Partition(0)
	if err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	for high, err := p.High(); high < fullRecords; high++ {
		if err == nil {
			_, err = t.Append(context.Background(), topic.Record{Key: []byte{byte(high % 3)}, Value: []byte("job")})
		}
		if err != nil {
			return nil, errors.Join(err, eng.Close())
		}
	}
	return eng, nil
}

// fillAndHeal fills the disk now and then, until calm is closed; it leaves it healed.
func fillAndHeal(faults *vfs.Fault, rng *rand.Rand, calm <-chan struct{}) {
	defer faults.Clear()
	for {
		for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpPreallocate} {
			faults.Add(vfs.Rule{Op: op, K: 1 + rng.IntN(4), Count: vfs.Forever, Err: syscall.ENOSPC})
		}
		for _, healthy := range []bool{false, true} {
			if healthy {
				faults.Clear()
			}
			select {
			case <-calm:
				return
			case <-time.After(time.Duration(1+rng.IntN(40)) * time.Millisecond):
			}
		}
	}
}

// handle runs the loop until so many records were handled. Opening it is a call like others: it fails while there is no room.
func (c *fullCase) handle(eng *topic.Engine) error {
	ctx, stop := context.WithTimeout(context.Background(), fullTime)
	defer stop()
	c.stop = stop
	for {
		run, err := c.open(ctx, eng)
		if errors.Is(err, topic.ErrNoSpace) || errors.Is(err, syscall.ENOSPC) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		if err := run(); !errors.Is(err, context.Canceled) {
			return faultf(wrong, "the loop ended after %d records of %d: %v", c.count(), c.goal, err)
		}
		return nil
	}
}

// finish runs the loop anew, after the power cut: what it then handles, and what was handled before, is everything there is.
func (c *fullCase) finish(eng *topic.Engine) error {
	ctx, stop := context.WithTimeout(context.Background(), fullTime)
	defer stop()
	c.goal, c.stop = fullRecords, stop
	router := c.kind == "router" // what counts is its copies, which follow
	switch {
	case router:
		c.stop = func() {}
	case c.count() == fullRecords:
		return nil
	}
	run, err := c.open(ctx, eng)
	if err != nil {
		return err
	}
	if router {
		go stopWhenCopied(ctx, eng, stop) // all may be there already
	}
	if err := run(); !errors.Is(err, context.Canceled) {
		return faultf(lost, "after the power cut %d of %d records were handed out: %v", c.count(), fullRecords, err)
	}
	if n, err := copiesOf(eng); router && (n < fullRecords || err != nil) {
		return faultf(lost, "%d of %d records were copied: %v", n, fullRecords, err)
	}
	return nil
}

func stopWhenCopied(ctx context.Context, eng *topic.Engine, stop context.CancelFunc) {
	for ctx.Err() == nil {
		if n, err := copiesOf(eng); err == nil && n == fullRecords {
			stop()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// copiesOf counts the records that have a copy.
func copiesOf(eng *topic.Engine) (int, error) {
	t, err := eng.Topic(context.Background(), "copies")
	if err != nil {
		return 0, err
	}
	sources := map[int64]bool{}
	for rec, err := range t.Read(context.Background(), topic.UntilEnd()) {
		if err != nil {
			return 0, err
		}
		from, _ := group.ParseRouted(*rec)
		sources[from.Source.Offset] = true
	}
	return len(sources), nil
}

func (c *fullCase) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

func (c *fullCase) handled(offset int64) {
	c.mu.Lock()
	c.seen[offset] = true
	done := len(c.seen) >= c.goal
	c.mu.Unlock()
	if done {
		c.stop()
	}
}

// open opens the loop.
func (c *fullCase) open(ctx context.Context, eng *topic.Engine) (run func() error, err error) {
	batch := func(_ context.Context, b *group.Batch) error {
		for _, rec := range b.Records {
			c.handled(rec.Offset)
		}
		return nil
	}
	few := group.ReadWith(topic.MaxPollRecords(3))
	switch c.kind {
	case "queue":
		q, err := group.OpenQueue(ctx, eng, "jobs")
		return func() error {
			return q.Run(ctx, 3, func(_ context.Context, d *group.Delivery) error { c.handled(d.Offset); return nil })
		}, err
	case "router":
		r, err := group.OpenRouter(ctx, eng, "router", group.From("jobs"), group.JoinWith(few, group.CommitEvery(0)), group.RetryCopies(time.Millisecond, 5*time.Millisecond),
			group.Bind(group.Fanout("copies"), group.ByFunc("count", func(rec topic.Record) ([]topic.Record, error) { c.handled(rec.Offset); return nil, nil })))
		return func() error { return r.Run(ctx, 2) }, err
	}
	m, err := group.Join(ctx, eng, "jobs", group.Topics("jobs"), few, group.CommitEvery(0))
	if c.kind == "keys" {
		return func() error { return m.RunByKey(ctx, 3, batch) }, err
	}
	return func() error { return m.Run(ctx, 3, batch) }, err
}
