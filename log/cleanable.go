package log

import (
	"math"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// Cleanable tells what a compaction would find (Apache Kafka's LogToClean).
type Cleanable struct {
	// A pass would map the records of [FirstDirty, FirstUncleanable). The active segment,
	// what lies behind the last stable offset, and segments younger than
	// Config.MinCompactionLag are never cleaned.
	FirstDirty, FirstUncleanable int64
	// Clean is the bytes in front of FirstDirty, Dirty those of the segments up to
	// FirstUncleanable, 0 if there is nothing between, Uncleanable the rest. A segment that FirstDirty divides counts on both sides.
	Clean, Dirty, Uncleanable int64
	// Ratio is Dirty / (Clean + Dirty), 0 for an empty log.
	Ratio float64
	// Due says that a record has been dirty for longer than Config.MaxCompactionLag.
	Due bool
	// DueAt is when that comes about, the zero time if it never does. ReadyAt is when the
	// first segment that is too young will be old enough, the zero time if there is none.
	DueAt, ReadyAt time.Time
}

// Wanted reports whether Kafka's cleaner would take this log on: the dirty ratio is above
// the least one, or the largest lag has passed and there is something to clean.
func (c Cleanable) Wanted(cfg *Config) bool {
	return c.Dirty > 0 && c.Due || c.Ratio > cfg.minDirtyRatio()
}

// Cleanable tells what a compaction at now would find. It may read sealed segments' side files.
func (l *Log) Cleanable(now time.Time) (Cleanable, error) {
	v, err := l.loadedView()
	if err != nil {
		return Cleanable{}, l.located(err)
	}
	cfg := l.cfg.Load()
	c := Cleanable{FirstDirty: l.FirstDirty()}
	stable := min(l.stable.Load(), l.high.Load())
	c.FirstUncleanable = max(c.FirstDirty, min(stable, v.active().Base(), c.tooYoung(v, now, cfg)))
	c.measure(v)
	c.age(v, now, cfg)
	return c, nil
}

// tooYoung is the base of the first dirty segment whose newest record is too young.
func (c *Cleanable) tooYoung(v *view, now time.Time, cfg *Config) int64 {
	if cfg.MinCompactionLag <= 0 {
		return math.MaxInt64
	}
	for _, s := range v.dirty(c.FirstDirty) {
		ts, _ := s.MaxTimestamp()
		if ready := time.UnixMilli(ts).Add(cfg.MinCompactionLag); ready.After(now) {
			c.ReadyAt = ready
			return s.Base()
		}
	}
	return math.MaxInt64
}

// dirty is the sealed segments from the one that holds firstDirty on.
func (v *view) dirty(firstDirty int64) []*segment.Segment {
	if firstDirty > v.active().Base() {
		return nil
	}
	return v.segments[v.floor(firstDirty) : len(v.segments)-1]
}

// measure counts the bytes.
func (c *Cleanable) measure(v *view) {
	first := v.floor(c.FirstDirty)
	for i, s := range v.segments {
		size := s.Size()
		if s.Base() < c.FirstDirty {
			c.Clean += size
		}
		switch {
		case s.Base() >= c.FirstUncleanable || s == v.active():
			c.Uncleanable += size
		case i >= first && c.FirstDirty < c.FirstUncleanable:
			c.Dirty += size
		}
	}
	if all := c.Clean + c.Dirty; all > 0 {
		c.Ratio = float64(c.Dirty) / float64(all)
	}
}

// age looks for the oldest batch that no compaction has seen.
func (c *Cleanable) age(v *view, now time.Time, cfg *Config) {
	if cfg.MaxCompactionLag <= 0 {
		return
	}
	oldest := int64(math.MaxInt64)
	for _, s := range v.dirty(c.FirstDirty) {
		if ts := s.FirstTimestamp(); ts > record.NoTimestamp && ts < oldest && s.Size() > 0 {
			oldest = ts
		}
	}
	if oldest == math.MaxInt64 {
		return
	}
	c.DueAt = time.UnixMilli(oldest + 1).Add(cfg.MaxCompactionLag) // the lag is what may be reached
	c.Due = !now.Before(c.DueAt)
}

// PeekDirty tells from the names of a closed log's files whether it has anything behind
// the checkpoint that a compaction would look at.
func PeekDirty(fsys vfs.FS, dir string, checkpoint int64) (bool, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return false, err
	}
	first, last := int64(math.MaxInt64), int64(-1)
	for _, name := range names {
		if base, kind, ok := segment.ParseName(name); ok && kind == segment.KindLog {
			first, last = min(first, base), max(last, base)
		}
	}
	return last > first && last > checkpoint, nil
}
