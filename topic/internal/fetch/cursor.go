package fetch

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/quirelog/quire/internal/ready"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// unresolved is a position that is looked up when it is first needed.
const unresolved int64 = -1

// Cursor is a reader's place in one partition.
//
//	        pos          next                 place.Offset
//	         |            |                      |
//	---------+------------+----------------------+------
//	returned   pending      the fetcher's run      not read yet
//
// pos <= next <= place.Offset; without a run next is place.Offset, and without pending records pos is next.
type Cursor[R any] struct {
	Topic     string
	Partition int32
	src       Source[R]
	bound     log.Bound
	log       *log.Log // nil until first needed, and until the partition is first used

	Pos     int64  // of the next record to return, or unresolved
	start   Policy // how an unresolved position is found: Earliest, Latest or a duration
	Next    int64
	place   log.Place
	Pending []R // decoded, not returned

	// Afloat says that nothing was read yet from a position that stands for the first record there is, of all or from a time on:
	// it rises with the start of the partition.
	Afloat  bool
	stride  int // how many bytes to read at a time; 0 is as many as may be
	Paused  bool
	Failed  bool   // its last look was an error
	Moved   uint64 // when the position was last set from outside, by the owner's count
	Until   int64  // no record at or after it is wanted
	filter  abortFilter[R]
	Mark    ready.Mark[*Cursor[R]]
	watched bool // the partition tells mark of its changes
}

// Cursor makes a cursor of a partition, which is not added yet. Its position is found by the policy when it is first needed.
func (f *Fetcher[R]) Cursor(src Source[R], policy Policy) *Cursor[R] {
	c := &Cursor[R]{src: src, bound: f.cfg.Bound, Until: math.MaxInt64}
	c.Topic, c.Partition = src.Name()
	if policy == Fail {
		policy = Earliest
	}
	c.Leave(policy)
	return c
}

// Of tells whether src is what the cursor reads.
func (c *Cursor[R]) Of(src Source[R]) bool { return c.src == src }

// Leave forgets the position: it is found by the policy when next needed.
func (c *Cursor[R]) Leave(policy Policy) {
	c.SeekTo(unresolved)
	c.start = policy
}

// SeekTo sets the position and drops what was read ahead.
func (c *Cursor[R]) SeekTo(offset int64) {
	c.Pos, c.Next, c.place = offset, offset, log.At(offset)
	c.Pending, c.Afloat = nil, false
}

// rewind makes the next read begin at the first batch that was not decoded: the run has been dropped.
func (c *Cursor[R]) rewind() { c.place = log.At(c.Next) }

// Finished tells that nothing wanted is left.
func (c *Cursor[R]) Finished() bool { return c.Pos >= c.Until }

// Known finds the position, and opens the partition unless it was never used.
func (c *Cursor[R]) Known(ctx context.Context) error {
	if c.unused() {
		return nil
	}
	return c.ready(ctx)
}

// ready opens the partition and finds the position.
func (c *Cursor[R]) ready(ctx context.Context) error {
	if c.log == nil || c.src.Log() != c.log { // not yet opened, or ended since: then open says why
		l, err := c.src.Open(ctx)
		if err != nil {
			return err
		}
		c.log = l
	}
	if c.Pos != unresolved {
		return nil
	}
	offset, err := c.locate(ctx, c.start)
	if err != nil {
		return err
	}
	c.SeekTo(offset)
	c.Afloat = c.start != Latest
	return nil
}

// locate finds the offset a policy names.
func (c *Cursor[R]) locate(ctx context.Context, policy Policy) (int64, error) {
	switch policy {
	case Earliest:
		return c.Start(), nil
	case Latest:
		return c.Limit(), nil
	}
	return c.OffsetForTime(ctx, time.Now().Add(-time.Duration(policy)))
}

// Start is the partition's start.
func (c *Cursor[R]) Start() int64 {
	if c.log == nil {
		return 0
	}
	return c.log.Start()
}

// Limit is the offset below which the cursor sees.
func (c *Cursor[R]) Limit() int64 { return c.mark(c.bound) }

// End is the offset of the next record to be appended.
func (c *Cursor[R]) End() int64 { return c.mark(log.End) }

func (c *Cursor[R]) mark(b log.Bound) int64 {
	if c.log == nil {
		return 0
	}
	return c.log.Limit(b)
}

// OffsetForTime finds the first offset whose record is not older than t, the end if there is none.
func (c *Cursor[R]) OffsetForTime(ctx context.Context, t time.Time) (int64, error) {
	end := c.Limit()
	if c.log == nil {
		return end, nil
	}
	found, ok, err := c.src.OffsetFor(ctx, c.log, record.Millis(t), c.bound)
	if err != nil {
		return 0, c.src.Fault(ctx, err)
	}
	if !ok {
		return end, nil
	}
	return found.Offset, nil
}

// watch has the mark told of changes, until unwatch. A partition that was never used is not opened for that.
func (c *Cursor[R]) watch() {
	if !c.watched {
		c.watched = c.src.AddWatcher(&c.Mark) == nil
	}
}

func (c *Cursor[R]) unwatch() {
	if c.watched {
		c.src.RemoveWatcher(&c.Mark)
		c.watched = false
	}
}

// unused tells that the partition was never used, and that the cursor, at its beginning, has nothing to open it for. An unresolved position
// is resolved by that.
func (c *Cursor[R]) unused() bool {
	if c.log != nil || c.Pos > 0 || !c.src.NeverUsed() {
		return false
	}
	if c.Pos == unresolved {
		c.SeekTo(0)
		c.Afloat = c.start != Latest
	}
	return true
}

// resting tells that there is nothing for the cursor, and that what changes that is told.
func (c *Cursor[R]) resting() bool {
	if c.log == nil {
		return c.watched && c.unused()
	}
	return c.watched && c.src.Log() == c.log && c.Pos != unresolved && c.idle()
}

// idle tells, without reading, that there is nothing for the cursor now.
func (c *Cursor[R]) idle() bool {
	at := c.place.Offset
	return at >= c.log.Limit(c.bound) && at <= c.log.End() && at >= c.log.Start()
}

// OutOfRange applies the policy to a position that the partition does not hold. nil: the position is new.
func (c *Cursor[R]) OutOfRange(ctx context.Context, cause error, policy Policy) error {
	var rng *log.RangeError
	if !errors.As(cause, &rng) {
		return c.src.Fault(ctx, cause)
	}
	if c.Afloat && rng.Offset < rng.Start {
		c.SeekTo(rng.Start)
		c.Afloat = true
		return nil
	}
	if policy == Fail {
		return c.src.Fault(ctx, cause)
	}
	offset, err := c.locate(ctx, policy)
	if err != nil {
		return err
	}
	c.src.Reset(c.Pos, offset, policy)
	c.SeekTo(offset)
	return nil
}

// damaged reports bytes that are sound by their checksum and cannot be read as records. The position stays;
// reading can go on at the error's NextOffset.
func (c *Cursor[R]) damaged(at, next int64, cause error) error {
	if !errors.Is(cause, log.ErrTooLarge) { // sound, but not to be decompressed
		cause = &log.CorruptionError{Path: c.src.Dir(), Pos: -1, FirstOffset: at, NextOffset: next, Cause: cause}
	}
	return c.src.Fault(context.Background(), cause)
}
