package main

import (
	"cmp"
	"slices"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// got is one record as it was read.
type got struct {
	offset   int64
	id       int
	epoch    int32
	time     int64 // ms since the epoch
	redacted bool
	control  bool // it is the marker of a transaction, of this kind
	kind     record.ControlType
}

// found is what a log turned out to hold: the records of [start, end), in order.
type found struct {
	start, high, end int64
	recs             []got
	// stable and aborted are what readers of committed records go by; nil when nobody asked.
	stable  int64
	aborted []log.Aborted
	asked   bool
}

// state is how a log came to be looked at.
type state uint8

const (
	alive   state = iota // it is still running, or was closed
	killed               // the process died: what was written is there
	powered              // the power went: what was promised to be durable is there
)

// verify compares what was found with what was told. While a change is under way, or
// after one that failed, any of the states it may have left will do.
func (h *history) verify(g *found, s state) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.matches(g, s)
	for other := h.alt; err != nil && other != nil; other = other.alt {
		if other.matches(g, s) == nil {
			return nil
		}
	}
	return err
}

// matches is the oracle: {acked} <= found <= {acked + unknown}, offsets as told,
// each writer's order kept, batches whole, no hole, no offset going back.
func (h *history) matches(g *found, s state) error {
	for _, rule := range []func(*found, state) error{
		h.marks, h.unbroken, h.known, h.ordered, h.complete, h.cleaned, h.final, h.isolated,
	} {
		if err := rule(g, s); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) marks(g *found, s state) error {
	if g.start != h.start {
		return faultf(wrong, "start is %d, was told to be %d", g.start, h.start)
	}
	if g.start > g.high || g.high > g.end {
		return faultf(wrong, "offsets out of order: start %d, high %d, end %d", g.start, g.high, g.end)
	}
	end := h.durableEnd
	if s != powered {
		end = h.end
	}
	if g.end < end {
		return faultf(lost, "end is %d, was told to be at least %d", g.end, end)
	}
	return nil
}

// unbroken says that each offset from start to end is there.
func (h *history) unbroken(g *found, _ state) error {
	next := g.start
	may := h.mayBeGone(g)
	for _, r := range g.recs {
		for next < r.offset && may(next) {
			next++
		}
		if r.offset != next {
			return faultf(hole, "after offset %d comes %d (start %d, end %d)", next-1, r.offset, g.start, g.end)
		}
		next++
	}
	for next < g.end && may(next) {
		next++
	}
	if next != g.end {
		return faultf(hole, "records end at %d, the log at %d", next, g.end)
	}
	return nil
}

// known says that each record may be where it is, and only there.
func (h *history) known(g *found, _ state) error {
	seen := make(map[int]bool, len(g.recs))
	for _, r := range g.recs {
		w := h.writes[r.id]
		switch {
		case w == nil:
			return faultf(wrong, "offset %d holds record %d, which nobody wrote here", r.offset, r.id)
		case seen[r.id]:
			return faultf(wrong, "record %d is there twice, again at offset %d", r.id, r.offset)
		case w.told == refused:
			return faultf(wrong, "record %d at offset %d was told to be definitely not appended", r.id, r.offset)
		case w.told == cut:
			return faultf(wrong, "record %d at offset %d came back after it was cut off", r.id, r.offset)
		case w.told == gone:
			return faultf(wrong, "record %d at offset %d came back after it was compacted away or given up", r.id, r.offset)
		case w.marker != r.control || w.kind != r.kind:
			return faultf(wrong, "record %d at offset %d: a marker %v (%v), was written as %v (%v)", r.id, r.offset, r.control, r.kind, w.marker, w.kind)
		case w.redacted != r.redacted:
			return faultf(wrong, "record %d at offset %d: redacted %v, was told %v", r.id, r.offset, r.redacted, w.redacted)
		case w.told == acked && w.offset != r.offset:
			return faultf(wrong, "record %d is at offset %d, was told to be at %d", r.id, r.offset, w.offset)
		}
		if want, ok := h.epochs[r.id]; ok && want != r.epoch {
			return faultf(wrong, "record %d at offset %d has leader epoch %d, was stamped %d", r.id, r.offset, r.epoch, want)
		}
		seen[r.id] = true
	}
	return nil
}

// ordered says that each writer's records keep their order, and batches their members.
func (h *history) ordered(g *found, _ state) error {
	last := map[int]int{}
	for i, r := range g.recs {
		w := h.writes[r.id]
		if before, ok := last[w.writer]; ok && before > r.id {
			return faultf(wrong, "record %d of writer %d comes after its record %d", r.id, w.writer, before)
		}
		last[w.writer] = r.id
		if h.gappy() && w.told == acked {
			continue // what is missing of its batch must be explained one by one
		}
		if i > 0 && r.id != w.first && g.recs[i-1].id != r.id-1 {
			return faultf(hole, "record %d is not with its batch, which begins at %d", r.id, w.first)
		}
		if ends := r.id != w.first+w.count-1; ends && (i == len(g.recs)-1 || g.recs[i+1].id != r.id+1) {
			return faultf(hole, "the batch of record %d is torn", r.id)
		}
	}
	return nil
}

// complete says that nothing is missing of what was promised.
func (h *history) complete(g *found, s state) error {
	at := make(map[int]bool, len(g.recs))
	for _, r := range g.recs {
		at[r.id] = true
	}
	var missing []*write
	may := h.mayBeGone(g)
	for _, w := range h.writes {
		if w.told == acked && (w.durable || s != powered) && w.offset >= g.start && !at[w.id] && !may(w.offset) {
			missing = append(missing, w)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	w := slices.MinFunc(missing, func(a, b *write) int { return cmp.Compare(a.offset, b.offset) })
	return faultf(lost, "record %d, acknowledged at offset %d, and %d others (found [%d, %d))",
		w.id, w.offset, len(missing)-1, g.start, g.end)
}
