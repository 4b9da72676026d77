package group

import (
	"slices"

	"github.com/quirelog/quire/internal/heap"
)

// readyLine is the records that may be delivered now: by priority, then by turns of the tenants, then by arrival.
type readyLine struct {
	n      int
	levels map[int]*level
	order  heap.Heap[*level] // the highest priority first
	spare  *level            // the last one that became empty, for the next: a queue that is nearly empty makes no garbage
}

// level is the ready records of one priority; there are some.
type level struct {
	priority int
	index    int // in the heap
	n        int
	turns    []*tenantLine // the tenants, in turn
	tenants  map[string]*tenantLine
	spare    *tenantLine
}

// tenantLine is a tenant's ready records of one priority; there are some.
type tenantLine struct {
	level *level
	name  string
	slots slotHeap // by arrival
}

func (r *readyLine) push(s *slot) {
	lv := r.levels[s.line.priority]
	if lv == nil {
		lv = r.addLevel(s.line.priority)
	}
	t := lv.tenants[s.line.tenant]
	if t == nil {
		t = lv.addTenant(s.line.tenant)
	}
	s.line.turn = t
	t.slots.push(s)
	lv.n++
	r.n++
}

func (r *readyLine) addLevel(priority int) *level {
	lv := r.spare
	r.spare = nil
	if lv == nil {
		lv = &level{tenants: map[string]*tenantLine{}}
	}
	lv.priority = priority
	r.levels[priority] = lv
	r.order.Push(lv)
	return lv
}

func (lv *level) addTenant(name string) *tenantLine {
	t := lv.spare
	lv.spare = nil
	if t == nil {
		t = &tenantLine{level: lv, slots: newSlots(byArrival)}
	}
	t.name = name
	lv.tenants[name] = t
	lv.turns = append(lv.turns, t)
	return t
}

// remove takes out a slot that is somewhere in it.
func (r *readyLine) remove(s *slot) {
	t := s.line.turn
	t.slots.Remove(s)
	r.removed(s)
}

// pop takes out the first slot, and its tenant goes to the end of the line. There must be one.
func (r *readyLine) pop() *slot {
	lv := r.order.First()
	t := lv.turns[0]
	s := t.slots.Pop()
	if t.slots.Len() > 0 && len(lv.turns) > 1 {
		lv.turns = append(lv.turns[1:], t)
	}
	r.removed(s)
	return s
}

// peek is the slot that pop would give. There must be one.
func (r *readyLine) peek() *slot { return r.order.First().turns[0].slots.First() }

// removed follows the removal of a slot: what has become empty goes.
func (r *readyLine) removed(s *slot) {
	t := s.line.turn
	lv := t.level
	s.line.turn = nil
	lv.n--
	r.n--
	if t.slots.Len() == 0 {
		lv.drop(t)
	}
	if lv.n == 0 {
		delete(r.levels, lv.priority)
		r.order.Remove(lv)
		r.spare = lv
	}
}

func (lv *level) drop(t *tenantLine) {
	delete(lv.tenants, t.name)
	lv.spare = t
	if i := slices.Index(lv.turns, t); i > 0 || len(lv.turns) == 1 {
		lv.turns = slices.Delete(lv.turns, i, i+1)
		return
	}
	lv.turns = lv.turns[1:] // the ordinary case: it was its turn
}

// first lists up to n slots in the order in which pop would give them.
func (r *readyLine) first(n int) []*slot {
	levels := slices.Clone(r.order.All())
	slices.SortFunc(levels, func(a, b *level) int {
		if a.priority > b.priority {
			return -1
		}
		return 1
	})
	var list []*slot
	for _, lv := range levels {
		if len(list) >= n {
			break
		}
		list = append(list, lv.first(n-len(list))...)
	}
	return list
}

func (lv *level) first(n int) []*slot {
	lines := make([][]*slot, 0, len(lv.turns))
	for _, t := range lv.turns {
		line := slices.Clone(t.slots.All())
		slices.SortFunc(line, func(a, b *slot) int {
			if byArrival(a, b) {
				return -1
			}
			return 1
		})
		lines = append(lines, line)
	}
	list := make([]*slot, 0, min(n, lv.n))
	for i := 0; len(list) < cap(list); i++ {
		for _, line := range lines {
			if i < len(line) && len(list) < cap(list) {
				list = append(list, line[i])
			}
		}
	}
	return list
}
