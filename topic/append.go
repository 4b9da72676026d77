package topic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// Append adds one record and waits until it is as safe as the topic's durability says: by default it is on
// disk when Append returns. Appends that come at once share one fsync. The partition is that of the key, as
// Kafka's clients choose it; records without a key go round. The record's bytes are not kept.
//
// An error that matches ErrUncertain means that the record may or may not be in the log: the fsync failed,
// or ctx ended while waiting for it. After any other error it is not and never will be: ErrClosed,
// ErrNotFound (the topic was deleted), ErrFenced, ErrNoSpace, ErrQuota (a disk budget, as *QuotaError), ErrTooLarge, ErrInvalidTimestamp, ErrInvalid,
// the context's cause.
func (t *Topic) Append(ctx context.Context, rec Record, opts ...AppendOption) (Position, error) {
	o := appendOptions{partition: AnyPartition}
	if len(opts) > 0 {
		var err error
		if o, err = gatherAppend(opts); err != nil {
			return Position{}, err
		}
	}
	p, err := t.choose(rec.Key, o.partition)
	if err != nil {
		return Position{}, err
	}
	if o.delayed() {
		return p.schedule(ctx, o.due, rec)
	}
	return p.appendOne(ctx, &rec, o.synced)
}

// gatherAppend lies apart so that appends without options keep nothing on the heap.
func gatherAppend(opts []AppendOption) (appendOptions, error) {
	o := &appendOptions{partition: AnyPartition}
	err := choice.Apply(o, opts, ErrInvalid)
	return *o, err
}

// choose is the partition of a record: the wanted one, that of its key, or the next in turn.
func (t *Topic) choose(key []byte, want int32) (*Partition, error) {
	if t.eng == nil {
		return nil, unmade("Topic")
	}
	parts := t.state.Load().partitions
	switch {
	case want != AnyPartition:
		return t.partition(want)
	case len(parts) == 1:
		return parts[0], nil
	case key != nil:
		return parts[PartitionForKey(key, len(parts))], nil
	}
	return parts[(t.spread.Add(1)-1)%uint32(len(parts))], nil
}

// Append adds records as one batch: all of them get consecutive offsets, or none is in the log. It returns
// the position of the first and otherwise behaves like [Topic.Append]. No records are an ErrInvalid.
func (p *Partition) Append(ctx context.Context, recs ...Record) (Position, error) {
	b, err := p.pack(recs)
	if err != nil {
		return Position{}, p.fault(err)
	}
	defer p.topic.eng.putBuilder(b)
	return p.commitBatch(ctx, b, log.AppendOptions{Trusted: true})
}

// AppendBatch adds many records at once: those of one partition as one batch, so that they are in the log
// together or not at all; all partitions share one round of waiting. It returns the records' positions in
// the order given. When some partitions fail, their records' positions have Offset -1 and the error joins
// what each said; the others are in the log.
func (t *Topic) AppendBatch(ctx context.Context, recs []Record, opts ...AppendOption) ([]Position, error) {
	o, err := gatherAppend(opts)
	if t.eng == nil {
		err = unmade("Topic")
	}
	if err != nil {
		return nil, err
	}
	groups, err := t.group(recs, o.partition)
	if err != nil {
		return nil, err
	}
	positions := make([]Position, len(recs))
	var faults []error
	for _, g := range groups {
		if err := g.write(ctx, o, positions); err != nil {
			faults = append(faults, err)
		}
	}
	for _, g := range groups {
		if err := g.settle(ctx, o, positions); err != nil {
			faults = append(faults, err)
		}
	}
	return positions, errors.Join(faults...)
}

// group is the records of an AppendBatch that go to one partition.
type group struct {
	p       *Partition
	indexes []int // places in the caller's list
	recs    []Record
	log     *log.Log
	written log.Appended
	failed  bool
	delayed bool // its records were scheduled: there is nothing to settle
}

func (t *Topic) group(recs []Record, want int32) ([]*group, error) {
	byID := map[int32]*group{}
	var order []*group
	for i := range recs {
		p, err := t.choose(recs[i].Key, want)
		if err != nil {
			return nil, err
		}
		g := byID[p.id]
		if g == nil {
			g = &group{p: p}
			byID[p.id] = g
			order = append(order, g)
		}
		g.indexes = append(g.indexes, i)
		g.recs = append(g.recs, recs[i])
	}
	return order, nil
}

// write hands the group's batch to the operating system, without waiting for more.
func (g *group) write(ctx context.Context, o appendOptions, positions []Position) error {
	if o.delayed() {
		return g.schedule(ctx, o.due, positions)
	}
	b, err := g.p.pack(g.recs)
	if err == nil {
		defer g.p.topic.eng.putBuilder(b)
		g.log, err = g.p.openWith(ctx)
	}
	if err == nil {
		g.written, err = g.p.appendSealed(ctx, g.log, b.batch, log.AppendOptions{Synced: o.synced, Trusted: true, NoWait: true})
	}
	g.failed = err != nil
	for at, i := range g.indexes {
		positions[i] = g.p.at(g.written.Base+int64(at), g.written.Epoch)
		if g.failed {
			positions[i].Offset = -1
		}
	}
	return g.p.fault(err)
}

// settle waits until the group's batch is as durable as promised.
func (g *group) settle(ctx context.Context, o appendOptions, positions []Position) error {
	if g.failed || g.delayed {
		return nil
	}
	err := g.log.Commit(ctx, g.written.Last+1)
	if err == nil && o.synced && g.log.Durable() <= g.written.Last {
		err = g.log.Flush(ctx)
	}
	if err != nil {
		for _, i := range g.indexes {
			positions[i].Offset = -1
		}
	}
	return g.p.waitFault(ctx, err)
}

// builder is what an append by call needs for a moment.
type builder struct {
	record.Builder
	rec     record.Record
	batch   record.Batch
	now     time.Time
	scratch []byte
}

func (e *Engine) takeBuilder() *builder {
	if b, ok := e.builders.Get().(*builder); ok {
		return b
	}
	return new(builder)
}

// mostKept bounds the memory that an idle builder may hold.
const mostKept = 2 << 20

func (e *Engine) putBuilder(b *builder) {
	big := b.Buffered() > mostKept
	b.rec, b.batch = record.Record{}, nil
	if !big {
		e.builders.Put(b)
	}
}

// begin starts a batch of the topic.
func (b *builder) begin(t *Topic) {
	codec, level := t.compression()
	b.now = time.Now()
	b.Reset(record.BuilderConfig{Codec: codec, Level: level})
}

func (b *builder) put(r *Record) error {
	r.stored(&b.rec, b.now)
	if err := b.Add(&b.rec); err != nil {
		return packFault(err, b.rec.Timestamp)
	}
	return nil
}

// packFault puts the builder's refusals into this package's words.
func packFault(err error, timestamp int64) error {
	switch {
	case timestamp < record.NoTimestamp:
		return fmt.Errorf("%w: time before 1970 or beyond what milliseconds can count: %w", ErrInvalidTimestamp, err)
	case errors.Is(err, record.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// pack builds one batch of the records. The builder must be put back.
func (p *Partition) pack(recs []Record) (*builder, error) {
	if p.topic == nil {
		return nil, unmade("Partition")
	}
	if len(recs) == 0 {
		return nil, fmt.Errorf("%w: no records to append", ErrInvalid)
	}
	b := p.topic.eng.takeBuilder()
	b.begin(p.topic)
	for i := range recs {
		if err := b.put(&recs[i]); err != nil {
			p.topic.eng.putBuilder(b)
			return nil, err
		}
	}
	return b, b.seal(p)
}

// checkDecoded refuses a batch that readers would not take.
func checkDecoded(t *Topic, b *record.Builder) error {
	limit := decodeLimit
	if b.Codec() != compress.None {
		limit = t.maxDecoded()
	}
	if n := b.Buffered() - record.HeaderSize; n > limit {
		return fmt.Errorf("%w: %d bytes before compression, limit %d", ErrTooLarge, n, limit)
	}
	return nil
}

func (b *builder) seal(p *Partition) (err error) {
	if err := checkDecoded(p.topic, &b.Builder); err != nil {
		p.topic.eng.putBuilder(b)
		return err
	}
	if b.batch, err = b.Seal(); err != nil {
		p.topic.eng.putBuilder(b)
		return packFault(err, 0)
	}
	return nil
}

// appendOne is the walk of a single record; it allocates nothing in a steady state.
func (p *Partition) appendOne(ctx context.Context, rec *Record, synced bool) (Position, error) {
	e := p.topic.eng
	b := e.takeBuilder()
	b.begin(p.topic)
	if err := b.put(rec); err != nil {
		e.putBuilder(b)
		return Position{}, p.fault(err)
	}
	if err := b.seal(p); err != nil {
		return Position{}, p.fault(err)
	}
	pos, err := p.commitBatch(ctx, b, log.AppendOptions{Synced: synced, Trusted: true})
	e.putBuilder(b)
	return pos, err
}

// timedOneIn appends at the weaker levels has its time taken: looking at the clock costs a tenth of them.
const timedOneIn = 16

// commitBatch appends a builder's batch and waits as the options ask.
func (p *Partition) commitBatch(ctx context.Context, b *builder, o log.AppendOptions) (Position, error) {
	l, err := p.openWith(ctx)
	if err != nil {
		return Position{}, err
	}
	o.Now = b.now.UnixMilli()
	a, err := p.appendSealed(ctx, l, b.batch, o)
	if err != nil {
		return Position{}, p.waitFault(ctx, err)
	}
	if l.Config().Durability == log.Sync || a.Base%timedOneIn == 0 {
		p.topic.eng.stats.appendTime.since(b.now)
	}
	return p.at(a.Base, a.Epoch), nil
}

// appendSealed charges the budgets with a batch, which may have to wait for room, and appends it.
func (p *Partition) appendSealed(ctx context.Context, l *log.Log, b record.Batch, o log.AppendOptions) (log.Appended, error) {
	return p.appendWithin(ctx, l, b, o, true)
}

// appendWithin is appendSealed for callers that must not wait for room.
func (p *Partition) appendWithin(ctx context.Context, l *log.Log, b record.Batch, o log.AppendOptions, wait bool) (log.Appended, error) {
	if !p.budgeted() {
		return p.appendCounted(ctx, l, b, o)
	}
	charged, err := p.take(ctx, int64(len(b)), wait)
	if err != nil {
		p.topic.stats.appendErrors.Add(1)
		return log.Appended{}, err
	}
	return p.appendCharged(ctx, l, b, o, charged)
}

// appendCharged appends a batch that the budgets have been charged with, for callers that hold a lock: they charge
// before they take it.
func (p *Partition) appendCharged(ctx context.Context, l *log.Log, b record.Batch, o log.AppendOptions, charged charge) (log.Appended, error) {
	a, err := p.appendCounted(ctx, l, b, o)
	charged.landed(int64(len(b)), (err == nil || errors.Is(err, ErrUncertain)) && !a.Duplicate)
	return a, err
}

// appendCounted hands a batch to the log and counts it. Every append of the engine, a producer's too, comes
// through here.
func (p *Partition) appendCounted(ctx context.Context, l *log.Log, b record.Batch, o log.AppendOptions) (log.Appended, error) {
	a, err := l.Append(ctx, b, o)
	s := &p.topic.stats
	if err != nil {
		s.appendErrors.Add(1)
		return a, err
	}
	s.batchesIn.Add(1)
	s.recordsIn.Add(int64(b.Count()))
	s.bytesIn.Add(int64(len(b)))
	return a, nil
}

// compression is what a producer that chose no codec compresses the topic's batches with.
func (t *Topic) compression() (compress.Codec, int) {
	cfg := t.state.Load().config
	return cfg.Codec, cfg.Level
}
