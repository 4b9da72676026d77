package topic

import (
	"fmt"
	"strings"
	"time"
)

// zoneName is the text by which a zone is stored: its name, if that stands for this zone, or the offset of a fixed one.
func zoneName(zone *time.Location) (string, error) {
	name := zone.String()
	if named, err := time.LoadLocation(name); err == nil && name != "" && !strings.Contains(name, " ") && sameZone(zone, named) {
		return name, nil
	}
	_, offset := time.Unix(0, 0).In(zone).Zone()
	if sameZone(zone, time.FixedZone("", offset)) && -24*3600 < offset && offset < 24*3600 {
		return offsetName(offset), nil
	}
	return clip(name), fmt.Errorf("%w: time zone %q: neither known by that name nor a fixed offset of less than a day", ErrInvalid, clip(name))
}

// zoneNamed is the zone that zoneName named.
func zoneNamed(name string) (*time.Location, error) {
	if name == "" || name[0] != '+' && name[0] != '-' {
		return time.LoadLocation(name)
	}
	layout := "-07:00"
	if len(name) > len(layout) {
		layout = "-07:00:00"
	}
	t, err := time.Parse(layout, name)
	if err != nil {
		return nil, err
	}
	_, offset := t.Zone()
	return time.FixedZone(name, offset), nil
}

// offsetName is "+02:00", with seconds if there are some.
func offsetName(offset int) string {
	sign := '+'
	if offset < 0 {
		sign, offset = '-', -offset
	}
	text := fmt.Sprintf("%c%02d:%02d", sign, offset/3600, offset/60%60)
	if offset%60 != 0 {
		text += fmt.Sprintf(":%02d", offset%60)
	}
	return text
}

// sameZone tells whether clocks of both zones show the same, looked at each fortnight over a lifetime.
func sameZone(a, b *time.Location) bool {
	const fortnight, years = 14 * 24 * 3600, 80
	for t := int64(0); t < years*366*24*3600; t += fortnight {
		_, x := time.Unix(t, 0).In(a).Zone()
		_, y := time.Unix(t, 0).In(b).Zone()
		if x != y {
			return false
		}
	}
	return true
}
