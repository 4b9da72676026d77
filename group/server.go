package group

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/topic"
)

// A serverGroup is a group of the server-side protocol. Three epochs follow each other: the group's, which rises when anything about members
// or topics changes; the one for which targets were computed; and each member's, which reaches it when the member has let go of what is no
// longer its own.
type serverGroup struct {
	epoch       int32
	targetEpoch int32
	members     []*serverMember     // by id
	topics      []TopicsRecordTopic // those members subscribe to and that exist, by name
	resolved    map[string][]string // topic names by regular expression
	refresh     bool                // topics may have changed since
	held        map[idPartition]string
	instances   map[string]*serverMember // static members by instance id
}

// serverMember is one member: what it wants, and how far it has come.
type serverMember struct {
	id         string
	instance   string
	rack       string
	clientID   string
	clientHost string
	topics     []string
	regex      string
	rebalance  time.Duration
	assignor   string
	classic    *ClassicMember

	epoch    int32
	previous int32
	state    MemberState
	assigned partitionSet // what it may read
	revoking partitionSet // what it was told to let go of and may still read
	target   partitionSet
}

// idPartition is a partition of a topic named by its id.
type idPartition struct {
	id        topic.ID
	partition int32
}

func compareIDPartitions(a, b idPartition) int {
	return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.partition, b.partition))
}

// A partitionSet is sorted, and never changed once made.
type partitionSet []idPartition

func newPartitionSet(list []TopicIDPartitions) partitionSet {
	var set partitionSet
	for _, t := range list {
		for _, p := range t.Partitions {
			set = append(set, idPartition{t.ID, p})
		}
	}
	slices.SortFunc(set, compareIDPartitions)
	return slices.Compact(set)
}

func (s partitionSet) has(p idPartition) bool {
	_, ok := slices.BinarySearchFunc(s, p, compareIDPartitions)
	return ok
}

// keep is the part of the set for which the function is true.
func (s partitionSet) keep(f func(p idPartition) bool) partitionSet {
	var set partitionSet
	for _, p := range s {
		if f(p) {
			set = append(set, p)
		}
	}
	return set
}

func (s partitionSet) and(o partitionSet) partitionSet { return s.keep(o.has) }

func (s partitionSet) minus(o partitionSet) partitionSet {
	return s.keep(func(p idPartition) bool { return !o.has(p) })
}

func (s partitionSet) plus(o partitionSet) partitionSet {
	set := append(slices.Clone(s), o...)
	slices.SortFunc(set, compareIDPartitions)
	return slices.Compact(set)
}

func (s partitionSet) meets(o partitionSet) bool { return slices.ContainsFunc(s, o.has) }

// byTopic is the set as it stands in records and answers.
func (s partitionSet) byTopic() []TopicIDPartitions {
	var list []TopicIDPartitions
	for _, p := range s {
		if n := len(list); n == 0 || list[n-1].ID != p.id {
			list = append(list, TopicIDPartitions{ID: p.id})
		}
		last := &list[len(list)-1]
		last.Partitions = append(last.Partitions, p.partition)
	}
	return list
}

func newServerGroup() *serverGroup {
	return &serverGroup{resolved: map[string][]string{}, held: map[idPartition]string{}, instances: map[string]*serverMember{}}
}

func (g *serverGroup) member(id string) *serverMember {
	if at, ok := g.find(id); ok {
		return g.members[at]
	}
	return nil
}

func (g *serverGroup) find(id string) (at int, ok bool) {
	return slices.BinarySearchFunc(g.members, id, func(m *serverMember, id string) int { return strings.Compare(m.id, id) })
}

// static is the member with that instance id, or nil.
func (g *serverGroup) static(instance string) *serverMember { return g.instances[instance] }

func (g *serverGroup) add(m *serverMember) {
	at, ok := g.find(m.id)
	invariant.Check(!ok, "group: member %q twice", m.id)
	g.members = slices.Insert(g.members, at, m)
	g.hold(m)
}

func (g *serverGroup) remove(m *serverMember) {
	g.letGo(m)
	if at, ok := g.find(m.id); ok {
		g.members = slices.Delete(g.members, at, at+1)
	}
}

// hold and letGo keep the register of who may read what, by which nothing is given out twice, and of the static members.
func (g *serverGroup) hold(m *serverMember) {
	if m.instance != "" {
		g.instances[m.instance] = m
	}
	for _, set := range []partitionSet{m.assigned, m.revoking} {
		for _, p := range set {
			invariant.Check(g.held[p] == "" || g.held[p] == m.id, "group: %s-%d of %q given to %q", p.id, p.partition, g.held[p], m.id)
			g.held[p] = m.id
		}
	}
}

func (g *serverGroup) letGo(m *serverMember) {
	if g.instances[m.instance] == m {
		delete(g.instances, m.instance)
	}
	for _, set := range []partitionSet{m.assigned, m.revoking} {
		for _, p := range set {
			if g.held[p] == m.id {
				delete(g.held, p)
			}
		}
	}
}

// settled tells whether the member reads its target.
func (m *serverMember) settled(target int32) bool {
	return m.state == MemberStable && m.epoch == target
}

func (g *serverGroup) state() State {
	switch {
	case len(g.members) == 0:
		return Empty
	case g.epoch > g.targetEpoch:
		return Assigning
	case slices.ContainsFunc(g.members, func(m *serverMember) bool { return !m.settled(g.targetEpoch) }):
		return Reconciling
	default:
		return Stable
	}
}

// wants lists the topics a member subscribes to, also those that do not exist, sorted.
func (g *serverGroup) wants(m *serverMember) []string {
	list := slices.Concat(m.topics, g.resolved[m.regex])
	slices.Sort(list)
	return slices.Compact(list)
}

func (g *serverGroup) subscribedTo(name string) bool {
	return slices.ContainsFunc(g.members, func(m *serverMember) bool {
		return slices.Contains(m.topics, name) || slices.Contains(g.resolved[m.regex], name)
	})
}

// topicNames are the names of the group's topics.
func (g *serverGroup) topicNames() map[topic.ID]string {
	names := make(map[topic.ID]string, len(g.topics))
	for _, t := range g.topics {
		names[t.ID] = t.Name
	}
	return names
}

// named is a set with its topics named; partitions of topics that are gone are left out.
func (s partitionSet) named(names map[topic.ID]string) []topic.TopicPartition {
	list := make([]topic.TopicPartition, 0, len(s))
	for _, p := range s {
		if name, ok := names[p.id]; ok {
			list = append(list, topic.TopicPartition{Topic: name, Partition: p.partition})
		}
	}
	return list
}

func (m *serverMember) record() MemberRecord {
	return MemberRecord{
		InstanceID: m.instance, Rack: m.rack, ClientID: m.clientID, ClientHost: m.clientHost, Topics: m.topics, Regex: m.regex,
		RebalanceTimeout: int32(m.rebalance.Milliseconds()), Assignor: m.assignor, Classic: m.classic,
	}
}

func (m *serverMember) current() CurrentRecord {
	return CurrentRecord{
		Epoch: m.epoch, PreviousEpoch: m.previous, State: m.state, Assigned: m.assigned.byTopic(), Revoking: m.revoking.byTopic(),
	}
}

// checkEpoch refuses a call that names another epoch than the member's.
func (m *serverMember) checkEpoch(epoch int32) error {
	switch {
	case epoch == m.epoch:
		return nil
	case m.classic != nil:
		return ErrIllegalGeneration
	default:
		return ErrStaleEpoch
	}
}

// sessionTimeout is how long a member may be silent.
func (m *machine) sessionTimeout(member *serverMember) time.Duration {
	if member.classic != nil {
		return time.Duration(member.classic.SessionTimeout) * time.Millisecond
	}
	return m.cfg.ServerSession
}

func (m *machine) mayCommitServer(req CommitRequest, inTxn bool) error {
	g := m.server
	if req.Generation < 0 && len(g.members) == 0 {
		return nil
	}
	member := g.member(req.MemberID)
	if member == nil {
		return ErrUnknownMember
	}
	err := member.checkEpoch(req.Generation)
	if err == ErrStaleEpoch && inTxn {
		return ErrIllegalGeneration
	}
	return err
}

// deleteServer takes back all that is stored of a server-side group, and the group.
func (m *machine) deleteServer() {
	m.stopAllTimers()
	for _, kind := range []KeyKind{KeyCurrent, KeyTarget} {
		for _, member := range m.server.members {
			m.store(RecordKey{Kind: kind, Member: member.id}, nil)
		}
	}
	m.store(RecordKey{Kind: KeyTargetEpoch}, nil)
	for _, member := range m.server.members {
		m.store(RecordKey{Kind: KeyMember, Member: member.id}, nil)
	}
	m.store(RecordKey{Kind: KeyTopics}, nil)
	m.store(RecordKey{Kind: KeyGroupEpoch}, nil)
	m.server = nil
}

// forget takes back what is stored of one member and removes it.
func (m *machine) forget(member *serverMember) {
	m.store(RecordKey{Kind: KeyCurrent, Member: member.id}, nil)
	m.store(RecordKey{Kind: KeyTarget, Member: member.id}, nil)
	m.store(RecordKey{Kind: KeyMember, Member: member.id}, nil)
	m.stopTimersOf(member.id)
	m.server.remove(member)
}
