package fetch

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/quirelog/quire/internal/ready"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// Fetcher reads many partitions in turns, with one buffer. Its owner is one goroutine at a time.
//
// A run is what one read gave, whole batches of one partition. It is used up before the next partition has
// its turn, so that no partition gets more than one run while others wait, and nothing is buffered twice.
type Fetcher[R any] struct {
	cfg     Config
	Cursors []*Cursor[R]
	Ready   *ready.List[*Cursor[R]] // those that may have something to read; the first reads next
	Failed  []*Cursor[R]            // those whose last look was an error; they are looked at again one at a time
	Erred   bool                    // an error was the last thing told
	Ended   int                     // how many cursors have nothing wanted left
	Visits  int                     // how often a cursor was looked at

	buf   []byte     // memory of the run, used again
	run   []byte     // batches not yet taken
	size  int        // of the run when it was read
	owner *Cursor[R] // whose run it is

	decoder Decoder
	timer   *time.Timer
}

// New makes a fetcher without cursors.
func New[R any](cfg Config) Fetcher[R] {
	return Fetcher[R]{cfg: cfg, Ready: ready.New[*Cursor[R]]()}
}

// Add takes a cursor in, to be looked at first of all.
func (f *Fetcher[R]) Add(c *Cursor[R]) {
	f.Cursors = append(f.Cursors, c)
	f.Ready.Init(&c.Mark, c)
	f.Ready.Add(&c.Mark)
}

// Front is the cursor whose turn it is, nil if none has anything.
func (f *Fetcher[R]) Front() *Cursor[R] {
	if m := f.Ready.Front(); m != nil {
		return m.Of
	}
	return nil
}

// Advance gives the next cursor its turn.
func (f *Fetcher[R]) Advance(c *Cursor[R]) { f.Ready.Last(&c.Mark) }

// Settle has a cursor with nothing to read wait until its log tells that it changed. It keeps its turn if it did meanwhile.
func (f *Fetcher[R]) Settle(c *Cursor[R]) {
	if c.Finished() {
		f.Ready.Drop(&c.Mark)
		f.Ended++
		return
	}
	c.watch()
	f.Ready.Rest(&c.Mark)
	if !c.resting() {
		f.Ready.Add(&c.Mark)
	}
}

// Fail has a cursor with an error wait until the others have had their turn.
func (f *Fetcher[R]) Fail(c *Cursor[R]) {
	f.Ready.Drop(&c.Mark)
	c.Failed = true
	f.Failed = append(f.Failed, c)
}

// ClearFailure takes a cursor out of those that failed: it is about to be looked at, or let go of.
func (f *Fetcher[R]) ClearFailure(c *Cursor[R]) {
	if c.Failed {
		c.Failed = false
		f.Failed = slices.DeleteFunc(f.Failed, func(x *Cursor[R]) bool { return x == c })
	}
}

// Again gives a cursor another turn, behind the others.
func (f *Fetcher[R]) Again(c *Cursor[R]) {
	f.ClearFailure(c)
	f.Ready.Add(&c.Mark)
}

// Retry gives a cursor that failed another turn; false if there is none.
func (f *Fetcher[R]) Retry() bool {
	if len(f.Failed) == 0 {
		return false
	}
	f.Again(f.Failed[0])
	return true
}

// Leave lets go of a cursor.
func (f *Fetcher[R]) Leave(c *Cursor[R]) {
	c.unwatch()
	f.ClearFailure(c)
	f.Ready.Leave(&c.Mark)
}

// Close lets go of all. The fetcher may be used again: what is idle is told of nothing more.
func (f *Fetcher[R]) Close() {
	for _, c := range f.Cursors {
		c.unwatch()
	}
}

// Load makes sure that the run holds batches of c. False: there is nothing at present.
func (f *Fetcher[R]) Load(ctx context.Context, c *Cursor[R]) (bool, error) {
	if f.Holds(c) {
		return true, nil
	}
	f.Visits++
	f.Drop()
	if c.unused() {
		return false, nil
	}
	if err := c.ready(ctx); err != nil {
		return false, err
	}
	if c.Finished() || c.idle() {
		return false, nil
	}
	for tried := unresolved; ; {
		limit := c.Limit()
		run, next, err := f.read(ctx, c)
		if err == nil {
			return f.begin(ctx, c, run, next, limit)
		}
		// A start that rises all the time may overtake the place a reset found; the same place is not tried twice.
		if c.Pos == tried || !errors.Is(err, log.ErrOffsetOutOfRange) {
			return false, c.src.Fault(ctx, err)
		}
		tried = c.Pos
		if err := c.OutOfRange(ctx, err, f.cfg.Reset); err != nil {
			return false, err
		}
	}
}

func (f *Fetcher[R]) options(c *Cursor[R]) log.ReadOptions {
	most := f.cfg.MaxPartitionBytes
	if c.stride > 0 {
		most = min(most, c.stride)
	}
	return log.ReadOptions{Bound: f.cfg.Bound, MaxBytes: most, Check: !f.cfg.SkipChecksums}
}

// begin takes a run over from the log. An empty one says that compaction left nothing below the limit of
// before the read.
func (f *Fetcher[R]) begin(ctx context.Context, c *Cursor[R], run []byte, next log.Place, limit int64) (bool, error) {
	if cap(run) <= 4*f.cfg.MaxPartitionBytes {
		f.buf = run[:0] // an outsized one is not kept beyond its use
	}
	if len(run) == 0 {
		if c.place.Offset < limit {
			c.SeekTo(limit)
		}
		return false, nil
	}
	if f.cfg.Bound == log.Stable {
		if err := c.filter.begin(ctx, c, next.Offset); err != nil {
			return false, c.src.Fault(ctx, err)
		}
	}
	f.run, f.owner, f.size, c.place, c.Afloat = run, c, len(run), next, false
	c.src.Fetched(len(run), 0)
	return true, nil
}

// Holds tells whether batches of c's run are left.
func (f *Fetcher[R]) Holds(c *Cursor[R]) bool { return f.owner == c && len(f.run) > 0 }

// Left is how many bytes of the run are left.
func (f *Fetcher[R]) Left() int { return len(f.run) }

// Drop gives the run up; its cursor will read what is left of it again. So that this is little, it reads no more at a time than its turns
// use, as when it is paused while its records are worked on.
func (f *Fetcher[R]) Drop() {
	switch o := f.owner; {
	case o == nil:
	case len(f.run) > 0:
		o.rewind()
		o.stride = max(f.size-len(f.run), leastStride)
	default:
		o.stride = min(o.stride+o.stride/4, f.cfg.MaxPartitionBytes)
	}
	f.run, f.owner = nil, nil
}

// leastStride is the least that is read at a time, if the caller allows it.
const leastStride = 8 << 10

// Moved is called when a cursor's position was set: a run of its is worthless, and there may be something to read.
func (f *Fetcher[R]) Moved(c *Cursor[R]) {
	if f.owner == c {
		f.run, f.owner = nil, nil
	}
	f.Again(c)
}

// Take gives the run's next batch with something to return, borrowed until the next load, and moves the
// cursor's next past it; ok is false at the end of the run. Control batches, what was aborted, and what lies
// below the position are passed over.
func (f *Fetcher[R]) Take(c *Cursor[R]) (b record.Batch, ok bool, err error) {
	for len(f.run) > 0 {
		b, err := record.First(f.run)
		if err != nil {
			return nil, false, c.damaged(c.Next, c.place.Offset, err)
		}
		wanted := !b.Control()
		if f.cfg.Bound == log.Stable {
			keep, err := c.filter.keep(b)
			if err != nil {
				return nil, false, c.damaged(c.Next, b.NextOffset(), err)
			}
			wanted = wanted && keep
		}
		f.run = f.run[len(b):]
		c.Next = max(c.Next, b.NextOffset())
		if wanted && b.LastOffset() >= c.Pos && b.Count() > 0 {
			return b, true, nil
		}
		c.Pos = max(c.Pos, c.Next)
	}
	return nil, false, nil
}

// Woken says why a wait ended.
type Woken int8

// Why a wait ended.
const (
	Changed Woken = iota // a partition may have something new
	Expired
	Done   // the context
	Wakeup // the owner's channel of that name
	Closed
)

// Wait sleeps until one of the partitions may have something new.
func (f *Fetcher[R]) Wait(ctx context.Context, expiry <-chan time.Time, wake, closed <-chan struct{}) Woken {
	select {
	case <-f.Ready.Signal():
		return Changed
	case <-expiry:
		return Expired
	case <-ctx.Done():
		return Done
	case <-wake:
		return Wakeup
	case <-closed:
		return Closed
	}
}

// Expiry starts the one timer.
func (f *Fetcher[R]) Expiry(d time.Duration) <-chan time.Time {
	if d == math.MaxInt64 {
		return nil
	}
	if f.timer == nil {
		f.timer = time.NewTimer(d)
	} else {
		f.timer.Reset(d)
	}
	return f.timer.C
}

// StopTimer ends what Expiry began.
func (f *Fetcher[R]) StopTimer() {
	if f.timer != nil {
		f.timer.Stop()
	}
}
