package group

// sync is SyncGroup.
func (m *machine) sync(req SyncRequest) {
	refused := func(err error) { m.answer(m.call, SyncResponse{}.refused(err)) }
	g := m.classic
	switch {
	case m.name == "":
		refused(ErrInvalidGroupID)
		return
	case m.server != nil:
		m.serverSync(req)
		return
	case g == nil:
		refused(ErrUnknownMember)
		return
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		refused(err)
		return
	}
	member := g.member(req.MemberID)
	switch {
	case req.Generation != g.generation:
		refused(ErrIllegalGeneration)
	case req.ProtocolType != "" && req.ProtocolType != g.protocolType, req.Protocol != "" && g.protocol != "" && req.Protocol != g.protocol:
		refused(ErrInconsistentProtocol)
	case g.state == PreparingRebalance:
		refused(ErrRebalanceInProgress)
	case g.state == CompletingRebalance:
		m.endSync(member, SyncResponse{}.refused(ErrRebalanceInProgress)) // it asks twice: the later call counts
		member.syncing = m.call
		m.synced(member)
		if member.id == g.leader && !m.assigning() {
			m.assign(req.Assignments)
		}
	case g.state == Stable:
		m.synced(member)
		m.answer(m.call, SyncResponse{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: member.assignment})
	default:
		refused(ErrUnknownMember)
	}
}

// synced notes that a member has asked for its assignment.
func (m *machine) synced(member *classicMember) {
	g := m.classic
	g.change(member, func() { member.owesSync = false })
	if g.checkIndex(); g.index().owing == 0 {
		m.stopTimer(timerSync, "")
	}
}

// assigning tells whether an assignment of this generation is being stored. A leader that asks again does not get another: the log would
// then say otherwise than what members were told.
func (m *machine) assigning() bool {
	for _, u := range m.unsure {
		if then, ok := u.then.(assignmentStored); ok && then.born == m.classic.born && then.generation == m.classic.generation {
			return true
		}
	}
	return false
}

// assign stores what the leader decided. It goes out when it is stored.
func (m *machine) assign(given map[string][]byte) {
	g := m.classic
	assignments := make(map[string][]byte, len(g.members))
	for _, member := range g.members {
		assignments[member.id] = given[member.id]
	}
	m.storeClassic(assignments)
	m.then = assignmentStored{g.born, g.generation, assignments}
}

// assignmentStored sends the assignments out, unless the group has moved on meanwhile.
func (m *machine) assignmentStored(done assignmentStored) {
	g := m.classic
	if g == nil || g.born != done.born || g.state != CompletingRebalance || g.generation != done.generation {
		return
	}
	for _, member := range g.members {
		member.assignment = done.assignments[member.id]
		if member.syncing != 0 {
			m.endSync(member, SyncResponse{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: member.assignment})
			m.restartSession(member)
		}
	}
	m.setState(Stable)
}

// heartbeat is Heartbeat.
func (m *machine) heartbeat(req HeartbeatRequest) {
	answer := func(err error) { m.answer(m.call, HeartbeatResponse{err}) }
	g := m.classic
	switch {
	case m.name == "":
		answer(ErrInvalidGroupID)
		return
	case m.server != nil:
		answer(m.serverClassicHeartbeat(req))
		return
	case g == nil:
		answer(ErrUnknownMember)
		return
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		answer(err)
		return
	}
	switch member := g.member(req.MemberID); {
	case req.Generation != g.generation:
		answer(ErrIllegalGeneration)
	case g.state == PreparingRebalance:
		m.restartSession(member)
		answer(ErrRebalanceInProgress)
	default:
		m.restartSession(member)
		answer(nil)
	}
}

// leave is LeaveGroup.
func (m *machine) leave(req LeaveRequest) {
	g := m.classic
	switch {
	case m.name == "":
		m.answer(m.call, LeaveResponse{Err: ErrInvalidGroupID})
		return
	case m.server != nil:
		m.serverLeaveClassic(req)
		return
	case g == nil:
		m.answer(m.call, LeaveResponse{Err: ErrUnknownMember})
		return
	}
	var r LeaveResponse
	size := len(g.members)
	for _, who := range req.Members {
		r.Members = append(r.Members, LeaverResponse{who, m.leaveOne(who)})
	}
	m.answer(m.call, r)
	m.goOn(len(g.members) < size)
}

func (m *machine) leaveOne(who Leaver) error {
	g := m.classic
	id := who.MemberID
	switch {
	case id == "":
		if id = g.static(who.InstanceID); id == "" {
			return ErrUnknownMember
		}
	case g.pending[id]:
	default:
		if err := g.check(id, who.InstanceID); err != nil {
			return err
		}
	}
	m.dropMember(id, ErrUnknownMember)
	return nil
}

// lose removes a member, or an id given out, and the group goes on.
func (m *machine) lose(id string) {
	size := len(m.classic.members)
	m.dropMember(id, ErrUnknownMember)
	m.goOn(len(m.classic.members) < size)
}

// goOn goes on without those that were dropped. A member's loss is shared out anew; an id that never came back is only not waited for.
func (m *machine) goOn(lost bool) {
	switch g := m.classic; {
	case lost && (g.state == Stable || g.state == CompletingRebalance):
		m.prepareRebalance()
	default:
		m.completeIfJoined()
	}
}

// classicTimer is a timer that has run down.
func (m *machine) classicTimer(name timerName) {
	switch name.kind {
	case timerSession:
		m.sessionEnded(name.member)
	case timerJoin:
		m.joinTimeIsUp()
	case timerSync:
		m.syncTimeIsUp()
	}
}

// sessionEnded removes a member that was silent for too long. One that waits for an answer is not silent, except a new one: its client may
// be gone, and asks again if it is not.
func (m *machine) sessionEnded(id string) {
	g := m.classic
	switch member := g.member(id); {
	case g.pending[id]:
	case member == nil, !member.fresh && (member.joining != 0 || member.syncing != 0):
		return
	}
	m.lose(id)
}

// syncTimeIsUp removes the members that have not asked for their assignment.
func (m *machine) syncTimeIsUp() {
	g := m.classic
	if g.state != CompletingRebalance && g.state != Stable {
		return
	}
	var late []string
	for _, member := range g.members {
		if member.owesSync {
			late = append(late, member.id)
		}
	}
	for _, id := range late {
		m.dropMember(id, ErrUnknownMember)
	}
	if len(late) > 0 {
		m.prepareRebalance()
	}
}
