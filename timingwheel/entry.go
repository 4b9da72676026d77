package timingwheel

// Entry is one deadline with what it is for. The zero Entry is ready; set Value, and give it to [Wheel.Add]. It is
// part of the wheel's lists itself, so adding one allocates nothing: embed it in what has the deadline, or make many
// in one slice. Its owner must not copy it or change its place in memory while it is pending.
//
// An entry with a pointer-sized Value takes 40 bytes on a 64-bit machine.
type Entry[T any] struct {
	// Value is the owner's. The wheel never looks at it.
	Value T

	next, prev *Entry[T]
	slot       *slot[T] // the list that the entry is in; nil while it is not pending
	due        int64
}

// Pending reports whether the entry is in a wheel and has not come out yet.
func (e *Entry[T]) Pending() bool { return e.slot != nil }

// Due is the tick that the entry was last added for, also after it has come out.
func (e *Entry[T]) Due() int64 { return e.due }

// slot is a list of entries, oldest first, that are due within one stretch of time.
type slot[T any] struct {
	head, tail *Entry[T]
	wheel      *Wheel[T]
	level      *level[T] // nil for the list of what is coming out
	index      uint8     // within the level
}

// push adds an entry at the end.
func (s *slot[T]) push(e *Entry[T]) {
	e.slot, e.prev, e.next = s, s.tail, nil
	if s.tail == nil {
		s.head = e
		if s.level != nil {
			s.level.mark(s.index)
		}
	} else {
		s.tail.next = e
	}
	s.tail = e
}

// remove takes an entry out of the list that it is in.
func (e *Entry[T]) remove() {
	s := e.slot
	if e.prev == nil {
		s.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		s.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.next, e.prev, e.slot = nil, nil, nil
	if s.head == nil && s.level != nil {
		s.level.clear(s.index)
	}
}
