package group

import (
	"container/heap"
	"time"

	"github.com/quirelog/quire/topic"
)

// A lineup says which record of a queue is next. It is pure, as the machines of the partitions are whose slots stand in it.
//
//	            time is up               its turn
//	waiting ----------------> ready ----------------> taken
//	   ^                        ^                       |
//	   | to be tried later      | first of its key      | finished: the next of its key moves up
//	   +------------------------+-----------------------+
//
//	L1  A slot is in at most one of ready and waiting.
//	L2  With keys in order, a slot is in one of them, or taken, only while it is the first of its key.
//	L3  Ready slots leave by priority, then in the order in which they came in.
type lineup struct {
	ready   slotHeap // by priority and arrival
	waiting slotHeap // by time: of leases, and of records to be tried again
	lanes   map[string]*lane
	arrival uint64
}

// lane is the records of one key that are not finished, in order.
type lane struct {
	key   string
	slots []*slot
}

// lineFields is a slot's place in a lineup.
type lineFields struct {
	in       *slotHeap // the heap that it is in
	index    int
	at       time.Time // in waiting: when its time is up
	arrival  uint64
	priority int
	lane     *lane
	stall    *stall        // of the queue that the slot belongs to
	rec      *topic.Record // while its bytes are kept in memory
}

func newLineup() *lineup {
	l := &lineup{lanes: map[string]*lane{}}
	l.ready.less = func(a, b *slot) bool {
		if a.line.priority != b.line.priority {
			return a.line.priority > b.line.priority
		}
		return a.line.arrival < b.line.arrival
	}
	l.waiting.less = func(a, b *slot) bool { return a.line.at.Before(b.line.at) }
	return l
}

// enter takes in a record that was filled. A nil key has no order.
func (l *lineup) enter(s *slot, key []byte, ordered bool, priority int, now time.Time) {
	l.arrival++
	s.line.arrival, s.line.priority = l.arrival, priority
	if ordered && key != nil {
		ln := l.lanes[string(key)]
		if ln == nil {
			ln = &lane{key: string(key)}
			l.lanes[ln.key] = ln
		}
		ln.slots = append(ln.slots, s)
		s.line.lane = ln
		if ln.slots[0] != s {
			return
		}
	}
	l.admit(s, now)
}

// admit puts an available slot whose turn in its key it is where it belongs.
func (l *lineup) admit(s *slot, now time.Time) {
	if s.due.After(now) {
		l.wait(s, s.due)
		return
	}
	l.leave(s)
	heap.Push(&l.ready, s)
}

// wait lets a slot's time be told by advance.
func (l *lineup) wait(s *slot, at time.Time) {
	l.leave(s)
	s.line.at = at
	heap.Push(&l.waiting, s)
}

// leave takes a slot out of the heap that it is in.
func (l *lineup) leave(s *slot) {
	if h := s.line.in; h != nil {
		heap.Remove(h, s.line.index)
	}
}

// take gives the next ready slot, nil if there is none.
func (l *lineup) take() *slot {
	if len(l.ready.list) == 0 {
		return nil
	}
	s, _ := heap.Pop(&l.ready).(*slot)
	return s
}

// due takes out the next slot whose time is up, nil if there is none.
func (l *lineup) due(now time.Time) *slot {
	if len(l.waiting.list) == 0 || l.waiting.list[0].line.at.After(now) {
		return nil
	}
	s, _ := heap.Pop(&l.waiting).(*slot)
	return s
}

// next is when the next slot's time is up.
func (l *lineup) next() (at time.Time, ok bool) {
	if len(l.waiting.list) == 0 {
		return time.Time{}, false
	}
	return l.waiting.list[0].line.at, true
}

// finished lets go of a slot whose record is finished, and the next of its key move up.
func (l *lineup) finished(s *slot, now time.Time) {
	l.leave(s)
	ln := s.line.lane
	if ln == nil {
		return
	}
	s.line.lane = nil
	for i, other := range ln.slots {
		if other != s {
			continue
		}
		ln.slots = append(ln.slots[:i], ln.slots[i+1:]...)
		switch {
		case len(ln.slots) == 0:
			delete(l.lanes, ln.key)
		case i == 0:
			l.admit(ln.slots[0], now)
		}
		return
	}
}

// slotHeap is a heap of slots that know where they are in it.
type slotHeap struct {
	list []*slot
	less func(a, b *slot) bool
}

func (h *slotHeap) Len() int           { return len(h.list) }
func (h *slotHeap) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h *slotHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].line.index, h.list[j].line.index = i, j
}

// Push is for container/heap.
func (h *slotHeap) Push(x any) {
	s, _ := x.(*slot)
	s.line.in, s.line.index = h, len(h.list)
	h.list = append(h.list, s)
}

// Pop is for container/heap.
func (h *slotHeap) Pop() any {
	n := len(h.list) - 1
	s := h.list[n]
	h.list[n] = nil
	h.list = h.list[:n]
	s.line.in = nil
	return s
}
