package main

import (
	"maps"
	"sync"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// outcome is what a caller was told of a record.
type outcome uint8

const (
	pending outcome = iota // nothing yet, or that nobody knows: it may be there or not
	acked                  // it is in the log, at its offset
	refused                // it is not in the log and never will be
	cut                    // it was, and was truncated: it never comes back
	gone                   // compaction took it, or a repair gave it up: its offset is a gap for good
)

// write is one record that a scenario asked to append.
type write struct {
	id     int
	writer int   // records of one writer keep their order
	first  int   // first id of its batch: a batch is there whole or not at all
	count  int   // records in its batch
	offset int64 // -1 until told
	told   outcome
	// durable says that the ack promised to survive a power cut, not only a kill.
	durable bool
	// redacted says that its value was replaced.
	redacted bool
	// txn is the number of its transaction, 0 for none. A marker ends it.
	txn    int
	marker bool
	kind   record.ControlType
}

// history is what one log's callers were told: the model that its content is
// compared with. Safe for use by many writers at once.
type history struct {
	mu     sync.Mutex
	nextID int
	writes map[int]*write
	start  int64
	// end is below or at the log's end, as somebody was told.
	end, durableEnd int64
	// epochs is the leader epoch stamped on records, by id.
	epochs map[int]int32
	// cleaning is what compaction may have done; nil if it never ran.
	cleaning *cleaning
	// alt is the other state that may be found while a change of the log's shape
	// (truncation, deletion of records) is under way.
	alt *history
}

func newHistory() *history {
	return &history{writes: map[int]*write{}, epochs: map[int]int32{}}
}

// clone copies the history; an alternative is copied with it.
func (h *history) clone() *history {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &history{nextID: h.nextID, start: h.start, end: h.end, durableEnd: h.durableEnd,
		writes: make(map[int]*write, len(h.writes)), epochs: maps.Clone(h.epochs),
		cleaning: h.cleaning.clone(), alt: h.alt.clone()}
	for id, w := range h.writes {
		w := *w
		c.writes[id] = &w
	}
	return c
}

// plan notes that a batch of n records is about to be appended and returns its first id.
func (h *history) plan(writer, n int) (first int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first = h.nextID
	h.nextID += n
	for id := first; id < first+n; id++ {
		h.writes[id] = &write{id: id, writer: writer, first: first, count: n, offset: -1}
	}
	return first
}

// tell notes an outcome of a batch: acked at base, refused, or pending for unknown.
func (h *history) tell(first int, told outcome, base int64, durable bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.writes[first].count
	for i := range n {
		w := h.writes[first+i]
		w.told, w.durable = told, durable
		if told == acked {
			w.offset = base + int64(i)
		}
	}
	if told != acked {
		return
	}
	h.end = max(h.end, base+int64(n))
	if durable {
		h.durableEnd = max(h.durableEnd, base+int64(n))
	}
}

// stamp notes the leader epoch of a batch that was acked.
func (h *history) stamp(first int, epoch int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.writes[first].count {
		h.epochs[first+i] = epoch
	}
}

// observe notes what a reader of the log's watermarks sees: below durable all is
// on disk; at level Sync the same is true of what readers can see.
func (h *history) observe(l *log.Log, level log.Durability) {
	// Durable first: a truncation between the two loads cannot raise it.
	durable, high := l.Durable(), l.High()
	h.mu.Lock()
	defer h.mu.Unlock()
	if level == log.Sync {
		durable = max(durable, high)
	}
	h.durableEnd = max(h.durableEnd, durable)
	h.end = max(h.end, durable)
	for _, w := range h.writes {
		if w.told == acked && w.offset < durable {
			w.durable = true
		}
	}
}

// begin says that a change has begun whose outcome is this history or the one that
// change makes of a copy.
func (h *history) begin(change func(next *history)) {
	next := h.clone()
	change(next)
	h.mu.Lock()
	h.alt = next
	h.mu.Unlock()
}

// done says that the change was told to be complete: the old state is not possible any more.
func (h *history) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.alt
	h.writes, h.start, h.end, h.durableEnd, h.epochs, h.cleaning = a.writes, a.start, a.end, a.durableEnd, a.epochs, a.cleaning
	h.alt = nil
}

// undone says that the change was told not to have happened.
func (h *history) undone() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alt = nil
}

// truncate is the change of [log.Log.Truncate]: batches that hold offsets at or
// above to are gone.
func (h *history) truncate(to int64) {
	end := to
	for _, w := range h.writes {
		if w.told == acked && w.offset >= to {
			end = min(end, h.writes[w.first].offset)
		}
	}
	h.drop(end)
	h.end, h.durableEnd = min(h.end, end), min(h.durableEnd, end)
}

// restart is the change of [log.Log.TruncateFully].
func (h *history) restart(offset int64) {
	h.drop(0)
	h.start, h.end, h.durableEnd = offset, offset, offset
}

// drop marks everything from offset on as never to be seen again. A record without
// a known offset was refused or is unknown; it goes with the rest, since it was
// written last.
func (h *history) drop(offset int64) {
	for _, w := range h.writes {
		if w.told == pending || (w.told == acked && w.offset >= offset) {
			w.told = cut
		}
	}
}

// raiseStart is the change of [log.Log.DeleteRecords].
func (h *history) raiseStart(offset int64) { h.start = max(h.start, offset) }

// adopt makes what a recovery found the truth: from now on it must stay as it is.
func (h *history) adopt(g *found) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := make(map[int]got, len(g.recs))
	for _, r := range g.recs {
		at[r.id] = r
	}
	gappy := h.gappy()
	for id, w := range h.writes {
		r, here := at[id]
		switch {
		case here:
			w.told, w.offset, w.durable, w.redacted = acked, r.offset, true, r.redacted
		case w.told == acked && w.offset < g.start:
			// Deleted from the front: it can still lie in a batch that straddles the start.
		case w.told == acked && gappy && w.offset < g.end:
			w.told = gone
		case w.told == pending || w.told == acked:
			w.told = cut
		}
	}
	h.start, h.end, h.durableEnd, h.alt = g.start, g.end, g.end, nil
}
