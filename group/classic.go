package group

import (
	"cmp"
	"github.com/quirelog/quire/group/assignor"
	"slices"
	"strings"
	"time"
)

// A classicGroup is a group of the classic protocol: members join, one of them, the leader, assigns, everybody syncs.
type classicGroup struct {
	born       uint64 // tells one life of the group from another; generations begin anew
	state      State
	initial    bool  // preparing the first generation of an empty group
	stateTime  int64 // when the state began, milliseconds since 1970; -1 where that is not known
	generation int32

	protocolType string // "" for a group that never had a member
	protocol     string // the one chosen for this generation, "" without members
	leader       string
	members      []*classicMember // in the order in which they joined
	pending      map[string]bool  // ids given out that have not come back yet
	indexed      *memberIndex     // the members, by what is asked for; nil until it is needed

	grew      bool          // somebody joined in this window of the initial delay
	window    time.Duration // that window
	remaining time.Duration // how much longer the initial delay may become
}

type classicMember struct {
	id         string
	instance   string
	clientID   string
	clientHost string
	rebalance  time.Duration
	session    time.Duration
	protocols  []Protocol
	assignment []byte

	joining  uint64 // the call that waits for the next generation, or 0
	syncing  uint64 // the call that waits for the assignment, or 0
	fresh    bool   // has not been in a generation yet: the session counts although it waits
	local    bool   // lives in this process, which says when it ends: it has no session
	owesSync bool   // in this generation
}

// newClassic begins a life of the group.
func (m *machine) newClassic(state State) *classicGroup {
	m.last++
	return &classicGroup{born: m.last, state: state, stateTime: m.now}
}

func compareTimers(a, b timerName) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), strings.Compare(a.member, b.member))
}

func (g *classicGroup) member(id string) *classicMember {
	return g.index().byID[id]
}

// static is the id of the member with that instance id, or "".
func (g *classicGroup) static(instance string) string {
	if m := g.index().static[instance]; m != nil {
		return m.id
	}
	return ""
}

// check refuses a call that is not from a member as the group knows it.
func (g *classicGroup) check(member, instance string) error {
	if instance != "" {
		switch known := g.static(instance); known {
		case "":
			return ErrUnknownMember
		case member:
		default:
			return refuse(ErrFencedInstance, "instance %q is now %q", instance, known)
		}
	}
	if g.member(member) == nil {
		return ErrUnknownMember
	}
	return nil
}

func (m *classicMember) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

func sameProtocols(a, b []Protocol) bool {
	return slices.EqualFunc(a, b, func(p, q Protocol) bool { return p.Name == q.Name && string(p.Metadata) == string(q.Metadata) })
}

// supported tells whether all members have the protocol.
func (g *classicGroup) supported(protocol string) bool {
	return g.index().supported[protocol] == len(g.members)
}

// accepts tells whether a member with these protocols fits in.
func (g *classicGroup) accepts(protocolType string, protocols []Protocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == g.protocolType && slices.ContainsFunc(protocols, func(p Protocol) bool { return g.supported(p.Name) })
}

// choose is the protocol all members have that most like best; among equals the one the earliest member likes best.
func (g *classicGroup) choose() string {
	votes := map[string]int{}
	var order []string
	for _, m := range g.members {
		for _, p := range m.protocols {
			if g.supported(p.Name) {
				if votes[p.Name]++; votes[p.Name] == 1 {
					order = append(order, p.Name)
				}
				break
			}
		}
	}
	best := ""
	for _, name := range order {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// rebalanceTimeout is the longest any member may take.
func (g *classicGroup) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, m := range g.members {
		longest = max(longest, m.rebalance)
	}
	return longest
}

// joined is how many members wait for the next generation.
func (g *classicGroup) joined() int {
	g.checkIndex()
	return g.index().joined
}

func (g *classicGroup) allJoined() bool { return g.joined() == len(g.members) && len(g.pending) == 0 }

// remove takes a member, or an id given out, out of the group. The longest member leads next.
func (g *classicGroup) remove(id string) {
	g.drop(id)
	delete(g.pending, id)
	if g.leader == id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

func (m *machine) setState(s State) {
	m.classic.state, m.classic.stateTime = s, m.now
	if s != PreparingRebalance {
		m.classic.initial = false
	}
}

// subscribedTo tells whether a member of a group of readers reads the topic. While what members said cannot be read, or is not settled,
// every topic counts as read.
func (g *classicGroup) subscribedTo(name string) bool {
	if g.protocolType != assignor.ProtocolType {
		return false
	}
	if len(g.members) == 0 {
		return false
	}
	if g.protocol == "" {
		return true
	}
	for _, m := range g.members {
		topics, err := assignor.SubscribedTopics(m.metadata(g.protocol))
		if err != nil || slices.Contains(topics, name) {
			return true
		}
	}
	return false
}

// record is the group with its members as it is stored.
func (g *classicGroup) record(assignments map[string][]byte) GroupRecord {
	r := GroupRecord{ProtocolType: g.protocolType, Generation: g.generation, Protocol: g.protocol, Leader: g.leader, StateTime: g.stateTime}
	for _, m := range g.members {
		r.Members = append(r.Members, GroupRecordMember{
			MemberID: m.id, InstanceID: m.instance, ClientID: m.clientID, ClientHost: m.clientHost,
			RebalanceTimeout: int32(m.rebalance.Milliseconds()), SessionTimeout: int32(m.session.Milliseconds()),
			Subscription: m.metadata(g.protocol), Assignment: assignments[m.id],
		})
	}
	return r
}

func (g *classicGroup) assignments() map[string][]byte {
	list := make(map[string][]byte, len(g.members))
	for _, m := range g.members {
		list[m.id] = m.assignment
	}
	return list
}

func (m *machine) storeClassic(assignments map[string][]byte) {
	m.store(RecordKey{Kind: KeyGroup}, m.classic.record(assignments))
}
