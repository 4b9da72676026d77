package topic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quirelog/quire/internal/ready"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// unresolved is a position that is looked up when it is first needed.
const unresolved int64 = -1

// cursor is a reader's place in one partition.
//
//	        pos          next                 place.Offset
//	         |            |                      |
//	---------+------------+----------------------+------
//	returned   pending      the fetcher's run      not read yet
//
// pos <= next <= place.Offset; without a run next is place.Offset, and without pending records pos is next.
type cursor struct {
	tp   TopicPartition
	part *Partition
	log  *log.Log // nil until first needed, and until the partition is first used

	pos     int64       // of the next record to return, or unresolved
	start   ResetPolicy // how an unresolved position is found: Earliest, Latest or a duration
	next    int64
	place   log.Place
	pending []Record // decoded, not returned

	// afloat says that nothing was read yet from a position that stands for the first record there is, of all or from a time on:
	// it rises with the start of the partition.
	afloat  bool
	stride  int // how many bytes to read at a time; 0 is as many as may be
	paused  bool
	failed  bool   // its last look was an error
	moved   uint64 // when the position was last set from outside, by the owner's count
	until   int64  // no record at or after it is wanted
	filter  abortFilter
	mark    ready.Mark[*cursor]
	watched bool // the partition tells mark of its changes
}

func newCursor(part *Partition, policy ResetPolicy) *cursor {
	c := &cursor{tp: TopicPartition{part.Topic().Name(), part.ID()}, part: part, until: math.MaxInt64}
	if policy == Fail {
		policy = Earliest
	}
	c.leave(policy)
	return c
}

// leave forgets the position: it is found by the policy when next needed.
func (c *cursor) leave(policy ResetPolicy) {
	c.seek(unresolved)
	c.start = policy
}

// seek sets the position and drops what was read ahead.
func (c *cursor) seek(offset int64) {
	c.pos, c.next, c.place = offset, offset, log.At(offset)
	c.pending, c.afloat = nil, false
}

// rewind makes the next read begin at the first batch that was not decoded: the run has been dropped.
func (c *cursor) rewind() { c.place = log.At(c.next) }

// finished tells that nothing wanted is left.
func (c *cursor) finished() bool { return c.pos >= c.until }

// known finds the position, and opens the partition unless it was never used.
func (c *cursor) known(ctx context.Context, level IsolationLevel) error {
	if c.unused() {
		return nil
	}
	return c.ready(ctx, level)
}

// ready opens the partition and finds the position.
func (c *cursor) ready(ctx context.Context, level IsolationLevel) error {
	if c.log == nil || c.part.log.Load() != c.log { // not yet opened, or ended since: then open says why
		l, err := c.part.openWith(ctx)
		if err != nil {
			return err
		}
		c.log = l
	}
	if c.pos != unresolved {
		return nil
	}
	offset, err := c.locate(ctx, c.start, level)
	if err != nil {
		return err
	}
	c.seek(offset)
	c.afloat = c.start != Latest
	return nil
}

// locate finds the offset a policy names.
func (c *cursor) locate(ctx context.Context, policy ResetPolicy, level IsolationLevel) (int64, error) {
	switch policy {
	case Earliest:
		return c.first(), nil
	case Latest:
		return c.limit(level.bound()), nil
	}
	return c.locateTime(ctx, time.Now().Add(-time.Duration(policy)), level)
}

// first is the partition's start.
func (c *cursor) first() int64 {
	if c.log == nil {
		return 0
	}
	return c.log.Start()
}

// limit is below what the cursor sees.
func (c *cursor) limit(b log.Bound) int64 {
	if c.log == nil {
		return 0
	}
	return c.log.Limit(b)
}

// locateTime finds the first offset whose record is not older than t, the end if there is none.
func (c *cursor) locateTime(ctx context.Context, t time.Time, level IsolationLevel) (int64, error) {
	end := c.limit(level.bound())
	if c.log == nil {
		return end, nil
	}
	found, ok, err := c.part.offsetFor(ctx, c.log, record.Millis(t), level.bound())
	if err != nil {
		return 0, c.part.waitFault(ctx, err)
	}
	if !ok {
		return end, nil
	}
	return found.Offset, nil
}

// watch has the mark told of changes, until unwatch. A partition that was never used is not opened for that.
func (c *cursor) watch() {
	if !c.watched {
		c.watched = c.part.addWatcher(&c.mark) == nil
	}
}

func (c *cursor) unwatch() {
	if c.watched {
		c.part.removeWatcher(&c.mark)
		c.watched = false
	}
}

// unused tells that the partition was never used, and that the cursor, at its beginning, has nothing to open it for. An unresolved position
// is resolved by that.
func (c *cursor) unused() bool {
	if c.log != nil || c.pos > 0 || !c.part.neverUsed() {
		return false
	}
	if c.pos == unresolved {
		c.seek(0)
		c.afloat = c.start != Latest
	}
	return true
}

// resting tells that there is nothing for the cursor, and that what changes that is told.
func (c *cursor) resting(level IsolationLevel) bool {
	if c.log == nil {
		return c.watched && c.unused()
	}
	return c.watched && c.part.log.Load() == c.log && c.pos != unresolved && c.idle(level)
}

// idle tells, without reading, that there is nothing for the cursor now.
func (c *cursor) idle(level IsolationLevel) bool {
	at := c.place.Offset
	return at >= c.log.Limit(level.bound()) && at <= c.log.End() && at >= c.log.Start()
}

// outOfRange applies the policy to a position that the partition does not hold. nil: the position is new.
func (c *cursor) outOfRange(ctx context.Context, e *Engine, cause error, cfg *fetchConfig) error {
	fault := c.part.fault(cause)
	var rng *OffsetRangeError
	if !errors.As(fault, &rng) {
		return fault
	}
	if c.afloat && rng.Offset < rng.First {
		c.seek(rng.First)
		c.afloat = true
		return nil
	}
	if cfg.reset == Fail {
		return fault
	}
	offset, err := c.locate(ctx, cfg.reset, cfg.isolation)
	if err != nil {
		return err
	}
	e.logger.Warn("position out of range, reset", "topic", c.tp.Topic, "partition", c.tp.Partition,
		"offset", c.pos, "to", offset, "policy", cfg.reset.String())
	c.seek(offset)
	return nil
}

// damaged reports bytes that are sound by their checksum and cannot be read as records. The position stays;
// reading can go on at the error's NextOffset.
func (c *cursor) damaged(at, next int64, cause error) error {
	if errors.Is(cause, ErrTooLarge) {
		return c.part.fault(cause) // sound, but not to be decompressed
	}
	return c.part.fault(&CorruptionError{Path: c.part.Dir(), Pos: -1, FirstOffset: at, NextOffset: next, Cause: cause})
}

// checkOffset refuses a negative offset.
func checkOffset(tp TopicPartition, offset int64) error {
	if offset < 0 {
		return fmt.Errorf("%w: offset %d of %s", ErrInvalid, offset, tp)
	}
	return nil
}
