package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// pump performs effects as fast as can be: everything is stored at once, timers are not kept.
type pump struct {
	m     *machine
	calls uint64
}

func (p *pump) send(event any) (a answer) {
	p.calls++
	effects := p.m.step(1, p.calls, event)
	for len(effects) > 0 {
		e := effects[0]
		effects = effects[1:]
		switch e := e.(type) {
		case reply:
			a = e.answer
		case appendEntries:
			effects = append(effects, p.m.step(1, 0, stored{e.seq, nil})...)
		}
	}
	return a
}

// settle lets all members beat until everybody has its target.
func (p *pump) settle() (heartbeats int) {
	for p.m.state() != Stable {
		for _, member := range p.m.server.members {
			owned := append([]TopicIDPartitions{}, member.assigned.byTopic()...)
			p.send(ConsumerHeartbeatRequest{MemberID: member.id, Epoch: member.epoch, ClientID: "c", ClientHost: "/h", Owned: owned})
			heartbeats++
		}
	}
	return heartbeats
}

// A member of a thousand leaves and another comes, over ten thousand partitions: until everybody reads its target.
func BenchmarkServerRebalance(b *testing.B) {
	meta := assignor.Metadata{}
	var names []string
	for i := range 100 {
		name := fmt.Sprintf("t%02d", i)
		meta[name], names = assignor.TopicInfo{ID: topic.ID{14: byte(i), 15: 1}, Partitions: 100}, append(names, name)
	}
	cfg := Config{}.withDefaults()
	p := &pump{m: newMachine("g", &cfg, meta)}
	p.m.server = newServerGroup()
	for i := range 1000 { // all at once: each alone would be a rebalance of its own
		p.m.server.add(&serverMember{id: fmt.Sprintf("m%04d", i), clientID: "c", clientHost: "/h", topics: names, rebalance: time.Minute})
	}
	p.m.server.refresh = true
	p.settleFirst()
	heartbeats, rounds := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		p.send(ConsumerHeartbeatRequest{MemberID: fmt.Sprintf("m%04d", rounds), Epoch: EpochLeave})
		p.send(ConsumerHeartbeatRequest{
			MemberID: fmt.Sprintf("n%04d", rounds), ClientID: "c", ClientHost: "/h", RebalanceTimeout: time.Minute, Topics: names,
		})
		heartbeats += p.settle()
		rounds++
	}
	b.ReportMetric(float64(heartbeats)/float64(rounds), "heartbeats/op")
}

func (p *pump) settleFirst() {
	p.m.newTopics(true)
	_ = p.m.retarget()
	for _, member := range p.m.server.members {
		p.m.reconcile(member, &partitionSet{})
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	cfg := Config{}.withDefaults()
	p := &pump{m: newMachine("g", &cfg, abc(4))}
	r := p.send(entering("1", "a")).(ConsumerHeartbeatResponse)
	b.ReportAllocs()
	for b.Loop() {
		p.m.step(1, 1, pulse("1", r.Epoch))
	}
}

// A heartbeat, and a commit, cost the same in a group of any size.
func BenchmarkClassicMember(b *testing.B) {
	for _, members := range []int{10, 100, 1000, 10_000} {
		cfg := Config{}.withDefaults()
		p := &pump{m: newMachine("g", &cfg, abc(4))}
		g := p.m.newClassic(Stable)
		g.generation, g.protocolType, g.protocol = 1, assignor.ProtocolType, "a"
		p.m.classic = g
		for i := range members {
			g.add(&classicMember{id: fmt.Sprint("m", i), instance: fmt.Sprint("i", i), session: time.Minute, protocols: []Protocol{{Name: "a"}}})
		}
		last := fmt.Sprint(members - 1)
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			for b.Loop() {
				p.m.step(1, 1, HeartbeatRequest{MemberID: "m" + last, InstanceID: "i" + last, Generation: 1})
			}
		})
	}
}

// The same of static members of the server-side protocol. Of ten, a hundred, a thousand and ten thousand a heartbeat was 1.0, 2.8, 8.6 and 71 us
// while it looked for its member in a list.
func BenchmarkServerStaticMember(b *testing.B) {
	for _, members := range []int{10, 100, 1000, 10_000} {
		cfg := Config{}.withDefaults()
		p := &pump{m: newMachine("g", &cfg, abc(4))}
		p.m.server = newServerGroup()
		for i := range members {
			p.m.server.add(&serverMember{id: fmt.Sprint("m", i), instance: fmt.Sprint("i", i), clientID: "c", topics: []string{"a"}, rebalance: time.Minute})
		}
		p.settleFirst()
		last := p.m.server.static(fmt.Sprint("i", members-1))
		beat := ConsumerHeartbeatRequest{MemberID: last.id, InstanceID: last.instance, Epoch: last.epoch, ClientID: "c"}
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			require.NoError(b, p.send(beat).(ConsumerHeartbeatResponse).Err)
			for b.Loop() {
				p.send(beat)
			}
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	cfg := Config{}.withDefaults()
	p := &pump{m: newMachine("g", &cfg, nil)}
	req := committing("", -1, "a", 5)
	require.NoError(b, p.send(req).(CommitResponse).Err)
	b.ReportAllocs()
	for b.Loop() {
		p.send(req)
	}
}
