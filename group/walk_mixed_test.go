package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/topic"
)

// A mixed walk sends a machine whatever comes to mind: calls of both protocols, with ids, generations and epochs that are right, stale or
// made up, topics that come and go, commits, transactions, deletions, timers, appends that take their time. It looks at the machine's own
// promises after every step, and when nothing is under way, at what a machine made from the log is like.
type mixed struct {
	*driver
	rnd  *rand.Rand
	next int
	ids  []string
	old  bool // members of the server-side protocol leave, none come
}

func TestWalkMixed(t *testing.T) { walkMixed(t, 0) }

func TestWalkMixedFull(t *testing.T) { walkMixed(t, 3) }

// walkMixed walks in a group of at most size members, 0 is no limit.
func walkMixed(t *testing.T, size int) {
	seeds := thin.Raced(*walkSeeds, 15)
	first := uint64(1)
	if *walkSeed != 0 {
		first, seeds = *walkSeed, 1
	}
	for seed := first; seed < first+uint64(seeds); seed++ {
		x := &mixed{driver: drive(t, Config{MaxSize: size}, abc(3, 2)), rnd: rand.New(rand.NewPCG(seed, 16)), ids: []string{"", "made-up"}}
		x.slow = true
		for step := range 250 {
			if step%50 == 0 {
				x.old = x.rnd.IntN(3) > 0
			}
			before, calls := dump(x.m), x.calls
			x.once()
			if r, ok := x.said(x.calls).(ConsumerHeartbeatResponse); ok && x.calls > calls && r.Err == ErrGroupFull {
				require.Equal(t, before, dump(x.m), "step %d of seed %d: a newcomer that was refused left its mark", step, seed)
			}
			if err := x.wrong(); err != nil {
				t.Fatalf("step %d of seed %d (-group.seed=%d): %v\n%s", step, seed, seed, err, dump(x.m))
			}
		}
		x.drain()
		open := 0
		for call := uint64(1); call <= x.calls; call++ {
			if _, ok := x.answers[call]; !ok {
				open++
			}
		}
		require.Equal(t, x.next, open, "seed %d: events that are no calls, and calls that have no answer", seed)
	}
}

func (x *mixed) pick() string { return x.ids[x.rnd.IntN(len(x.ids))] }

// number is a generation or epoch near the right one.
func (x *mixed) number(id string) int32 {
	n := int32(x.rnd.IntN(4))
	switch {
	case x.m.classic != nil:
		n = x.m.classic.generation
	case x.m.server != nil && x.m.server.member(id) != nil:
		n = x.m.server.member(id).epoch
	}
	if x.rnd.IntN(6) == 0 {
		n += int32(x.rnd.IntN(3) - 1)
	}
	return n
}

func (x *mixed) instance() string { return []string{"", "", "", "S", "T"}[x.rnd.IntN(5)] }

func (x *mixed) once() {
	id := x.pick()
	x.calls++ // fresh names
	fresh := fmt.Sprint(x.calls)
	x.calls--
	switch x.rnd.IntN(16) {
	case 0, 1, 2:
		req := joining(id, fresh, "a")
		req.InstanceID, req.NeedsMemberID = x.instance(), x.rnd.IntN(2) == 0
		var owned []topic.TopicPartition
		if x.m.server != nil && x.m.server.member(id) != nil && x.rnd.IntN(2) == 0 {
			owned = x.m.server.member(id).assigned.named(x.m.server.topicNames())
		}
		req.Protocols[0].Metadata = assignor.AppendSubscription(nil, 2, assignor.Subscription{Topics: []string{"a", "b"}[:1+x.rnd.IntN(2)], Owned: owned})
		x.remember(x.send(req))
	case 3, 4:
		x.send(SyncRequest{MemberID: id, InstanceID: x.instance(), Generation: x.number(id), Assignments: x.assignments()})
	case 5:
		x.send(HeartbeatRequest{MemberID: id, InstanceID: x.instance(), Generation: x.number(id)})
	case 6:
		x.send(LeaveRequest{[]Leaver{{id, x.instance()}}})
	case 7, 8:
		if x.old {
			x.leaveServer()
			return
		}
		req := entering([]string{"m", "n", "o"}[x.rnd.IntN(3)], "a")
		req.InstanceID = x.instance()
		x.remember(x.send(req))
	case 9, 10, 11:
		req := pulse(id, x.number(id))
		if x.rnd.IntN(12) == 0 {
			req.Epoch = -1 - int32(x.rnd.IntN(2))
		}
		req.InstanceID = x.instance()
		if x.m.server != nil && x.m.server.member(id) != nil && x.rnd.IntN(3) > 0 {
			req.Owned = append([]TopicIDPartitions{}, x.m.server.member(id).assigned.byTopic()...)
		}
		x.send(req)
	case 12:
		req := committing(id, x.number(id), "a", int64(x.calls))
		if x.rnd.IntN(3) == 0 {
			req.ProducerID = int64(x.rnd.IntN(2))
		}
		x.send(req)
	default:
		x.other()
	}
}

// other is what nobody is answered, time, and the log.
func (x *mixed) other() {
	event := func(ev any) {
		x.next++
		x.send(ev)
	}
	switch x.rnd.IntN(13) {
	case 0:
		event(metadataChanged{abc(int32(1+x.rnd.IntN(4)), 2)})
	case 1:
		x.remember(x.send(staticJoin("", []string{"S", "T"}[x.rnd.IntN(2)], fmt.Sprint("s", x.calls), []string{"a", "b"}[:1+x.rnd.IntN(2)]...)))
	case 2:
		event(EndTransaction{int64(x.rnd.IntN(2)), x.rnd.IntN(2) == 0})
	case 3:
		event(expire{})
	case 4:
		x.send(DeleteGroupRequest{})
	case 5:
		x.send(DeleteOffsetsRequest{[]topic.TopicPartition{tp("a", 0), tp("z", 0)}})
	case 6:
		x.send(FetchOffsetsRequest{Epoch: -1, Stable: true})
	case 7, 8:
		x.wait(time.Duration(x.rnd.IntN(20)) * time.Second)
	default:
		for len(x.queue) > 0 {
			x.report(nil)
		}
		x.compareWithLog()
	}
}

// leaveServer sends a member of the server-side protocol away, or brings a right sync.
func (x *mixed) leaveServer() {
	if x.m.server != nil {
		for _, member := range x.m.server.members {
			if member.classic == nil {
				x.send(ConsumerHeartbeatRequest{MemberID: member.id, InstanceID: member.instance, Epoch: EpochLeave})
				return
			}
		}
	}
	if g := x.m.classic; g != nil && len(g.members) > 0 {
		member := g.members[x.rnd.IntN(len(g.members))]
		req := SyncRequest{MemberID: member.id, InstanceID: member.instance, Generation: g.generation}
		if member.id == g.leader {
			req.Assignments = x.assignments()
		}
		x.send(req)
	}
}

// remember keeps ids that were given.
func (x *mixed) remember(call uint64) {
	switch a := x.answers[call].(type) {
	case JoinResponse:
		x.ids = append(x.ids, a.MemberID)
	case ConsumerHeartbeatResponse:
		x.ids = append(x.ids, a.MemberID)
	}
	if g := x.m.classic; g != nil {
		for _, m := range g.members {
			x.ids = append(x.ids, m.id)
		}
	}
	x.ids = slices.Compact(x.ids)
	x.ids = x.ids[max(0, len(x.ids)-8):]
}

func (x *mixed) assignments() map[string][]byte {
	g := x.m.classic
	if g == nil || len(g.members) == 0 {
		return nil
	}
	given := map[string][]topic.TopicPartition{}
	for p := range int32(3) {
		to := g.members[x.rnd.IntN(len(g.members))].id
		given[to] = append(given[to], tp("a", p))
	}
	all := map[string][]byte{}
	for _, m := range g.members {
		all[m.id] = assignor.AppendAssignment(nil, 1, given[m.id], nil)
	}
	return all
}

func (x *mixed) wrong() error {
	if x.m.classic != nil && x.m.server != nil {
		return fmt.Errorf("a group of both protocols")
	}
	if err := wrongClassic(x.m); err != nil {
		return err
	}
	if exact, told := x.m.firstExpiry(), x.m.nextExpiry(); exact >= 0 && (told < 0 || told > exact) {
		return fmt.Errorf("something may expire at %d, and is looked for at %d", exact, told)
	}
	g := x.m.server
	if g == nil {
		return nil
	}
	held, target := map[idPartition]string{}, map[idPartition]string{}
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
		if _, ok := x.m.timers[timerName{timerSession, member.id}]; !ok {
			return fmt.Errorf("%q may be silent for ever", member.id)
		}
		if _, ok := x.m.timers[timerName{timerRevoke, member.id}]; ok != (member.state == MemberUnrevoked && member.classic == nil) &&
			member.epoch != EpochLeaveStatic {
			return fmt.Errorf("%q in state %d, limit to let go %v", member.id, member.state, ok)
		}
		if g.member(member.id) != member {
			return fmt.Errorf("members out of order")
		}
	}
	if len(held) != len(g.held) || g.targetEpoch > g.epoch {
		return fmt.Errorf("register of %d, members hold %d; targets of %d in %d", len(g.held), len(held), g.targetEpoch, g.epoch)
	}
	for name := range x.m.timers {
		if g.member(name.member) == nil {
			return fmt.Errorf("a timer of %q, who is no member", name.member)
		}
	}
	return nil
}

// compareWithLog holds what is in memory against what the log says.
func (x *mixed) compareWithLog() {
	m := newMachine("g", x.m.cfg, x.m.meta)
	for _, e := range x.log {
		m.replay(e.key, e.value, -1)
	}
	switch {
	case x.m.server != nil:
		require.NotNil(x.t, m.server, "%s", dump(x.m))
		m.step(0, 0, opened{})
		ours, theirs := clone(x.m), m
		ours.server.refresh, theirs.server.refresh = false, false
		ours.timers, theirs.timers = nil, nil
		ours.offsets, theirs.offsets = offsetTable{}, offsetTable{}
		require.Equal(x.t, dump(ours), dump(theirs))
	case x.m.classic != nil && x.m.classic.generation > 0 && x.m.classic.state == Stable:
		require.NotNil(x.t, m.classic)
		require.Equal(x.t, x.m.classic.record(x.m.classic.assignments()).Members, m.classic.record(m.classic.assignments()).Members)
	case x.m.classic == nil:
		require.Nil(x.t, m.classic, "the log has a group that is gone")
		require.Nil(x.t, m.server)
	}
}

func (x *mixed) drain() {
	for range 20 {
		for len(x.queue) > 0 {
			x.report(nil)
		}
		x.wait(10 * time.Minute)
		require.NoError(x.t, x.wrong())
	}
	require.Contains(x.t, []State{Empty, Dead}, x.m.state(), "everybody was silent for hours")
	require.Empty(x.t, x.timers)
}
