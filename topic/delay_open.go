package topic

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/record"
)

// delayedSettings are those of [DelayedTopic]: nothing goes but by delivery.
func delayedSettings() []TopicOption {
	return []TopicOption{
		Partitions(delayParts), Durable(), Retention(-1), RetentionBytes(-1), CleanupWith(CleanupDelete),
		SegmentBytes(32 << 20), Set("segment.ms", showInt(math.MaxInt64)),
		Set("message.timestamp.after.max.ms", showInt(math.MaxInt64)), Set("message.timestamp.before.max.ms", showInt(math.MaxInt64)),
		TimestampsAre(record.CreateTime), Set("compression.type", "uncompressed"), MaxMessageBytes(256 << 20),
	}
}

// resume goes on with what earlier runs scheduled.
func (d *delays) resume() {
	if d.eng.readOnly {
		return
	}
	if _, err := d.eng.lookup(DelayedTopic); err != nil {
		return
	}
	d.eng.goFunc(func() {
		if err := d.ready(context.Background()); err != nil && !d.eng.isClosed() {
			d.eng.logger.Error("delayed messages cannot be delivered", "err", err)
			d.retryOpening()
		}
	})
}

// retryOpening tries again later what failed at Open.
func (d *delays) retryOpening() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reopen.Value = d.resume
	d.eng.runner.After(&d.reopen, delayPatience)
}

// ready brings the delayed topic into use, making it if there is none.
func (d *delays) ready(ctx context.Context) error {
	if d.opened.Load() {
		return nil
	}
	select {
	case d.opening <- struct{}{}:
	case <-ctx.Done():
		return bounded.Cause(ctx)
	case <-d.eng.closing:
		return ErrClosed
	}
	apart := ctx
	if onProducerGoroutine() {
		apart = context.WithoutCancel(ctx) // an event on the way must find itself on the producer's goroutine
	}
	_, _, err := holding(apart, d.eng, func() { <-d.opening }, func() (struct{}, error) { return struct{}{}, d.open(ctx) })
	return err
}

// open is ready for the one who has the token.
func (d *delays) open(ctx context.Context) error {
	if d.opened.Load() {
		return nil
	}
	if d.eng.readOnly {
		return ErrReadOnly
	}
	if err := d.takeOver(ctx); err != nil {
		return err
	}
	d.opened.Store(true)
	d.wake() // to load what is there
	return nil
}

// takeOver finds the topic, or makes it, and what earlier runs left. The caller has the token.
func (d *delays) takeOver(ctx context.Context) error {
	if d.earlier {
		return nil
	}
	t, _, err := d.eng.findOrCreate(ctx, DelayedTopic, InternalSettings(DelayedTopic)...)
	if err != nil {
		return err
	}
	d.topic = t
	if d.producer, err = d.eng.nextProducerID(); err != nil {
		return err
	}
	for _, n := range d.lanes { // of an attempt that failed
		n.doubt.clear()
	}
	clear(d.lanes)
	if err := d.restore(ctx); err != nil {
		return err
	}
	if changed, err := d.clampReach(); err != nil {
		return err
	} else if changed {
		if err := d.saveProgress(true); err != nil { // before any record gets such an offset again
			return err
		}
	}
	d.earlier = true
	return nil
}

// settleEarlier is Open's first use of the partitions after a crash: deliveries that were under way are looked for in
// their targets before the user can remove what tells of them. A target that cannot be opened is looked at when it can be;
// until then nothing else removes anything from it (see doubt).
func (d *delays) settleEarlier() {
	if _, err := d.eng.lookup(DelayedTopic); err != nil {
		return
	}
	if err := d.takeOver(context.Background()); err != nil {
		d.eng.logger.Warn("earlier deliveries are looked for later", "err", err)
		return
	}
	for _, n := range d.lanes {
		if err := d.prepare(n); err != nil {
			d.refuse(n, err)
		}
	}
	if err := d.settledEarlier(); err != nil {
		d.eng.logger.Warn("progress of delayed messages not noted", "err", err)
	}
}

// settledEarlier makes durable what settleEarlier found.
func (d *delays) settledEarlier() error {
	if !d.stale {
		return nil
	}
	return d.saveProgress(true)
}

// lastProgress is the last record of progress before end that can be read. An older one than the last makes what was
// delivered after it come again, where its targets do not know its numbers: that is told, and better than to stop for good.
func (d *delays) lastProgress(ctx context.Context, part *Partition, end int64) (p delayProgress, found bool, err error) {
	start, err := part.Start()
	if err != nil {
		return p, false, err
	}
	var bad error
	for at := end - 1; at >= start && !found; at-- {
		var rec Record
		if rec, err = part.Get(ctx, at); err == nil {
			p, err = parseProgress(rec.Value)
		}
		if damage, ok := damageIn(err, at); ok {
			d.harmed(part, passed{damage})
		}
		switch {
		case err == nil:
			found = true
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrNoRecord):
			bad = err
		default:
			return p, false, err
		}
	}
	if bad != nil {
		d.eng.logger.Error("the newest progress of delayed messages cannot be read: some may come again", "topic", DelayedTopic,
			"from", p.Bound[0], "err", bad)
	}
	return p, found, nil
}

// restore takes over the last progress of earlier runs.
func (d *delays) restore(ctx context.Context) error {
	part, err := d.topic.partition(progressPart)
	if err != nil {
		return err
	}
	end := int64(0)
	if !d.eng.holdsNothing(part.Dir()) {
		if end, err = part.High(); err != nil {
			return err
		}
	}
	if end == 0 {
		return nil
	}
	p, found, err := d.lastProgress(ctx, part, end)
	if err != nil || !found {
		return err
	}
	d.mu.Lock()
	d.settled, d.idle = reachOf(p.Bound, p.Ceilings), p.Idle
	d.mu.Unlock()
	for _, s := range p.Lanes {
		n := d.lane(d.targets.number(delayTarget{s.Topic, s.Name, s.Partition}))
		n.producer, n.sequence, n.from, n.unsure = s.Producer, s.Sequence, s.From, true
		for _, m := range s.Messages {
			n.ids = append(n.ids, keyOf(m))
		}
		if len(n.ids) > 0 {
			n.doubt.raise(d.eng, n.target)
		}
		if s.Lag != nil {
			n.lagging, n.past = true, reachOf(*s.Lag, s.LagCeilings)
		}
	}
	return nil
}

// loadLevels begins to load the levels whose memory runs short.
func (d *delays) loadLevels() {
	now := time.Now()
	for i := range d.levels {
		if d.claimLoad(&d.levels[i], now) {
			d.eng.goFunc(func() { d.loadClaimed(uint8(i)) })
		}
	}
}

// claimLoad tells whether the caller is to load a level.
func (d *delays) claimLoad(lv *delayLevel, now time.Time) bool {
	part, err := d.topic.partition(levelPart(lv.number))
	d.mu.Lock()
	defer d.mu.Unlock()
	if lv.loading || !lv.partial() || lv.near() > d.nearMost/4 || now.Before(lv.retry) {
		return false
	}
	if err == nil && !lv.loaded() && part.log.Load() == nil && d.eng.holdsNothing(part.Dir()) {
		lv.horizon, lv.retry = endOfTime(), time.Time{} // never used: it stays without files
		return false
	}
	if err == nil && d.wasIdleLocked(lv, part) {
		return false
	}
	lv.loading, lv.retry = true, time.Time{}
	return true
}

// wasIdleLocked tells that nothing waits in a level, by what was noted before a clean stop: it stays closed.
func (d *delays) wasIdleLocked(lv *delayLevel, part *Partition) bool {
	if !d.eng.startedOK || lv.loaded() || part.log.Load() != nil || int(lv.number) >= len(d.idle) {
		return false
	}
	saved, end := part.offsets(), d.idle[lv.number]
	if end < 0 || saved.high != end {
		return false
	}
	lv.horizon, lv.retry, lv.end = endOfTime(), time.Time{}, end
	if start := max(saved.start, 0); start < end {
		lv.chunks = []delayChunk{{end: end, first: start, latest: d.settled.top().due}}
	}
	return true
}

// idleLocked is what the progress says of levels without messages that wait. Nothing is on its way in any lane.
func (d *delays) idleLocked() []int64 {
	ends := make([]int64, delayLevels)
	for i := range d.levels {
		lv := &d.levels[i]
		if ends[i] = lv.end; !lv.loaded() || lv.partial() || lv.near() > 0 {
			ends[i] = -1
		}
	}
	return ends
}

func (d *delays) loadClaimed(level uint8) {
	err := d.load(level)
	if errors.Is(err, errTurned) {
		err = nil // it is loaded anew
	}
	d.mu.Lock()
	lv := &d.levels[level]
	lv.loading = false
	if err != nil {
		lv.retry = time.Now().Add(delayPatience)
	}
	d.mu.Unlock()
	if err != nil && !d.eng.isClosed() {
		d.eng.logger.Error("delayed messages cannot be read", "partition", levelPart(level), "err", err)
	}
	d.wake()
}

// catchUp brings messages that were left on disk behind a blocked lane into it.
func (d *delays) catchUp(n *delayLane) error {
	sel := newSelection(delayKey{}, n.past, roundMost)
	sel.only, sel.cut = &d.settled, d.settled.top()
	logs, err := d.levelLogs()
	if err != nil {
		return err
	}
	for i, l := range logs {
		if l == nil {
			continue
		}
		scan := d.scanFor(uint8(i), l, sel, func(e *envelope) bool {
			return e.topic == n.target.topic && e.partition == n.target.partition
		})
		err := scan.run()
		part, fault := d.topic.partition(levelPart(uint8(i)))
		if fault != nil {
			return fault
		}
		d.harmed(part, scan.damage)
		if err != nil {
			return part.fault(err)
		}
		sel.shrink() // a cancellation is in the level of its message
	}
	for _, it := range sel.items {
		n.ids = append(n.ids, it.delayKey)
	}
	if n.lagging = sel.cut.before(d.settled.top()); !n.lagging {
		n.past = reach{}
		return nil
	}
	n.past = d.settled.below(sel.cut).with(n.past.ceilings...)
	return nil
}
