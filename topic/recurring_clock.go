package topic

import (
	"context"
	"slices"
	"time"
)

// When the clock of the machine was ahead and is put back, the newest firing of a recurring message lies in the future. Then
// the message goes on by the clock as it is now, but for the due times that were appended while it was ahead: each of
// them comes once. With CatchUp these are all, so that it goes on where it was.

// firedSpan is due times that were appended, from the first to the last without a gap, in ms since the epoch.
type firedSpan struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// follow takes account of a clock that was put back. It reports whether the state has changed.
func (s *recurringState) follow(when Recurrence, now time.Time) bool {
	late := now.Add(clockSlack).UnixMilli()
	fired := s.Firing != nil && s.Firing.Due > late
	if !fired && s.Since <= late || len(s.Fired) >= mostCeilings {
		return false
	}
	if fired {
		s.Fired = append(slices.Clone(s.Fired), firedSpan{s.Run, s.Firing.Due})
	}
	if s.Since > late { // set up while the clock was ahead
		if every := when.every.Milliseconds(); every > 0 {
			s.Since -= (s.Since - now.UnixMilli() + every - 1) / every * every
		} else {
			s.Since = now.UnixMilli()
		}
	}
	next := s.skip(when, when.Next(time.UnixMilli(s.Since), now)).UnixMilli()
	if fired && s.Next > 0 && next >= s.Next {
		s.Fired = s.Fired[:len(s.Fired)-1] // nothing was left out before it
		return false
	}
	s.Next = max(next, 0)
	return true
}

// skip is the first due time from at on that has not been appended while the clock was ahead.
func (s *recurringState) skip(when Recurrence, at time.Time) time.Time {
	for {
		i := slices.IndexFunc(s.Fired, func(f firedSpan) bool { return f.From <= at.UnixMilli() && at.UnixMilli() <= f.To })
		if i < 0 || at.IsZero() {
			return at
		}
		at = when.Next(time.UnixMilli(s.Since), time.UnixMilli(s.Fired[i].To))
	}
}

// forget drops what lies before the next due time.
func (s *recurringState) forget() {
	if len(s.Fired) > 0 {
		s.Fired = slices.DeleteFunc(slices.Clone(s.Fired), func(f firedSpan) bool { return f.To < s.Next })
	}
}

// follow sees that messages follow a clock that was put back. The caller holds the token.
func (c *recurrences) follow(now time.Time) error {
	c.mu.Lock()
	changed := map[string]*recurringState{}
	for name, r := range c.table {
		if s := r.state; !r.open && !r.doubt && s.follow(r.when, now) {
			changed[name] = &s
		}
	}
	c.mu.Unlock()
	if len(changed) == 0 {
		return nil
	}
	if err := c.save(context.Background(), changed); err != nil {
		return err
	}
	c.eng.logger.Warn("the clock was put back: recurring messages follow it", "messages", len(changed))
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, s := range changed {
		c.table[name].state = *s
	}
	return nil
}
