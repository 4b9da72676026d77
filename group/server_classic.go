package group

import (
	"github.com/quirelog/quire/group/assignor"
	"slices"
)

// Members of the classic protocol in a server-side group (KIP-848's migration). They join, sync and beat as ever; the coordinator assigns in
// the place of a leader, and their generation is their member epoch.

// serverJoin is JoinGroup for such a member.
func (m *machine) serverJoin(req JoinRequest) {
	refused := func(err error) { m.answer(m.call, JoinResponse{MemberID: req.MemberID}.refused(err)) }
	g := m.server
	isNew := req.MemberID == ""
	if isNew {
		req.MemberID = req.ClientID + "-" + req.Fresh
	}
	switch {
	case len(g.members) >= m.cfg.MaxSize && g.member(req.MemberID) == nil:
		refused(ErrGroupFull)
		return
	case req.ProtocolType != assignor.ProtocolType || !g.supports(req.Protocols):
		refused(ErrInconsistentProtocol)
		return
	case isNew && req.InstanceID == "" && req.NeedsMemberID:
		refused(ErrMemberIDRequired)
		return
	}
	subscription, err := assignor.ParseSubscription(req.Protocols[0].Metadata)
	if err != nil {
		refused(refuse(ErrInconsistentProtocol, "subscription to %q: %v", req.Protocols[0].Name, err))
		return
	}
	member, downgrades, err := m.identifyClassic(req, isNew)
	if err != nil {
		refused(err)
		return
	}
	m.startTimer(timerSession, member.id, req.SessionTimeout)
	next := *member
	next.instance, next.clientID, next.clientHost, next.rebalance = req.InstanceID, req.ClientID, req.ClientHost, req.RebalanceTimeout
	next.topics = sortedNames(subscription.Topics)
	next.regex = ""
	if subscription.Rack != "" {
		next.rack = subscription.Rack
	}
	next.classic = &ClassicMember{SessionTimeout: int32(req.SessionTimeout.Milliseconds()), Protocols: req.Protocols}
	m.stopTimer(timerRevoke, member.id)
	m.update(member, next)
	if err := m.retarget(); err != nil {
		refused(err)
		return
	}
	owned := g.numbers(subscription, m.meta)
	m.reconcile(member, &owned)
	r := JoinResponse{
		Generation: member.epoch, ProtocolType: assignor.ProtocolType, Protocol: req.Protocols[0].Name, MemberID: member.id,
	}
	m.stopTimer(timerMemberJoin, member.id)
	if downgrades {
		m.downgrade(nil, member)
	} else {
		m.startTimer(timerMemberSync, member.id, req.RebalanceTimeout)
	}
	m.answer(m.call, r)
}

// supports tells whether one of the protocols is one that all members of the classic protocol have.
func (g *serverGroup) supports(protocols []Protocol) bool {
	return slices.ContainsFunc(protocols, func(p Protocol) bool {
		return !slices.ContainsFunc(g.members, func(m *serverMember) bool {
			return m.classic != nil && !slices.ContainsFunc(m.classic.Protocols, func(q Protocol) bool { return p.Name == q.Name })
		})
	})
}

// identifyClassic finds the member that joins, or makes it, and tells whether its coming makes the group a classic one.
func (m *machine) identifyClassic(req JoinRequest, isNew bool) (member *serverMember, downgrades bool, err error) {
	g := m.server
	if req.InstanceID == "" {
		if member = g.member(req.MemberID); member == nil { // its id was given out, or the group forgot it
			member = &serverMember{id: req.MemberID}
			g.add(member)
		}
		return member, false, nil
	}
	member = g.static(req.InstanceID)
	switch {
	case isNew && member == nil:
		member = &serverMember{id: req.MemberID, instance: req.InstanceID}
		g.add(member)
		return member, false, nil
	case isNew:
		downgrades = m.mayDowngrade(member, len(g.members))
		return member, downgrades, m.replace(member, req.MemberID)
	case member == nil:
		return nil, false, ErrUnknownMember
	case member.id != req.MemberID:
		return nil, false, refuse(ErrFencedInstance, "instance %q is now %q", req.InstanceID, member.id)
	default:
		return member, false, nil
	}
}

// numbers turns what a subscription says the member owns into a set.
func (g *serverGroup) numbers(s assignor.Subscription, meta assignor.Metadata) partitionSet {
	var set partitionSet
	for _, tp := range s.Owned {
		if info, ok := meta[tp.Topic]; ok {
			set = append(set, idPartition{info.ID, tp.Partition})
		}
	}
	slices.SortFunc(set, compareIDPartitions)
	return slices.Compact(set)
}

// classicMember finds a member of the classic protocol that calls.
func (g *serverGroup) classicMember(id, instance string, generation int32) (*serverMember, error) {
	member := g.member(id)
	if instance != "" {
		if member = g.static(instance); member != nil && member.id != id {
			return nil, refuse(ErrFencedInstance, "instance %q is now %q", instance, member.id)
		}
	}
	switch {
	case member == nil, member.classic == nil:
		return nil, ErrUnknownMember
	case generation != member.epoch:
		return nil, ErrIllegalGeneration
	default:
		return member, nil
	}
}

// serverSync is SyncGroup: it fetches what the coordinator assigned.
func (m *machine) serverSync(req SyncRequest) {
	g := m.server
	member, err := g.classicMember(req.MemberID, req.InstanceID, req.Generation)
	switch {
	case err != nil:
	case req.ProtocolType != "" && req.ProtocolType != assignor.ProtocolType,
		req.Protocol != "" && req.Protocol != member.classic.Protocols[0].Name:
		err = ErrInconsistentProtocol
	case g.epoch > member.epoch && member.state != MemberUnrevoked:
		m.awaitJoin(member)
		err = ErrRebalanceInProgress
	}
	if err != nil {
		m.answer(m.call, SyncResponse{}.refused(err))
		return
	}
	m.stopTimer(timerMemberSync, member.id)
	m.startTimer(timerSession, member.id, m.sessionTimeout(member))
	protocol := member.classic.Protocols[0]
	m.answer(m.call, SyncResponse{
		ProtocolType: assignor.ProtocolType, Protocol: protocol.Name,
		Assignment: assignor.AppendAssignment(nil, assignor.SubscriptionVersion(protocol.Metadata), member.assigned.named(g.topicNames()), nil),
	})
}

// serverClassicHeartbeat is Heartbeat: it asks the member to join again when there is something to let go of or to fetch.
func (m *machine) serverClassicHeartbeat(req HeartbeatRequest) error {
	g := m.server
	member, err := g.classicMember(req.MemberID, req.InstanceID, req.Generation)
	if err != nil {
		return err
	}
	m.startTimer(timerSession, member.id, m.sessionTimeout(member))
	waits := slices.ContainsFunc(member.target.minus(member.assigned), func(p idPartition) bool { return g.held[p] != "" })
	if member.epoch < g.epoch || member.state == MemberUnrevoked || member.state == MemberUnreleased && !waits {
		m.awaitJoin(member)
		return ErrRebalanceInProgress
	}
	return nil
}

// awaitJoin gives a member its rebalance timeout to join again.
func (m *machine) awaitJoin(member *serverMember) {
	if _, runs := m.timers[timerName{timerMemberJoin, member.id}]; !runs {
		m.startTimer(timerMemberJoin, member.id, member.rebalance)
	}
}

// serverLeaveClassic is LeaveGroup.
func (m *machine) serverLeaveClassic(req LeaveRequest) {
	g := m.server
	var r LeaveResponse
	gone := false
	for _, who := range req.Members {
		member := g.member(who.MemberID)
		var err error
		if who.InstanceID != "" {
			member = g.static(who.InstanceID)
			if member != nil && who.MemberID != "" && member.id != who.MemberID {
				err = refuse(ErrFencedInstance, "instance %q is now %q", who.InstanceID, member.id)
			}
		}
		if err == nil && (member == nil || member.classic == nil) {
			err = ErrUnknownMember
		}
		if err == nil {
			m.forget(member)
			gone = true
		}
		r.Members = append(r.Members, LeaverResponse{who, err})
	}
	if gone {
		m.newTopics(true)
	}
	m.answer(m.call, r)
}
