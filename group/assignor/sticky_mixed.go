package assignor

import (
	"cmp"
	"slices"
)

// A balancer is the sticky algorithm for members with different subscriptions. Everybody keeps what is rightly theirs; the rest goes to the
// reader with the fewest partitions, scarcest topics first; then partitions move from a member to one of their readers that has at least
// two fewer, until none can. If that did not make the whole more even, nothing moves after all.
//
// Kafka's general case, with two guards: a partition never goes to a member that does not subscribe to its topic, and a move that undoes an
// opposite one is made only where it makes the two members more even, which is why the moving ends.
type balancer struct {
	*claims
	racks  *rackMap
	result []int
	count  []int
	idle   []bool // members that can neither gain nor lose a partition

	moved map[int]move        // by partition: from where to where, in all
	among map[topicMove][]int // partitions so moved, ascending

	stale    bool // result changed since even was found
	even     bool
	low, top int // a member that could take the partition top from a member with at least two more
}

type move struct{ from, to int }

type topicMove struct {
	topic int
	move
}

func newBalancer(c *claims, racks *rackMap) *balancer {
	return &balancer{
		claims: c, racks: racks, result: c.unowned(), count: make([]int, len(c.members)), idle: make([]bool, len(c.members)),
		moved: map[int]move{}, among: map[topicMove][]int{}, stale: true, top: -1,
	}
}

func (b *balancer) run() (owner []int) {
	mustRevoke := b.keep()
	fresh := !slices.ContainsFunc(b.count, func(n int) bool { return n > 0 })
	order := b.scarcestFirst()
	free := slices.DeleteFunc(slices.Clone(order), func(p int) bool { return b.result[p] >= 0 })
	if b.racks != nil {
		b.fill(free, b.racks)
	}
	b.fill(free, nil)

	movable := func(list []int) []int {
		return slices.DeleteFunc(slices.Clone(list), func(p int) bool { return len(b.readers[b.topicOf(p)]) < 2 })
	}
	b.findIdle()
	before, evenBefore := slices.Clone(b.result), b.unevenness()
	if !mustRevoke { // perhaps moving what is new is enough
		b.level(movable(free))
	}
	if b.level(movable(order)) && !fresh && b.unevenness() >= evenBefore {
		return before
	}
	return b.result
}

// keep leaves members what they have, except partitions of topics they no longer want and partitions far from them, and tells whether there
// were such.
func (b *balancer) keep() (mustRevoke bool) {
	for m, held := range b.held {
		for _, p := range held {
			if !b.subscribes(m, b.topicOf(p)) || b.racks.far(m, p) {
				mustRevoke = true
			} else {
				b.result[p] = m
				b.count[m]++
			}
		}
	}
	return mustRevoke
}

// scarcestFirst lists all partitions, those of topics with the fewest readers first, then by topic and number.
func (b *balancer) scarcestFirst() []int {
	topics := numbersTo(len(b.topics))
	slices.SortStableFunc(topics, func(t, u int) int { return cmp.Compare(len(b.readers[t]), len(b.readers[u])) })
	order := make([]int, 0, b.partitions())
	for _, t := range topics {
		for p := b.base[t]; p < b.base[t+1]; p++ {
			order = append(order, p)
		}
	}
	return order
}

// fewest is the reader of a topic with the fewest partitions among those that suit, the lowest id among equals, or -1.
func (b *balancer) fewest(t int, suits func(m int) bool) int {
	best := -1
	for _, m := range b.readers[t] {
		if (best < 0 || b.count[m] < b.count[best]) && (suits == nil || suits(m)) {
			best = m
		}
	}
	return best
}

// fill gives those of the partitions that nobody has to the reader with the fewest; with racks, only to one that is not far.
func (b *balancer) fill(free []int, racks *rackMap) {
	for _, p := range free {
		if b.result[p] >= 0 {
			continue
		}
		var suits func(m int) bool
		if racks != nil {
			suits = func(m int) bool { return !racks.far(m, p) }
		}
		if m := b.fewest(b.topicOf(p), suits); m >= 0 {
			b.result[p] = m
			b.count[m]++
		}
	}
}

// findIdle finds the members that have all they can have, none of which any other member could read.
func (b *balancer) findIdle() {
	for m, wants := range b.wants {
		could, contested := 0, false
		for _, t := range wants {
			could += b.size(t)
			contested = contested || len(b.readers[t]) > 1
		}
		b.idle[m] = b.count[m] == could && !contested
	}
}

// unevenness is the sum over all pairs of members of how much they differ. Idle members do not count.
func (b *balancer) unevenness() int {
	var counts []int
	for m, n := range b.count {
		if !b.idle[m] {
			counts = append(counts, n)
		}
	}
	slices.Sort(counts)
	sum, score := 0, 0
	for i, n := range counts {
		score += i*n - sum
		sum += n
	}
	return score
}

// level moves partitions of the list until none helps, and tells whether any moved.
func (b *balancer) level(list []int) (any bool) {
	for again := true; again; {
		again = false
		for _, p := range list {
			if b.isEven() {
				break
			}
			t, from := b.topicOf(p), b.result[p]
			to := b.prev[p]
			if to < 0 || !b.subscribes(to, t) || b.count[from] <= b.count[to]+1 {
				to = b.fewest(t, nil)
			}
			if b.count[from] > b.count[to]+1 {
				b.reassign(p, to)
				again, any = true, true
			}
		}
	}
	return any
}

// reassign gives the member one partition more of the topic of p: p itself, or one that had moved the opposite way and can go back.
func (b *balancer) reassign(p, to int) {
	t, from := b.topicOf(p), b.result[p]
	if m, ok := b.moved[p]; ok {
		from = m.from
	}
	if back := b.among[topicMove{t, move{to, from}}]; len(back) > 0 && b.count[b.result[back[0]]] > b.count[to]+1 {
		p = back[0]
	}
	from = b.result[p]
	b.count[from]--
	b.count[to]++
	b.result[p] = to
	b.stale = true
	b.note(t, p, from, to)
}

// note keeps the record of moves: a partition that comes back to where it was has not moved.
func (b *balancer) note(t, p, from, to int) {
	if m, ok := b.moved[p]; ok {
		key := topicMove{t, m}
		at, _ := slices.BinarySearch(b.among[key], p)
		b.among[key] = slices.Delete(b.among[key], at, at+1)
		delete(b.moved, p)
		from = m.from
	}
	if from == to {
		return
	}
	key := topicMove{t, move{from, to}}
	at, _ := slices.BinarySearch(b.among[key], p)
	b.among[key] = slices.Insert(b.among[key], at, p)
	b.moved[p] = key.move
}

// isEven tells whether no reader of a topic could take a partition of it from a member that has at least two more. The reason found last
// is tried first: while it holds, nothing needs to be searched.
func (b *balancer) isEven() bool {
	if !b.stale {
		return b.even
	}
	b.stale, b.even = false, false
	if b.top >= 0 && b.count[b.low]+1 < b.count[b.result[b.top]] {
		return false
	}
	b.top = -1
	for t := range b.topics {
		low := b.fewest(t, nil)
		for p := b.base[t]; p < b.base[t+1]; p++ {
			if b.count[low]+1 < b.count[b.result[p]] {
				b.low, b.top = low, p
				return false
			}
		}
	}
	b.even = true
	return true
}
