package group

import (
	"slices"

	"github.com/quirelog/quire/internal/invariant"
)

// roll is what a classic group knows of its members without a walk over them, so that a call costs the same in a group of any size. It is
// derived from them: made when it is first needed, and kept by the methods below, by which alone these facts change.
type roll struct {
	ids       map[string]*classicMember
	instances map[string]*classicMember
	speak     map[string]int // how many members have a protocol
	joined    int            // how many wait for the next generation
	owing     int            // how many owe a sync
}

func (g *classicGroup) known() *roll {
	if g.roll == nil {
		g.roll = &roll{ids: map[string]*classicMember{}, instances: map[string]*classicMember{}, speak: map[string]int{}}
		for _, m := range g.members {
			g.roll.enter(m)
		}
	}
	return g.roll
}

func (r *roll) enter(m *classicMember) {
	if r.ids[m.id] == nil {
		r.ids[m.id] = m
	}
	if m.instance != "" && r.instances[m.instance] == nil {
		r.instances[m.instance] = m
	}
	r.count(m, 1)
}

// count adds n for all that a member counts for.
func (r *roll) count(m *classicMember, n int) {
	for i, p := range m.protocols {
		if !slices.ContainsFunc(m.protocols[:i], func(q Protocol) bool { return q.Name == p.Name }) {
			r.speak[p.Name] += n
		}
	}
	if m.joining != 0 {
		r.joined += n
	}
	if m.owesSync {
		r.owing += n
	}
}

// add takes a member in.
func (g *classicGroup) add(m *classicMember) {
	r := g.known()
	g.members = append(g.members, m)
	r.enter(m)
}

// change changes a member; f changes neither its id nor its instance.
func (g *classicGroup) change(m *classicMember, f func()) {
	r := g.known()
	r.count(m, -1)
	f()
	r.count(m, 1)
}

// rename gives a member another id.
func (g *classicGroup) rename(m *classicMember, id string) {
	r := g.known()
	delete(r.ids, m.id)
	m.id = id
	r.ids[id] = m
}

// strike takes the members with that id out.
func (g *classicGroup) strike(id string) {
	r := g.known()
	if r.ids[id] == nil {
		return
	}
	delete(r.ids, id)
	g.members = slices.DeleteFunc(g.members, func(m *classicMember) bool {
		if m.id != id {
			return false
		}
		r.count(m, -1)
		if r.instances[m.instance] == m {
			delete(r.instances, m.instance)
		}
		return true
	})
}

// checkRoll asserts that the roll says what a walk would find.
func (g *classicGroup) checkRoll() {
	if !invariant.Enabled {
		return
	}
	joined, owing := 0, 0
	for _, m := range g.members {
		invariant.Check(g.known().ids[m.id] != nil, "group: member %q is not on the roll", m.id)
		if m.joining != 0 {
			joined++
		}
		if m.owesSync {
			owing++
		}
	}
	r := g.known()
	invariant.Check(joined == r.joined && owing == r.owing && len(r.ids) <= len(g.members),
		"group: of %d members %d joined and %d owe a sync, the roll says %d, %d and %d", len(g.members), joined, owing, len(r.ids), r.joined, r.owing)
}
