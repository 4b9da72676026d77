package group

import (
	"fmt"
	"slices"
	"strings"
)

// dump is a machine's state as text, without what two machines in one state may differ in: the numbers of timers and appends, and times.
// With clone it is what the searches stand on.
func dump(m *machine) string {
	var b strings.Builder
	if g := m.classic; g != nil {
		fmt.Fprintf(&b, "classic %s %v %d %s %s %v %v %s %s|", g.state, g.initial, g.generation, g.protocol, g.leader, g.pending, g.grew, g.window, g.remaining)
		for _, c := range g.members {
			fmt.Fprintf(&b, "%s %s %v %x %d %d %v %v|", c.id, c.instance, c.protocols, c.assignment, b2i(c.joining != 0), b2i(c.syncing != 0), c.fresh, c.owesSync)
		}
	}
	if g := m.server; g != nil {
		fmt.Fprintf(&b, "server %d %d %v %v %v|", g.epoch, g.targetEpoch, g.topics, g.resolved, g.refresh)
		for _, s := range g.members {
			fmt.Fprintf(&b, "%s %s %v %q %s %v %d %d %d %v %v %v|", s.id, s.instance, s.topics, s.regex, s.assignor, s.classic != nil,
				s.epoch, s.previous, s.state, s.assigned, s.revoking, s.target)
		}
	}
	fmt.Fprintf(&b, "%v %v|", m.offsets.committed, m.offsets.pending)
	names := make([]timerName, 0, len(m.timers))
	for name := range m.timers {
		names = append(names, name)
	}
	slices.SortFunc(names, compareTimers)
	fmt.Fprintf(&b, "%v %d %v", names, len(m.unsure), m.broken)
	return b.String()
}
