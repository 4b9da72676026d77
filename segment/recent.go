package segment

import (
	"sync/atomic"

	"github.com/quirelog/quire/index"
)

// Whoever follows the head of a log wants the bytes that were written a moment ago. While somebody does, the writer leaves a copy of the last
// ones in memory, and readers take them from there instead of asking the operating system. It is a cache of the data file and nothing more:
// all that a reader checks and obeys it checks and obeys as before, only that its bytes come from here.
const (
	firstStretch = 4 << 10   // what a follower of a trickle costs, twice
	mostStretch  = 128 << 10 // what any follower may cost, twice; batches above it are read from the file
)

// recent is the last bytes of an active segment, in memory. The zero value is empty, and stays so until a reader reads the file's end.
type recent struct {
	kept   atomic.Pointer[tail]
	wanted atomic.Bool  // a reader had to ask the file for its end: keep what comes next
	size   atomic.Int32 // of the stretches to come; 0 before the first
}

// tail is two stretches of the file. The writer fills one up, then the other; that way the last bytes stay while nothing is moved, no memory
// is asked for again and nobody waits.
type tail struct {
	stretches [2]atomic.Pointer[stretch]
	served    atomic.Uint32 // counts readers that found what they wanted
	budget    *index.Budget
	held      atomic.Int64 // bytes lent by the budget

	// Of the writer.
	filling int // which stretch
	seen    uint32

	noticed atomic.Uint32 // served as of the last look at whether anybody follows
}

// stretch is bytes of the file from pos on, the first n of buf. Bytes are written once, behind n, while the tail shows the stretch; all of it
// is used again only when the tail shows it no more and no reader is inside.
type stretch struct {
	readers atomic.Int32
	n       atomic.Int64
	pos     int64 // set while the tail does not show the stretch
	buf     []byte
}

// add notes what the writer has just written at pos, before anybody is told of the new end.
func (r *recent) add(run []byte, pos int64, b *index.Budget) {
	t := r.kept.Load()
	switch {
	case t != nil && t.put(run, pos):
		return
	case t == nil && r.wanted.Load():
		t = &tail{budget: b}
		t.turn(run, pos, r.fit())
		r.kept.Store(t)
	case t != nil:
		seen := t.served.Load()
		if seen == t.seen && t.full() {
			r.drop(t) // all of this was written and nobody read it
			return
		}
		t.seen = seen
		t.turn(run, pos, r.fit())
	default:
		return
	}
	if r.kept.Load() != t { // dropped meanwhile, perhaps before the last stretch was counted
		t.giveBack()
	}
}

// drop ends a tail.
func (r *recent) drop(t *tail) {
	if t != nil && r.kept.CompareAndSwap(t, nil) {
		t.giveBack()
	}
}

func (t *tail) giveBack() { t.budget.Return(t.held.Swap(0)) }

// fit is how large the next stretch is: twice as large as the last one when a reader came too late for it.
func (r *recent) fit() int {
	size := max(int(r.size.Load()), firstStretch/2)
	if r.wanted.Load() {
		r.wanted.Store(false)
		size = min(2*size, mostStretch)
		r.size.Store(int32(size))
	}
	return size
}

// put appends to the stretch that is being filled; false if it has no room or ends elsewhere.
func (t *tail) put(run []byte, pos int64) bool {
	s := t.stretches[t.filling].Load()
	if s == nil {
		return false
	}
	n := s.n.Load()
	if s.pos+n != pos || int64(len(run)) > int64(len(s.buf))-n {
		return false
	}
	copy(s.buf[n:], run)
	s.n.Store(n + int64(len(run)))
	return true
}

// full tells that both stretches are in use.
func (t *tail) full() bool { return t.stretches[0].Load() != nil && t.stretches[1].Load() != nil }

// turn goes on in the other stretch, which is the older one, with room for size bytes or for the run if that is longer.
func (t *tail) turn(run []byte, pos int64, size int) {
	for size < len(run) {
		size *= 2
	}
	t.filling = 1 - t.filling
	slot := &t.stretches[t.filling]
	s := slot.Swap(nil)
	if s == nil || len(s.buf) < size || s.readers.Load() != 0 {
		if s = t.exchange(s, size); s == nil {
			return // the file has it; the other stretch still holds what came before
		}
	}
	s.pos = pos
	s.n.Store(int64(copy(s.buf, run)))
	slot.Store(s)
}

// exchange makes a stretch in place of one that is too small or still being read; nil when that would be too much for the tail or the budget.
func (t *tail) exchange(old *stretch, size int) *stretch {
	if old != nil {
		t.held.Add(-int64(len(old.buf)))
		t.budget.Return(int64(len(old.buf)))
	}
	if size > mostStretch || !t.budget.Lend(int64(size)) {
		return nil
	}
	t.held.Add(int64(size))
	return &stretch{buf: make([]byte, size)}
}

// read fills p with the bytes at pos if all of them are here.
func (r *recent) read(p []byte, pos int64) bool {
	t := r.kept.Load()
	if t == nil {
		return false
	}
	done := 0
	for done < len(p) {
		n := t.stretches[0].Load().copyShown(&t.stretches[0], p[done:], pos+int64(done))
		if n == 0 {
			n = t.stretches[1].Load().copyShown(&t.stretches[1], p[done:], pos+int64(done))
		}
		if n == 0 {
			return false
		}
		done += n
	}
	t.served.Add(1)
	return true
}

// copyShown copies to p what the stretch has from pos on, if slot still shows it once the reader has made itself known: from then on the
// writer does not use the stretch for anything else.
func (s *stretch) copyShown(slot *atomic.Pointer[stretch], p []byte, pos int64) int {
	if s == nil {
		return 0
	}
	done := 0
	s.readers.Add(1)
	if slot.Load() == s {
		if at, n := pos-s.pos, s.n.Load(); at >= 0 && at < n {
			done = copy(p, s.buf[at:n])
		}
	}
	s.readers.Add(-1)
	return done
}

// want asks the writer to keep what it writes from now on: a reader had to ask the file for its last bytes. In a sealed segment nobody hears it.
func (r *recent) want() {
	if !r.wanted.Load() {
		r.wanted.Store(true)
	}
}

// forget gives the memory back.
func (r *recent) forget() {
	r.wanted.Store(false)
	r.size.Store(0)
	r.drop(r.kept.Load())
}

// Followed reports whether the last bytes of an active segment are being kept in memory for readers that follow its end.
func (s *Segment) Followed() bool { return s.recent.kept.Load() != nil }

// Unfollow gives the memory for the last bytes back if no reader has used it since the last call. A log calls it from time to time while
// Followed; it may be called at any time.
func (s *Segment) Unfollow() {
	t := s.recent.kept.Load()
	if t == nil {
		s.recent.size.Store(0)
		return
	}
	if served := t.served.Load(); t.noticed.Swap(served) == served {
		s.recent.drop(t)
	}
}
