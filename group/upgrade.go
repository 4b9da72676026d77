package group

import (
	"github.com/quirelog/quire/group/assignor"
	"slices"
	"time"
)

// upgrade makes a classic group with members one of the server-side protocol, for a member of that protocol that joins. Everybody keeps what
// the leader assigned last; who waits is told to join again. For a member without room the group stays as it is.
func (m *machine) upgrade(joins string) error {
	old := m.classic
	switch {
	case !m.cfg.Migration.up(), old.protocolType != assignor.ProtocolType, len(old.members) > m.cfg.MaxSize,
		slices.ContainsFunc(old.members, func(c *classicMember) bool { return c.local }):
		return refuse(ErrGroupNotFound, "the group speaks the classic protocol and may not change it")
	case len(old.members) == m.cfg.MaxSize && old.member(joins) == nil:
		return ErrGroupFull
	}
	g := newServerGroup()
	g.epoch, g.targetEpoch = old.generation, old.generation
	for _, c := range old.members {
		member, err := m.upgraded(g, c)
		if err != nil {
			return refuse(ErrGroupNotFound, "member %q: %v", c.id, err)
		}
		g.add(member)
	}
	for _, c := range old.members {
		m.endJoin(c, JoinResponse{MemberID: c.id}.refused(ErrRebalanceInProgress))
		m.endSync(c, SyncResponse{}.refused(ErrRebalanceInProgress))
	}
	m.stopAllTimers()
	m.store(RecordKey{Kind: KeyGroup}, nil)
	m.classic, m.server = nil, g
	for _, member := range g.members {
		m.store(RecordKey{Kind: KeyMember, Member: member.id}, member.record())
	}
	m.store(RecordKey{Kind: KeyGroupEpoch}, EpochRecord{g.epoch})
	for _, member := range g.members {
		m.store(RecordKey{Kind: KeyTarget, Member: member.id}, TargetRecord{member.target.byTopic()})
	}
	m.store(RecordKey{Kind: KeyTargetEpoch}, TargetEpochRecord{g.targetEpoch})
	for _, member := range g.members {
		m.store(RecordKey{Kind: KeyCurrent, Member: member.id}, member.current())
		m.startTimer(timerSession, member.id, m.sessionTimeout(member))
	}
	return nil
}

// upgraded is the member as it stands in the new group.
func (m *machine) upgraded(g *serverGroup, c *classicMember) (*serverMember, error) {
	protocols := c.protocols // the first is the one it speaks from here on
	if at := slices.IndexFunc(protocols, func(p Protocol) bool { return p.Name == m.classic.protocol }); at > 0 {
		protocols = slices.Concat(protocols[at:at+1], protocols[:at], protocols[at+1:])
	}
	subscription, err := assignor.ParseSubscription(protocols[0].Metadata)
	if err != nil {
		return nil, err
	}
	owned, _, err := assignor.ParseAssignment(c.assignment)
	if err != nil {
		return nil, err
	}
	set := g.numbers(assignor.Subscription{Owned: owned}, m.meta).keep(func(p idPartition) bool { return g.held[p] == "" })
	return &serverMember{
		id: c.id, instance: c.instance, rack: subscription.Rack, clientID: c.clientID, clientHost: c.clientHost,
		topics: sortedNames(subscription.Topics), rebalance: c.rebalance,
		classic: &ClassicMember{SessionTimeout: int32(c.session.Milliseconds()), Protocols: protocols},
		epoch:   m.classic.generation, previous: m.classic.generation, assigned: set, target: set,
	}, nil
}

// mayDowngrade tells whether the group may become classic when the member stops speaking the server-side protocol.
func (m *machine) mayDowngrade(member *serverMember, size int) bool {
	if member.classic != nil || !m.cfg.Migration.down() || size > m.cfg.MaxSize {
		return false
	}
	return !slices.ContainsFunc(m.server.members, func(o *serverMember) bool { return o != member && o.classic == nil })
}

// downgrade makes the group a classic one: its generation is the group epoch, and everybody has as assignment what was the target. Without the
// member that leaves there is something to share anew, so a rebalance begins; a member that joined in its place just goes on.
func (m *machine) downgrade(leaving, joined *serverMember) {
	old := m.server
	g := m.newClassic(Stable)
	g.generation, g.protocolType = old.epoch, assignor.ProtocolType
	for _, member := range old.members {
		if member == leaving {
			continue
		}
		g.members = append(g.members, &classicMember{
			id: member.id, instance: member.instance, clientID: member.clientID, clientHost: member.clientHost, rebalance: member.rebalance,
			session: time.Duration(member.classic.SessionTimeout) * time.Millisecond, protocols: member.classic.Protocols,
		})
	}
	g.leader, g.protocol = g.members[0].id, g.choose()
	names := old.topicNames()
	for _, c := range g.members {
		c.assignment = assignor.AppendAssignment(nil, assignor.SubscriptionVersion(c.metadata(g.protocol)), old.member(c.id).target.named(names), nil)
	}
	m.deleteServer()
	m.classic = g
	m.storeClassic(g.assignments())
	for _, c := range g.members {
		m.restartSession(c)
	}
	if joined == nil {
		m.prepareRebalance()
	}
}
