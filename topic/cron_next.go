package topic

import (
	"math/bits"
	"time"
)

// mostYears is how far ahead a firing is looked for: the Gregorian calendar repeats itself after that.
const mostYears = 400

// longestShift is the most by which clocks are changed for the season. A larger jump, as of a zone that moves across
// the date line, is a new calendar: what it leaves out does not come, and what it shows twice comes twice.
const longestShift = 3 * 3600

// after is the first time after t, in its zone, that the expression matches; the zero time if there is none.
//
// Between two changes of the clocks the zone has one offset, and the search is one of the calendar. An expression
// that means a distance is matched with what the clocks show at each moment. Of one that names times of day, each
// comes once a day: what a change leaves out comes at the change, and what is shown a second time does not.
func (c *cronFields) after(t time.Time) time.Time {
	zone := t.Location()
	from := t.Unix() + 1
	last := t.AddDate(mostYears, 0, 0).Unix()
	for from <= last {
		at := time.Unix(from, 0).In(zone)
		begin, end := at.ZoneBounds()
		_, offset := at.Zone()
		first := from
		if !c.elapsed && !begin.IsZero() {
			_, before := begin.Add(-time.Second).Zone()
			shift := int64(offset - before)
			gap := wallSpan{begin.Unix() + int64(before), begin.Unix() + int64(offset)}
			switch {
			case shift > 0 && shift <= longestShift && from == begin.Unix():
				if _, some := c.firstIn(gap); some {
					return at
				}
			case shift < 0 && shift >= -longestShift:
				first = max(first, begin.Unix()-shift)
			}
		}
		until := last + 1
		if !end.IsZero() {
			// On the last day of a leap year, far ahead, the time package knows of no end that lies ahead.
			if ahead := end.Unix(); ahead > from {
				until = min(until, ahead)
			} else {
				until = min(until, from+24*3600)
			}
		}
		if wall, some := c.firstIn(wallSpan{first + int64(offset), until + int64(offset)}); some {
			return time.Unix(wall-int64(offset), 0).In(zone)
		}
		from = until
	}
	return time.Time{}
}

// wallSpan is what clocks show, as seconds since 1970 of a zone without an offset: from, and before until.
type wallSpan struct{ from, until int64 }

// firstIn is the first time of the span that matches.
func (c *cronFields) firstIn(span wallSpan) (wall int64, some bool) {
	if span.from >= span.until {
		return 0, false
	}
	at := time.Unix(span.from, 0).UTC()
	year, month, day := at.Date()
	clock := at.Hour()*3600 + at.Minute()*60 + at.Second()
	for {
		midnight := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
		if midnight.Unix() >= span.until {
			return 0, false
		}
		if c.month>>uint(midnight.Month())&1 == 0 {
			year, month, day = midnight.AddDate(0, 1, 1-midnight.Day()).Date()
			clock = 0
			continue
		}
		if c.matchesDay(midnight) {
			if s, some := c.clockFrom(clock); some {
				wall = midnight.Unix() + int64(s)
				return wall, wall < span.until
			}
		}
		year, month, day = midnight.AddDate(0, 0, 1).Date()
		clock = 0
	}
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

// clockFrom is the first matching second of a day at or after one.
func (c *cronFields) clockFrom(from int) (second int, some bool) {
	h, m, s := from/3600, from/60%60, from%60
	hour, ok := nextBit(c.hour, h)
	for ; ok; hour, ok = nextBit(c.hour, hour+1) {
		if hour > h {
			m, s = 0, 0
		}
		minute, ok := nextBit(c.minute, m)
		for ; ok; minute, ok = nextBit(c.minute, minute+1) {
			if hour > h || minute > m {
				s = 0
			}
			if second, ok := nextBit(c.second, s); ok {
				return hour*3600 + minute*60 + second, true
			}
		}
	}
	return 0, false
}

// nextBit is the lowest member of a set that is not below from.
func nextBit(set uint64, from int) (int, bool) {
	set = set >> uint(from) << uint(from)
	return bits.TrailingZeros64(set), set != 0
}
