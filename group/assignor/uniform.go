package assignor

import (
	"cmp"
	"slices"
)

// Uniform is the server-side protocol's default: even shares, and within that as few moves as can be. What members have, in Owned, is their
// former target. Kafka's UniformAssignor with its two builders; members are taken in the order of their ids.
//
// With equal subscriptions members differ by one at most; those that have one more keep it, else the last ones get it. With different ones
// topics are levelled in turn, at most 16 rounds: members that share no topic directly may differ by more than one.
func Uniform() Assignor { return uniform{} }

type uniform struct{}

func (uniform) Name() string      { return "uniform" }
func (uniform) Cooperative() bool { return false }

func (uniform) Assign(meta Metadata, members []Subscriber) (Plan, error) {
	b := newBoard(meta, sortedByID(members))
	owner := b.unowned()
	for m, member := range b.members {
		for _, tp := range member.Owned {
			if p, ok := b.number(tp); ok && owner[p] < 0 && b.subscribes(m, b.topicOf(p)) {
				owner[p] = m
			}
		}
	}
	switch {
	case len(members) == 0:
	case b.alike():
		shareAlike(b, owner)
	default:
		newLeveler(b, owner).run()
	}
	return b.plan(owner), nil
}

// shareAlike is for members with equal subscriptions: each keeps what it has up to its share, members short of theirs fill up from the rest.
// Where partitions do not divide evenly, one more goes to members that have it already, and for what is left of that to the last members.
func shareAlike(b *board, owner []int) {
	share, extra := b.partitions()/len(b.members), b.partitions()%len(b.members)
	var free []int
	held := make([][]int, len(b.members))
	for p, m := range owner {
		if m < 0 {
			free = append(free, p)
		} else {
			held[m] = append(held[m], p)
		}
	}
	room := make([]int, len(b.members))
	for m := range b.members {
		quota, more := share, extra > 0
		if more {
			quota++
		}
		for _, p := range held[m][min(quota, len(held[m])):] {
			owner[p] = -1
			free = append(free, p)
		}
		if more && len(held[m]) < quota && len(b.members)-m > extra { // it has no use for one more yet, and enough members come after it
			quota, more = quota-1, false
		}
		if more {
			extra--
		}
		room[m] = max(0, quota-len(held[m]))
	}
	for m, n := range room {
		for _, p := range free[:n] {
			owner[p] = m
		}
		free = free[n:]
	}
}

// maxLevelRounds bounds how often the topics are levelled in turn.
const maxLevelRounds = 16

// A leveler is for members with different subscriptions.
type leveler struct {
	*board
	owner []int
	count []int

	// One topic's readers in order of load, and two fronts that work towards each other: those with least, who are given partitions, and
	// those with most, who give them up. A front is a run of members with equal counts; when each has had its turn its level moves by one
	// and it takes in the members it has reached.
	line     []int
	lowEnd   int // members before it are in the low front
	lowLevel int
	lowNext  int
	topFrom  int // members from it, and before topEnd, are in the top front; behind topEnd are those with nothing to give
	topEnd   int
	topLevel int
	topNext  int
}

func newLeveler(b *board, owner []int) *leveler {
	l := &leveler{board: b, owner: owner, count: make([]int, len(b.members))}
	for _, m := range owner {
		if m >= 0 {
			l.count[m]++
		}
	}
	return l
}

func (l *leveler) run() {
	topics := l.fullestFirst()
	for _, t := range topics {
		l.lineUp(t)
		for p := l.base[t]; p < l.base[t+1]; p++ {
			if l.owner[p] < 0 {
				l.give(p, l.takeLow())
			}
		}
	}
	topics = slices.DeleteFunc(topics, func(t int) bool { return len(l.readers[t]) < 2 })
	last := -1 // the topic that was levelled last: coming back to it with nothing changed means the end
	for range maxLevelRounds {
		for i, t := range topics {
			if i == last {
				return
			}
			if l.level(t) || last < 0 {
				last = i
			}
		}
	}
}

// fullestFirst orders topics by partitions per reader, most first, then by readers, fewest first, then by identity.
func (l *leveler) fullestFirst() []int {
	topics := numbersTo(len(l.topics))
	slices.SortStableFunc(topics, func(t, u int) int {
		return cmp.Or(
			cmp.Compare(l.size(u)*len(l.readers[t]), l.size(t)*len(l.readers[u])),
			cmp.Compare(len(l.readers[t]), len(l.readers[u])),
			compareIDs(l.info[t].ID, l.info[u].ID))
	})
	return topics
}

func (l *leveler) give(p, m int) {
	if from := l.owner[p]; from >= 0 {
		l.count[from]--
	}
	l.owner[p] = m
	l.count[m]++
}

// lineUp begins with a topic's readers and tells how far apart they are.
func (l *leveler) lineUp(t int) (apart int) {
	l.line = append(l.line[:0], l.readers[t]...)
	slices.SortStableFunc(l.line, func(m, n int) int { return cmp.Compare(l.count[m], l.count[n]) })
	least, most := l.count[l.line[0]], l.count[l.line[len(l.line)-1]]
	l.lowEnd, l.lowLevel, l.lowNext = 0, least-1, 0
	l.topFrom, l.topEnd, l.topLevel, l.topNext = len(l.line), len(l.line), most+1, len(l.line)-1
	return most - least
}

// takeLow is the next member to be given a partition.
func (l *leveler) takeLow() int {
	if l.lowNext >= l.lowEnd {
		l.lowLevel++
		for l.lowEnd < len(l.line) && l.count[l.line[l.lowEnd]] == l.lowLevel {
			l.lowEnd++
		}
		l.lowNext = 0
	}
	l.lowNext++
	return l.line[l.lowNext-1]
}

// takeTop is the next member to give up a partition, or -1.
func (l *leveler) takeTop() int {
	if l.topNext < l.topFrom {
		if l.topEnd <= l.topFrom && l.topFrom > 0 { // nobody left in the front: on to the next below it
			l.topLevel = l.count[l.line[l.topFrom-1]]
		} else {
			l.topLevel--
		}
		for l.topFrom > 0 && l.count[l.line[l.topFrom-1]] == l.topLevel {
			l.topFrom--
		}
		l.topNext = l.topEnd - 1
	}
	if l.topNext < 0 {
		return -1
	}
	l.topNext--
	return l.line[l.topNext+1]
}

// dropTop takes the member that takeTop gave out of the front: it has nothing to give.
func (l *leveler) dropTop() {
	at := l.topNext + 1
	l.line[at], l.line[l.topEnd-1] = l.line[l.topEnd-1], l.line[at]
	l.topEnd--
}

// level moves partitions of one topic from readers with most to readers with least, and tells whether it moved any.
func (l *leveler) level(t int) (moved bool) {
	if l.lineUp(t) <= 1 {
		return false
	}
	has := map[int][]int{}
	for p := l.base[t]; p < l.base[t+1]; p++ {
		has[l.owner[p]] = append(has[l.owner[p]], p)
	}
	for l.topLevel-l.lowLevel > 1 {
		from := l.takeTop()
		for from >= 0 && len(has[from]) == 0 {
			l.dropTop()
			from = l.takeTop()
		}
		if from < 0 {
			return moved
		}
		p := has[from][len(has[from])-1]
		has[from] = has[from][:len(has[from])-1]
		to := l.takeLow()
		if l.topLevel-l.lowLevel <= 1 {
			return moved
		}
		l.give(p, to)
		moved = true
	}
	return moved
}
