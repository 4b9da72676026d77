package main

import (
	"bytes"
	"slices"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// cleaning is what compaction was asked to do to a log: what it may have taken, and
// what it must have.
type cleaning struct {
	retention time.Duration // of tombstones and markers
	passes    []pass
}

// pass is one compaction. Records below upper may be touched by it.
type pass struct {
	now   time.Time
	upper int64
	done  bool // it was told to be complete
}

func (c *cleaning) clone() *cleaning {
	if c == nil {
		return nil
	}
	return &cleaning{c.retention, slices.Clone(c.passes)}
}

// compacting makes a history of a log that is compacted: its records have keys.
func (h *history) compacting(retention time.Duration) {
	h.nextID = keyedIDs
	h.cleaning = &cleaning{retention: retention}
}

// beginPass notes that a compaction begins.
func (h *history) beginPass(now time.Time, upper int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cleaning.passes = append(h.cleaning.passes, pass{now: now, upper: upper})
}

// donePass notes that it has ended, having covered what lies below upper.
func (h *history) donePass(upper int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.cleaning.passes[len(h.cleaning.passes)-1]
	p.upper, p.done = upper, true
}

// gappy says that offsets may be missing where something explains it.
func (h *history) gappy() bool { return h.cleaning != nil }

// touched reports whether a pass may have looked at both offsets.
func (c *cleaning) touched(a, b int64) bool {
	return slices.ContainsFunc(c.passes, func(p pass) bool { return max(a, b) < p.upper })
}

// mustHave reports whether a pass that was told to be complete has looked at both.
func (c *cleaning) mustHave(a, b int64) bool {
	return slices.ContainsFunc(c.passes, func(p pass) bool { return p.done && max(a, b) < p.upper })
}

// expired reports whether what waits at an offset may be gone: a pass has met it, and
// a later one came after the time of waiting. Only of passes that are complete it must be gone.
func (c *cleaning) expired(offset int64, complete bool) bool {
	for i, met := range c.passes {
		if offset >= met.upper || complete && !met.done {
			continue
		}
		for _, p := range c.passes[i+1:] {
			if offset < p.upper && !p.now.Before(met.now.Add(c.retention)) && (p.done || !complete) {
				return true
			}
		}
	}
	return false
}

// scene is a history beside what was found of it.
type scene struct {
	h    *history
	here map[int]bool // ids that were found
	ends map[int]*write
}

func (h *history) sceneOf(g *found) *scene {
	v := &scene{h: h, here: make(map[int]bool, len(g.recs)), ends: map[int]*write{}}
	for _, r := range g.recs {
		v.here[r.id] = true
	}
	for _, w := range h.writes {
		if w.marker && (w.told == acked || w.told == gone || v.here[w.id]) {
			v.ends[w.txn] = w
		}
	}
	return v
}

// aborted tells whether a record's transaction was aborted.
func (v *scene) aborted(w *write) bool {
	m := v.ends[w.txn]
	return w.txn != 0 && m != nil && m.kind == record.Abort
}

// mayBeGone returns the rule that tells whether the record at an offset need not be there.
func (h *history) mayBeGone(g *found) func(offset int64) bool {
	if !h.gappy() {
		return func(int64) bool { return false }
	}
	v := h.sceneOf(g)
	at := make(map[int64]*write, len(h.writes))
	for _, w := range h.writes {
		if w.told == acked || w.told == gone && at[w.offset] == nil {
			at[w.offset] = w
		}
	}
	return func(offset int64) bool {
		w := at[offset]
		return w != nil && !v.here[w.id] && (w.told == gone || v.explained(w))
	}
}

// explained tells whether compaction may have taken a record that is missing.
func (v *scene) explained(w *write) bool {
	c := v.h.cleaning
	switch {
	case w.marker:
		return c.expired(w.offset, false) && !v.anyOf(w.txn)
	case v.aborted(w):
		return c.touched(w.offset, w.offset)
	}
	var newest *write // of the key, as it was written
	for _, n := range v.h.writes {
		if n.offset < w.offset || n.told != acked || n.marker || !c.touched(w.offset, n.offset) || keyNumber(n.id) != keyNumber(w.id) || v.aborted(n) {
			continue
		}
		if v.here[n.id] {
			return true
		}
		if newest == nil || n.offset > newest.offset {
			newest = n
		}
	}
	return newest != nil && isTombstone(newest.id) && c.expired(newest.offset, false)
}

// anyOf reports whether anything of a transaction was found.
func (v *scene) anyOf(txn int) bool {
	for id := range v.here {
		if w := v.h.writes[id]; w != nil && w.txn == txn && !w.marker {
			return true
		}
	}
	return false
}

// cleaned says that what a complete compaction had to take is not there.
func (h *history) cleaned(g *found, _ state) error {
	if h.cleaning == nil || len(h.cleaning.passes) == 0 {
		return nil
	}
	v := h.sceneOf(g)
	for _, r := range g.recs {
		w := h.writes[r.id]
		if w == nil || w.marker {
			continue
		}
		if n := v.superseding(w, r.offset); n != nil {
			return faultf(wrong, "record %d at offset %d is still there after a compaction, superseded at offset %d", w.id, r.offset, n.offset)
		}
		switch m := v.ends[w.txn]; {
		case v.aborted(w) && m.told == acked && h.cleaning.mustHave(r.offset, m.offset):
			return faultf(wrong, "record %d at offset %d, aborted at offset %d, is still there after a compaction", w.id, r.offset, m.offset)
		case !v.aborted(w) && isTombstone(w.id) && h.cleaning.expired(r.offset, true):
			return faultf(wrong, "tombstone %d at offset %d is still there after its time", w.id, r.offset)
		}
	}
	return nil
}

// superseding is a record that should have made a complete compaction take w.
func (v *scene) superseding(w *write, offset int64) *write {
	for _, n := range v.h.writes {
		if n.told == acked && n.offset > offset && !n.marker && !v.aborted(n) && !v.aborted(w) &&
			keyNumber(n.id) == keyNumber(w.id) && v.h.cleaning.mustHave(offset, n.offset) {
			return n
		}
	}
	return nil
}

// final says that whoever reads from start to end sees the last state of each key: its
// newest record, or nothing where that was a tombstone whose time was over.
func (h *history) final(g *found, s state) error {
	if h.cleaning == nil {
		return nil
	}
	v := h.sceneOf(g)
	var newest [keys]*write
	for _, w := range h.writes {
		told := w.told == acked && (w.durable || s != powered) && w.offset >= g.start
		if !told || w.marker || v.aborted(w) {
			continue
		}
		if k := keyNumber(w.id); newest[k] == nil || w.offset > newest[k].offset {
			newest[k] = w
		}
	}
	for _, r := range g.recs {
		w := h.writes[r.id]
		if w.marker || v.aborted(w) {
			continue
		}
		if n := newest[keyNumber(w.id)]; n != nil && !v.here[n.id] && r.offset < n.offset {
			return faultf(wrong, "record %d at offset %d is back: tombstone %d at offset %d went first", w.id, r.offset, n.id, n.offset)
		}
	}
	return nil
}

// isolation asks a log what readers of committed records go by.
func (g *found) isolation(l *log.Log) (err error) {
	g.asked, g.stable = true, l.Stable()
	g.aborted, err = l.AbortedIn(g.start, g.end)
	return err
}

// isolated says that readers of committed records see those of ended transactions that
// were not aborted, and nothing behind the first one that is open.
func (h *history) isolated(g *found, _ state) error {
	if !g.asked || h.cleaning == nil {
		return nil
	}
	v := h.sceneOf(g)
	stable := g.high
	for _, r := range g.recs {
		w := h.writes[r.id]
		if w.txn != 0 && v.ends[w.txn] == nil {
			stable = min(stable, r.offset)
		}
		if w.marker {
			continue
		}
		hidden := slices.ContainsFunc(g.aborted, func(a log.Aborted) bool {
			return a.ProducerID == int64(w.writer) && a.First <= r.offset && r.offset <= a.Last
		})
		if w.txn != 0 && hidden != v.aborted(w) {
			return faultf(wrong, "record %d at offset %d: aborted %v, to readers of committed records %v (%+v)", w.id, r.offset, v.aborted(w), hidden, g.aborted)
		}
	}
	if g.stable != stable {
		return faultf(wrong, "last stable offset is %d, should be %d (high %d)", g.stable, stable, g.high)
	}
	return nil
}

// redact is the change of [log.Log.Redact].
func (h *history) redact(offset int64) {
	for _, w := range h.writes {
		if w.told == acked && w.offset == offset {
			w.redacted = true
		}
	}
}

// at is the record acknowledged at an offset.
func (h *history) at(offset int64) *write {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.writes {
		if w.told == acked && w.offset == offset {
			return w
		}
	}
	return nil
}

// holds tells whether data holds what record id said before it was redacted.
func holds(data []byte, id int) bool { return bytes.Contains(data, valueOf(id)) }
