package group

import (
	"slices"
	"time"
)

// replay takes in a record of the log, in the log's order, before anything else happens to the machine. A nil value is a tombstone. The
// producer id is that of the transaction the record is part of, or -1; the marker that ends it comes as an EndTransaction.
func (m *machine) replay(key RecordKey, value RecordValue, producerID int64) {
	switch v := value.(type) {
	case OffsetRecord:
		at := offsetKey{Topic: key.Topic, Partition: key.Partition}
		m.offsets.store(offsetsStored{producerID, []committedOffset{{at, v}}})
	case GroupRecord:
		m.replayClassic(v)
	case nil:
		m.replayTombstone(key)
	default:
		m.replayServer(key, value)
	}
}

func (m *machine) replayClassic(v GroupRecord) {
	g := m.newClassic(Empty)
	g.stateTime, g.generation, g.protocolType, g.protocol, g.leader = v.StateTime, v.Generation, v.ProtocolType, v.Protocol, v.Leader
	for _, r := range v.Members {
		g.state = Stable
		g.members = append(g.members, &classicMember{
			id: r.MemberID, instance: r.InstanceID, clientID: r.ClientID, clientHost: r.ClientHost,
			rebalance: time.Duration(r.RebalanceTimeout) * time.Millisecond, session: time.Duration(r.SessionTimeout) * time.Millisecond,
			protocols: []Protocol{{v.Protocol, r.Subscription}}, assignment: r.Assignment,
		})
	}
	m.classic, m.server = g, nil
}

func (m *machine) replayServer(key RecordKey, value RecordValue) {
	if m.server == nil {
		m.classic, m.server = nil, newServerGroup()
	}
	g := m.server
	switch v := value.(type) {
	case EpochRecord:
		g.epoch = v.Epoch
	case TargetEpochRecord:
		g.targetEpoch = v.Epoch
	case TopicsRecord:
		g.topics = v.Topics
	case MemberRecord:
		member := g.replayed(key.Member)
		member.instance, member.rack, member.clientID, member.clientHost = v.InstanceID, v.Rack, v.ClientID, v.ClientHost
		member.topics, member.regex, member.assignor, member.classic = sortedNames(v.Topics), v.Regex, v.Assignor, v.Classic
		member.rebalance = time.Duration(v.RebalanceTimeout) * time.Millisecond
		if member.classic != nil && len(member.classic.Protocols) == 0 {
			member.classic = nil
		}
	case TargetRecord:
		g.replayed(key.Member).target = newPartitionSet(v.Partitions)
	case CurrentRecord:
		member := g.replayed(key.Member)
		member.epoch, member.previous, member.state = v.Epoch, v.PreviousEpoch, v.State
		member.assigned, member.revoking = newPartitionSet(v.Assigned), newPartitionSet(v.Revoking)
	}
}

// replayed is the member of a record; the register of who holds what is made at the end.
func (g *serverGroup) replayed(id string) *serverMember {
	at, ok := g.find(id)
	if !ok {
		g.members = slices.Insert(g.members, at, &serverMember{id: id})
	}
	return g.members[at]
}

func (m *machine) replayTombstone(key RecordKey) {
	if key.Kind.ofOffset() {
		m.offsets.forget([]offsetKey{{Topic: key.Topic, Partition: key.Partition}})
		return
	}
	if key.Kind == KeyGroup {
		m.classic = nil
		return
	}
	g := m.server
	if g == nil {
		return
	}
	if key.Kind == KeyGroupEpoch {
		m.server = nil
		return
	}
	at, ok := g.find(key.Member)
	switch {
	case !key.Kind.ofMember() || !ok:
	case key.Kind == KeyMember:
		g.members = slices.Delete(g.members, at, at+1)
	case key.Kind == KeyTarget:
		g.members[at].target = nil
	case key.Kind == KeyCurrent:
		member := g.members[at]
		member.epoch, member.previous, member.state, member.assigned, member.revoking = 0, 0, MemberStable, nil, nil
	}
}

// opened begins the sessions of the members that the log has.
func (m *machine) opened() {
	if g := m.classic; g != nil {
		for _, member := range g.members {
			m.restartSession(member)
		}
		if len(g.members) > m.cfg.MaxSize {
			m.prepareRebalance()
		}
	}
	g := m.server
	if g == nil {
		return
	}
	g.refresh = true
	for _, member := range g.members {
		free := func(p idPartition) bool { return g.held[p] == "" } // a damaged log must not make two owners
		member.assigned, member.revoking = member.assigned.keep(free), member.revoking.keep(free)
		g.hold(member)
		if member.regex != "" && g.resolved[member.regex] == nil {
			g.resolved[member.regex] = append([]string{}, resolve(member.regex, m.meta)...)
		}
		m.startTimer(timerSession, member.id, m.sessionTimeout(member))
		if member.state == MemberUnrevoked && member.classic == nil {
			m.startTimer(timerRevoke, member.id, member.rebalance)
		}
	}
}
