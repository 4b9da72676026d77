package topic

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// Cancel keeps a delayed message of the topic from being delivered, by the position that its append returned or
// [Scheduled] told. It reports true when the message will not be delivered, because of this call or an earlier
// one, and that is on disk then; false when it is too late: it was delivered, or is being so.
//
// Errors: ErrInvalid for a position that is not of a delayed message of this topic, ErrUncertain when the disk failed
// or ctx ended while waiting for it, and as in [Topic.Append].
func (t *Topic) Cancel(ctx context.Context, pos Position) (bool, error) {
	if t.eng == nil {
		return false, unmade("Topic")
	}
	d := &t.eng.delays
	level := pos.Partition - 1
	if pos.Topic != DelayedTopic || level < 0 || level >= delayLevels || pos.Offset < 0 {
		return false, fmt.Errorf("%w: %v is not the position of a delayed message", ErrInvalid, pos)
	}
	if _, err := t.eng.lookup(DelayedTopic); err != nil {
		return false, err
	}
	if err := d.ready(ctx); err != nil {
		return false, err
	}
	part, err := d.topic.partition(pos.Partition)
	if err != nil {
		return false, err
	}
	l, err := part.openWith(ctx)
	if err != nil {
		return false, err
	}
	if pos.Offset < l.Start() {
		return false, nil // delivered long ago
	}
	k := delayKey{offset: pos.Offset, level: uint8(level)}
	err = part.View(ctx, pos.Offset, func(r *record.Record) error {
		e, err := parseEnvelope(r.Key)
		if err == nil && (e.kind != kindScheduled || e.topic != t.id) {
			err = fmt.Errorf("%w: %v is not a delayed message of topic %q", ErrInvalid, pos, t.name)
		}
		k.due = r.Timestamp
		return err
	})
	if err != nil {
		return false, err
	}
	return d.cancel(ctx, part, l, k)
}

func (d *delays) cancel(ctx context.Context, part *Partition, l *log.Log, k delayKey) (bool, error) {
	b, err := part.pack([]Record{{Time: time.UnixMilli(k.due), Key: appendCancellation(nil, k.offset)}})
	if err != nil {
		return false, err
	}
	a, late, err := d.registering(ctx, part, b, func(room charge) (log.Appended, bool, error) {
		return d.registerCancelLocked(part, l, k, b, room)
	})
	if err == nil && !late {
		err = l.Commit(ctx, a.Last+1)
	}
	if err != nil || late {
		return false, part.waitFault(ctx, err)
	}
	d.stats.cancelled.Add(1)
	return true, nil
}

// registerCancelLocked appends and registers in one step.
func (d *delays) registerCancelLocked(part *Partition, l *log.Log, k delayKey, b *builder, room charge) (a log.Appended, late bool, err error) {
	lv := &d.levels[k.level]
	if d.settled.has(k) {
		room.landed(int64(len(b.batch)), false)
		return a, true, nil
	}
	a, err = part.appendCharged(context.Background(), l, b.batch, log.AppendOptions{Trusted: true, NoWait: true}, room)
	if err != nil {
		return a, false, err
	}
	if lv.loaded() {
		lv.count(a.Last+1, k.due)
	}
	if k.before(lv.horizon) {
		d.cancelled[k] = struct{}{}
	}
	return a, false, nil
}

// delayStats counts what happens to delayed messages.
type delayStats struct {
	scheduled, delivered, cancelled, dropped atomic.Int64
	inMemory                                 atomic.Int64
	lateness                                 histogram
}

// DelayMetrics counts delayed messages since the engine was opened.
type DelayMetrics struct {
	Scheduled int64     // stored until they are due
	Delivered int64     // appended to their partitions
	Cancelled int64     // kept from it by Cancel
	Dropped   int64     // not deliverable: their topic was deleted, or does not take them any more
	InMemory  int       // the soonest, those that are not on disk only
	Lateness  Histogram // from due time to being on disk in the target
}

func (d *delays) metrics() DelayMetrics {
	return DelayMetrics{
		Scheduled: d.stats.scheduled.Load(), Delivered: d.stats.delivered.Load(),
		Cancelled: d.stats.cancelled.Load(), Dropped: d.stats.dropped.Load(),
		InMemory: int(d.stats.inMemory.Load()), Lateness: d.stats.lateness.snapshot(),
	}
}
