package topic

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// When the clock of the machine was ahead and is put back, the newest firing of a recurring message lies in the future. Then
// the message goes on by the clock as it is now, but for the due times that were appended while it was ahead: each of
// them comes once. With CatchUp these are all, so that it goes on where it was. A clock that has passed them may be wrong as
// well, so the last mostCeilings runs of them are remembered whatever it shows.

// firedSpan is due times that were appended, from the first to the last without a gap, in ms since the epoch.
type firedSpan struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// follow takes account of a clock that was put back. It reports whether the state has changed.
func (s *recurringState) follow(when Recurrence, now time.Time) bool {
	late := now.Add(clockSlack).UnixMilli()
	fired, early := s.Firing != nil && s.Firing.Due > now.UnixMilli(), s.Since > late
	if s.fullFrom(now) {
		return false
	}
	if early { // set up while the clock was ahead
		if every := when.every.Milliseconds(); every > 0 {
			s.Since -= (s.Since - now.UnixMilli() + every - 1) / every * every
		} else {
			s.Since = now.UnixMilli()
		}
	}
	ahead := *s
	if fired {
		ahead.remember()
	}
	next := ahead.skip(when, when.Next(time.UnixMilli(s.Since), now)).UnixMilli()
	if !early && (next >= s.Next && s.Next > 0 || next <= 0) {
		return false // nothing was left out before it
	}
	s.Fired, s.Next = ahead.Fired, max(next, 0)
	return true
}

// fullFrom tells that no run can be forgotten yet by a clock that shows now.
func (s *recurringState) fullFrom(now time.Time) bool {
	return len(s.Fired) >= mostCeilings && !slices.ContainsFunc(s.Fired, func(f firedSpan) bool { return f.To < now.UnixMilli() })
}

// remember notes the run that ends with the newest firing, in the place of the one that ends first if there are too many.
func (s *recurringState) remember() {
	run := firedSpan{s.Run, s.Firing.Due}
	s.Fired = slices.Clone(s.Fired)
	if i := slices.IndexFunc(s.Fired, func(f firedSpan) bool { return f.From == run.From }); i >= 0 {
		s.Fired[i] = run
		return
	}
	s.Fired = append(s.Fired, run)
	if len(s.Fired) > mostCeilings {
		first := slices.MinFunc(s.Fired, func(a, b firedSpan) int { return cmp.Compare(a.To, b.To) })
		s.Fired = slices.DeleteFunc(s.Fired, func(f firedSpan) bool { return f == first })
	}
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

// follow sees that messages follow a clock that was put back. The caller holds the token.
func (c *recurrences) follow(now time.Time) error {
	if now.UnixMilli() >= c.looked {
		c.looked = now.UnixMilli()
		return nil
	}
	c.mu.Lock()
	changed, later := map[string]*recurringState{}, false
	for name, r := range c.table {
		later = later || r.open || r.doubt
		if s := r.state; !r.open && !r.doubt && s.follow(r.when, now) {
			changed[name] = &s
		}
	}
	c.mu.Unlock()
	if len(changed) > 0 {
		if err := c.save(context.Background(), changed); err != nil {
			return err
		}
	}
	if !later { // else it is looked at again
		c.looked = now.UnixMilli()
	}
	if len(changed) == 0 {
		return nil
	}
	c.eng.logger.Warn("the clock was put back: recurring messages follow it", "messages", len(changed))
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, s := range changed {
		c.table[name].state = *s
	}
	return nil
}
