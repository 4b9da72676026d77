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
//	T4  A choice costs the classes that have something, are worked for, or had something at the last round; not those that rest.
type turns struct {
	ranks []*rank // the highest first
}

// rank is classes among which weights decide.
type rank struct {
	number  int
	classes []*class
	ring    []*class // those that may have something
	at      int      // whose turn it is in the ring
	granted bool     // it has had its weight added
}

// A class is partitions that are served alike, one after the other.
type class struct {
	id      classID
	rank    *rank
	inRing  bool
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
		r.classes = slices.Insert(r.classes, at, &class{id: id, rank: r, weight: weight})
	}
	return r.classes[at]
}

// enter has a class take turns: it has something now.
func (c *class) enter() {
	if !c.inRing {
		c.inRing = true
		c.rank.ring = append(c.rank.ring, c)
	}
}

// keep drops the classes without partitions.
func (t *turns) keep() {
	for _, r := range t.ranks {
		gone := func(c *class) bool { return c.parts == 0 && c.working == 0 }
		r.classes, r.ring = slices.DeleteFunc(r.classes, gone), slices.DeleteFunc(r.ring, gone)
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
	rounds := int64(0) // after which one has enough
	for _, c := range r.ring {
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
	for _, c := range r.ring { // all but the last of them at once
		if cost(c) > 0 {
			c.deficit += (rounds - 1) * c.weight
		}
	}
	return r.round(cost)
}

// round goes on with the turn that is on, and once around.
func (r *rank) round(cost func(*class) int64) *class {
	for range len(r.ring) + 1 {
		if r.at >= len(r.ring) {
			r.at = 0
		}
		if len(r.ring) == 0 {
			return nil
		}
		c := r.ring[r.at]
		price := cost(c)
		if price > 0 && !r.granted {
			c.deficit += c.weight
			r.granted = true
		}
		if price > 0 && c.deficit >= price {
			c.deficit -= price
			return c
		}
		r.granted = false
		if price == 0 && c.working == 0 {
			c.deficit, c.inRing = 0, false
			r.ring = slices.Delete(r.ring, r.at, r.at+1)
			continue
		}
		r.at++
	}
	return nil
}
