package topic

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/topic/internal/fetch"
)

var (
	// ErrConcurrentUse: two goroutines used a consumer at once. Nothing was changed.
	ErrConcurrentUse = errors.New("topic: consumer used by two goroutines at once")
	// ErrWakeup: [Consumer.Wakeup] ended the call. Nothing was read.
	ErrWakeup = errors.New("topic: consumer woken up")
)

// Consumer reads partitions that its caller assigns, from positions that its caller keeps. It has no
// goroutine: everything happens in the caller's. It is not safe for concurrent use: a call while another one
// runs is ErrConcurrentUse; only Wakeup, Close and Assignment may be called from anywhere. It ends with Close
// or with its engine.
//
// A position is the offset of the next record to return: one after the last one returned, moved on over
// what is never returned (gaps left by compaction, control batches, aborted transactions). No call that
// fails moves one.
type Consumer struct {
	eng *Engine
	cfg *consumerConfig
	f   fetch.Fetcher[Record]

	busy     atomic.Bool
	named    map[TopicPartition]*fetch.Cursor[Record] // the fetcher's cursors by name
	assigned atomic.Pointer[[]TopicPartition]
	wake     chan struct{} // holds a token from Wakeup
	closed   chan struct{}
	once     sync.Once
	leaveEng func()

	moves uint64 // counts the positions set from outside
}

// NewConsumer makes a consumer without partitions. The error reports every fault of the options at once and
// matches ErrInvalid; ErrClosed is the engine's.
func (e *Engine) NewConsumer(opts ...ConsumerOption) (*Consumer, error) {
	cfg, err := newConsumerConfig(opts)
	if err != nil {
		return nil, err
	}
	c := &Consumer{eng: e, cfg: cfg, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	c.f = fetch.New[Record](cfg.Config)
	c.assigned.Store(new([]TopicPartition))
	if c.leaveEng, err = e.register(c); err != nil {
		return nil, err
	}
	return c, nil
}

// enter claims the consumer for one call.
func (c *Consumer) enter() error {
	if c.eng == nil {
		return unmade("Consumer")
	}
	if c.isClosed() {
		return ErrClosed
	}
	if !c.busy.CompareAndSwap(false, true) {
		if c.isClosed() {
			return ErrClosed
		}
		return ErrConcurrentUse
	}
	return nil
}

func (c *Consumer) exit() {
	c.busy.Store(false)
	if c.isClosed() {
		c.release()
	}
}

// release takes the watches of a closed consumer down, unless a call runs: that one does, when it returns.
func (c *Consumer) release() {
	if c.busy.CompareAndSwap(false, true) {
		c.f.Close()
		c.busy.Store(false)
	}
}

func (c *Consumer) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Close ends the consumer: a Poll that waits, and every later call, returns ErrClosed. It does not wait for
// one. There is nothing to release beyond memory. It returns nil.
func (c *Consumer) Close() error {
	if c.eng == nil {
		return unmade("Consumer")
	}
	c.once.Do(func() {
		close(c.closed)
		c.leaveEng()
		c.release()
	})
	return nil
}

func (c *Consumer) closeFromEngine() { c.once.Do(func() { close(c.closed) }) }

// Wakeup makes the Poll that runs, or else the next one, fail with ErrWakeup once. It may be called from any
// goroutine.
func (c *Consumer) Wakeup() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Assign replaces the partitions that are read. Those that were assigned before keep their position; others
// begin where [OnOutOfRange] says (at the first offset if that is Fail) until they are sought elsewhere.
// Errors, which change nothing: ErrNotFound, ErrInvalid for a partition named twice.
func (c *Consumer) Assign(parts ...TopicPartition) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.exit()
	named := make(map[TopicPartition]*fetch.Cursor[Record], len(parts))
	var came []*fetch.Cursor[Record]
	for _, tp := range parts {
		if named[tp] != nil {
			return fmt.Errorf("%w: %s is named twice", ErrInvalid, tp)
		}
		part, err := c.eng.partition(tp.Topic, tp.Partition)
		if err != nil {
			return err
		}
		cur := c.named[tp]
		if src := part.source(); cur == nil || !cur.Of(src) { // a topic made again under its name is another topic
			cur = c.f.Cursor(src, c.cfg.Reset)
			came = append(came, cur)
		}
		named[tp] = cur
	}
	c.assign(named, came)
	list := slices.Clone(parts)
	c.assigned.Store(&list)
	return nil
}

// assign goes over to the named cursors, of which some have come.
func (c *Consumer) assign(named map[TopicPartition]*fetch.Cursor[Record], came []*fetch.Cursor[Record]) {
	f := &c.f
	f.Drop()
	kept := f.Cursors[:0]
	for _, cur := range f.Cursors {
		if named[placeOf(cur)] == cur {
			kept = append(kept, cur)
		} else {
			f.Leave(cur)
		}
	}
	clear(f.Cursors[len(kept):])
	f.Cursors, c.named = kept, named
	for _, cur := range came {
		f.Add(cur)
	}
}

// AssignTopics assigns all partitions that the topics have now.
func (c *Consumer) AssignTopics(topics ...string) error {
	var parts []TopicPartition
	for _, name := range topics {
		t, err := c.eng.lookup(name)
		if err != nil {
			return err
		}
		for i := range t.Partitions() {
			parts = append(parts, TopicPartition{name, int32(i)})
		}
	}
	return c.Assign(parts...)
}

// Assignment is the partitions that are read. The slice is the caller's.
func (c *Consumer) Assignment() []TopicPartition {
	if list := c.assigned.Load(); list != nil {
		return slices.Clone(*list)
	}
	return nil
}

// Isolation is the level that the consumer reads at.
func (c *Consumer) Isolation() IsolationLevel {
	if c.cfg == nil {
		return ReadUncommitted
	}
	return c.cfg.isolation
}

// placeOf names a cursor's partition.
func placeOf(c *fetch.Cursor[Record]) TopicPartition { return TopicPartition{c.Topic, c.Partition} }

// cursor finds an assigned partition.
func (c *Consumer) cursor(tp TopicPartition) (*fetch.Cursor[Record], error) {
	if cur := c.named[tp]; cur != nil {
		return cur, nil
	}
	return nil, fmt.Errorf("%w: %s is not assigned", ErrInvalid, tp)
}

// each calls f for the named partitions, all assigned ones if none is named. It stops at the first error.
func (c *Consumer) each(parts []TopicPartition, f func(*fetch.Cursor[Record]) error) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.exit()
	cursors := c.f.Cursors
	if len(parts) > 0 {
		cursors = make([]*fetch.Cursor[Record], 0, len(parts))
		for _, tp := range parts {
			cur, err := c.cursor(tp)
			if err != nil {
				return err
			}
			cursors = append(cursors, cur)
		}
	}
	for _, cur := range cursors {
		if err := f(cur); err != nil {
			return err
		}
	}
	return nil
}

// moved notes that a position was set.
func (c *Consumer) moved(cur *fetch.Cursor[Record]) {
	c.moves++
	cur.Moved = c.moves
	c.f.Moved(cur)
}

// Seek sets the position of an assigned partition and drops what was read ahead of it. Whether the partition
// holds the offset shows at the next Poll. ErrInvalid for a negative offset or a partition not assigned.
func (c *Consumer) Seek(tp TopicPartition, offset int64) error {
	if err := checkOffset(tp, offset); err != nil {
		return err
	}
	return c.each([]TopicPartition{tp}, func(cur *fetch.Cursor[Record]) error {
		cur.SeekTo(offset)
		c.moved(cur)
		return nil
	})
}

// SeekToStart sets partitions (all assigned ones if none is named) to their first offset, looked up when it
// is next needed.
func (c *Consumer) SeekToStart(parts ...TopicPartition) error { return c.seekBy(Earliest, parts) }

// SeekToEnd sets partitions (all assigned ones if none is named) to their end as the isolation level shows
// it, looked up when it is next needed.
func (c *Consumer) SeekToEnd(parts ...TopicPartition) error { return c.seekBy(Latest, parts) }

func (c *Consumer) seekBy(policy ResetPolicy, parts []TopicPartition) error {
	return c.each(parts, func(cur *fetch.Cursor[Record]) error {
		cur.Leave(policy)
		c.moved(cur)
		return nil
	})
}

// SeekToTime sets partitions (all assigned ones if none is named) to the first record whose time is not
// before t, or to the end if there is none. It reads indexes and perhaps some batches. An error leaves the
// partitions after the failing one as they were.
func (c *Consumer) SeekToTime(t time.Time, parts ...TopicPartition) error {
	return c.each(parts, func(cur *fetch.Cursor[Record]) error {
		if err := cur.Known(context.Background()); err != nil {
			return err
		}
		offset, err := cur.OffsetForTime(context.Background(), t)
		if err != nil {
			return err
		}
		cur.SeekTo(offset)
		c.moved(cur)
		return nil
	})
}

// Position is the offset of the next record to return. It looks the offset up if that was not done yet.
func (c *Consumer) Position(tp TopicPartition) (int64, error) {
	return c.PositionWithin(context.Background(), tp)
}

// PositionWithin is Position with a context, whose cause is one more error: it ends the wait for a disk that hangs.
func (c *Consumer) PositionWithin(ctx context.Context, tp TopicPartition) (int64, error) {
	var pos int64
	err := c.each([]TopicPartition{tp}, func(cur *fetch.Cursor[Record]) error {
		err := cur.Known(ctx)
		pos = cur.Pos
		return err
	})
	return pos, err
}

// Lag is how many offsets lie between the position and the end that the isolation level shows.
func (c *Consumer) Lag(tp TopicPartition) (int64, error) {
	var lag int64
	err := c.each([]TopicPartition{tp}, func(cur *fetch.Cursor[Record]) error {
		if err := cur.Known(context.Background()); err != nil {
			return err
		}
		lag = max(cur.Limit()-cur.Pos, 0)
		return nil
	})
	return lag, err
}

// Pause keeps Poll from returning records of partitions (all assigned ones if none is named) until Resume.
// Their positions stay.
func (c *Consumer) Pause(parts ...TopicPartition) error {
	return c.each(parts, func(cur *fetch.Cursor[Record]) error {
		cur.Paused = true
		c.moves++ // a loop over Records looks up
		return nil
	})
}

// Resume ends a Pause.
func (c *Consumer) Resume(parts ...TopicPartition) error {
	return c.each(parts, func(cur *fetch.Cursor[Record]) error {
		if cur.Paused {
			cur.Paused = false
			c.f.Again(cur)
		}
		return nil
	})
}

// Paused lists the partitions that are paused.
func (c *Consumer) Paused() ([]TopicPartition, error) {
	var list []TopicPartition
	err := c.each(nil, func(cur *fetch.Cursor[Record]) error {
		if cur.Paused {
			list = append(list, placeOf(cur))
		}
		return nil
	})
	return list, err
}

// Records is Poll as a loop that goes on until something ends it:
//
//	for rec, err := range c.Records(ctx) { ... }
//
// The records are the caller's. Leaving the loop leaves the positions after the last record it was given. A
// done context ends it without a pair; a fatal error (those of Poll, ErrWakeup and ErrClosed too) comes once,
// as the last pair, with a nil record. Inside the loop the consumer may be sought and paused; what was read
// ahead of a position set there is not given out. While there is nothing the loop sleeps, [MaxWait] or not.
func (c *Consumer) Records(ctx context.Context) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for {
			recs, err := c.pollPatiently(ctx)
			if err != nil {
				if ctx.Err() == nil {
					yield(nil, err)
				}
				return
			}
			if !c.giveOut(ctx, recs, yield) {
				return
			}
		}
	}
}

// giveOut yields polled records and puts back those that the loop did not take.
func (c *Consumer) giveOut(ctx context.Context, recs []Record, yield func(*Record, error) bool) bool {
	polled := c.moves
	for i := range recs {
		if ctx.Err() != nil {
			c.putBack(recs[i:], polled)
			return false
		}
		if !yield(&recs[i], nil) {
			c.putBack(recs[i+1:], polled)
			return false
		}
		if c.moves != polled {
			c.putBack(recs[i+1:], polled)
			return true
		}
	}
	return true
}

// putBack sets positions to the first of the records not given out, except where they were set since.
func (c *Consumer) putBack(recs []Record, polled uint64) {
	var cur *fetch.Cursor[Record]
	for i := len(recs) - 1; i >= 0; i-- {
		tp := TopicPartition{recs[i].Topic, recs[i].Partition}
		if cur == nil || placeOf(cur) != tp {
			cur, _ = c.cursor(tp)
		}
		if cur != nil && cur.Moved <= polled {
			cur.SeekTo(recs[i].Offset)
			c.f.Moved(cur)
		}
	}
}
