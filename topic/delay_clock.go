package topic

import (
	"context"
	"fmt"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
)

// Due times are times of day, and the clock of the machine may be wrong, and be put right. While it is ahead, messages are
// delivered by it: nobody can know better. When it is put back, new messages are due by the clock as it is then, though
// delivery has been there already; what was delivered stays delivered (see reach). By less than clockSlack nothing is done
// about it: a message may be late by as much.
//
// Going back takes these steps, each on disk before the next: the records of all levels that are to count as delivered; the
// progress with the lower bound and the ceiling; the first message below the ceiling. A crash in between leaves the old
// bound, or the new one with nothing below it.

const (
	clockSlack = 100 * time.Millisecond
	// mostCeilings bounds what is remembered of a clock that goes back further and further while messages are delivered. Beyond
	// it new messages wait until delivery has caught up.
	mostCeilings = 16
)

// clockTurn is one going back. Those who wait for it may read err once done is closed.
type clockTurn struct {
	done chan struct{}
	err  error
}

// behindLocked tells whether the clock is so far behind what has been delivered that a new message would be late.
func (d *delays) behindLocked(now int64) bool {
	return d.soonestLocked(now)-now > clockSlack.Milliseconds() && len(d.settled.ceilings) < mostCeilings
}

// followClock sees that what is stored now can be delivered when it is due, also if the clock was put back.
func (d *delays) followClock(ctx context.Context) error {
	if err := d.mu.LockWithin(ctx); err != nil { // its holder may wait for the disk
		return err
	}
	if !d.behindLocked(d.clock()) {
		d.mu.Unlock()
		return nil
	}
	if d.turn == nil {
		d.turn = &clockTurn{done: make(chan struct{})}
	}
	turn, start := d.turn, d.claimLocked()
	d.mu.Unlock()
	if start {
		d.eng.goFunc(d.deliver)
	}
	select {
	case <-turn.done:
		return turn.err
	case <-ctx.Done():
		return bounded.Cause(ctx)
	case <-d.eng.closing:
		return ErrClosed
	}
}

// turnBack does what followClock waits for. It belongs to the goroutine that delivers.
func (d *delays) turnBack() {
	d.mu.Lock()
	turn := d.turn
	d.mu.Unlock()
	if turn == nil {
		return
	}
	turn.err = d.goBack(d.clock())
	d.mu.Lock()
	d.turn = nil
	d.mu.Unlock()
	close(turn.done)
}

// goBack lowers the bound to now.
func (d *delays) goBack(now int64) error {
	d.mu.Lock()
	behind, delivered := d.behindLocked(now), now < d.settled.bound.due
	d.mu.Unlock()
	if !behind {
		return nil
	}
	next := d.settled
	for _, n := range d.lanes {
		if len(n.past.ceilings) >= mostCeilings {
			return nil
		}
	}
	if delivered {
		ends, err := d.commitLevels()
		if err != nil {
			return err
		}
		to := delayKey{due: now}
		next = d.settled.lowered(to, ends)
		for _, n := range d.lanes {
			n.past = n.past.lowered(to, ends) // means the same as before, as long as the bound has not moved
		}
		if err := d.saveReach(next, true); err != nil {
			return err
		}
		d.eng.logger.Warn("the clock was put back: delayed messages follow it", "topic", DelayedTopic,
			"by", time.Duration(d.settled.bound.due-now)*time.Millisecond)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled, d.swept = next, now
	d.turns++
	for i := range d.levels {
		lv := &d.levels[i]
		for _, it := range d.empty(lv) { // into a new wheel: the one there was does not go back
			d.put(lv, it)
		}
	}
	return nil
}

// commitLevels makes durable what the levels hold, and gives their ends.
func (d *delays) commitLevels() (ends [delayLevels]int64, err error) {
	logs, err := d.levelLogs()
	if err != nil {
		return ends, err
	}
	d.mu.Lock() // nothing is registered meanwhile: what comes later has a greater offset
	for i, l := range logs {
		if l != nil {
			ends[i] = l.End()
		}
	}
	d.mu.Unlock()
	for i, l := range logs {
		if l == nil {
			continue
		}
		if err := l.Commit(context.Background(), ends[i]); err != nil {
			return ends, fmt.Errorf("topic: %s-%d: %w", DelayedTopic, levelPart(uint8(i)), err)
		}
	}
	return ends, nil
}

// levelLogs is the logs of the levels; nil for one that was never used.
func (d *delays) levelLogs() (logs [delayLevels]*log.Log, err error) {
	for i := range logs {
		part, err := d.topic.partition(levelPart(uint8(i)))
		if err != nil {
			return logs, err
		}
		if part.log.Load() == nil && d.eng.holdsNothing(part.Dir()) {
			continue
		}
		if logs[i], err = part.open(); err != nil {
			return logs, err
		}
	}
	return logs, nil
}

// clampReach takes account of levels that have lost their last records, before others get the same offsets. It
// reports whether anything changed.
func (d *delays) clampReach() (changed bool, err error) {
	lanes := false
	for _, n := range d.lanes {
		lanes = lanes || len(n.past.ceilings) > 0
	}
	if len(d.settled.ceilings) == 0 && !lanes {
		return false, nil
	}
	logs, err := d.levelLogs()
	if err != nil {
		return false, err
	}
	var ends [delayLevels]int64
	for i, l := range logs {
		if l != nil {
			ends[i] = l.End()
		}
	}
	settled, less := d.settled.within(ends)
	for _, n := range d.lanes {
		past, fewer := n.past.within(ends)
		n.past, less = past, less || fewer
	}
	d.mu.Lock()
	d.settled = settled
	d.mu.Unlock()
	return less, nil
}
