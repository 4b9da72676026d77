package group

import (
	"maps"
	"slices"
	"strconv"
)

// dump is a machine's state as text, without what two machines in one state may differ in: the numbers of timers and appends, and times.
// With clone it is what the searches stand on.
func dump(m *machine) string {
	var t text
	if g := m.classic; g != nil {
		t.add("classic", g.state.String(), g.protocol, g.leader, g.window.String(), g.remaining.String())
		t.add(slices.Sorted(maps.Keys(g.pending))...)
		t.num(int64(g.generation), b2i(g.initial), b2i(g.grew))
		for _, c := range g.members {
			t.add("\n", c.id, c.instance, string(c.assignment))
			for _, p := range c.protocols {
				t.add(p.Name, string(p.Metadata))
			}
			t.num(b2i(c.joining != 0), b2i(c.syncing != 0), b2i(c.fresh), b2i(c.owesSync))
		}
	}
	if g := m.server; g != nil {
		t.add("server")
		t.num(int64(g.epoch), int64(g.targetEpoch), b2i(g.refresh), int64(len(g.held)))
		for _, topic := range g.topics {
			t.add(topic.Name)
			t.num(int64(topic.ID[15]), int64(topic.Partitions))
		}
		for _, regex := range slices.Sorted(maps.Keys(g.resolved)) {
			t.add(regex)
			t.add(g.resolved[regex]...)
		}
		for _, s := range g.members {
			t.add("\n", s.id, s.instance, s.regex, s.assignor)
			t.add(s.topics...)
			t.num(b2i(s.classic != nil), int64(s.epoch), int64(s.previous), int64(s.state))
			for _, set := range []partitionSet{s.assigned, s.revoking, s.target} {
				t.add("/")
				for _, p := range set {
					t.num(int64(p.id[15]), int64(p.partition))
				}
			}
		}
	}
	t.add("\noffsets")
	for _, key := range m.offsets.keys(true) {
		t.add(key.Topic)
		t.num(int64(key.Partition), m.offsets.committed[key].Offset, b2i(m.offsets.moving(key)))
	}
	t.add("\ntimers")
	names := make([]timerName, 0, len(m.timers))
	for name := range m.timers {
		names = append(names, name)
	}
	slices.SortFunc(names, compareTimers)
	for _, name := range names {
		t.num(int64(name.kind))
		t.add(name.member)
	}
	t.num(int64(len(m.unsure)), b2i(m.broken))
	return string(t)
}

// text is words one after another.
type text []byte

func (t *text) add(words ...string) {
	for _, w := range words {
		*t = append(append(*t, w...), ' ')
	}
}

func (t *text) num(numbers ...int64) {
	for _, n := range numbers {
		*t = append(strconv.AppendInt(*t, n, 10), ' ')
	}
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// clone is a machine of its own in the same state.
func clone(m *machine) *machine {
	c := *m
	c.timers, c.unsure = maps.Clone(m.timers), slices.Clone(m.unsure)
	c.offsets.committed = maps.Clone(m.offsets.committed)
	c.offsets.pending = maps.Clone(m.offsets.pending)
	for id, list := range c.offsets.pending {
		c.offsets.pending[id] = maps.Clone(list)
	}
	if m.classic != nil {
		g := *m.classic
		g.members, g.pending, g.indexed = slices.Clone(g.members), maps.Clone(g.pending), nil
		for i, member := range g.members {
			copied := *member
			g.members[i] = &copied
		}
		c.classic = &g
	}
	if m.server != nil {
		g := *m.server
		g.members, g.resolved, g.held = slices.Clone(g.members), maps.Clone(g.resolved), maps.Clone(g.held)
		g.instances = map[string]*serverMember{}
		for i, member := range g.members {
			copied := *member
			g.members[i] = &copied
			g.hold(&copied)
		}
		c.server = &g
	}
	return &c
}
