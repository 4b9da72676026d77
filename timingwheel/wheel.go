package timingwheel

import "math/bits"

// Wheel keeps entries by the tick they are due at. What a tick is, a millisecond since some origin for instance, is
// up to the owner: any int64 will do. Add, Cancel, Reset and Next take constant time; an entry is moved at most once
// per level on its way out. A Wheel is not safe for use by several goroutines at once, and a callback of
// [Wheel.Advance] may use it freely.
type Wheel[T any] struct {
	now    uint64 // in unsigned form: the order of int64 kept by adding 2^63
	busy   uint16 // bit k: level k has entries (I2)
	length int
	due    slot[T]              // what is coming out
	levels [maxLevels]*level[T] // made when first needed
}

// New makes a wheel whose present is the tick now. It costs a few words; a level takes about 2.6 KB once a deadline
// lies that far ahead.
func New[T any](now int64) *Wheel[T] {
	w := &Wheel[T]{now: unsigned(now)}
	w.due.wheel = w
	return w
}

func unsigned(tick int64) uint64 { return uint64(tick) ^ 1<<63 }
func signed(tick uint64) int64   { return int64(tick ^ 1<<63) }

// Len is the number of entries pending.
func (w *Wheel[T]) Len() int { return w.length }

// Now is the present: the greatest tick the wheel was told, by New, Pop or Advance.
func (w *Wheel[T]) Now() int64 { return signed(w.now) }

// Add makes e pending until the tick due. One that is due already comes out at the next Pop or Advance, after
// those that came to be due before it. It reports false, and changes nothing, when e is pending, here or in another
// wheel.
func (w *Wheel[T]) Add(e *Entry[T], due int64) bool {
	if e.slot != nil {
		return false
	}
	e.due = due
	w.place(e)
	w.length++
	return true
}

// Cancel takes e out. It reports false, and changes nothing, when e is not pending in this wheel.
func (w *Wheel[T]) Cancel(e *Entry[T]) bool {
	if e.slot == nil || e.slot.wheel != w {
		return false
	}
	e.remove()
	w.length--
	return true
}

// Reset gives e a new deadline, as Cancel and Add do together. It reports whether e was pending; one that is pending
// in another wheel is left alone.
func (w *Wheel[T]) Reset(e *Entry[T], due int64) bool {
	was := w.Cancel(e)
	w.Add(e, due)
	return was
}

// place puts an entry into the slot of its deadline, or of the present if that has passed.
func (w *Wheel[T]) place(e *Entry[T]) {
	at := max(unsigned(e.due), w.now)
	k := depthOf(w.now, at)
	l := w.levels[k]
	if l == nil {
		l = newLevel(w, k)
		w.levels[k] = l
	}
	l.slots[at>>(uint(k)*slotBits)&slotMask].push(e)
}

// Next tells when to look again: nothing comes out before that tick. It is the deadline of the next entry if that
// lies within 64 ticks, and else the begin of the slot that holds it, where it is to be moved closer; so it never
// exceeds the deadline of any entry that is still ahead. ok is false when nothing is pending.
func (w *Wheel[T]) Next() (tick int64, ok bool) {
	switch {
	case w.due.head != nil:
		return w.Now(), true
	case w.busy == 0:
		return 0, false
	}
	return signed(w.earliest().start(w.now)), true
}

// earliest is the slot that comes next; there must be one. All entries of a level are due before all of the levels
// above it (I3).
func (w *Wheel[T]) earliest() *slot[T] {
	return w.levels[bits.TrailingZeros16(w.busy)].first()
}

// Pop moves the present to now, unless it is there already or beyond, and takes out the next entry that is due; nil
// when there is none. Entries come out by deadline, those of one tick in the order they were added. The present stands
// at the entry's deadline until everything due at it has come out; an entry added meanwhile gets its turn by
// its deadline.
func (w *Wheel[T]) Pop(now int64) *Entry[T] {
	target := unsigned(now)
	for w.due.head == nil {
		if w.busy == 0 {
			w.now = max(w.now, target)
			return nil
		}
		s := w.earliest()
		start := s.start(w.now)
		if start > target {
			w.now = max(w.now, target)
			return nil
		}
		w.now = max(w.now, start)
		w.open(s)
	}
	e := w.due.head
	e.remove()
	w.length--
	return e
}

// open empties a slot that the present has reached: out of the wheel from level 0, else one or more levels down.
func (w *Wheel[T]) open(s *slot[T]) {
	e := s.head
	s.head, s.tail = nil, nil
	s.level.clear(s.index)
	if s.level.depth == 0 {
		w.due.head = e
		for ; e != nil; e = e.next {
			e.slot = &w.due
			w.due.tail = e
		}
		return
	}
	for e != nil {
		next := e.next
		w.place(e)
		e = next
	}
}

// Advance moves the present to now and calls fire for every entry that has become due, in the order of Pop, after
// taking it out. fire may add, cancel and reset any entry; what it adds with a deadline up to now is fired in the same
// call. Advance returns how many there were. A now before the present moves nothing back.
func (w *Wheel[T]) Advance(now int64, fire func(*Entry[T])) (fired int) {
	for e := w.Pop(now); e != nil; e = w.Pop(now) {
		fired++
		fire(e)
	}
	return fired
}
