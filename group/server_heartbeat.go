package group

import (
	"github.com/quirelog/quire/group/assignor"
	"slices"
)

// consumerHeartbeat is ConsumerGroupHeartbeat, the one call of the server-side protocol.
func (m *machine) consumerHeartbeat(req ConsumerHeartbeatRequest) {
	answer := ConsumerHeartbeatResponse{MemberID: req.MemberID, Epoch: req.Epoch}
	err := m.checkHeartbeat(req)
	switch {
	case err != nil:
	case req.Epoch < 0:
		err = m.leaveServer(req)
	default:
		answer, err = m.beat(req)
	}
	if err != nil {
		m.answer(m.call, answer.refused(err))
		return
	}
	m.answer(m.call, answer)
}

// checkHeartbeat refuses what no group could accept.
func (m *machine) checkHeartbeat(req ConsumerHeartbeatRequest) error {
	switch {
	case m.name == "":
		return refuse(ErrInvalidRequest, "no group name")
	case req.Epoch < EpochLeaveStatic:
		return refuse(ErrInvalidRequest, "epoch %d", req.Epoch)
	case req.Epoch != 0 && req.MemberID == "":
		return refuse(ErrInvalidRequest, "no member id")
	case req.Epoch == EpochLeaveStatic && req.InstanceID == "":
		return refuse(ErrInvalidRequest, "only static members leave for a while")
	case req.Epoch == 0 && req.RebalanceTimeout <= 0:
		return refuse(ErrInvalidRequest, "a member that joins has a rebalance timeout")
	case req.Epoch == 0 && len(req.Owned) > 0:
		return refuse(ErrInvalidRequest, "a member that joins owns nothing")
	case req.Epoch == 0 && len(req.Topics) == 0 && (req.Regex == nil || *req.Regex == ""):
		return refuse(ErrInvalidRequest, "a member that joins subscribes to something")
	case req.Assignor != "" && m.assignor(req.Assignor) == nil:
		return refuse(ErrUnsupportedAssignor, "%q", req.Assignor)
	case req.Regex != nil && *req.Regex != "":
		_, err := compileRegex(*req.Regex)
		return err
	default:
		return nil
	}
}

func (m *machine) assignor(name string) assignor.Assignor {
	for _, a := range m.cfg.Assignors {
		if a.Name() == name {
			return a
		}
	}
	return nil
}

// beat joins, reports and asks.
func (m *machine) beat(req ConsumerHeartbeatRequest) (ConsumerHeartbeatResponse, error) {
	failed := ConsumerHeartbeatResponse{MemberID: req.MemberID, Epoch: req.Epoch}
	if err := m.needServer(req); err != nil {
		return failed, err
	}
	g := m.server
	if len(g.members) >= m.cfg.MaxSize && g.member(req.MemberID) == nil {
		return failed, ErrGroupFull
	}
	if req.MemberID == "" {
		req.MemberID = req.Fresh
	}
	member, err := m.identify(req)
	if err != nil {
		return failed, err
	}
	before := member.assigned
	m.startTimer(timerSession, member.id, m.cfg.ServerSession)
	m.subscribe(member, req)
	if err := m.retarget(); err != nil {
		return failed, err
	}
	var owned *partitionSet
	if req.Owned != nil || req.Epoch == 0 {
		set := newPartitionSet(req.Owned)
		owned = &set
	}
	m.reconcile(member, owned)
	r := ConsumerHeartbeatResponse{MemberID: member.id, Epoch: member.epoch, Interval: m.cfg.ServerHeartbeat}
	full := req.Epoch == 0 || req.RebalanceTimeout > 0 && (req.Topics != nil || req.Regex != nil) && req.Owned != nil
	if full || !slices.Equal(before, member.assigned) {
		r.HasAssigned, r.Assigned = true, member.assigned.byTopic()
	}
	return r, nil
}

// needServer makes sure of a server-side group: a new one, in place of a classic one without members, or made of a classic one.
func (m *machine) needServer(req ConsumerHeartbeatRequest) error {
	switch {
	case m.server != nil:
	case req.Epoch != 0:
		return ErrGroupNotFound
	case m.classic == nil || m.classic.state == Empty:
		if m.classic != nil {
			m.stopAllTimers()
			if m.classic.generation > 0 {
				m.store(RecordKey{Kind: KeyGroup}, nil)
			}
			m.classic = nil
		}
		m.server = newServerGroup()
	default:
		return m.upgrade(req.MemberID)
	}
	return nil
}

// identify finds the member that calls, or makes it.
func (m *machine) identify(req ConsumerHeartbeatRequest) (*serverMember, error) {
	g := m.server
	joins := req.Epoch == 0
	if req.InstanceID == "" {
		member := g.member(req.MemberID)
		if member == nil {
			if !joins {
				return nil, ErrUnknownMember
			}
			member = &serverMember{id: req.MemberID}
			g.add(member)
		}
		return member, member.admits(req)
	}
	member := g.static(req.InstanceID)
	switch {
	case joins && member == nil:
		if g.member(req.MemberID) != nil {
			return nil, refuse(ErrInvalidRequest, "member %q is there under another instance id", req.MemberID)
		}
		member = &serverMember{id: req.MemberID, instance: req.InstanceID}
		g.add(member)
		return member, nil
	case joins:
		if member.classic == nil && member.epoch != EpochLeaveStatic {
			return nil, refuse(ErrUnreleasedInstance, "instance %q is %q", req.InstanceID, member.id)
		}
		return member, m.replace(member, req.MemberID)
	case member == nil:
		return nil, ErrUnknownMember
	case member.id != req.MemberID:
		return nil, refuse(ErrFencedInstance, "instance %q is now %q", req.InstanceID, member.id)
	default:
		return member, member.admits(req)
	}
}

// admits checks a heartbeat's epoch. The one before the member's is accepted if the member has nothing that is not its own: the answer that
// brought the new epoch may have been lost.
func (m *serverMember) admits(req ConsumerHeartbeatRequest) error {
	switch {
	case req.Epoch == m.epoch:
		return nil
	case req.Epoch > m.epoch:
		return refuse(ErrFencedEpoch, "epoch %d is beyond the member's %d", req.Epoch, m.epoch)
	case req.Epoch == m.previous && (req.Owned != nil || req.Epoch == 0) && len(newPartitionSet(req.Owned).minus(m.assigned)) == 0:
		return nil
	default:
		return refuse(ErrFencedEpoch, "epoch %d, and the member's is %d", req.Epoch, m.epoch)
	}
}

// replace gives a static member's place to another member id.
func (m *machine) replace(member *serverMember, id string) error {
	g := m.server
	if other := g.member(id); other != nil && other != member {
		return refuse(ErrInvalidRequest, "member %q is there under another instance id", id)
	}
	m.forget(member)
	member.id, member.epoch, member.previous = id, 0, 0
	g.add(member)
	m.store(RecordKey{Kind: KeyMember, Member: id}, member.record())
	m.store(RecordKey{Kind: KeyTarget, Member: id}, TargetRecord{member.target.byTopic()})
	m.store(RecordKey{Kind: KeyCurrent, Member: id}, member.current())
	return nil
}

// subscribe takes over what the heartbeat says of the member. A changed subscription makes a new group epoch.
func (m *machine) subscribe(member *serverMember, req ConsumerHeartbeatRequest) {
	if member.classic != nil { // it changes its protocol, and with it its time limits
		m.stopTimer(timerMemberJoin, member.id)
		m.stopTimer(timerMemberSync, member.id)
		if member.state == MemberUnrevoked {
			m.startTimer(timerRevoke, member.id, member.rebalance)
		}
	}
	next := *member
	next.clientID, next.clientHost, next.classic = req.ClientID, req.ClientHost, nil
	if req.InstanceID != "" {
		next.instance = req.InstanceID
	}
	if req.Rack != "" {
		next.rack = req.Rack
	}
	if req.RebalanceTimeout > 0 {
		next.rebalance = req.RebalanceTimeout
	}
	if req.Assignor != "" {
		next.assignor = req.Assignor
	}
	if req.Topics != nil {
		next.topics = sortedNames(req.Topics)
	}
	if req.Regex != nil {
		next.regex = *req.Regex
	}
	m.update(member, next)
}

func sortedNames(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// update changes what is stored of a member's wishes, if they changed. A changed subscription makes a new group epoch.
func (m *machine) update(member *serverMember, next serverMember) {
	g := m.server
	isNew := member.epoch == 0 && member.topics == nil && member.regex == ""
	resubscribed := isNew || !slices.Equal(member.topics, next.topics) || member.regex != next.regex
	changed := resubscribed || member.instance != next.instance || member.rack != next.rack || member.clientID != next.clientID ||
		member.clientHost != next.clientHost || member.rebalance != next.rebalance || member.assignor != next.assignor ||
		!sameClassic(member.classic, next.classic)
	if member.instance != next.instance {
		g.letGo(member)
		defer g.hold(member)
	}
	*member = next
	if changed {
		m.store(RecordKey{Kind: KeyMember, Member: member.id}, member.record())
	}
	if resubscribed || g.refresh {
		m.newTopics(resubscribed)
	}
}

func sameClassic(a, b *ClassicMember) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.SessionTimeout == b.SessionTimeout && sameProtocols(a.Protocols, b.Protocols)
}

// leaveServer lets a member go: for good, or a static one for a while.
func (m *machine) leaveServer(req ConsumerHeartbeatRequest) error {
	g := m.server
	if g == nil {
		return ErrGroupNotFound
	}
	member := g.member(req.MemberID)
	if req.InstanceID != "" {
		if member = g.static(req.InstanceID); member != nil && member.id != req.MemberID {
			return refuse(ErrFencedInstance, "instance %q is now %q", req.InstanceID, member.id)
		}
	}
	switch {
	case member == nil:
		return ErrUnknownMember
	case req.Epoch == EpochLeaveStatic:
		g.letGo(member)
		member.epoch, member.revoking = EpochLeaveStatic, nil
		g.hold(member)
		m.stopTimer(timerRevoke, member.id)
		m.store(RecordKey{Kind: KeyCurrent, Member: member.id}, member.current())
	default:
		m.fence(member)
	}
	return nil
}

// fence removes a member. If that leaves only members of the classic protocol, the group may become classic again.
func (m *machine) fence(member *serverMember) {
	g := m.server
	if m.mayDowngrade(member, len(g.members)-1) && len(g.members) > 1 {
		m.downgrade(member, nil)
		return
	}
	m.forget(member)
	m.newTopics(true)
}

// serverTimer is a timer that has run down.
func (m *machine) serverTimer(name timerName) {
	if member := m.server.member(name.member); member != nil {
		m.fence(member)
	}
}
