package topic

import (
	"fmt"
	"strings"
	"time"
)

// Recurrence says when something happens again and again: make one with [Every], [DailyAt] or [Cron], or from its text with
// [ParseRecurrence]. The zero Recurrence never happens.
type Recurrence struct {
	text  string
	every time.Duration
	cron  *cronFields
	zone  *time.Location
	fault error
}

// Every happens each time the interval has passed, counted from when it was set up, whatever clocks on the wall
// show. At least a millisecond.
func Every(d time.Duration) Recurrence {
	r := Recurrence{text: "every " + d.String(), every: d.Truncate(time.Millisecond)}
	if d < time.Millisecond {
		r.fault = fmt.Errorf("%w: recurrence every %v: at least 1ms", ErrInvalid, d)
	}
	return r
}

// DailyAt happens once a day when the clocks of the zone show that time; nil is UTC. See [Cron] for days on which
// clocks are changed.
func DailyAt(hour, minute int, zone *time.Location) Recurrence {
	r := Cron(fmt.Sprintf("%d %d * * *", minute, hour), zone)
	return r
}

// Cron happens when the clocks of the zone show what the expression says; nil is UTC. The expression has five fields:
//
//	minute  hour  day of month  month  day of week
//	0-59    0-23  1-31          1-12   0-7 (0 and 7 are Sunday)
//
// or six, with the second first. A field is a list, by commas, of * or ? (all), values, ranges (1-5) and steps (*/15, 8-18/2,
// 3/5: from 3 on), without spaces; months and days of the week may be named (jan, fri-sun). When both days are restricted either will
// do. @hourly, @daily, @weekly, @monthly and @yearly stand for the obvious.
//
// Each time of day that the expression names comes once a day. When clocks are put forward, what they leave out comes at
// that moment, once; when they are put back, what they show twice comes the first time. For a fixed distance
// use [Every].
//
// The zone is stored by its name, so it must be one that [time.LoadLocation] knows.
func Cron(expression string, zone *time.Location) Recurrence {
	if zone == nil {
		zone = time.UTC
	}
	c, err := parseCron(expression)
	r := Recurrence{text: "cron " + zone.String() + " " + strings.Join(strings.Fields(expression), " "), cron: &c, zone: zone, fault: err}
	if err != nil {
		return r
	}
	if _, err := time.LoadLocation(zone.String()); err != nil {
		r.fault = fmt.Errorf("%w: time zone %q: %w", ErrInvalid, zone, err)
	}
	return r
}

// ParseRecurrence reads the form of [Recurrence.String]: "every 1h30m0s", or "cron Europe/Berlin 30 8 * * mon-fri". Errors
// match ErrInvalid.
func ParseRecurrence(text string) (Recurrence, error) {
	kind, rest, _ := strings.Cut(text, " ")
	switch kind {
	case "every":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return Recurrence{}, fmt.Errorf("%w: recurrence %q: %w", ErrInvalid, clip(text), err)
		}
		r := Every(d)
		return r, r.fault
	case "cron":
		name, expression, _ := strings.Cut(rest, " ")
		zone, err := time.LoadLocation(name)
		if err != nil {
			return Recurrence{}, fmt.Errorf("%w: recurrence %q: %w", ErrInvalid, clip(text), err)
		}
		r := Cron(expression, zone)
		return r, r.fault
	}
	return Recurrence{}, fmt.Errorf("%w: recurrence %q is neither every nor cron", ErrInvalid, clip(text))
}

// String is the text form, which is also how it is stored.
func (r Recurrence) String() string { return r.text }

// Next is the first time after t, counted from start where that matters; the zero time if there is none. The result
// is a whole number of milliseconds behind start, or of seconds.
func (r Recurrence) Next(start, t time.Time) time.Time {
	switch {
	case r.fault != nil:
		return time.Time{}
	case r.every > 0:
		passed := t.Sub(start)
		if passed < 0 {
			return start.Add(r.every)
		}
		return start.Add((passed/r.every + 1) * r.every)
	case r.cron != nil:
		return r.cron.after(t.In(r.zone))
	}
	return time.Time{}
}
