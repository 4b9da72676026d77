package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/quirelog/quire/topic"
)

// A place is a point in every partition of a topic as the command line names it: the start, the end, an offset or a time.
type place struct {
	word   string // "start", "end", "offset" or "time"
	offset int64
	at     time.Time
}

const placeHelp = "start, end, an offset, a time (2006-01-02, 2006-01-02T15:04:05Z) or an age (-90m)"

// parsePlace reads one. now is what an age counts from.
func parsePlace(s string, now time.Time) (place, error) {
	if s == "start" || s == "end" {
		return place{word: s}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return place{word: "offset", offset: n}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d < 0 {
		return place{word: "time", at: now.Add(d)}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return place{word: "time", at: at}, nil
		}
	}
	return place{}, fmt.Errorf("%q is not a place: %s", s, placeHelp)
}

// resolve gives the offset in a partition, as far as the level sees. A time after the last record is the end, an offset outside is moved to
// the nearer end.
func (pl place) resolve(ctx context.Context, p *topic.Partition, level topic.IsolationLevel) (int64, error) {
	at, err := p.Offsets()
	if err != nil {
		return 0, err
	}
	end := at.High
	if level == topic.ReadCommitted {
		end = at.Stable
	}
	offset := end
	switch pl.word {
	case "start":
		offset = at.Start
	case "offset":
		offset = pl.offset
	case "time":
		pos, _, ok, err := p.OffsetForTime(ctx, pl.at)
		if err != nil {
			return 0, err
		}
		if ok {
			offset = pos.Offset
		}
	}
	return min(max(offset, at.Start), end), nil
}
