package ready

import "sync/atomic"

// List is the marks that are in, in the order of their turns. Make one with [New].
type List[T any] struct {
	told        atomic.Pointer[Mark[T]] // the newest of those that the owner has not seen yet
	signal      chan struct{}
	first, last *Mark[T]
}

// The states of a mark.
const (
	out int32 = iota
	idle
	in
)

// Mark stands for one thing that may be in a list. The zero Mark must be given to [List.Init]. A Mark must not be copied.
type Mark[T any] struct {
	// Of is what the mark stands for.
	Of T

	list       *List[T]
	next, prev *Mark[T]
	state      atomic.Int32
	queued     bool // seen by the owner, and between first and last
}

// New gives an empty list.
func New[T any]() *List[T] { return &List[T]{signal: make(chan struct{}, 1)} }

// Signal receives when the list, found empty by Front, may be so no longer; also when it is not.
func (l *List[T]) Signal() <-chan struct{} { return l.signal }

// Init makes m a mark of the list, which is out.
func (l *List[T]) Init(m *Mark[T], of T) { m.list, m.Of = l, of }

// Changed brings an idle mark into the list.
func (m *Mark[T]) Changed() {
	if m.state.Load() != idle || !m.state.CompareAndSwap(idle, in) {
		return
	}
	l := m.list
	head := l.told.Load()
	for m.next = head; !l.told.CompareAndSwap(head, m); m.next = head {
		head = l.told.Load()
	}
	if head != nil {
		return // the call that put it there has sent, or is about to
	}
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// Front gives the mark whose turn it is, nil if none is in.
func (l *List[T]) Front() *Mark[T] {
	l.collect()
	return l.first
}

// Next gives the mark whose turn comes after m's, nil if m is the last.
func (l *List[T]) Next(m *Mark[T]) *Mark[T] { return m.next }

// collect puts those that changed behind the others, in the order in which they did.
func (l *List[T]) collect() {
	if l.told.Load() == nil {
		return
	}
	var oldest *Mark[T]
	for m := l.told.Swap(nil); m != nil; {
		m.next, oldest, m = oldest, m, m.next
	}
	for m := oldest; m != nil; {
		next := m.next
		l.push(m)
		m = next
	}
}

func (l *List[T]) push(m *Mark[T]) {
	m.next, m.prev, m.queued = nil, l.last, true
	if l.last == nil {
		l.first = m
	} else {
		l.last.next = m
	}
	l.last = m
}

// take takes m out of the order, if it is in it.
func (l *List[T]) take(m *Mark[T]) bool {
	if !m.queued {
		return false
	}
	if m.prev == nil {
		l.first = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		l.last = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.next, m.prev, m.queued = nil, nil, false
	return true
}

// Add brings m in, as the last, unless it is in already.
func (l *List[T]) Add(m *Mark[T]) {
	if m.state.Swap(in) != in {
		l.push(m)
	}
}

// Last makes m the last, if it is in and Front has seen it.
func (l *List[T]) Last(m *Mark[T]) {
	if l.take(m) {
		l.push(m)
	}
}

// Rest makes m idle, if it is in and Front has seen it: from now on Changed brings it back. The owner looks once more then, and calls Add if
// there is something after all.
func (l *List[T]) Rest(m *Mark[T]) {
	if l.take(m) {
		m.state.Store(idle)
	}
}

// Drop takes m out, if it is in and Front has seen it: only Add brings it back.
func (l *List[T]) Drop(m *Mark[T]) {
	if l.take(m) {
		m.state.Store(out)
	}
}

// Leave takes m out for good, whatever its state. Nothing calls Changed of it any more.
func (l *List[T]) Leave(m *Mark[T]) {
	l.collect()
	l.take(m)
	m.state.Store(out)
}
