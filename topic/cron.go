package topic

import (
	"fmt"
	"strconv"
	"strings"
)

// cronFields is a cron expression: for each field the set of its values as bits.
type cronFields struct {
	second, minute, hour, day, month, weekday uint64
	// anyDay, anyWeekday: the field was a star. With both days restricted either will do, as cron has always had it.
	anyDay, anyWeekday bool
	// elapsed: the minute or the hour was a star or had a step: the expression means a distance, not times of day.
	elapsed bool
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
	c.elapsed = strings.ContainsAny(words[1]+words[2], "*?/")
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
