package topic

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

// decodeLimit is the most that goes into one batch.
const decodeLimit = record.MaxDecodeLimit

// maxDecoded is the most that one compressed batch of the topic may expand to when it is read, and so the most that
// goes into one when it is written.
func (t *Topic) maxDecoded() int { return t.state.Load().config.MaxDecoded() }

// fetcher reads many partitions in turns, with one buffer. Its owner is one goroutine at a time.
//
// A run is what one read gave, whole batches of one partition. It is used up before the next partition has
// its turn, so that no partition gets more than one run while others wait, and nothing is buffered twice.
type fetcher struct {
	eng     *Engine
	cfg     fetchConfig
	cursors []*cursor
	ready   *ready.List[*cursor] // those that may have something to read; the first reads next
	failed  []*cursor            // those whose last look was an error; they are looked at again one at a time
	erred   bool                 // an error was the last thing told
	ended   int                  // how many cursors have nothing wanted left
	visits  int                  // how often a cursor was looked at

	buf   []byte  // memory of the run, used again
	run   []byte  // batches not yet taken
	size  int     // of the run when it was read
	owner *cursor // whose run it is

	decoder record.Decoder
	scratch record.Record
	timer   *time.Timer
}

func newFetcher(eng *Engine, cfg fetchConfig) fetcher {
	return fetcher{eng: eng, cfg: cfg, ready: ready.New[*cursor]()}
}

// add takes a cursor in, to be looked at first of all.
func (f *fetcher) add(c *cursor) {
	f.cursors = append(f.cursors, c)
	f.ready.Init(&c.mark, c)
	f.ready.Add(&c.mark)
}

// front is the cursor whose turn it is, nil if none has anything.
func (f *fetcher) front() *cursor {
	if m := f.ready.Front(); m != nil {
		return m.Of
	}
	return nil
}

// advance gives the next cursor its turn.
func (f *fetcher) advance(c *cursor) { f.ready.Last(&c.mark) }

// settle has a cursor with nothing to read wait until its log tells that it changed. It keeps its turn if it did meanwhile.
func (f *fetcher) settle(c *cursor) {
	if c.finished() {
		f.ready.Drop(&c.mark)
		f.ended++
		return
	}
	c.watch()
	f.ready.Rest(&c.mark)
	if !c.resting(f.cfg.isolation) {
		f.ready.Add(&c.mark)
	}
}

// fail has a cursor with an error wait until the others have had their turn.
func (f *fetcher) fail(c *cursor) {
	f.ready.Drop(&c.mark)
	c.failed = true
	f.failed = append(f.failed, c)
}

// forgive takes a cursor out of those that failed: it is about to be looked at, or let go of.
func (f *fetcher) forgive(c *cursor) {
	if c.failed {
		c.failed = false
		f.failed = slices.DeleteFunc(f.failed, func(x *cursor) bool { return x == c })
	}
}

// again gives a cursor another turn, behind the others.
func (f *fetcher) again(c *cursor) {
	f.forgive(c)
	f.ready.Add(&c.mark)
}

// retry gives a cursor that failed another turn; false if there is none.
func (f *fetcher) retry() bool {
	if len(f.failed) == 0 {
		return false
	}
	f.again(f.failed[0])
	return true
}

// leave lets go of a cursor.
func (f *fetcher) leave(c *cursor) {
	c.unwatch()
	f.forgive(c)
	f.ready.Leave(&c.mark)
}

// close lets go of all. The fetcher may be used again: what is idle is told of nothing more.
func (f *fetcher) close() {
	for _, c := range f.cursors {
		c.unwatch()
	}
}

// load makes sure that the run holds batches of c. False: there is nothing at present.
func (f *fetcher) load(ctx context.Context, c *cursor) (bool, error) {
	if f.holds(c) {
		return true, nil
	}
	f.visits++
	f.drop()
	if c.unused() {
		return false, nil
	}
	if err := c.ready(ctx, f.cfg.isolation); err != nil {
		return false, err
	}
	if c.finished() || c.idle(f.cfg.isolation) {
		return false, nil
	}
	for tried := unresolved; ; {
		limit := c.log.Limit(f.cfg.isolation.bound())
		run, next, err := f.read(ctx, c)
		if err == nil {
			return f.begin(ctx, c, run, next, limit)
		}
		// A start that rises all the time may overtake the place a reset found; the same place is not tried twice.
		if c.pos == tried || !errors.Is(err, ErrOffsetOutOfRange) {
			return false, c.part.waitFault(ctx, err)
		}
		tried = c.pos
		if err := c.outOfRange(ctx, f.eng, err, &f.cfg); err != nil {
			return false, err
		}
	}
}

func (f *fetcher) options(c *cursor) log.ReadOptions {
	most := f.cfg.maxPartitionBytes
	if c.stride > 0 {
		most = min(most, c.stride)
	}
	return log.ReadOptions{Bound: f.cfg.isolation.bound(), MaxBytes: most, Check: !f.cfg.skipChecksums}
}

// begin takes a run over from the log. An empty one says that compaction left nothing below the limit of
// before the read.
func (f *fetcher) begin(ctx context.Context, c *cursor, run []byte, next log.Place, limit int64) (bool, error) {
	if cap(run) <= 4*f.cfg.maxPartitionBytes {
		f.buf = run[:0] // an outsized one is not kept beyond its use
	}
	if len(run) == 0 {
		if c.place.Offset < limit {
			c.seek(limit)
		}
		return false, nil
	}
	if f.cfg.isolation == ReadCommitted {
		if err := c.filter.begin(ctx, c, next.Offset); err != nil {
			return false, c.part.waitFault(ctx, err)
		}
	}
	f.run, f.owner, f.size, c.place, c.afloat = run, c, len(run), next, false
	c.part.topic.stats.fetched(int64(len(run)))
	return true, nil
}

// holds tells whether batches of c's run are left.
func (f *fetcher) holds(c *cursor) bool { return f.owner == c && len(f.run) > 0 }

// drop gives the run up; its cursor will read what is left of it again. So that this is little, it reads no more at a time than its turns
// use, as when it is paused while its records are worked on.
func (f *fetcher) drop() {
	switch o := f.owner; {
	case o == nil:
	case len(f.run) > 0:
		o.rewind()
		o.stride = max(f.size-len(f.run), leastStride)
	default:
		o.stride = min(o.stride+o.stride/4, f.cfg.maxPartitionBytes)
	}
	f.run, f.owner = nil, nil
}

// leastStride is the least that is read at a time, if the caller allows it.
const leastStride = 8 << 10

// moved is called when a cursor's position was set: a run of its is worthless, and there may be something to read.
func (f *fetcher) moved(c *cursor) {
	if f.owner == c {
		f.run, f.owner = nil, nil
	}
	f.again(c)
}

// take gives the run's next batch with something to return, borrowed until the next load, and moves the
// cursor's next past it; ok is false at the end of the run. Control batches, what was aborted, and what lies
// below the position are passed over.
func (f *fetcher) take(c *cursor) (b record.Batch, ok bool, err error) {
	for len(f.run) > 0 {
		b, err := record.First(f.run)
		if err != nil {
			return nil, false, c.damaged(c.next, c.place.Offset, err)
		}
		wanted := !b.Control()
		if f.cfg.isolation == ReadCommitted {
			keep, err := c.filter.keep(b)
			if err != nil {
				return nil, false, c.damaged(c.next, b.NextOffset(), err)
			}
			wanted = wanted && keep
		}
		f.run = f.run[len(b):]
		c.next = max(c.next, b.NextOffset())
		if wanted && b.LastOffset() >= c.pos && b.Count() > 0 {
			return b, true, nil
		}
		c.pos = max(c.pos, c.next)
	}
	return nil, false, nil
}

// decode appends the records of c's run to dst until dst holds want records or the run is used up; the last
// batch may bring more than wanted. The position moves with it. Everything in dst is owned: one array of
// records and one slab of bytes a call, however many batches there are.
func (f *fetcher) decode(c *cursor, dst []Record, want int) ([]Record, error) {
	var mem slab
	had := len(dst)
	dst = f.prepare(&mem, dst, want-had)
	dst, err := f.decodeRun(c, &mem, dst, want)
	c.part.topic.stats.recordsOut.Add(int64(len(dst) - had))
	return dst, err
}

func (f *fetcher) decodeRun(c *cursor, mem *slab, dst []Record, want int) ([]Record, error) {
	for len(dst) < want && !c.finished() {
		b, ok, err := f.take(c)
		if err != nil || !ok {
			return dst, err
		}
		if dst, err = f.decodeBatch(c, b, mem, dst); err != nil {
			f.run, f.owner = nil, nil // the batch is looked at again, from the first record not decoded
			at := max(c.pos, b.BaseOffset())
			c.next = c.pos
			c.rewind()
			return dst, c.damaged(at, b.NextOffset(), err)
		}
		c.pos = min(c.next, c.until)
	}
	return dst, nil
}

// prepare sizes array and slab for the batches that will be decoded, by their headers. The headers are only
// believed as far as their batches' bytes allow.
func (f *fetcher) prepare(mem *slab, dst []Record, want int) []Record {
	records, bytes := 0, 0
	for rest := f.run; len(rest) > 0 && records < want; {
		b, err := record.First(rest)
		if err != nil {
			break
		}
		rest = rest[len(b):]
		if b.Control() {
			continue
		}
		size := len(b.Records())
		records += min(max(b.Count(), 0), size)
		if b.Codec() != 0 {
			size *= 3
		}
		bytes += size
	}
	mem.size = bytes
	if room := cap(dst) - len(dst); room >= records {
		return dst
	}
	grown := make([]Record, len(dst), len(dst)+records)
	copy(grown, dst)
	return grown
}

func (f *fetcher) decodeBatch(c *cursor, b record.Batch, mem *slab, dst []Record) ([]Record, error) {
	if err := f.decoder.Reset(b, c.part.topic.maxDecoded()); err != nil {
		return dst, err
	}
	r := &f.scratch
	for f.decoder.Next(r) {
		if r.Offset < c.pos {
			continue
		}
		if r.Offset >= c.until {
			break
		}
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, len(dst)/2+16)
		}
		dst = dst[:len(dst)+1]
		out := &dst[len(dst)-1] // filled in place: a copy of the whole struct would cost as much as the decoding
		out.Topic, out.Partition, out.Offset, out.Time = c.tp.Topic, c.tp.Partition, r.Offset, timeOf(r.Timestamp)
		out.Key, out.Value, out.Headers = mem.copy(r.Key), mem.copy(r.Value), nil
		if len(r.Headers) > 0 {
			out.Headers = mem.headers(r.Headers)
		}
		c.pos = r.Offset + 1
	}
	return dst, f.decoder.Err()
}

// waitResult says why a wait ended.
type waitResult int8

const (
	waitChanged waitResult = iota
	waitExpired
	waitDone // the context
	waitWoken
	waitClosed
)

// wait sleeps until one of the partitions may have something new.
func (f *fetcher) wait(ctx context.Context, expiry <-chan time.Time, wake, closed <-chan struct{}) waitResult {
	select {
	case <-f.ready.Signal():
		return waitChanged
	case <-expiry:
		return waitExpired
	case <-ctx.Done():
		return waitDone
	case <-wake:
		return waitWoken
	case <-closed:
		return waitClosed
	}
}

// expiry starts the one timer.
func (f *fetcher) expiry(d time.Duration) <-chan time.Time {
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

func (f *fetcher) stopTimer() {
	if f.timer != nil {
		f.timer.Stop()
	}
}
