package group

import (
	"fmt"
	"slices"
	"strings"
)

// serverWorld is three clients of the server-side protocol over three partitions. A client takes what it is given at once and lets go of
// what it was told to only later; answers may be lost; a client may stop, and come back under its id with epoch 0. Clients watch the clock
// too: one whose session or time to let go is over has given up what it had.
type serverWorld struct {
	m       *machine
	clients [3]serverClient
	calls   uint64
	top     int32
	broken  string
	queue   []uint64
	crashes int
	lost    int
}

type serverClient struct {
	in    bool
	epoch int32
	owned [3]bool // what it reads
	told  [3]bool // what it may
	full  bool    // an answer was lost, so the next heartbeat says everything
}

func newServerWorld(size int) *serverWorld {
	return &serverWorld{m: newMachine("g", searchConfig(size), abc(3))}
}

func (w *serverWorld) copied() world {
	c := *w
	c.m, c.queue = clone(w.m), slices.Clone(w.queue)
	return &c
}

func (w *serverWorld) state() string {
	t := text(dump(w.m))
	for _, c := range w.clients {
		t.add("\n", bits(c.owned), bits(c.told))
		t.num(b2i(c.in), int64(c.epoch), b2i(c.full))
	}
	t.num(int64(w.top), int64(len(w.queue)), int64(w.crashes), int64(w.lost))
	t.add(w.broken)
	return string(t)
}

func (w *serverWorld) actions(bounded bool) []string {
	var list []string
	for i, c := range w.clients {
		add := func(what string) { list = append(list, fmt.Sprint(what, " ", i)) }
		if !c.in {
			if !bounded || w.top < 4 {
				add("enter")
			}
			continue
		}
		add("beat")
		if c.owned != c.told {
			add("release")
		}
		if !bounded || w.lost < 1 {
			add("lost")
		}
		if !bounded {
			add("hint")
			add("commit")
		}
		if !bounded || w.crashes < 1 && w.top < 4 {
			add("leave")
			add("crash")
		}
	}
	if len(w.queue) > 0 {
		list = append(list, "stored")
	}
	names := make([]timerName, 0, len(w.m.timers))
	for name := range w.m.timers {
		names = append(names, name)
	}
	slices.SortFunc(names, compareTimers)
	for _, name := range names {
		if !bounded || w.top < 4 {
			list = append(list, fmt.Sprintf("fire %d %s", name.kind, name.member))
		}
	}
	return list
}

func (w *serverWorld) act(action string) {
	what, rest, _ := strings.Cut(action, " ")
	switch what {
	case "stored":
		seq := w.queue[0]
		w.queue = w.queue[1:]
		w.step(stored{seq, nil})
		return
	case "fire":
		kind, member, _ := strings.Cut(rest, " ")
		name := timerName{timerKind(kind[0] - '0'), member}
		w.clients[member[0]-'0'] = serverClient{}
		w.step(fired{name, w.m.timers[name]})
		return
	}
	i := int(rest[0] - '0')
	c := &w.clients[i]
	id := fmt.Sprint(i)
	switch what {
	case "enter":
		req := entering(id, "a")
		req.Assignor = []string{"uniform", "uniform", "range"}[i]
		w.take(i, w.step(req))
	case "beat":
		req := w.beating(i)
		c.full = false
		w.take(i, w.step(req))
	case "hint": // says nothing of what it has
		w.take(i, w.step(pulse(id, c.epoch)))
	case "lost":
		w.lost++
		w.step(w.beating(i))
		c.full = true
	case "release":
		for p := range c.owned {
			c.owned[p] = c.owned[p] && c.told[p]
		}
	case "leave":
		w.crashes++
		*c = serverClient{}
		w.step(pulse(id, EpochLeave))
	case "crash":
		w.crashes++
		*c = serverClient{}
	case "commit":
		before := w.m.server.member(id)
		r := w.step(committing(id, c.epoch, "a", 1)).(CommitResponse)
		if r.Err == nil && (before == nil || before.epoch != c.epoch) {
			w.broken = "a commit of another epoch was accepted"
		}
	}
}

func (w *serverWorld) beating(i int) ConsumerHeartbeatRequest {
	id := fmt.Sprint(i)
	req := pulse(id, w.clients[i].epoch, w.says(i)...)
	if w.clients[i].full {
		req.Topics, req.RebalanceTimeout = entering(id, "a").Topics, entering(id, "a").RebalanceTimeout
	}
	return req
}

// says is what the client reports to have.
func (w *serverWorld) says(i int) []TopicIDPartitions {
	list := []TopicIDPartitions{}
	for p, yes := range w.clients[i].owned {
		if yes {
			list = append(list, of('a', int32(p)))
		}
	}
	return list
}

// step brings an event and is its answer, given out before it is stored: the machine has moved on, and a client that was told less than that
// is one whose answer was lost.
func (w *serverWorld) step(event any) (a answer) {
	w.calls++
	before := dump(w.m)
	defer func() {
		if r, ok := a.(ConsumerHeartbeatResponse); ok && r.Err == ErrGroupFull && before != dump(w.m) {
			w.broken = "a newcomer that was refused left its mark"
		}
	}()
	for _, e := range w.m.step(0, w.calls, event) {
		switch e := e.(type) {
		case reply:
			a = e.answer
		case appendEntries:
			w.queue = append(w.queue, e.seq)
			for _, u := range w.m.unsure {
				for _, r := range u.replies {
					if r.call == w.calls {
						a = r.answer
					}
				}
			}
		}
	}
	if g := w.m.server; g != nil {
		if g.epoch < w.top && len(g.members) > 0 {
			w.broken = "the epoch went back"
		}
		w.top = max(w.top, g.epoch)
	}
	return a
}

func (w *serverWorld) take(i int, a answer) {
	r, ok := a.(ConsumerHeartbeatResponse)
	c := &w.clients[i]
	switch {
	case !ok:
		w.broken = fmt.Sprintf("client %d was answered with %T", i, a)
	case r.Err != nil:
		*c = serverClient{}
	default:
		c.in, c.epoch = true, r.Epoch
		if r.HasAssigned {
			c.told = [3]bool{}
			for _, p := range newPartitionSet(r.Assigned) {
				c.told[p.partition], c.owned[p.partition] = true, true
			}
		}
	}
}

func (w *serverWorld) wrong() error {
	if w.broken != "" {
		return fmt.Errorf("%s", w.broken)
	}
	g := w.m.server
	for i, c := range w.clients {
		for k := range i {
			for p := range 3 {
				if c.owned[p] && w.clients[k].owned[p] {
					return fmt.Errorf("clients %d and %d both read partition %d", k, i, p)
				}
			}
		}
		if g == nil {
			continue
		}
		member := g.member(fmt.Sprint(i))
		for _, p := range newPartitionSet(w.says(i)) {
			if member == nil || !member.assigned.has(p) && !member.revoking.has(p) {
				return fmt.Errorf("client %d reads partition %d, and the group does not know", i, p.partition)
			}
		}
	}
	if g == nil {
		return nil
	}
	return wrongServer(w.m)
}

// wrongServer holds the machine's own promises.
func wrongServer(m *machine) error {
	g := m.server
	held := map[idPartition]string{}
	target := map[idPartition]string{}
	for _, member := range g.members {
		for _, p := range member.assigned.plus(member.revoking) {
			if held[p] != "" {
				return fmt.Errorf("%q and %q may both read %v", held[p], member.id, p)
			}
			held[p] = member.id
		}
		for _, p := range member.target {
			if target[p] != "" {
				return fmt.Errorf("%v is the target of %q and %q", p, target[p], member.id)
			}
			target[p] = member.id
		}
		_, session := m.timers[timerName{timerSession, member.id}]
		_, revoke := m.timers[timerName{timerRevoke, member.id}]
		switch {
		case member.epoch > g.targetEpoch || member.previous > member.epoch:
			return fmt.Errorf("%q is in epoch %d after %d, targets are of %d", member.id, member.epoch, member.previous, g.targetEpoch)
		case !session:
			return fmt.Errorf("%q may be silent for ever", member.id)
		case (member.state == MemberUnrevoked) != revoke:
			return fmt.Errorf("%q in state %d, limit to let go %v", member.id, member.state, revoke)
		case (member.state == MemberUnrevoked) != (len(member.revoking) > 0):
			return fmt.Errorf("%q in state %d revokes %v", member.id, member.state, member.revoking)
		case member.state == MemberStable && member.epoch == g.targetEpoch && !slices.Equal(member.assigned, member.target):
			return fmt.Errorf("%q is stable with %v, its target is %v", member.id, member.assigned, member.target)
		}
	}
	switch {
	case g.targetEpoch > g.epoch:
		return fmt.Errorf("targets of epoch %d, the group is in %d", g.targetEpoch, g.epoch)
	case g.targetEpoch == g.epoch && len(g.members) > 0 && len(target) != 3:
		return fmt.Errorf("%d of 3 partitions in the targets", len(target))
	case len(held) != len(g.held):
		return fmt.Errorf("register of %d, members hold %d", len(g.held), len(held))
	}
	return nil
}

// drain lets every client beat and let go: in the end everybody reads the target, and together everything.
func (w *serverWorld) drain() error {
	for range 12 {
		for len(w.queue) > 0 {
			w.act("stored")
		}
		for i := range w.clients {
			if !w.clients[i].in {
				if g := w.m.server; g != nil && g.member(fmt.Sprint(i)) != nil { // its session ends
					w.act(fmt.Sprintf("fire %d %d", timerSession, i))
				}
				w.act(fmt.Sprint("enter ", i))
			}
			w.act(fmt.Sprint("release ", i))
			if w.clients[i].in {
				w.act(fmt.Sprint("beat ", i))
			}
			if err := w.wrong(); err != nil {
				return err
			}
		}
	}
	if s := w.m.state(); s != Stable {
		return fmt.Errorf("the group is %s after twelve rounds of heartbeats", s)
	}
	in := 0
	for i, c := range w.clients {
		if c.in {
			in++
		}
		if c.owned != c.told || c.in != slices.Contains(c.owned[:], true) {
			return fmt.Errorf("client %d reads %v of %v", i, c.owned, c.told)
		}
	}
	if room := min(w.m.cfg.MaxSize, len(w.clients)); in != room {
		return fmt.Errorf("%d members, there is room for %d", in, room)
	}
	return nil
}
