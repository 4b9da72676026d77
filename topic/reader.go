package topic

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic/internal/fetch"
)

// ReadOption is a choice for [Topic.Read], [Topic.Batches] and [Typed.Read]. The last one given of each kind
// counts.
type ReadOption func(*readOptions)

type readOptions struct {
	fetch.Config
	partitions []int32 // nil: all
	from       func(context.Context, *fetch.Cursor[Record]) (int64, error)
	afloat     bool                                                        // from stands for the first record that is there
	until      func(context.Context, *fetch.Cursor[Record]) (int64, error) // nil: go on for ever
	fault      error
}

// FromStart reads from the first offset there is, wherever retention has raised that to by the time the first record is read. The
// default.
func FromStart() ReadOption {
	return func(o *readOptions) {
		o.afloat = true
		o.from = func(_ context.Context, c *fetch.Cursor[Record]) (int64, error) { return c.Start(), nil }
	}
}

// FromEnd reads what is appended after the loop has begun.
func FromEnd() ReadOption {
	return func(o *readOptions) {
		o.afloat = false
		o.from = func(_ context.Context, c *fetch.Cursor[Record]) (int64, error) {
			return c.Limit(), nil
		}
	}
}

// FromOffset reads every chosen partition from the same offset. A partition that does not hold it ends the
// loop with *[OffsetRangeError], unless [ResetTo] says otherwise.
func FromOffset(offset int64) ReadOption {
	return func(o *readOptions) {
		o.afloat = false
		o.from = func(_ context.Context, c *fetch.Cursor[Record]) (int64, error) {
			return offset, checkOffset(placeOf(c), offset)
		}
	}
}

// FromPosition reads the partitions of the given positions, each from its own, and no others.
func FromPosition(list ...Position) ReadOption {
	return func(o *readOptions) {
		o.afloat = false
		at := make(map[TopicPartition]int64, len(list))
		o.partitions = make([]int32, 0, len(list))
		for _, pos := range list {
			at[TopicPartition{pos.Topic, pos.Partition}] = pos.Offset
			o.partitions = append(o.partitions, pos.Partition)
		}
		o.from = func(_ context.Context, c *fetch.Cursor[Record]) (int64, error) {
			offset, ok := at[placeOf(c)]
			if !ok {
				return 0, fmt.Errorf("%w: no position given is of topic %q", ErrInvalid, c.Topic)
			}
			return offset, checkOffset(placeOf(c), offset)
		}
	}
}

// FromTime reads from the first record of each partition whose time is not before t; from the end if there
// is none.
func FromTime(t time.Time) ReadOption {
	return func(o *readOptions) {
		o.afloat = true
		o.from = func(ctx context.Context, c *fetch.Cursor[Record]) (int64, error) {
			return c.OffsetForTime(ctx, t)
		}
	}
}

// UntilEnd ends the loop after what was there when it began. Without an Until the loop waits for more.
func UntilEnd() ReadOption {
	return func(o *readOptions) {
		o.until = func(_ context.Context, c *fetch.Cursor[Record]) (int64, error) {
			return c.Limit(), nil
		}
	}
}

// UntilOffset ends each partition before this offset, waiting for the records up to it.
func UntilOffset(offset int64) ReadOption {
	return func(o *readOptions) {
		o.until = func(_ context.Context, c *fetch.Cursor[Record]) (int64, error) {
			return offset, checkOffset(placeOf(c), offset)
		}
	}
}

// UntilTime ends each partition before its first record that is not older than t, as it was when the loop
// began; if there was none, after what was there then.
func UntilTime(t time.Time) ReadOption {
	return func(o *readOptions) {
		o.until = func(ctx context.Context, c *fetch.Cursor[Record]) (int64, error) {
			return c.OffsetForTime(ctx, t)
		}
	}
}

// OnPartitions reads only these partitions. One named twice is an ErrInvalid.
func OnPartitions(list ...int32) ReadOption {
	return func(o *readOptions) { o.partitions = append([]int32{}, list...) }
}

// WithIsolation says how far the loop sees. Default [ReadUncommitted].
func WithIsolation(level IsolationLevel) ReadOption {
	return func(o *readOptions) { o.Bound = level.bound() }
}

// ReadAhead is the most that is read from one partition at a time, in bytes. Default 1 MiB; a larger batch
// comes whole.
func ReadAhead(bytes int) ReadOption {
	return func(o *readOptions) {
		o.MaxPartitionBytes = bytes
		if bytes <= 0 {
			o.fault = fmt.Errorf("%w: read ahead of %d bytes", ErrInvalid, bytes)
		}
	}
}

// ResetTo says where the loop goes on when its position is not in a partition any more, for instance because
// retention overtook it after the loop had begun: what it removed in front of a position has not been seen. Default [Fail]: the loop ends with *[OffsetRangeError].
func ResetTo(p ResetPolicy) ReadOption { return func(o *readOptions) { o.Reset = p } }

func defaultFetch() fetch.Config {
	return fetch.Config{Bound: log.High, MaxPartitionBytes: DefaultMaxPartitionBytes, Reset: Earliest}
}

// checkOffset refuses a negative offset.
func checkOffset(tp TopicPartition, offset int64) error {
	if offset < 0 {
		return fmt.Errorf("%w: offset %d of %s", ErrInvalid, offset, tp)
	}
	return nil
}

// reading is one loop over a topic.
type reading struct {
	closing <-chan struct{}
	f       fetch.Fetcher[Record]
}

// Read is a loop over the records of the topic:
//
//	for rec, err := range t.Read(ctx, topic.FromTime(since), topic.UntilEnd()) { ... }
//
// Records of one partition come in order; partitions take turns. The partitions are those that exist when
// the loop begins. Records are the caller's; those read together share memory, so keeping one keeps them
// all. Leaving the loop releases everything. A done context ends it without a pair (look at ctx.Err()); a
// fatal error comes once, as the last pair, with a nil record: the errors of [Consumer.Poll]. Each range
// over the result is a loop of its own, from the beginning. Without an Until option the loop waits for new
// records, asleep.
func (t *Topic) Read(ctx context.Context, opts ...ReadOption) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		r, err := t.reading(ctx, opts)
		if err == nil {
			err = r.records(ctx, yield)
		}
		if err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

// onlyPartition is the partition of a call that reads one: naming others is a fault.
func onlyPartition(partition int32) ReadOption {
	return func(o *readOptions) {
		if o.partitions != nil {
			o.fault = errors.Join(o.fault, fmt.Errorf("%w: OnPartitions where one partition is read", ErrInvalid))
		}
		o.partitions = []int32{partition}
	}
}

// Batches is a loop over the batches of one partition, as they are stored:
//
//	for b, err := range t.Batches(ctx, 3, topic.UntilEnd()) { ... }
//
// The bytes of a batch are borrowed: they are valid until the loop goes on, and must not be changed. Nothing
// is allocated per batch. The first batch may begin below the wanted offset, the last may go beyond it.
// Control batches are left out; with [ReadCommitted] so is what was aborted. Checksums have been verified.
// The rest is as in [Topic.Read].
func (t *Topic) Batches(ctx context.Context, partition int32, opts ...ReadOption) iter.Seq2[record.Batch, error] {
	return func(yield func(record.Batch, error) bool) {
		r, err := t.reading(ctx, append(opts[:len(opts):len(opts)], onlyPartition(partition)))
		if err == nil {
			err = r.batches(ctx, yield)
		}
		if err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

// reading makes the cursors of a loop.
func (t *Topic) reading(ctx context.Context, opts []ReadOption) (*reading, error) {
	if t.eng == nil {
		return nil, unmade("Topic")
	}
	o := readOptions{Config: defaultFetch()}
	o.Reset = Fail
	FromStart()(&o)
	if err := errors.Join(choice.Apply(&o, opts, ErrInvalid), o.fault); err != nil {
		return nil, err
	}
	parts := o.partitions
	if parts == nil {
		for i := range t.Partitions() {
			parts = append(parts, int32(i))
		}
	}
	r := &reading{closing: t.eng.closing, f: fetch.New[Record](o.Config)}
	seen := make(map[int32]bool, len(parts))
	for _, n := range parts {
		if seen[n] {
			return nil, fmt.Errorf("%w: partition %d of topic %s is named twice", ErrInvalid, n, t.name)
		}
		seen[n] = true
		part, err := t.partition(n)
		if err != nil {
			return nil, err
		}
		c := r.f.Cursor(part.source(), Earliest)
		if err := o.frame(ctx, c); err != nil {
			return nil, err
		}
		r.f.Add(c)
	}
	return r, nil
}

// frame finds where a partition begins and ends in a loop.
func (o *readOptions) frame(ctx context.Context, c *fetch.Cursor[Record]) error {
	if err := c.Known(ctx); err != nil {
		return err
	}
	from, err := o.from(ctx, c)
	if err != nil {
		return err
	}
	if o.until != nil {
		if c.Until, err = o.until(ctx, c); err != nil {
			return err
		}
	}
	c.SeekTo(from)
	c.Afloat = o.afloat
	if start, end := c.Start(), c.End(); from < start || from > end {
		fault := &log.RangeError{Offset: from, Start: start, End: end}
		return c.OutOfRange(ctx, fault, o.Reset)
	}
	return nil
}

// readChunk is how many records are decoded at a time.
const readChunk = 1024

func (r *reading) records(ctx context.Context, yield func(*Record, error) bool) error {
	return r.loop(ctx, func(c *fetch.Cursor[Record]) (bool, error) {
		recs, err := r.f.Decode(c, nil, readChunk)
		for i := range recs {
			if ctx.Err() != nil || !yield(&recs[i], nil) {
				return false, nil
			}
		}
		return true, err
	})
}

func (r *reading) batches(ctx context.Context, yield func(record.Batch, error) bool) error {
	return r.loop(ctx, func(c *fetch.Cursor[Record]) (bool, error) {
		for !c.Finished() {
			b, ok, err := r.f.Take(c)
			if err != nil || !ok {
				return true, err
			}
			c.Pos = c.Next
			if b.BaseOffset() >= c.Until {
				break
			}
			if ctx.Err() != nil || !yield(b, nil) {
				return false, nil
			}
		}
		return true, nil
	})
}

// loop gives the partitions their turns until all are read to their ends, and sleeps while there is nothing.
// step uses a cursor's run, or a part of it, and tells whether to go on.
func (r *reading) loop(ctx context.Context, step func(*fetch.Cursor[Record]) (bool, error)) error {
	f := &r.f
	defer f.Close()
	for ctx.Err() == nil {
		c := f.Front()
		if c == nil {
			if f.Ended == len(f.Cursors) {
				return nil
			}
			if res := f.Wait(ctx, nil, nil, r.closing); res == fetch.Closed {
				return ErrClosed
			}
			continue
		}
		ok, err := f.Load(ctx, c)
		if err != nil {
			return err
		}
		if !ok {
			f.Settle(c)
			continue
		}
		if goOn, err := step(c); err != nil || !goOn {
			return err
		}
		if f.Left() == 0 || c.Finished() {
			f.Drop()
			f.Advance(c)
		}
	}
	return nil
}
