package assignor

import (
	"cmp"
	"slices"

	"github.com/quirelog/quire/internal/wire"
	"github.com/quirelog/quire/topic"
)

// Sticky balances as well as can be and, within that, leaves partitions where they are. Members give up everything before a rebalance, so
// what they had travels in the subscription's user data. Kafka's StickyAssignor.
//
// Of several members that claim a partition the one with the highest generation is right; two in the same generation are both wrong and
// the partition is dealt out afresh. Racks are preferred within the balance. A member without topics gets nothing; Kafka takes it, if it
// comes first, for one that subscribes like the next.
func Sticky() MemberDataAssignor { return sticky{} }

// CooperativeSticky is Sticky for members that keep reading during a rebalance: what moves from one living member to another is withheld
// until the owner has let go of it. Kafka's CooperativeStickyAssignor.
func CooperativeSticky() MemberDataAssignor { return sticky{cooperative: true} }

type sticky struct{ cooperative bool }

func (s sticky) Cooperative() bool { return s.cooperative }

func (s sticky) Name() string {
	if s.cooperative {
		return "cooperative-sticky"
	}
	return "sticky"
}

// UserData is Kafka's: partitions and generation for the eager assignor, the generation alone for the cooperative one.
func (s sticky) UserData(owned []topic.TopicPartition, generation int32) []byte {
	var e wire.Encoder
	switch {
	case s.cooperative:
		e.Int32(generation)
	case owned == nil:
		return nil
	default:
		appendPartitions(&e, owned)
		e.Int32(generation)
	}
	return e.Buf
}

// claim is what a member says it had.
func (s sticky) claim(m Subscriber) (owned []topic.TopicPartition, generation int32) {
	d := wire.Decoder{Rest: m.UserData}
	if s.cooperative {
		if m.Generation >= 0 {
			return m.Owned, m.Generation
		}
		if generation = d.Int32(); d.Err != nil {
			generation = NoGeneration
		}
		return m.Owned, generation
	}
	if len(m.UserData) == 0 {
		return nil, NoGeneration
	}
	owned = readPartitions(&d)
	if d.Err != nil { // not ours, or damaged: as if the member had nothing
		return nil, NoGeneration
	}
	if generation = NoGeneration; len(d.Rest) >= 4 { // the first version had none
		generation = d.Int32()
	}
	return owned, generation
}

func (s sticky) Assign(meta Metadata, members []Subscriber) (Plan, error) {
	b := newBoard(meta, sortedByID(members))
	c := claims{board: b, prev: b.unowned(), disputed: make([]bool, b.partitions())}
	for _, m := range b.members {
		owned, generation := s.claim(m)
		c.owned, c.generation = append(c.owned, owned), append(c.generation, generation)
	}
	c.settle()
	if len(members) == 0 {
		return Plan{}, nil
	}
	racks, matters := b.racks(numbersTo(len(b.topics)), numbersTo(len(b.members)))
	if !matters {
		racks = nil
	}
	var owner []int
	var moves []bool
	if b.alike() {
		q := newQuotas(&c, racks)
		owner, moves = q.run()
	} else {
		owner = newBalancer(&c, racks).run()
		moves = c.moves(owner)
	}
	if s.cooperative {
		for p, moving := range moves {
			if moving {
				owner[p] = -1
			}
		}
	}
	return b.plan(owner), nil
}

// claims are the partitions that members say they had, settled into at most one owner each.
type claims struct {
	*board
	owned      [][]topic.TopicPartition // by member, as it said
	generation []int32

	held     [][]int // by member: what it rightly has
	owner    []int   // by partition, or -1
	disputed []bool  // claimed twice in one generation
	prev     []int   // by partition: who had it last in an older generation, or -1
}

func (c *claims) settle() {
	c.owner = c.unowned()
	c.held = make([][]int, len(c.members))
	newest := NoGeneration
	for m := range c.members {
		newest = max(newest, c.generation[m])
		for _, tp := range c.owned[m] {
			p, ok := c.number(tp)
			if !ok {
				continue
			}
			switch o := c.owner[p]; {
			case o == m: // said twice
			case o < 0, c.generation[m] > c.generation[o]:
				c.owner[p], c.disputed[p] = m, false
			case c.generation[m] == c.generation[o]:
				c.disputed[p] = true
			}
		}
	}
	for p, m := range c.owner {
		if c.disputed[p] {
			c.owner[p] = -1
		} else if m >= 0 {
			c.held[m] = append(c.held[m], p)
		}
	}
	for m := range c.members {
		for _, tp := range c.owned[m] {
			p, ok := c.number(tp)
			if ok && c.generation[m] < newest && (c.prev[p] < 0 || c.generation[m] > c.generation[c.prev[p]]) {
				c.prev[p] = m
			}
		}
	}
}

// moves tells which partitions go to a member that does not say it has them while another says so.
func (c *claims) moves(owner []int) []bool {
	claimed, mine := make([]bool, len(owner)), make([]bool, len(owner))
	for m := range c.members {
		for _, tp := range c.owned[m] {
			if p, ok := c.number(tp); ok {
				claimed[p] = claimed[p] || owner[p] != m
				mine[p] = mine[p] || owner[p] == m
			}
		}
	}
	for p := range claimed {
		claimed[p] = claimed[p] && !mine[p]
	}
	return claimed
}

// quotas is the sticky algorithm for members with equal subscriptions: every member gets the floor or the ceiling of partitions by members.
type quotas struct {
	*claims
	racks   *rackMap
	least   int // partitions every member gets
	most    int
	extras  int // members that get most, when that is more than least
	used    int // of them, already
	result  []int
	count   []int
	below   []int  // members with fewer than least
	level   []int  // members with least that may get one more
	revoked []int  // by partition: the member that had to give it up, or -1
	moving  []bool // given to another than the one that had it
}

func newQuotas(c *claims, racks *rackMap) *quotas {
	n, m := c.partitions(), len(c.members)
	return &quotas{
		claims: c, racks: racks, least: n / m, most: (n + m - 1) / m, extras: n % m,
		result: c.unowned(), count: make([]int, m), revoked: c.unowned(), moving: make([]bool, n),
	}
}

func (q *quotas) run() (owner []int, moving []bool) {
	for m := range q.members {
		q.keep(m)
	}
	var free []int
	for p, m := range q.result {
		if m < 0 {
			free = append(free, p)
		}
	}
	if q.racks != nil {
		near := q.neighbours()
		slices.SortStableFunc(free, func(a, b int) int { return cmp.Compare(near[a], near[b]) })
		free = slices.DeleteFunc(free, q.giveNear)
	}
	q.deal(free)
	return q.result, q.moving
}

// keep leaves a member as much of what it has as its share allows, by number and then topic.
func (q *quotas) keep(m int) {
	var held []int
	for _, p := range q.held[m] {
		if q.racks.far(m, p) {
			q.revoked[p] = m
		} else {
			held = append(held, p)
		}
	}
	slices.SortFunc(held, func(a, b int) int {
		ta, tb := q.topicOf(a), q.topicOf(b)
		return cmp.Or(cmp.Compare(a-q.base[ta], b-q.base[tb]), cmp.Compare(ta, tb))
	})
	share := q.least
	switch {
	case len(held) < q.least:
		q.below = append(q.below, m)
		share = len(held)
	case len(held) >= q.most && q.used < q.extras:
		share = q.most
		q.tookExtra()
	case q.used < q.extras:
		q.level = append(q.level, m)
	}
	for i, p := range held {
		if i < share {
			q.result[p] = m
			q.count[m]++
		} else {
			q.revoked[p] = m
		}
	}
}

// tookExtra notes that a member has most; when no other may, those with least are full.
func (q *quotas) tookExtra() {
	if q.used++; q.used == q.extras {
		q.level = q.level[:0]
	}
}

func (q *quotas) give(p, m int) {
	q.result[p] = m
	q.count[m]++
	q.moving[p] = q.disputed[p] || q.revoked[p] >= 0 && q.revoked[p] != m
}

// neighbours is how many members are near each partition.
func (q *quotas) neighbours() []int {
	inRack := map[int]int{}
	for _, rack := range q.racks.member {
		if rack >= 0 {
			inRack[rack]++
		}
	}
	near := make([]int, q.partitions())
	for p, racks := range q.racks.partition {
		for _, rack := range racks {
			near[p] += inRack[rack]
		}
	}
	return near
}

// giveNear gives a partition to a member near it, in turn among those that have too little, and tells whether there was one.
func (q *quotas) giveNear(p int) bool {
	for i := range q.below {
		if m := q.below[i]; q.racks.near(m, p) {
			// The ring turns: those passed over and the one that got it go to the end.
			q.below = append(slices.Clone(q.below[i+1:]), q.below[:i+1]...)
			if q.count[m]+1 >= q.least {
				q.below = q.below[:len(q.below)-1]
				if q.count[m]+1 < q.most && q.used < q.extras {
					q.level = append(q.level, m)
				}
			}
			q.give(p, m)
			return true
		}
	}
	at := slices.IndexFunc(q.level, func(m int) bool { return q.racks.near(m, p) })
	if at < 0 {
		return false
	}
	m := q.level[at]
	if q.count[m]+1 == q.most {
		q.level = slices.Delete(q.level, at, at+1)
		q.tookExtra()
	}
	q.give(p, m)
	return true
}

// deal gives what is left, one each in turn, to members below least, then to those that may have one more.
func (q *quotas) deal(free []int) {
	slices.Sort(q.below)
	next := 0
	for _, p := range free {
		if len(q.below) == 0 { // then there is a level member: shares add up to the number of partitions
			q.give(p, q.level[0])
			q.level = q.level[1:]
			continue
		}
		next %= len(q.below)
		m := q.below[next]
		q.give(p, m)
		if q.count[m] == q.least {
			q.below = slices.Delete(q.below, next, next+1)
			q.level = append(q.level, m)
		} else {
			next++
		}
	}
}
