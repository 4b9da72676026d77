package topic

import (
	"context"
	"errors"
	"time"
)

// resumeRecurring goes on with what earlier runs set up.
func (c *recurrences) resume() {
	if c.eng.readOnly || !c.exists() {
		return
	}
	c.wake()
}

// wake sees that somebody appends what is due.
func (c *recurrences) wake() {
	c.mu.Lock()
	start := !c.running
	c.running = true
	c.mu.Unlock()
	if start && !c.eng.goFunc(c.fire) {
		c.mu.Lock()
		c.running = false
		c.mu.Unlock()
	}
}

// armLocked sets the timer for the next firing. As with delayed messages, the clock is looked at now and then.
func (c *recurrences) armLocked() {
	if c.running {
		return
	}
	wait, some := lookAtClock, false
	now := c.eng.wall()
	for _, r := range c.table {
		switch {
		case r.open || r.doubt:
			wait, some = min(wait, time.Until(r.retry)), true
		case r.state.Next > 0:
			wait, some = min(wait, time.UnixMilli(r.state.Next).Sub(now)), true
		}
	}
	if some {
		c.eng.runner.After(&c.timer, wait)
	}
}

// fire is the goroutine that appends; it exists while something is due.
func (c *recurrences) fire() {
	failed := false
	for !failed && !c.eng.isClosed() {
		if err := c.take(context.Background()); err != nil {
			failed = true
			if !c.eng.isClosed() {
				c.eng.logger.Error("recurring messages cannot be appended", "err", err)
			}
			break
		}
		more, err := c.round(c.eng.wall())
		if !more || c.eng.isClosed() {
			c.noteSettled()
		}
		c.give()
		if err != nil && !c.eng.isClosed() {
			c.eng.logger.Error("recurring messages are late", "err", err)
		}
		failed = err != nil
		if !more {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	if failed {
		c.eng.runner.After(&c.timer, delayPatience)
		return
	}
	c.armLocked()
}

// round appends what is due. The caller holds the token, so nobody changes the table. more: look again, there may be
// further firings to catch up with.
func (c *recurrences) round(now time.Time) (more bool, err error) {
	due := map[string]*recurringState{}
	var list []*recurring
	c.clearDoubts(time.Now())
	if err := c.follow(now); err != nil {
		return false, err
	}
	tries := time.Now()
	c.mu.Lock()
	for name, r := range c.table {
		switch {
		case r.doubt:
		case r.open && !tries.Before(r.retry):
			list = append(list, r)
		case !r.open && r.state.Next > 0 && r.state.Next <= now.UnixMilli():
			s, fires := r.advance(now)
			if fires {
				due[name] = &s
			} else { // it was appended when the clock was ahead
				r.state = s
			}
		}
	}
	c.mu.Unlock()
	for name, s := range due {
		end, err := c.endOf(s)
		if errors.Is(err, ErrNotFound) {
			due[name] = nil // the topic was deleted: so is what recurs in it
			continue
		}
		if err != nil {
			return false, err
		}
		s.Firing.From = end
	}
	if len(due) > 0 {
		if err := c.save(context.Background(), due); err != nil {
			return false, err
		}
	}
	list = append(list, c.accept(due)...)
	for _, r := range list {
		c.settle(r, c.appendOnce(r))
	}
	return len(list) > 0, c.shorten()
}

// advance gives the state with the firing that is due now as the newest one, if it is to come.
func (r *recurring) advance(now time.Time) (s recurringState, fires bool) {
	s = r.state
	start, at := time.UnixMilli(s.Since), time.UnixMilli(s.Next)
	next := r.when.Next(start, at)
	follows := s.Firing != nil && r.when.Next(start, time.UnixMilli(s.Firing.Due)).Equal(at)
	if !s.CatchUp && !next.IsZero() && !next.After(now) {
		at, next = r.latest(start, at, next, now)
		follows = false
	}
	fires = s.skip(r.when, at).Equal(at)
	if fires {
		if !follows || s.Run == 0 {
			if s.Run > 0 && s.Firing != nil {
				s.remember()
			}
			s.Run = at.UnixMilli()
		}
		s.Firing = &firing{Due: at.UnixMilli()}
		s.Firings++
	}
	s.Next = 0
	if next = s.skip(r.when, next); !next.IsZero() {
		s.Next = next.UnixMilli()
	}
	return s, fires
}

// latest is the last time up to now, and the one after it, given two times that follow each other.
func (r *recurring) latest(start, at, next, now time.Time) (time.Time, time.Time) {
	if every := r.when.every; every > 0 {
		at = start.Add(now.Sub(start) / every * every)
		return at, r.when.Next(start, at)
	}
	// Times of day come at least as dense before as after, so a look back of growing length finds one soon.
	for back := time.Minute; back < now.Sub(next); back *= 2 {
		if t := r.when.Next(start, now.Add(-back)); !t.IsZero() && !t.After(now) {
			at, next = t, r.when.Next(start, t)
			break
		}
	}
	for !next.IsZero() && !next.After(now) {
		at, next = next, r.when.Next(start, next)
	}
	return at, next
}

// endOf is the end of a message's target.
func (c *recurrences) endOf(s *recurringState) (int64, error) {
	part, err := delayTarget{s.Topic, s.TopicName, s.Partition}.find(c.eng)
	if err != nil {
		return 0, err
	}
	return part.End()
}

// accept takes what was stored over into memory.
func (c *recurrences) accept(due map[string]*recurringState) (list []*recurring) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, s := range due {
		r := c.table[name]
		if s == nil {
			r.gone = true
			r.unsure.clear()
			delete(c.table, name)
			continue
		}
		r.state, r.open, r.sure, r.stale = *s, true, true, false
		list = append(list, r)
	}
	return list
}

// settle notes how the append of a firing went.
func (c *recurrences) settle(r *recurring, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || refusedForGood(err) || errors.Is(err, ErrNotFound) {
		r.open, r.tries, r.retry = false, 0, time.Time{}
		r.stale = r.state.Firing != nil
	} else {
		r.retry = time.Now().Add(min(delayBackoff<<min(r.tries, 20), delayPatience))
		r.tries++
	}
	c.weigh(r)
	if err != nil && r.tries <= 1 && !c.eng.isClosed() {
		c.eng.logger.Warn("recurring message not appended", "name", r.name, "topic", r.state.TopicName, "err", err)
	}
}

// shorten writes the table anew once most of the log is of no more use, and lets go of what lies before.
func (c *recurrences) shorten() error {
	all := map[string]*recurringState{}
	c.mu.Lock()
	for name, r := range c.table {
		s := r.state
		all[name] = &s
	}
	enough := c.stored > int64(progressKept+4*len(all)) && len(c.held) == 0
	c.mu.Unlock()
	if !enough {
		return nil
	}
	part, err := c.topic.partition(0)
	if err != nil {
		return err
	}
	end, err := part.End()
	if err != nil {
		return err
	}
	if len(all) > 0 {
		if err := c.save(context.Background(), all); err != nil {
			return err
		}
	}
	if _, err = part.DeleteRecords(context.Background(), end); err != nil {
		return err
	}
	c.mu.Lock()
	c.stored = int64(len(all))
	c.mu.Unlock()
	return nil
}
