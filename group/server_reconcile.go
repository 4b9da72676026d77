package group

// reconcile brings a member one step closer to its target. It first takes away what is no longer the member's, and while the member may still
// read that, the member stays in its epoch; then it is in the target's epoch, and gets of its target what nobody else may read. owned is
// what the member says it has; nil if it does not say.
func (m *machine) reconcile(member *serverMember, owned *partitionSet) {
	g := m.server
	if member.settled(g.targetEpoch) {
		return
	}
	epoch := member.epoch
	if member.state == MemberUnrevoked {
		if owned == nil || owned.meets(member.revoking) {
			return
		}
		epoch++ // it let go of what it was asked to
	}
	next := *member
	next.assigned = member.assigned.and(member.target)
	next.revoking = member.assigned.minus(next.assigned)
	missing := member.target.minus(next.assigned)
	free := missing.keep(func(p idPartition) bool { return g.held[p] == "" })
	switch {
	case len(next.revoking) > 0 && (owned == nil || owned.meets(next.revoking)):
		next.state, next.epoch = MemberUnrevoked, epoch
	default:
		next.revoking = nil
		next.assigned = next.assigned.plus(free)
		next.state, next.epoch = MemberStable, g.targetEpoch
		if len(free) < len(missing) {
			next.state = MemberUnreleased
		}
	}
	if next.epoch != member.epoch {
		next.previous = member.epoch
	}
	m.advance(member, next)
}

// advance stores where the member now stands, if it moved.
func (m *machine) advance(member *serverMember, next serverMember) {
	g := m.server
	if next.epoch == member.epoch && next.previous == member.previous && next.state == member.state &&
		len(next.assigned) == len(member.assigned) && len(next.revoking) == len(member.revoking) &&
		len(next.assigned.minus(member.assigned)) == 0 && len(next.revoking.minus(member.revoking)) == 0 {
		return
	}
	g.letGo(member)
	*member = next
	g.hold(member)
	m.store(RecordKey{Kind: KeyCurrent, Member: member.id}, member.current())
	switch {
	case member.classic != nil: // has timers of its own
	case member.state == MemberUnrevoked:
		m.startTimer(timerRevoke, member.id, member.rebalance)
	default:
		m.stopTimer(timerRevoke, member.id)
	}
}
