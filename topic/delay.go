package topic

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/timingwheel"
)

// DeliverAt delays an append until the given time: the record is on disk when the call returns, and appended to its
// partition exactly once when it is due, also after a crash or a restart; no reader sees it before. A time that has
// come already means an append as usual.
//
// The position that such a call returns is not that of the record, which has none yet: it names the record's place in
// [DelayedTopic], by which [Topic.Cancel] finds it. The partition is chosen by the call. A record without a Time of its own gets
// that of its delivery. Due times are whole milliseconds, rounded up. What is delivered is on disk, whatever the topic's level.
//
// Due times are times of day: they follow a clock of the machine that is set, ahead or back, within five minutes. What was
// delivered while it was ahead stays delivered. Of a partition, records are delivered in the order of their due times. A partition that refuses appends gets its
// records when it takes them again; those of a topic that was deleted are dropped, as is a record that the topic's
// settings do not allow any more when it is due.
func DeliverAt(t time.Time) AppendOption { return func(o *appendOptions) { o.due = t } }

// DeliverAfter is DeliverAt d from the moment of the call.
func DeliverAfter(d time.Duration) AppendOption {
	return func(o *appendOptions) { o.due = time.Now().Add(d) }
}

// delayed tells whether the append is to wait for its time.
func (o *appendOptions) delayed() bool { return !o.due.IsZero() && time.Until(o.due) > 0 }

// delayOf is the time of delivery that options ask for; zero: at once.
func delayOf(opts []AppendOption) (due time.Time, err error) {
	if len(opts) == 0 {
		return time.Time{}, nil
	}
	o, err := gatherAppend(opts)
	switch {
	case err != nil:
		return time.Time{}, err
	case o.partition != AnyPartition:
		return time.Time{}, fmt.Errorf("%w: AppendTo on a producer's send: its partitioner chooses, see PartitionBy", ErrInvalid)
	case o.synced:
		return time.Time{}, fmt.Errorf("%w: Synced on a producer's send: its acks say what is waited for", ErrInvalid)
	case o.delayed():
		return o.due, nil
	}
	return time.Time{}, nil
}

// schedule stores one record until it is due.
func (p *Partition) schedule(ctx context.Context, due time.Time, rec Record) (Position, error) {
	return p.topic.eng.delays.schedule(ctx, p, []Record{rec}, due)
}

// schedule stores the group's records until they are due.
func (g *group) schedule(ctx context.Context, due time.Time, positions []Position) error {
	g.delayed = true
	pos, err := g.p.topic.eng.delays.schedule(ctx, g.p, g.recs, due)
	for at, i := range g.indexes {
		positions[i] = pos
		positions[i].Offset += int64(at)
		if err != nil {
			positions[i].Offset = -1
		}
	}
	return err
}

// delays is an engine's delayed messages.
//
// D1 Every message within the reach settled is so: delivered, cancelled, dropped, or in a lane. D2 A message that is
// registered lies outside, and is not due before swept, so that each level's wheel gives its messages by key; it is
// registered, by offset in order, under mu, in which its append lies too. D3 A lane's messages are named durably before one of
// them is appended to its target. D4 Only the goroutine that has the duty to deliver changes lanes and the reach, and writes
// progress.
type delays struct {
	eng      *Engine
	nearMost int
	timer    timingwheel.Timer
	stats    delayStats
	// opening has room for one token: whoever put it there may bring the delayed topic into use.
	opening chan struct{}
	opened  atomic.Bool // topic, producer and settled are set

	targets  delayTargets
	topic    *Topic
	producer int64 // this run's id in target logs

	// What follows belongs to the goroutine that delivers.
	lanes   map[uint32]*delayLane // by target
	needed  [delayLevels]int64    // ends of the levels that must be on disk before the next progress
	stale   bool                  // the last progress does not say all that has been settled
	earlier bool                  // what earlier runs noted is taken over; set once, by whoever has the token
	idle    []int64               // of earlier runs: see delayProgress

	mu        bounded.Mutex // guards what follows; held while messages are written
	settled   reach
	swept     int64      // the wheels have gone up to this time, in ms since the epoch
	turn      *clockTurn // somebody waits for the reach to follow a clock that was put back
	turns     int        // how often it did
	levels    [delayLevels]delayLevel
	cancelled map[delayKey]struct{} // of the messages in memory
	spare     []*nearEntry
	running   bool      // some goroutine has the duty to deliver
	armed     bool      // the timer is set
	armedFor  time.Time // and for when, by the monotonic clock
	retryAt   time.Time // when a lane is to be tried again, by the monotonic clock; zero: none waits
	reopen    timingwheel.Timer
	harm      map[[2]int64]struct{} // partition and first offset of the damaged stretches that were told
}

func (d *delays) init(e *Engine, near int) {
	d.eng, d.nearMost = e, near
	d.timer.Value = d.ring
	d.opening = make(chan struct{}, 1)
	d.lanes, d.cancelled, d.targets.numbers = map[uint32]*delayLane{}, map[delayKey]struct{}{}, map[delayTarget]uint32{}
	for i := range d.levels {
		d.levels[i].number = uint8(i)
	}
}

// clock is the time of day that due times are compared with.
func (d *delays) clock() int64 { return d.eng.wall().UnixMilli() }

// dueMillis is the first whole millisecond that is not before t.
func dueMillis(t time.Time) (int64, error) {
	if s := t.Unix(); s < 0 || s > math.MaxInt64/1000-1 {
		return 0, fmt.Errorf("%w: delivery at %v", ErrInvalidTimestamp, t)
	}
	due := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		due++
	}
	return due, nil
}

// delayedRecord is a record on its way into the delayed topic.
type delayedRecord struct {
	part *Partition
	rec  Record
	due  int64
}

// schedule stores records of one partition until they are due, as one batch. At return they are on disk. The
// position is that of the first.
func (d *delays) schedule(ctx context.Context, p *Partition, recs []Record, due time.Time) (Position, error) {
	at, err := dueMillis(due)
	if err != nil {
		return Position{}, p.fault(err)
	}
	if len(recs) == 0 {
		return Position{}, fmt.Errorf("%w: no records to append", ErrInvalid)
	}
	list := make([]delayedRecord, len(recs))
	for i := range recs {
		list[i] = delayedRecord{p, recs[i], at}
	}
	return d.storeSynced(ctx, levelOf(time.Until(due)), list)
}

// storeSynced stores messages as one batch of a level and waits for the disk. The position is that of the first.
func (d *delays) storeSynced(ctx context.Context, level uint8, list []delayedRecord) (Position, error) {
	pos, faults := d.storeBatches(ctx, level, [][]delayedRecord{list})
	return pos[0], faults[0]
}

// storeBatches stores batches of messages of a level and waits for the disk once. Each has a position, that of its first
// message, or an error.
func (d *delays) storeBatches(ctx context.Context, level uint8, batches [][]delayedRecord) ([]Position, []error) {
	positions, faults := make([]Position, len(batches)), make([]error, len(batches))
	home, l, err := d.levelLog(ctx, level)
	if err == nil {
		err = d.followClock(ctx)
	}
	end := int64(0)
	for i, list := range batches {
		if faults[i] = err; err != nil {
			continue
		}
		var a log.Appended
		if a, faults[i] = d.store(ctx, home, l, level, list); faults[i] == nil {
			end = a.Last + 1
			positions[i] = home.at(a.Base, a.Epoch)
		}
	}
	if end > 0 {
		err = home.waitFault(ctx, l.Commit(ctx, end))
	}
	for i, list := range batches {
		switch {
		case faults[i] == nil && err != nil:
			positions[i], faults[i] = Position{}, err
		case faults[i] == nil:
			d.stats.scheduled.Add(int64(len(list)))
		}
	}
	return positions, faults
}

// levelLog is the partition of a level, open.
func (d *delays) levelLog(ctx context.Context, level uint8) (*Partition, *log.Log, error) {
	if err := d.ready(ctx); err != nil {
		return nil, nil, err
	}
	home, err := d.topic.partition(levelPart(level))
	if err != nil {
		return nil, nil, err
	}
	l, err := home.openWith(ctx)
	return home, l, err
}

// store appends the messages, not waiting for the disk, and registers them.
func (d *delays) store(ctx context.Context, home *Partition, l *log.Log, level uint8, list []delayedRecord) (log.Appended, error) {
	for tries := int64(0); ; tries++ {
		err := d.postpone(ctx, list, tries)
		if err != nil {
			return log.Appended{}, err
		}
		b, err := packDelayed(d.eng, list)
		if err == nil {
			err = b.seal(home)
		}
		if err != nil {
			return log.Appended{}, list[0].part.fault(err)
		}
		a, late, err := d.register(ctx, home, l, level, list, b)
		if late {
			continue // delivery went past a due time meanwhile; it will not for ever
		}
		return a, home.waitFault(ctx, err)
	}
}

// soonestLocked is the due time a message can still have: one that lies below the bound would never be looked at, and one that
// the wheels have gone past would come out behind later ones.
func (d *delays) soonestLocked(due int64) int64 {
	bound := d.settled.bound
	due = max(due, d.swept)
	if due <= bound.due && (bound.level > 0 || bound.offset > 0) {
		return bound.due + 1
	}
	return max(due, bound.due)
}

// postpone moves due times that delivery has gone past to where it will look, and some more if it keeps running away.
func (d *delays) postpone(ctx context.Context, list []delayedRecord, tries int64) error {
	if err := d.mu.LockWithin(ctx); err != nil { // its holder may wait for the disk
		return err
	}
	defer d.mu.Unlock()
	for i := range list {
		if due := d.soonestLocked(list[i].due); due > list[i].due {
			list[i].due = due + tries
		}
	}
	return nil
}

// register appends and registers in one step, so that offsets are registered in order (D2). late: the bound has passed
// a due time, and nothing was done.
func (d *delays) register(ctx context.Context, home *Partition, l *log.Log, level uint8, list []delayedRecord, b *builder) (a log.Appended, late bool, err error) {
	return d.registering(ctx, home, b, func(room charge) (a log.Appended, late bool, err error) {
		return d.registerLocked(home, l, level, list, b, room)
	})
}

// registering appends and registers in one step, under the lock, as register says. The builder is put back.
func (d *delays) registering(ctx context.Context, home *Partition, b *builder, register func(charge) (log.Appended, bool, error)) (log.Appended, bool, error) {
	room, err := home.take(ctx, int64(len(b.batch)), true) // may wait, so not under the lock
	if err == nil {
		if err = d.mu.LockWithin(ctx); err != nil {
			room.landed(int64(len(b.batch)), false)
		}
	}
	if err != nil {
		d.eng.putBuilder(b)
		return log.Appended{}, false, err
	}
	type registered struct {
		log.Appended
		late bool
	}
	r, out, err := holding(ctx, d.eng, d.mu.Unlock, func() (r registered, err error) {
		r.Appended, r.late, err = register(room)
		return r, err
	})
	if out == bounded.NotBegun {
		room.landed(int64(len(b.batch)), false)
	}
	if out != bounded.Alone {
		d.eng.putBuilder(b)
	}
	return r.Appended, r.late, unknown(out, err)
}

func (d *delays) registerLocked(home *Partition, l *log.Log, level uint8, list []delayedRecord, b *builder, room charge) (a log.Appended, late bool, err error) {
	latest := int64(0)
	for i := range list {
		if list[i].due < d.soonestLocked(list[i].due) {
			room.landed(int64(len(b.batch)), false)
			return a, true, nil
		}
		latest = max(latest, list[i].due)
	}
	a, err = home.appendCharged(context.Background(), l, b.batch, log.AppendOptions{Trusted: true, NoWait: true}, room)
	if err != nil {
		return a, false, err
	}
	lv := &d.levels[level]
	if lv.loaded() {
		lv.count(a.Last+1, latest)
	}
	for i := range list {
		k := delayKey{due: list[i].due, offset: a.Base + int64(i), level: level}
		if k.before(lv.horizon) {
			p := list[i].part
			d.put(lv, delayItem{k, d.targets.number(delayTarget{p.topic.id, p.topic.name, p.id})})
		}
	}
	d.shed(lv)
	d.armLocked()
	return a, false, nil
}

// packDelayed builds the batch of messages as the delayed topic stores them. The builder must be put back, or sealed.
func packDelayed(e *Engine, list []delayedRecord) (*builder, error) {
	b := e.takeBuilder()
	b.now = time.Now()
	b.Reset(record.BuilderConfig{})
	for i := range list {
		r := &list[i].rec
		b.scratch = appendEnvelope(b.scratch[:0], list[i].part, r, b.now)
		b.rec = record.Record{Timestamp: list[i].due, Key: b.scratch, Value: r.Value, Headers: r.Headers}
		err := b.Add(&b.rec)
		if at := r.timestamp(b.now); at < record.NoTimestamp {
			err = record.ErrInvalid
			b.rec.Timestamp = at
		}
		if err != nil {
			err = packFault(err, b.rec.Timestamp)
			e.putBuilder(b)
			return nil, err
		}
	}
	return b, nil
}
