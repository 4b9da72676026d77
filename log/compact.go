package log

import (
	"context"
	"errors"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// Compaction keeps of each key the newest record, by Apache Kafka's rules: offsets never
// change, order never changes, and whoever reads from the start to the end within
// Config.DeleteRetention sees the final state of every key, deletions included.
//
// One pass: the keys of the dirty part go into an offset map of bounded size; all
// segments in front of the map's end are read again, in groups that fit one segment each;
// what survives is written aside and takes the place of its group (swap.go). Whatever
// stops a pass leaves a log that is whole; the next pass begins again.

// ioBytes is how much a pass writes at once, and how often it asks Throttle.
const ioBytes = 512 << 10

// CompactOptions tune one compaction.
type CompactOptions struct {
	// Now is the time by which tombstones and segments are young or old. Zero: the present.
	Now time.Time
	// Memory is the most bytes that the offset map may take; 36 are enough for each key, 48
	// with a Strategy. What does not fit is left to the next pass. 0: DefaultMapMemory.
	Memory int64
	// Throttle, if set, is called with bytes read and written, outside locks, and holds the
	// pass up as long as it likes. Its error ends the pass.
	Throttle func(ctx context.Context, bytes int) error
	// Strategy ranks the records of one key; nil: the highest offset wins.
	Strategy Strategy
	// Wait has the pass wait for its turn while another one is under way, as long as its
	// context lasts, and begin again when one of retention stopped it, rather than fail with
	// ErrBusy.
	Wait bool
}

// Compacted tells what a compaction did.
type Compacted struct {
	From       int64 // the first offset mapped
	Checkpoint int64 // the first dirty offset now
	MapEntries int   // keys in the offset map
	MapBytes   int64
	MapFull    bool // the map had no room for all keys: there is more to do
	// Groups of segments that were rewritten, and the segments before and after. Groups of
	// which nothing could go were left as they are and do not count.
	Groups, SegmentsIn, SegmentsOut int
	BytesIn, BytesOut               int64 // data of those segments
	BytesRead                       int64 // read in all
	Kept, Dropped                   int64 // records in all groups; markers count as one
	Keyless                         int64 // of the dropped: records without a key
	Took                            time.Duration
}

// Compact makes one pass by hand, whatever the dirty ratio. It does nothing in a log that
// has nothing but its active segment. Appends and reads go on; readers see every surviving
// record once and in order. When it returns, what it did is on disk; facts tell how far it
// came also when it fails.
//
// Errors: [ErrBusy]; [CorruptionError] where stored bytes are damaged, which are
// left as they are; [ErrNoSpace]; [ErrClosed], [ErrReadOnly], [ErrFenced]; the context's
// cause; that of Throttle; what the disk says.
func (l *Log) Compact(ctx context.Context, o CompactOptions) (Compacted, error) {
	facts, _, err := bounded.Do(ctx, &l.calls().others, grace, func() (Compacted, error) { return l.compact(ctx, o) })
	return facts, err
}

func (l *Log) compact(ctx context.Context, o CompactOptions) (Compacted, error) {
	began := time.Now()
	if o.Now.IsZero() {
		o.Now = began
	}
	if o.Memory <= 0 {
		o.Memory = DefaultMapMemory
	}
	var facts Compacted
	err := l.inTurn(ctx, o.Wait, func(ctx context.Context) error {
		c := &compaction{rewriting: rewriting{l: l, ctx: ctx, throttle: o.Throttle, cfg: l.cfg.Load()}, o: o, now: o.Now.UnixMilli()}
		err := retried(ctx, c.run)
		facts = c.facts
		return c.cause(err)
	})
	facts.Took = time.Since(began)
	l.tell()
	return facts, err
}

// inTurn runs a pass that rewrites segments. With wait it waits for its turn, and runs the
// pass again if somebody more urgent stopped it.
func (l *Log) inTurn(ctx context.Context, wait bool, pass func(ctx context.Context) error) error {
	for {
		passing, end, err := l.beginRewriting(ctx, wait)
		if err != nil {
			return err
		}
		err = func() error {
			defer end()
			return pass(passing)
		}()
		if !wait || !errors.Is(err, ErrBusy) || ctx.Err() != nil {
			return err
		}
	}
}

// beginRewriting is what every rewriting of segments begins with.
func (l *Log) beginRewriting(ctx context.Context, wait bool) (passing context.Context, end func(), err error) {
	passing, end, err = l.beginPass(ctx, wait, true)
	if err != nil {
		return nil, nil, err
	}
	l.mu.Lock()
	err = l.changeable()
	l.mu.Unlock()
	if err == nil {
		err = l.clearAside()
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return passing, end, nil
}

// lookAhead is how many keys are looked up together.
const lookAhead = 128

// compaction is one pass.
type compaction struct {
	rewriting
	o     CompactOptions
	now   int64 // ms since the epoch
	upper int64 // the first uncleanable offset
	keys  *offsetMap
	list  [lookAhead]mapKey // records whose keys are looked up together
	txns  passTxns
	// active is the last data offset, or the epoch, of every producer the log remembers.
	active map[int64]lastOfProducer
	facts  Compacted
}

type lastOfProducer struct {
	offset int64 // of its last batch, or noOffset
	epoch  int16
}

func (c *compaction) run() error {
	c.facts = Compacted{}
	found, err := c.l.Cleanable(c.o.Now)
	if err != nil {
		return err
	}
	c.upper = found.FirstUncleanable
	c.facts.From, c.facts.Checkpoint = found.FirstDirty, found.FirstDirty
	start := c.l.start.Load()
	if c.upper <= start {
		return nil
	}
	if c.o.Strategy != nil {
		c.facts.From = start
	}
	if err := c.buildMap(); err != nil {
		return err
	}
	c.facts.MapEntries, c.facts.MapBytes = c.keys.n, c.keys.bytes()
	end := c.keys.latest + 1
	c.txns.reset()
	for _, group := range c.groups(end) {
		if err := c.cleanGroup(group); err != nil {
			return err
		}
	}
	c.facts.Checkpoint = max(end, found.FirstDirty)
	c.l.cleanerOf().firstDirty.Store(c.facts.Checkpoint)
	return nil
}

// groups divides the segments in front of end into runs that fit one segment each, by
// data, by each index and by the reach of relative offsets; empty segments join always, but
// nothing is joined across a hole.
func (c *compaction) groups(end int64) [][]*segment.Segment {
	v := c.l.view.Load()
	if v == nil {
		return nil
	}
	segments := v.segments[:len(v.segments)-1]
	for len(segments) > 0 && segments[len(segments)-1].Base() >= end {
		segments = segments[:len(segments)-1]
	}
	var list [][]*segment.Segment
	for len(segments) > 0 {
		n := c.groupSize(segments, v.segments)
		list = append(list, segments[:n:n])
		segments = segments[n:]
	}
	return list
}

// groupSize is how many segments from the first on become one. all tells what follows.
func (c *compaction) groupSize(segments, all []*segment.Segment) int {
	first := segments[0]
	bytes := first.Size()
	offsets, times := first.IndexBytes()
	maxIndex := int64(orDefault(c.cfg.IndexBytes, segment.DefaultIndexBytes))
	n := 1
	for ; n < len(segments); n++ {
		s := segments[n]
		if reach := segments[n-1].Reach(); reach >= 0 && reach < s.Base() {
			break // what is missing between them stays told
		}
		o, t := s.IndexBytes()
		next := all[len(all)-1].Base()
		if n+1 < len(segments) {
			next = segments[n+1].Base()
		}
		if bytes += s.Size(); bytes > c.cfg.segmentBytes() {
			break
		}
		if offsets, times = offsets+o, times+t; offsets > maxIndex || times > maxIndex {
			break
		}
		if s.Size() > 0 && next-1-first.Base() > maxRelativeOffset {
			break
		}
	}
	return n
}

// maxRelativeOffset is how far a segment's last offset may lie behind its base.
const maxRelativeOffset = 1<<31 - 1

// cleanGroup writes what survives of a group and puts it in the group's place.
func (c *compaction) cleanGroup(group []*segment.Segment) error {
	c.active = c.l.lastOfProducers()
	if err := c.txns.learn(c.l, group[0].Base(), group[len(group)-1].Next()); err != nil {
		return err
	}
	kept, dropped, keyless := c.facts.Kept, c.facts.Dropped, c.facts.Keyless
	out, err := c.rewrite(group, c.batch)
	c.facts.BytesRead += out.read
	if err != nil {
		c.facts.Kept, c.facts.Dropped, c.facts.Keyless = kept, dropped, keyless
		return err
	}
	if out.fresh == nil {
		return nil
	}
	c.facts.Groups++
	c.facts.SegmentsIn += len(group)
	c.facts.SegmentsOut++
	c.facts.BytesIn += out.read
	c.facts.BytesOut += out.written
	return nil
}

// lastOfProducers is what must not be lost of the producers that the log remembers.
func (l *Log) lastOfProducers() map[int64]lastOfProducer {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.writer.producers
	if len(p.known) == 0 {
		return nil
	}
	last := make(map[int64]lastOfProducer, len(p.known))
	for i := range p.known {
		e := &p.known[i]
		offset := int64(noOffset)
		if e.count > 0 {
			offset = e.window[e.count-1].lastOffset
		}
		last[e.id] = lastOfProducer{offset, e.epoch}
	}
	return last
}

// cause is why a pass ended: whoever stopped it, rather than what it was doing then.
func (w *rewriting) cause(err error) error {
	if err == nil || w.ctx.Err() == nil {
		return diskError(w.l.located(err))
	}
	if errors.Is(err, w.ctx.Err()) && errors.Is(err, context.Cause(w.ctx)) {
		return err
	}
	return bounded.Cause(w.ctx)
}

// discards reports whether the batch's time of waiting is over at now.
func discards(b record.Batch, now int64) bool {
	return b.HasDeleteHorizon() && now >= b.BaseTimestamp()
}
