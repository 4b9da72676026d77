package group

import (
	"container/heap"
	"slices"
)

// readyLine is the records that may be delivered now: by priority, then by turns of the tenants, then by arrival.
type readyLine struct {
	n      int
	levels map[int]*level
	order  levelHeap
	spare  *level // the last one that became empty, for the next: a queue that is nearly empty makes no garbage
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
	heap.Push(&t.slots, s)
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
	heap.Push(&r.order, lv)
	return lv
}

func (lv *level) addTenant(name string) *tenantLine {
	t := lv.spare
	lv.spare = nil
	if t == nil {
		t = &tenantLine{level: lv, slots: slotHeap{less: byArrival}}
	}
	t.name = name
	lv.tenants[name] = t
	lv.turns = append(lv.turns, t)
	return t
}

// remove takes out a slot that is somewhere in it.
func (r *readyLine) remove(s *slot) {
	t := s.line.turn
	heap.Remove(&t.slots, s.line.index)
	r.removed(s)
}

// pop takes out the first slot, and its tenant goes to the end of the line. There must be one.
func (r *readyLine) pop() *slot {
	lv := r.order[0]
	t := lv.turns[0]
	s, _ := heap.Pop(&t.slots).(*slot)
	if len(t.slots.list) > 0 && len(lv.turns) > 1 {
		lv.turns = append(lv.turns[1:], t)
	}
	r.removed(s)
	return s
}

// peek is the slot that pop would give. There must be one.
func (r *readyLine) peek() *slot { return r.order[0].turns[0].slots.list[0] }

// removed follows the removal of a slot: what has become empty goes.
func (r *readyLine) removed(s *slot) {
	t := s.line.turn
	lv := t.level
	s.line.turn = nil
	lv.n--
	r.n--
	if len(t.slots.list) == 0 {
		lv.drop(t)
	}
	if lv.n == 0 {
		delete(r.levels, lv.priority)
		heap.Remove(&r.order, lv.index)
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
	levels := slices.Clone(r.order)
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
		line := slices.Clone(t.slots.list)
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

// levelHeap is a heap of levels, the highest priority first.
type levelHeap []*level

func (h levelHeap) Len() int           { return len(h) }
func (h levelHeap) Less(i, j int) bool { return h[i].priority > h[j].priority }
func (h levelHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *levelHeap) Push(x any) {
	lv, _ := x.(*level)
	lv.index = len(*h)
	*h = append(*h, lv)
}

// Pop is for container/heap.
func (h *levelHeap) Pop() any {
	n := len(*h) - 1
	lv := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	return lv
}
