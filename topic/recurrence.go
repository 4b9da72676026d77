package topic

import (
	"fmt"
	"math"
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
// On days on which clocks are changed the rule is that of cron on Linux. An expression with *, ? or a step in the minute or
// the hour means a distance: it comes whenever the clocks show a time that matches, twice if they show it twice. Any other
// names times of day, and each comes once a day: when clocks are put forward, what they leave out comes at that
// moment, once; when they are put back, what they show twice comes the first time. For a fixed distance use [Every].
//
// The zone is stored by its name, if [time.LoadLocation] gives the same zone by that name, and as an offset if it is a fixed
// one ([time.FixedZone], or what [time.Parse] makes of an offset); any other is ErrInvalid. [time.Local] is the zone of
// the machine, whichever that is at the next start.
func Cron(expression string, zone *time.Location) Recurrence {
	if zone == nil {
		zone = time.UTC
	}
	name, fault := zoneName(zone)
	c, err := parseCron(expression)
	r := Recurrence{text: "cron " + name + " " + strings.Join(strings.Fields(expression), " "), cron: &c, zone: zone, fault: fault}
	if err != nil {
		r.fault = err
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
		zone, err := zoneNamed(name)
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
		return nextEvery(start, t, r.every.Milliseconds())
	case r.cron != nil:
		return r.cron.after(t.In(r.zone))
	}
	return time.Time{}
}

// nextEvery counts in milliseconds, which reach further than a time.Duration; the zero time where they end.
func nextEvery(start, t time.Time, every int64) time.Time {
	passed := (t.Unix()-start.Unix())*1000 + floorDiv(int64(t.Nanosecond()-start.Nanosecond()), int64(time.Millisecond))
	passed = max(passed, 0)
	times := passed/every + 1
	if times > math.MaxInt64/every {
		return time.Time{}
	}
	ms := times * every
	sec := start.Unix() + ms/1000
	if sec > math.MaxInt64/1000 || sec < start.Unix() {
		return time.Time{}
	}
	return time.Unix(sec, int64(start.Nanosecond())+ms%1000*int64(time.Millisecond)).In(start.Location())
}

func floorDiv(a, b int64) int64 {
	if a%b < 0 {
		return a/b - 1
	}
	return a / b
}
