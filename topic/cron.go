package topic

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// cronFields is a cron expression: for each field the set of its values as bits.
type cronFields struct {
	second, minute, hour, day, month, weekday uint64
	// anyDay, anyWeekday: the field was a star. With both days restricted either will do, as cron has always had it.
	anyDay, anyWeekday bool
}

// cronField is what one field of an expression may hold.
type cronField struct {
	name     string
	from, to int
	names    []string // of the values from the first on
}

func cronSyntax() [6]cronField {
	return [6]cronField{
		{name: "second", to: 59}, {name: "minute", to: 59}, {name: "hour", to: 23}, {name: "day of month", from: 1, to: 31},
		{name: "month", from: 1, to: 12, names: strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")},
		{name: "day of week", to: 7, names: strings.Fields("sun mon tue wed thu fri sat")},
	}
}

// cronMacro gives the expression that a macro stands for.
func cronMacro(text string) string {
	switch text {
	case "@hourly":
		return "0 * * * *"
	case "@daily", "@midnight":
		return "0 0 * * *"
	case "@weekly":
		return "0 0 * * 0"
	case "@monthly":
		return "0 0 1 * *"
	case "@yearly", "@annually":
		return "0 0 1 1 *"
	}
	return text
}

// parseCron reads an expression of five fields (minute, hour, day of month, month, day of week), or six with the second
// before them, or a macro. Errors match ErrInvalid.
func parseCron(text string) (c cronFields, err error) {
	words := strings.Fields(cronMacro(strings.TrimSpace(text)))
	if len(words) == 5 {
		words = append([]string{"0"}, words...)
	}
	if len(words) != 6 {
		return c, fmt.Errorf("%w: cron expression %q has %d fields: 5 or 6 are needed", ErrInvalid, clip(text), len(words))
	}
	var sets [6]uint64
	for i, f := range cronSyntax() {
		if sets[i], err = f.parse(words[i]); err != nil {
			return c, fmt.Errorf("%w: cron expression %q: %w", ErrInvalid, clip(text), err)
		}
	}
	c = cronFields{second: sets[0], minute: sets[1], hour: sets[2], day: sets[3], month: sets[4], weekday: sets[5]}
	c.weekday = (c.weekday | c.weekday>>7) & 0x7f // 7 is Sunday too
	c.anyDay, c.anyWeekday = strings.ContainsAny(words[3][:1], "*?"), strings.ContainsAny(words[5][:1], "*?")
	return c, nil
}

// parse reads a list of stars, values and ranges, each possibly with a step.
func (f cronField) parse(text string) (set uint64, err error) {
	for item := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		from, to, step := f.from, f.to, 1
		if span != "*" && span != "?" {
			low, high, ranged := strings.Cut(span, "-")
			if from, err = f.value(low); err != nil {
				return 0, err
			}
			switch {
			case ranged:
				if to, err = f.value(high); err != nil {
					return 0, err
				}
				if f.to == 7 && to == 0 && from > 0 {
					to = 7 // as in fri-sun
				}
			case !stepped:
				to = from
			}
		}
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
				return 0, fmt.Errorf("%s: step %q", f.name, clip(stepText))
			}
		}
		if from > to {
			return 0, fmt.Errorf("%s: range %q is backwards", f.name, clip(span))
		}
		for v := from; v <= to; v += step {
			set |= 1 << v
		}
	}
	return set, nil
}

func (f cronField) value(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.from + i, nil
		}
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < f.from || v > f.to || text[0] == '+' {
		return 0, fmt.Errorf("%s: %q is not between %d and %d", f.name, clip(text), f.from, f.to)
	}
	return v, nil
}

// mostDays is how far ahead a firing is looked for: the longest wait for a 29th of February, and some.
const mostDays = 366 * 12

// after is the first time after t, in its zone, that the expression matches; the zero time if there is none within
// twelve years.
func (c *cronFields) after(t time.Time) time.Time {
	year, month, day := t.Date()
	for range mostDays {
		noon := time.Date(year, month, day, 12, 0, 0, 0, t.Location())
		if c.matchesDay(noon) {
			if at := c.within(noon, t); !at.IsZero() {
				return at
			}
		}
		year, month, day = noon.AddDate(0, 0, 1).Date()
	}
	return time.Time{}
}

func (c *cronFields) matchesDay(t time.Time) bool {
	if c.month>>uint(t.Month())&1 == 0 {
		return false
	}
	day, weekday := c.day>>uint(t.Day())&1 != 0, c.weekday>>uint(t.Weekday())&1 != 0
	if c.anyDay || c.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// within is the first matching time of a day after t.
func (c *cronFields) within(day, t time.Time) time.Time {
	for h := range bitsOf(c.hour) {
		if sameDay(day, t) && h < t.Hour()-2 {
			continue // for sure before t, whatever the clocks did
		}
		for m := range bitsOf(c.minute) {
			for s := range bitsOf(c.second) {
				if at := localTime(day, h, m, s); at.After(t) {
					return at
				}
			}
		}
	}
	return time.Time{}
}

func sameDay(a, b time.Time) bool { return a.YearDay() == b.YearDay() && a.Year() == b.Year() }

// bitsOf is a loop over the bits of a set.
func bitsOf(set uint64) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for ; set != 0; set &= set - 1 {
			if !yield(bits.TrailingZeros64(set)) {
				return
			}
		}
	}
}

// localTime is when the clocks of the day's zone show a time. A time that they leave out is when they are put forward; of one
// that they show twice the first counts.
func localTime(day time.Time, hour, minute, second int) time.Time {
	year, month, date := day.Date()
	at := time.Date(year, month, date, hour, minute, second, 0, day.Location())
	if shows(at, hour, minute, second) {
		_, now := at.Zone()
		// No zone puts its clocks back by more than three hours.
		_, before := at.Add(-3 * time.Hour).Zone()
		if earlier := at.Add(time.Duration(now-before) * time.Second); before > now && shows(earlier, hour, minute, second) {
			return earlier
		}
		return at
	}
	// Between low and high the clocks jump over the wanted time.
	low, high := at.Add(-4*time.Hour), at.Add(4*time.Hour)
	_, summer := high.Zone()
	_, winter := low.Zone()
	for high.Sub(low) > time.Second {
		mid := low.Add(high.Sub(low) / 2).Truncate(time.Second)
		if _, offset := mid.Zone(); offset == winter && winter != summer {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

func shows(t time.Time, hour, minute, second int) bool {
	h, m, s := t.Clock()
	return h == hour && m == minute && s == second
}
