package group

import (
	"fmt"
	"github.com/quirelog/quire/group/assignor"
	"slices"
	"strings"
	"time"
)

// classicWorld is three clients of the classic protocol over three partitions. Clients are eager: they give up what they have before they
// join. A client may stop at any moment and come back with no id (a new process), or, being static, under its instance id.
type classicWorld struct {
	m       *machine
	clients [3]classicClient
	static  bool
	calls   uint64
	top     int32 // the highest generation there was
	broken  string
	queue   []uint64 // appends that have not been reported
	crashes int
	refuse  []uint64 // commits under way that must not be accepted
	open    []uint64 // calls that have not been answered
}

type classicClient struct {
	id         string
	starts     int // how often it began anew: new member ids are made of it
	phase      string
	call       uint64 // the one it waits for, or 0
	generation int32
	leader     []string // the members it assigns for, as leader
	owned      [3]bool
	zombie     string // the id it had before
	zombieGen  int32
}

func newClassicWorld(static bool, size int) *classicWorld {
	w := &classicWorld{m: newMachine("g", searchConfig(size), abc(3)), static: static}
	for i := range w.clients {
		w.clients[i].phase = "out"
	}
	return w
}

func (w *classicWorld) copied() world {
	c := *w
	c.m, c.queue, c.refuse = clone(w.m), slices.Clone(w.queue), slices.Clone(w.refuse)
	c.open = slices.Clone(w.open)
	return &c
}

func (w *classicWorld) state() string {
	t := text(dump(w.m))
	for _, c := range w.clients {
		t.add("\n", c.id, c.phase, c.zombie, bits(c.owned))
		t.add(c.leader...)
		t.num(int64(c.starts), b2i(c.call != 0), int64(c.generation), int64(c.zombieGen))
	}
	t.num(int64(w.top), int64(len(w.queue)), int64(w.crashes), int64(len(w.refuse)))
	t.add(w.broken)
	return string(t)
}

func (w *classicWorld) actions(bounded bool) []string {
	var list []string
	for i, c := range w.clients {
		add := func(what string) { list = append(list, fmt.Sprint(what, " ", i)) }
		switch c.phase {
		case "out":
			if !bounded || c.starts < 2 {
				add("join")
			}
		case "joined":
			add("sync")
		case "member":
			add("beat")
			add("rejoin")
			if !bounded || i == 0 {
				add("leave")
				add("commit")
			}
		}
		if c.phase != "out" && (!bounded || w.crashes < 2) {
			add("crash")
		}
		if c.zombie != "" && !bounded {
			add("zombie")
		}
	}
	if bounded && w.top >= 3 {
		list = slices.DeleteFunc(list, func(a string) bool { return strings.HasPrefix(a, "join") || strings.HasPrefix(a, "rejoin") })
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
		list = append(list, fmt.Sprintf("fire %d %s", name.kind, name.member))
	}
	if !bounded {
		list = append(list, "stale")
	}
	return list
}

func (w *classicWorld) act(action string) {
	what, rest, _ := strings.Cut(action, " ")
	switch what {
	case "stored":
		seq := w.queue[0]
		w.queue = w.queue[1:]
		w.step(-1, stored{seq, nil})
		return
	case "fire":
		var name timerName
		kind, member, _ := strings.Cut(rest, " ")
		name.kind, name.member = timerKind(kind[0]-'0'), member
		w.step(-1, fired{name, w.m.timers[name]})
		return
	case "stale":
		w.step(-1, fired{timerName{timerSession, w.clients[0].id}, 0})
		return
	}
	i := int(rest[0] - '0')
	c := &w.clients[i]
	switch what {
	case "join", "rejoin":
		w.join(i, what == "join")
	case "sync":
		req := SyncRequest{MemberID: c.id, InstanceID: w.instance(i), Generation: c.generation}
		if len(c.leader) > 0 {
			req.Assignments = map[string][]byte{}
			for _, id := range c.leader {
				req.Assignments[id] = []byte{byte(c.generation)}
			}
			for p := range 3 {
				to := c.leader[p%len(c.leader)]
				req.Assignments[to] = append(req.Assignments[to], byte(p))
			}
		}
		c.phase = "syncing"
		w.step(i, req)
	case "beat":
		w.step(i, HeartbeatRequest{MemberID: c.id, InstanceID: w.instance(i), Generation: c.generation})
	case "leave":
		c.owned = [3]bool{}
		w.step(i, LeaveRequest{[]Leaver{{c.id, w.instance(i)}}})
		c.forget()
	case "commit":
		w.step(i, w.committing(i, c.id, c.generation))
	case "crash":
		c.forget()
		w.crashes++
	case "zombie":
		w.step(-1, w.committing(i, c.zombie, c.zombieGen))
	}
}

func (w *classicWorld) committing(i int, id string, generation int32) CommitRequest {
	req := committing(id, generation, "a", int64(generation))
	req.InstanceID = w.instance(i)
	return req
}

func (w *classicWorld) instance(i int) string {
	if w.static && i < 2 {
		return fmt.Sprint("I", i)
	}
	return ""
}

// forget is a process that ends.
func (c *classicClient) forget() {
	*c = classicClient{starts: c.starts, phase: "out", zombie: c.id, zombieGen: c.generation}
}

func (w *classicWorld) join(i int, anew bool) {
	c := &w.clients[i]
	if anew {
		c.starts++
		c.id = ""
	}
	c.owned, c.leader, c.phase = [3]bool{}, nil, "joining"
	req := JoinRequest{
		MemberID: c.id, InstanceID: w.instance(i), ClientID: fmt.Sprint(i), Fresh: fmt.Sprint(c.starts), ProtocolType: assignor.ProtocolType,
		SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute, NeedsMemberID: i == 2 && anew, SkipsAssignment: true,
		Protocols: []Protocol{{"x", []byte{0, 0, 0, 0, 0, 0}}},
	}
	w.step(i, req)
}

// step brings an event and hands the answers to the clients that wait for them.
func (w *classicWorld) step(i int, event any) {
	w.calls++
	call := w.calls
	if i >= 0 {
		w.clients[i].call = call
	}
	if isCall(event) {
		w.open = append(w.open, call)
	}
	if !w.mayCommitNow(event) {
		w.refuse = append(w.refuse, call)
	}
	newcomer := ""
	if req, ok := event.(JoinRequest); ok && req.MemberID == "" {
		newcomer = dump(w.m)
	}
	before := Dead
	generation := int32(0)
	if g := w.m.classic; g != nil {
		before, generation = g.state, g.generation
	}
	for _, e := range w.m.step(0, call, event) {
		switch e := e.(type) {
		case reply:
			at := slices.Index(w.open, e.call)
			if at < 0 {
				w.broken = fmt.Sprintf("%T to nobody who waits", e.answer)
				return
			}
			w.open = slices.Delete(w.open, at, at+1)
			if r, ok := e.answer.(CommitResponse); ok && r.Err == nil && slices.Contains(w.refuse, e.call) {
				w.broken = "a commit from no member of the generation was accepted"
			}
			if r, ok := e.answer.(JoinResponse); ok && r.Err == ErrGroupFull && newcomer != "" && newcomer != dump(w.m) {
				w.broken = "a newcomer that was refused left its mark"
			}
			for k := range w.clients {
				if w.clients[k].call == e.call {
					w.clients[k].call = 0
					w.take(k, e.answer)
				}
			}
		case appendEntries:
			w.queue = append(w.queue, e.seq)
		}
	}
	if g := w.m.classic; g != nil {
		switch {
		case g.generation < w.top:
			w.broken = "the generation went back"
		case before == PreparingRebalance && g.state != before && g.generation != generation+1:
			w.broken = "a rebalance ended in the generation in which it began"
		case before != CompletingRebalance && g.state == CompletingRebalance && g.generation != generation+1,
			before == CompletingRebalance && g.state == Stable && g.generation != generation:
			w.broken = fmt.Sprintf("from %s to %s", before, g.state)
		}
		w.top = max(w.top, g.generation)
	}
}

// mayCommitNow is the rule, told again: the group is empty or the committer is in its generation.
func (w *classicWorld) mayCommitNow(event any) bool {
	req, ok := event.(CommitRequest)
	g := w.m.classic
	if !ok || g == nil {
		return true
	}
	return g.generation == req.Generation && g.member(req.MemberID) != nil
}

func (w *classicWorld) take(i int, a answer) {
	c := &w.clients[i]
	switch a := a.(type) {
	case JoinResponse:
		switch {
		case a.Err == ErrMemberIDRequired:
			c.id = a.MemberID
			w.join(i, false)
		case a.Err != nil:
			c.lost(a.Err)
		default:
			c.id, c.generation, c.phase, c.leader = a.MemberID, a.Generation, "joined", nil
			for _, m := range a.Members {
				if !a.SkipAssignment {
					c.leader = append(c.leader, m.MemberID)
				}
			}
		}
	case SyncResponse:
		if a.Err != nil {
			c.lost(a.Err)
			return
		}
		c.phase = "member"
		if len(a.Assignment) > 0 && int32(a.Assignment[0]) != c.generation {
			w.broken = fmt.Sprintf("client %d in generation %d was assigned what generation %d has", i, c.generation, a.Assignment[0])
		}
		for _, p := range a.Assignment[min(1, len(a.Assignment)):] {
			c.owned[p] = true
		}
	case HeartbeatResponse:
		if a.Err != nil {
			c.lost(a.Err)
		} else if g := w.m.classic; g.generation != c.generation || g.member(c.id) == nil {
			w.broken = fmt.Sprintf("client %d is told that all is well", i)
		}
	}
}

// lost is what a client does when it is refused: it gives up what it has, and joins again, with its id if that is still good.
func (c *classicClient) lost(err error) {
	c.owned = [3]bool{}
	if err == ErrRebalanceInProgress || err == ErrIllegalGeneration {
		c.phase = "member" // from here it joins again
		return
	}
	c.forget()
}

func (w *classicWorld) wrong() error {
	if w.broken != "" {
		return fmt.Errorf("%s", w.broken)
	}
	for i := range w.clients {
		for k := range i {
			a, b := w.clients[i], w.clients[k]
			for p := range 3 {
				if a.owned[p] && b.owned[p] && a.generation == b.generation {
					return fmt.Errorf("clients %d and %d own partition %d in generation %d", k, i, p, a.generation)
				}
			}
		}
	}
	return wrongClassic(w.m)
}

// wrongClassic holds the machine's own promises, among them that there is a time limit for everything that waits.
func wrongClassic(m *machine) error {
	g := m.classic
	if g == nil {
		return nil
	}
	runs := func(kind timerKind, member string) bool {
		_, ok := m.timers[timerName{kind, member}]
		return ok
	}
	owes := slices.ContainsFunc(g.members, func(c *classicMember) bool { return c.owesSync })
	switch {
	case g.state == Empty && len(g.members) > 0, (g.state == CompletingRebalance || g.state == Stable) && len(g.members) == 0:
		return fmt.Errorf("%d members, %s", len(g.members), g.state)
	case len(g.members) > 0 && g.member(g.leader) == nil:
		return fmt.Errorf("leader %q is no member", g.leader)
	case g.state == PreparingRebalance != runs(timerJoin, ""):
		return fmt.Errorf("%s, join timer %v", g.state, runs(timerJoin, ""))
	case owes && !runs(timerSync, ""):
		return fmt.Errorf("somebody owes a sync, and no limit to it")
	case g.state == CompletingRebalance && !owes && len(m.unsure) == 0:
		return fmt.Errorf("everybody synced, and nothing is under way")
	}
	for name := range m.timers {
		if name.kind == timerSession && g.member(name.member) == nil && !g.pending[name.member] {
			return fmt.Errorf("a session of %q, who is no member", name.member)
		}
	}
	for _, c := range g.members {
		switch {
		case c.joining != 0 && g.state != PreparingRebalance:
			return fmt.Errorf("%q waits for a generation in %s", c.id, g.state)
		case c.syncing != 0 && g.state != CompletingRebalance:
			return fmt.Errorf("%q waits for an assignment in %s", c.id, g.state)
		case c.joining == 0 && c.syncing == 0 && !runs(timerSession, c.id):
			return fmt.Errorf("%q may be silent for ever", c.id)
		}
	}
	return nil
}

func (w *classicWorld) drain() error {
	for range 40 {
		for len(w.queue) > 0 {
			w.act("stored")
		}
		timers := slices.DeleteFunc(w.actions(false), func(a string) bool { return !strings.HasPrefix(a, "fire") })
		if len(timers) == 0 {
			break
		}
		w.act(timers[0])
		if err := w.wrong(); err != nil {
			return err
		}
	}
	if len(w.open) > 0 {
		return fmt.Errorf("%d calls still wait", len(w.open))
	}
	return nil
}

func isCall(event any) bool {
	switch event.(type) {
	case stored, fired, metadataChanged, topicDeleted, expire, opened, EndTransaction:
		return false
	default:
		return true
	}
}
