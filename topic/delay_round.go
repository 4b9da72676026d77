package topic

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/quirelog/quire/log"
)

// ring is the timer's work. Mostly something is due; else the clock was only to be looked at.
func (d *delays) ring() {
	if !d.early() {
		d.wake()
	}
}

// early tells that nothing is due, and sets the timer again.
func (d *delays) early() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = false
	wait, ok := d.waitLocked()
	if d.running || !ok || wait <= 0 {
		return false
	}
	d.armLocked()
	return true
}

// wake sees that somebody delivers what is due.
func (d *delays) wake() {
	d.mu.Lock()
	start := d.claimLocked()
	d.mu.Unlock()
	if start {
		d.eng.goFunc(d.deliver) // none starts when the engine is closing: what is due comes after the next Open
	}
}

// claimLocked tells whether the caller is to start the goroutine that delivers.
func (d *delays) claimLocked() bool {
	start := !d.running
	d.armed, d.running = false, true
	return start
}

// deliver is the goroutine that has the duty to deliver; it exists while something is due.
func (d *delays) deliver() {
	for !d.eng.isClosed() {
		d.turnBack()
		d.loadLevels()
		if !d.round() && d.rest() {
			return
		}
	}
	d.noteSettled() // else an Open after a long time might not find in the targets what was delivered
	d.mu.Lock()
	d.running = false
	d.mu.Unlock()
}

// round delivers what is due, as much as is done at once. It reports false when there was nothing.
//
// The order makes each message come exactly once: the messages are on disk; then the progress that names them and
// their numbers is; then they are appended, with these numbers; then the next progress leaves them out. After a crash
// in between, the target log tells by their numbers how many of those named last are in it.
func (d *delays) round() bool {
	before := d.settled
	active := d.enlist(d.take(d.clock()), before, time.Now())
	if len(active) == 0 {
		return false
	}
	active = d.each(active, d.prepare)
	if err := d.intend(); err != nil {
		d.each(active, func(*delayLane) error { return err })
		return true
	}
	active = d.each(active, d.append)
	for _, n := range d.each(active, d.settle) {
		if n.lagging && len(n.ids) == 0 {
			if err := d.catchUp(n); err != nil {
				d.refuse(n, err)
			}
		}
	}
	d.trim()
	return true
}

// each does a step for every lane and returns those for which it went well.
func (d *delays) each(lanes []*delayLane, step func(*delayLane) error) []*delayLane {
	good := lanes[:0]
	for _, n := range lanes {
		if err := step(n); err != nil {
			d.refuse(n, err)
			continue
		}
		good = append(good, n)
	}
	return good
}

// take gives the messages due at now in order, up to the first one that is not in memory.
func (d *delays) take(now int64) (items []delayItem) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.swept = max(d.swept, now)
	limit := delayKey{due: now + 1}
	for i := range d.levels {
		if h := d.levels[i].horizon; h.before(limit) {
			limit = h
		}
	}
	for len(items) < roundMost {
		it, lv := d.firstLocked(now)
		if lv == nil || !it.before(limit) {
			break
		}
		d.dropHead(lv)
		d.settled, d.stale = d.settled.raised(it.after()), true
		if _, gone := d.cancelled[it.delayKey]; gone {
			delete(d.cancelled, it.delayKey)
			continue
		}
		items = append(items, it)
	}
	return items
}

// firstLocked is the next message of all levels that is due and in memory.
func (d *delays) firstLocked(now int64) (first delayItem, at *delayLevel) {
	for i := range d.levels {
		lv := &d.levels[i]
		if it, ok := lv.first(now); ok && (at == nil || it.before(first.delayKey)) {
			first, at = it, lv
		}
	}
	return first, at
}

// enlist puts messages into their lanes and returns the lanes that have something to do. Behind a blocked lane they
// stay on disk. before is the reach without them.
func (d *delays) enlist(items []delayItem, before reach, now time.Time) (active []*delayLane) {
	for _, it := range items {
		d.needed[it.level] = max(d.needed[it.level], it.offset+1)
		n := d.lane(it.target)
		switch {
		case n.lagging:
		case n.tries > 0 && len(n.ids) > 0:
			n.lagging, n.past = true, before.raised(it.delayKey)
		default:
			n.ids = append(n.ids, it.delayKey)
		}
	}
	for _, n := range d.lanes {
		if (len(n.ids) > 0 || n.lagging) && !n.blocked(now) {
			active = append(active, n)
		}
	}
	return active
}

// intend makes durable what is about to be appended.
func (d *delays) intend() error {
	for level, end := range d.needed {
		if end == 0 {
			continue
		}
		part, err := d.topic.partition(levelPart(uint8(level)))
		if err != nil {
			return err
		}
		l, err := part.open()
		if err == nil {
			err = l.Commit(context.Background(), end)
		}
		if err != nil {
			return part.fault(err)
		}
		d.needed[level] = 0
	}
	return d.saveProgress(true)
}

// saveProgress appends to the progress partition.
func (d *delays) saveProgress(synced bool) error { return d.saveReach(d.settled, synced) }

// saveReach saves the progress with a reach that may not be valid yet.
func (d *delays) saveReach(settled reach, synced bool) error {
	p := delayProgress{Format: delayFormat}
	p.Bound, p.Ceilings = settled.flat()
	d.mu.Lock()
	if d.delivered() {
		p.Idle = d.idleLocked()
	}
	d.mu.Unlock()
	p.Lanes = d.laneStates()
	for _, s := range p.Lanes {
		if len(s.LagCeilings) > 0 {
			p.Format = progressFormat
		}
	}
	if len(p.Ceilings) > 0 {
		p.Format = progressFormat
	}
	return d.appendProgress(&p, synced)
}

// laneStates is what is under way, or left on disk.
func (d *delays) laneStates() (list []laneState) {
	for _, n := range d.lanes {
		if len(n.ids) == 0 && !n.lagging {
			continue
		}
		s := laneState{Topic: n.target.topic, Name: n.target.name, Partition: n.target.partition,
			Producer: n.producer, Sequence: n.sequence, From: n.from}
		for _, k := range n.ids {
			s.Messages = append(s.Messages, flatKey(k))
		}
		if n.lagging {
			lag, ceilings := n.past.flat()
			s.Lag, s.LagCeilings = &lag, ceilings
		}
		list = append(list, s)
	}
	return list
}

func (d *delays) appendProgress(p *delayProgress, synced bool) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	part, err := d.topic.partition(progressPart)
	if err != nil {
		return err
	}
	l, err := part.open()
	if err != nil {
		return err
	}
	b, err := part.pack([]Record{{Value: value}})
	if err != nil {
		return err
	}
	a, err := part.appendSealed(context.Background(), l, b.batch, log.AppendOptions{Synced: synced, Trusted: true, NoWait: !synced})
	d.eng.putBuilder(b)
	if err != nil {
		return part.fault(err)
	}
	d.stale = false
	return d.forgetProgress(l, a.Base, synced)
}

// forgetProgress lets go of the older records once there are many.
func (d *delays) forgetProgress(l *log.Log, last int64, synced bool) error {
	if !synced || last-l.Start() < progressKept {
		return nil
	}
	if _, err := l.DeleteRecords(last); err != nil {
		return fmt.Errorf("topic: older progress of %s not removed: %w", DelayedTopic, err)
	}
	return nil
}

// progressKept is how many records of progress are kept at most; only the last one counts.
const progressKept = 1000

// noteSettled stores what was delivered last, without waiting for the disk. It spares the next Open to look for it in the
// targets, which after a long time may not have it any more.
func (d *delays) noteSettled() {
	if !d.stale {
		return
	}
	if err := d.saveProgress(false); err != nil {
		d.eng.logger.Warn("progress of delayed messages not noted", "err", err)
	}
}

// rest ends the duty.
func (d *delays) rest() bool {
	d.noteSettled()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.turn != nil {
		return false
	}
	d.retryAt = time.Time{}
	for _, n := range d.lanes {
		if (len(n.ids) > 0 || n.lagging) && (d.retryAt.IsZero() || n.retry.Before(d.retryAt)) {
			d.retryAt = n.retry
		}
	}
	d.running = false
	d.armed = false
	d.armLocked()
	return true
}

// delivered tells that no lane has anything left.
func (d *delays) delivered() bool {
	for _, n := range d.lanes {
		if len(n.ids) > 0 || n.lagging {
			return false
		}
	}
	return true
}

// armLocked sets the timer for the next thing to do. Due times are times of day: the clock is looked at again
// now and then, since it may be set, or stand still for the monotonic clock while the machine sleeps.
func (d *delays) armLocked() {
	if d.running {
		return // it will, when it ends
	}
	wait, ok := d.waitLocked()
	wait = min(wait, lookAtClock)
	at := time.Now().Add(wait)
	if !ok || d.armed && !at.Before(d.armedFor) {
		return
	}
	d.armed, d.armedFor = true, at
	d.eng.runner.After(&d.timer, wait)
}

// waitLocked is how long there is nothing to do; ok is false when there is nothing at all.
func (d *delays) waitLocked() (wait time.Duration, ok bool) {
	if next, some := d.nextLocked(); some {
		wait, ok = time.UnixMilli(next).Sub(d.eng.wall()), true
	}
	sooner := func(at time.Time) {
		if left := time.Until(at); !ok || left < wait {
			wait, ok = left, true
		}
	}
	for i := range d.levels {
		if lv := &d.levels[i]; !lv.retry.IsZero() {
			sooner(lv.retry)
		}
	}
	if !d.retryAt.IsZero() {
		sooner(d.retryAt)
	}
	return wait, ok
}

// nextLocked is the time of day at which memory is to be looked at again.
func (d *delays) nextLocked() (next int64, ok bool) {
	for i := range d.levels {
		if at, some := d.levels[i].next(); some && (!ok || at < next) {
			next, ok = at, true
		}
	}
	// Nothing at or above the horizon of a level that has nothing in memory can be delivered before that was loaded.
	for i := range d.levels {
		if lv := &d.levels[i]; lv.partial() && lv.near() == 0 && ok && lv.horizon.due <= next {
			ok = false
		}
	}
	return next, ok
}

// trim gives up the records of the levels that nobody needs any more.
func (d *delays) trim() {
	cuts := map[uint8]int64{}
	d.mu.Lock()
	for i := range d.levels {
		lv := &d.levels[i]
		for len(lv.chunks) > 1 && d.doneLocked(lv.number, lv.chunks[0]) {
			cuts[lv.number] = lv.chunks[0].end
			lv.chunks = lv.chunks[1:]
		}
	}
	d.mu.Unlock()
	for level, before := range cuts {
		part, err := d.topic.partition(levelPart(level))
		if err == nil {
			_, err = part.DeleteRecords(context.Background(), before)
		}
		if err != nil && !d.eng.isClosed() {
			d.eng.logger.Warn("delivered messages not removed", "partition", levelPart(level), "err", err)
		}
	}
}

// doneLocked tells that nobody needs a chunk any more, the first of its level.
func (d *delays) doneLocked(level uint8, c delayChunk) bool {
	if !d.settled.hasRun(level, c.end, c.latest) {
		return false
	}
	for _, n := range d.lanes {
		for _, k := range n.ids {
			if k.level == level && k.offset < c.end {
				return false
			}
		}
		if n.lagging && !n.past.hasRun(level, c.end, c.latest) {
			return false
		}
	}
	return true
}
