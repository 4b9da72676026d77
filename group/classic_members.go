package group

import (
	"slices"

	"github.com/quirelog/quire/internal/invariant"
)

// memberIndex is what a classic group knows of its members without a walk over them, so that a call costs the same in a group of any size. It is
// derived from them: made when it is first needed, and kept by the methods below, by which alone these facts change.
type memberIndex struct {
	byID      map[string]*classicMember
	static    map[string]*classicMember // by instance
	supported map[string]int            // how many members have a protocol
	joined    int                       // how many wait for the next generation
	owing     int                       // how many owe a sync
}

func (g *classicGroup) index() *memberIndex {
	if g.indexed == nil {
		g.indexed = &memberIndex{byID: map[string]*classicMember{}, static: map[string]*classicMember{}, supported: map[string]int{}}
		for _, m := range g.members {
			g.indexed.enter(m)
		}
	}
	return g.indexed
}

func (x *memberIndex) enter(m *classicMember) {
	if x.byID[m.id] == nil {
		x.byID[m.id] = m
	}
	if m.instance != "" && x.static[m.instance] == nil {
		x.static[m.instance] = m
	}
	x.count(m, 1)
}

// count adds n for all that a member counts for.
func (x *memberIndex) count(m *classicMember, n int) {
	for i, p := range m.protocols {
		if !slices.ContainsFunc(m.protocols[:i], func(q Protocol) bool { return q.Name == p.Name }) {
			x.supported[p.Name] += n
		}
	}
	if m.joining != 0 {
		x.joined += n
	}
	if m.owesSync {
		x.owing += n
	}
}

// add takes a member in.
func (g *classicGroup) add(m *classicMember) {
	x := g.index()
	g.members = append(g.members, m)
	x.enter(m)
}

// change changes a member; f changes neither its id nor its instance.
func (g *classicGroup) change(m *classicMember, f func()) {
	x := g.index()
	x.count(m, -1)
	f()
	x.count(m, 1)
}

// rename gives a member another id.
func (g *classicGroup) rename(m *classicMember, id string) {
	x := g.index()
	delete(x.byID, m.id)
	m.id = id
	x.byID[id] = m
}

// drop takes the members with that id out.
func (g *classicGroup) drop(id string) {
	x := g.index()
	if x.byID[id] == nil {
		return
	}
	delete(x.byID, id)
	g.members = slices.DeleteFunc(g.members, func(m *classicMember) bool {
		if m.id != id {
			return false
		}
		x.count(m, -1)
		if x.static[m.instance] == m {
			delete(x.static, m.instance)
		}
		return true
	})
}

// checkIndex asserts that the index says what a walk would find.
func (g *classicGroup) checkIndex() {
	if !invariant.Enabled {
		return
	}
	joined, owing := 0, 0
	for _, m := range g.members {
		invariant.Check(g.index().byID[m.id] != nil, "group: member %q is not in the index", m.id)
		if m.joining != 0 {
			joined++
		}
		if m.owesSync {
			owing++
		}
	}
	x := g.index()
	invariant.Check(joined == x.joined && owing == x.owing && len(x.byID) <= len(g.members),
		"group: of %d members %d joined and %d owe a sync, the index says %d, %d and %d", len(g.members), joined, owing, len(x.byID), x.joined, x.owing)
}
