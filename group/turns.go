package group

import (
	"cmp"
	"slices"
)

// turns says which class of partitions is served next. It is pure: what is there to be served it is told, by cost, at each choice.
//
//	T1  A class is served only while no class of a higher rank has anything.
//	T2  Classes of one rank that always have something are served in proportion to their weights: of two, what each got divided by its
//	    weight differs by no more than a batch of each and one weight. This is deficit round robin (Shreedhar and Varghese, 1995).
//	T3  A class that has nothing saves nothing up.
type turns struct {
	ranks []*rank // the highest first
}

// rank is classes among which weights decide.
type rank struct {
	number  int
	classes []*class
	at      int  // whose turn it is
	granted bool // it has had its weight added
}

// A class is partitions that are served alike, one after the other.
type class struct {
	id      classID
	weight  int64
	deficit int64 // what it may still be given in its turn

	line    []*holding // those that have batches to hand out, or had some a moment ago; whose turn it is first
	parts   int        // how many partitions it has
	working int        // batches handed out
}

// classID says which partitions make a class: those of one rank and, as the weights are given, of one topic or each for itself.
type classID struct {
	rank      int
	topic     string
	partition int32
}

// class finds a class, or makes it.
func (t *turns) class(id classID, weight int64) *class {
	at, ok := slices.BinarySearchFunc(t.ranks, id.rank, func(r *rank, n int) int { return cmp.Compare(n, r.number) })
	if !ok {
		t.ranks = slices.Insert(t.ranks, at, &rank{number: id.rank})
	}
	r := t.ranks[at]
	at, ok = slices.BinarySearchFunc(r.classes, id, func(c *class, id classID) int {
		return cmp.Or(cmp.Compare(c.id.topic, id.topic), cmp.Compare(c.id.partition, id.partition))
	})
	if !ok {
		r.classes = slices.Insert(r.classes, at, &class{id: id, weight: weight})
		r.at, r.granted = 0, false
	}
	return r.classes[at]
}

// keep drops the classes without partitions.
func (t *turns) keep() {
	for _, r := range t.ranks {
		r.classes = slices.DeleteFunc(r.classes, func(c *class) bool { return c.parts == 0 && c.working == 0 })
		r.at, r.granted = 0, false
	}
	t.ranks = slices.DeleteFunc(t.ranks, func(r *rank) bool { return len(r.classes) == 0 })
}

// next gives the class to serve, nil if none has anything. cost is what a class's next batch costs, 0 when it has none.
func (t *turns) next(cost func(*class) int64) *class {
	for _, r := range t.ranks {
		if c := r.next(cost); c != nil {
			return c
		}
	}
	return nil
}

func (r *rank) next(cost func(*class) int64) *class {
	if c := r.round(cost); c != nil {
		return c
	}
	rounds := int64(0) // after which somebody has enough
	for _, c := range r.classes {
		if price := cost(c); price > 0 {
			need := (price - c.deficit + c.weight - 1) / c.weight
			if rounds == 0 || need < rounds {
				rounds = need
			}
		}
	}
	if rounds == 0 {
		return nil
	}
	for _, c := range r.classes { // all but the last of them at once
		if cost(c) > 0 {
			c.deficit += (rounds - 1) * c.weight
		}
	}
	return r.round(cost)
}

// round goes on with the turn that is on, and once around.
func (r *rank) round(cost func(*class) int64) *class {
	for range len(r.classes) + 1 {
		c := r.classes[r.at]
		price := cost(c)
		if price > 0 && !r.granted {
			c.deficit += c.weight
			r.granted = true
		}
		if price > 0 && c.deficit >= price {
			c.deficit -= price
			return c
		}
		if price == 0 && c.working == 0 {
			c.deficit = 0
		}
		r.at, r.granted = (r.at+1)%len(r.classes), false
	}
	return nil
}
