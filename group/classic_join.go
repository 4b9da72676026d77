package group

import "slices"

// join is JoinGroup.
func (m *machine) join(req JoinRequest) {
	refused := func(err error) { m.answer(m.call, JoinResponse{MemberID: req.MemberID}.refused(err)) }
	switch {
	case m.name == "":
		refused(ErrInvalidGroupID)
		return
	case req.SessionTimeout < m.cfg.MinSession || req.SessionTimeout > m.cfg.MaxSession:
		refused(ErrInvalidSessionTimeout)
		return
	case m.server != nil && len(m.server.members) > 0 && req.local: // it would have to send heartbeats
		refused(refuse(ErrInconsistentProtocol, "the group's members speak the server-side protocol"))
		return
	case m.server != nil && len(m.server.members) > 0:
		m.serverJoin(req)
		return
	case m.classic == nil && req.MemberID != "":
		refused(ErrUnknownMember)
		return
	}
	if m.server != nil { // without members: the group changes its protocol
		m.deleteServer()
	}
	if m.classic == nil {
		m.classic = m.newClassic(Empty)
	}
	g := m.classic
	switch {
	case !m.hasRoom(req.MemberID):
		m.turnAway(req.MemberID)
	case !g.accepts(req.ProtocolType, req.Protocols):
		refused(ErrInconsistentProtocol)
	case req.MemberID == "":
		m.joinNew(req)
	default:
		m.joinAgain(req)
	}
}

// turnAway refuses a member for want of room. One that the group knows, or whose id it gave out, gives up its place; a newcomer has none,
// and leaves everything as it is.
func (m *machine) turnAway(id string) {
	m.answer(m.call, JoinResponse{}.refused(ErrGroupFull))
	if m.classic.member(id) != nil || m.classic.pending[id] {
		m.lose(id)
	}
}

// hasRoom tells whether the member may join as far as the group's size goes. During a rebalance those that came first have a place.
func (m *machine) hasRoom(id string) bool {
	g := m.classic
	member := g.member(id)
	switch g.state {
	case Empty:
		return true
	case PreparingRebalance:
		return member != nil && member.joining != 0 || g.joined() < m.cfg.MaxSize
	default:
		return member != nil || len(g.members) < m.cfg.MaxSize
	}
}

func (m *machine) joinNew(req JoinRequest) {
	g := m.classic
	id := req.ClientID + "-" + req.Fresh
	if req.InstanceID != "" {
		id = req.InstanceID + "-" + req.Fresh
		if old := g.static(req.InstanceID); old != "" {
			m.takeOver(req, old, id)
			return
		}
	} else if req.NeedsMemberID {
		if g.pending == nil {
			g.pending = map[string]bool{}
		}
		g.pending[id] = true
		m.startTimer(timerSession, id, req.SessionTimeout)
		m.answer(m.call, JoinResponse{MemberID: id}.refused(ErrMemberIDRequired))
		return
	}
	m.addMember(req, id)
}

func (m *machine) addMember(req JoinRequest, id string) {
	g := m.classic
	if len(g.members) == 0 {
		g.protocolType = req.ProtocolType
	}
	if g.leader == "" {
		g.leader = id
	}
	delete(g.pending, id)
	g.add(&classicMember{
		id: id, instance: req.InstanceID, clientID: req.ClientID, clientHost: req.ClientHost, rebalance: req.RebalanceTimeout,
		session: req.SessionTimeout, protocols: req.Protocols, joining: m.call, fresh: true, local: req.local,
	})
	if g.initial {
		g.grew = true
	}
	if !req.local {
		m.startTimer(timerSession, id, m.cfg.NewMemberTimeout)
	}
	m.prepareOrComplete()
}

// joinAgain is the join of a member that has an id.
func (m *machine) joinAgain(req JoinRequest) {
	g := m.classic
	if g.pending[req.MemberID] && req.InstanceID == "" {
		m.addMember(req, req.MemberID)
		return
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		m.answer(m.call, JoinResponse{MemberID: req.MemberID}.refused(err))
		return
	}
	member := g.member(req.MemberID)
	unchanged := sameProtocols(member.protocols, req.Protocols)
	switch {
	case g.state == CompletingRebalance && unchanged, g.state == Stable && unchanged && g.leader != member.id:
		// It may have missed the answer to its last join.
		m.answer(m.call, m.joinAnswer(member))
	default:
		m.updateMember(member, req)
		m.prepareOrComplete()
	}
}

// updateMember parks the call of a member that joins again. A call of it that waits already is told to ask again.
func (m *machine) updateMember(member *classicMember, req JoinRequest) {
	m.endJoin(member, JoinResponse{MemberID: member.id}.refused(ErrRebalanceInProgress))
	member.rebalance, member.session = req.RebalanceTimeout, req.SessionTimeout
	m.classic.change(member, func() { member.protocols, member.joining = req.Protocols, m.call })
	if member.local = req.local; req.local {
		m.stopTimer(timerSession, member.id)
	}
}

// joinAnswer is the current generation.
func (m *machine) joinAnswer(member *classicMember) JoinResponse {
	g := m.classic
	r := JoinResponse{
		Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader, MemberID: member.id,
	}
	if member.id == g.leader {
		for _, other := range g.members {
			r.Members = append(r.Members, JoinedMember{other.id, other.instance, other.metadata(g.protocol)})
		}
	}
	return r
}

// takeOver gives a static member's place to its new member id. The old id is fenced at once.
func (m *machine) takeOver(req JoinRequest, oldID, newID string) {
	g := m.classic
	member := g.member(oldID)
	m.endJoin(member, JoinResponse{MemberID: oldID}.refused(ErrFencedInstance))
	m.endSync(member, SyncResponse{}.refused(ErrFencedInstance))
	m.stopTimersOf(oldID)
	g.rename(member, newID)
	if g.leader == oldID {
		g.leader = newID
	}
	member.clientID, member.clientHost = req.ClientID, req.ClientHost
	m.updateMember(member, req)
	m.restartSession(member)
	switch {
	case g.state == Stable && g.choose() == g.protocol:
		r := m.joinAnswer(member)
		if req.SkipsAssignment {
			r.SkipAssignment = newID == g.leader
		} else {
			r.Members = nil
			if newID == g.leader { // it would assign; so it must not know that it leads
				r.Leader = oldID
			}
		}
		m.storeClassic(g.assignments())
		m.endJoin(member, r)
	case g.state == CompletingRebalance:
		m.prepareRebalance()
	default:
		m.prepareOrComplete()
	}
}

// endJoin answers a join that waits, if one does.
func (m *machine) endJoin(member *classicMember, a answer) {
	if member.joining != 0 {
		m.answer(member.joining, a)
		m.classic.change(member, func() { member.joining = 0 })
	}
}

func (m *machine) endSync(member *classicMember, a answer) {
	if member.syncing != 0 {
		m.answer(member.syncing, a)
		member.syncing = 0
	}
}

// dropMember removes a member, or an id given out, and answers what it waits for.
func (m *machine) dropMember(id string, why Code) {
	g := m.classic
	if member := g.member(id); member != nil {
		m.endJoin(member, JoinResponse{}.refused(why))
		m.endSync(member, SyncResponse{}.refused(why))
	}
	m.stopTimersOf(id)
	g.remove(id)
}

// prepareOrComplete begins a rebalance, or ends the one that is being prepared if no member is missing.
func (m *machine) prepareOrComplete() {
	g := m.classic
	switch {
	case g.state != PreparingRebalance:
		m.prepareRebalance()
	default:
		m.completeIfJoined()
	}
}

// completeIfJoined ends the rebalance that is being prepared if no member is missing.
func (m *machine) completeIfJoined() {
	if g := m.classic; g.state == PreparingRebalance && !g.initial && g.allJoined() {
		m.completeJoin()
	}
}

// prepareRebalance asks everybody to join again.
func (m *machine) prepareRebalance() {
	g := m.classic
	for _, member := range g.members {
		if g.state == CompletingRebalance {
			member.assignment = nil
			if member.syncing != 0 { // while it waited its session did not count
				m.endSync(member, SyncResponse{}.refused(ErrRebalanceInProgress))
				m.restartSession(member)
			}
		}
		g.change(member, func() { member.owesSync = false })
	}
	m.stopTimer(timerSync, "")
	if g.state == Empty && !g.allLocal() {
		g.initial, g.grew = true, false
		g.window, g.remaining = m.cfg.InitialDelay, max(g.rebalanceTimeout()-m.cfg.InitialDelay, 0)
		m.startTimer(timerJoin, "", g.window)
	}
	m.setState(PreparingRebalance)
	switch {
	case g.initial:
	case g.allJoined():
		m.completeJoin()
	default:
		m.startTimer(timerJoin, "", g.rebalanceTimeout())
	}
}

// allLocal tells a group of members of this process. They are there when they join, so the first generation waits for nobody.
func (g *classicGroup) allLocal() bool {
	return !slices.ContainsFunc(g.members, func(member *classicMember) bool { return !member.local })
}

// joinTimeIsUp ends the wait for members to join, unless it is the first one and somebody new came: then it goes on, in all no longer than
// the longest rebalance timeout.
func (m *machine) joinTimeIsUp() {
	g := m.classic
	if g.state != PreparingRebalance {
		return
	}
	if g.initial && g.grew && g.remaining > 0 {
		window := min(m.cfg.InitialDelay, g.remaining)
		g.grew, g.remaining, g.window = false, max(g.remaining-g.window, 0), window
		m.startTimer(timerJoin, "", window)
		return
	}
	m.completeJoin()
}

// completeJoin begins the next generation with those who have joined. Static members that have not keep their place.
func (m *machine) completeJoin() {
	g := m.classic
	m.stopTimer(timerJoin, "")
	for _, member := range append([]*classicMember(nil), g.members...) {
		if member.joining == 0 && member.instance == "" {
			m.dropMember(member.id, ErrUnknownMember)
		}
	}
	if len(g.members) > 0 && !m.electJoined() {
		m.startTimer(timerJoin, "", g.rebalanceTimeout())
		return
	}
	g.generation++
	if len(g.members) == 0 {
		g.protocol = ""
		m.setState(Empty)
		m.storeClassic(nil)
		return
	}
	g.protocol = g.choose()
	m.setState(CompletingRebalance)
	for _, member := range g.members {
		m.endJoin(member, m.joinAnswer(member))
		m.restartSession(member)
		member.fresh = false
		g.change(member, func() { member.owesSync = true })
	}
	m.startTimer(timerSync, "", g.rebalanceTimeout())
}

// electJoined makes a member lead that has joined, and tells whether there is one.
func (m *machine) electJoined() bool {
	g := m.classic
	if leader := g.member(g.leader); leader != nil && leader.joining != 0 {
		return true
	}
	for _, member := range g.members {
		if member.joining != 0 {
			g.leader = member.id
			return true
		}
	}
	return false
}

// restartSession begins a member's session anew.
func (m *machine) restartSession(member *classicMember) {
	if !member.local {
		m.startTimer(timerSession, member.id, member.session)
	}
}

// disown begins the session of a member of this process that does not come back in time, or went without leaving.
func (m *machine) disown(id string) {
	if m.classic == nil {
		return
	}
	if member := m.classic.member(id); member != nil && member.local {
		member.local = false
		m.restartSession(member)
	}
}
