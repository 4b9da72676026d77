package group

import (
	"errors"
	"testing"
	"time"

	"github.com/quirelog/quire/group/assignor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func beat(id string, generation int32) HeartbeatRequest {
	return HeartbeatRequest{MemberID: id, Generation: generation}
}

func TestFirstGenerationWaitsForMembers(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	first := d.send(joining("", "1", "a"))
	d.wait(2 * time.Second)
	second := d.send(joining("", "2", "a")) // in the first window: the wait goes on
	d.wait(3 * time.Second)
	assert.NotContains(t, d.answers, first)
	d.wait(time.Second)
	leader, follower := answered[JoinResponse](d, first), answered[JoinResponse](d, second)
	assert.Equal(t, JoinResponse{
		Generation: 1, ProtocolType: assignor.ProtocolType, Protocol: "range", Leader: "c-1", MemberID: "c-1",
		Members: []JoinedMember{{"c-1", "", leader.Members[0].Metadata}, {"c-2", "", leader.Members[1].Metadata}},
	}, leader)
	assert.Equal(t, JoinResponse{Generation: 1, ProtocolType: assignor.ProtocolType, Protocol: "range", Leader: "c-1", MemberID: "c-2"}, follower)
	assert.Equal(t, CompletingRebalance, d.m.state())
	require.NoError(t, ask[HeartbeatResponse](d, beat("c-1", 1)).Err)
	syncAll(d, []string{"c-1", "c-2"})
	assert.Equal(t, Stable, d.m.state())
	require.Len(t, d.log, 1)
	stored := d.log[0].value.(GroupRecord)
	assert.Equal(t, "for c-2", string(stored.Members[1].Assignment))
}

func TestFirstGenerationWaitsAtMostTheRebalanceTimeout(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	join := func(fresh string) uint64 {
		req := joining("", fresh, "a")
		req.RebalanceTimeout = 8 * time.Second
		return d.send(req)
	}
	first := join("0")
	for i := range 7 { // somebody new every second
		d.wait(time.Second)
		join(string(rune('a' + i)))
	}
	assert.NotContains(t, d.answers, first)
	d.wait(time.Second)
	assert.Contains(t, d.answers, first)
}

func TestJoinRefuses(t *testing.T) {
	d := drive(t, Config{MaxSize: 2}, abc(3))
	with := func(change func(*JoinRequest)) JoinRequest {
		req := joining("", "x", "a")
		change(&req)
		return req
	}
	d.refusedWith(ErrInvalidSessionTimeout, with(func(r *JoinRequest) { r.SessionTimeout = time.Second }))
	d.refusedWith(ErrInvalidSessionTimeout, with(func(r *JoinRequest) { r.SessionTimeout = time.Hour }))
	d.refusedWith(ErrUnknownMember, joining("who", "x", "a"))
	d.refusedWith(ErrInconsistentProtocol, with(func(r *JoinRequest) { r.Protocols = nil }))
	assert.True(t, d.m.unused(), "a refused join leaves nothing")
	ids := together(d, 2)
	d.refusedWith(ErrInconsistentProtocol, with(func(r *JoinRequest) { r.MemberID, r.ProtocolType = ids[0], "connect" }))
	d.refusedWith(ErrInconsistentProtocol, with(func(r *JoinRequest) { r.MemberID = ids[0]; r.Protocols = []Protocol{{"other", nil}} }))
	d.refusedWith(ErrGroupFull, joining("", "y", "a"))
	nameless := newMachine("", d.m.cfg, nil)
	out := nameless.step(0, 1, joining("", "x", "a"))
	assert.Equal(t, ErrInvalidGroupID, out[0].(reply).answer.(JoinResponse).Err)
}

func TestMemberIDIsGivenFirst(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	req := joining("", "1", "a")
	req.NeedsMemberID = true
	r := ask[JoinResponse](d, req)
	require.ErrorIs(t, r.Err, ErrMemberIDRequired)
	assert.Equal(t, "c-1", r.MemberID)
	call := d.send(joining(r.MemberID, "2", "a"))
	d.wait(3 * time.Second)
	assert.Equal(t, "c-1", answered[JoinResponse](d, call).MemberID)

	lost := joining("", "3", "a")
	lost.NeedsMemberID = true
	d.send(lost)
	syncAll(d, []string{"c-1"})
	again := d.send(joining("c-1", "", "a")) // the leader asks for a rebalance, which waits for the id given out
	assert.NotContains(t, d.answers, again)
	d.wait(10 * time.Second)
	require.NoError(t, answered[JoinResponse](d, again).Err, "an id that does not come back is forgotten after its session")
}

func TestRejoin(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	ids := together(d, 2)
	same := ask[JoinResponse](d, joining(ids[1], "", "a"))
	assert.Equal(t, int32(1), same.Generation, "a follower that changed nothing gets the current generation")
	changed := d.send(joining(ids[1], "", "a", "b"))
	assert.Equal(t, PreparingRebalance, d.m.state())
	d.refusedWith(ErrRebalanceInProgress, beat(ids[0], 1))
	d.refusedWith(ErrRebalanceInProgress, SyncRequest{MemberID: ids[0], Generation: 1})
	leader := ask[JoinResponse](d, joining(ids[0], "", "a"))
	assert.Equal(t, int32(2), leader.Generation)
	assert.Len(t, leader.Members, 2)
	assert.Equal(t, int32(2), answered[JoinResponse](d, changed).Generation)
	missed := ask[JoinResponse](d, joining(ids[0], "", "a"))
	assert.Equal(t, leader, missed, "a join answer that was lost is given again")
	d.refusedWith(ErrIllegalGeneration, beat(ids[0], 1))
	syncAll(d, ids)
	again := d.send(joining(ids[0], "", "a")) // the leader always rebalances
	assert.NotContains(t, d.answers, again)
	assert.Equal(t, PreparingRebalance, d.m.state())
}

func TestRebalanceEndsWithoutTheSilent(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	ids := together(d, 3)
	call := d.send(joining(ids[0], "", "a"))
	for range 7 { // the second still beats, and does not join
		d.wait(9 * time.Second)
		if d.answers[call] == nil {
			d.send(beat(ids[1], 1))
		}
	}
	r := answered[JoinResponse](d, call)
	require.NoError(t, r.Err)
	assert.Len(t, r.Members, 1, "after the longest rebalance timeout it begins without them")
	d.refusedWith(ErrUnknownMember, beat(ids[1], 1))
}

func TestLeaderThatDoesNotSyncIsRemoved(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	first, second := d.send(joining("", "1", "a")), d.send(joining("", "2", "a"))
	d.wait(6 * time.Second)
	leader, follower := answered[JoinResponse](d, first), answered[JoinResponse](d, second)
	waits := d.send(SyncRequest{MemberID: follower.MemberID, Generation: 1})
	for range 12 {
		d.wait(5 * time.Second)
		d.send(beat(leader.MemberID, 1))
	}
	assert.ErrorIs(t, answered[SyncResponse](d, waits).Err, ErrRebalanceInProgress)
	d.refusedWith(ErrUnknownMember, beat(leader.MemberID, 1))
	again := ask[JoinResponse](d, joining(follower.MemberID, "", "a"))
	assert.Equal(t, follower.MemberID, again.Leader)
	assert.Equal(t, int32(2), again.Generation)
}

func TestSessionAndLeave(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	ids := together(d, 2)
	d.wait(9 * time.Second)
	require.NoError(t, ask[HeartbeatResponse](d, beat(ids[0], 1)).Err)
	d.wait(2 * time.Second)
	d.refusedWith(ErrUnknownMember, beat(ids[1], 1))
	d.refusedWith(ErrRebalanceInProgress, beat(ids[0], 1))
	r := ask[LeaveResponse](d, LeaveRequest{[]Leaver{{MemberID: "nobody"}, {MemberID: ids[0]}}})
	require.ErrorIs(t, r.Members[0].Err, ErrUnknownMember)
	require.NoError(t, r.Members[1].Err)
	assert.Equal(t, Empty, d.m.state())
	assert.Equal(t, int32(2), d.m.classic.generation)
	assert.Empty(t, d.timers, "an empty group has no timer")
	d.refusedWith(ErrUnknownMember, beat(ids[0], 2))
}

func TestStaticMemberBounces(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	a, b := d.send(staticJoin("", "A", "1", "a")), d.send(staticJoin("", "B", "1", "a"))
	d.wait(6 * time.Second)
	ids := []string{answered[JoinResponse](d, a).MemberID, answered[JoinResponse](d, b).MemberID}
	assert.Equal(t, []string{"A-1", "B-1"}, ids)
	syncAll(d, ids)

	back := ask[JoinResponse](d, staticJoin("", "A", "2", "a"))
	require.NoError(t, back.Err)
	assert.Equal(t, int32(1), back.Generation, "no rebalance")
	assert.Equal(t, "A-2", back.Leader)
	assert.True(t, back.SkipAssignment)
	assert.Equal(t, Stable, d.m.state())
	assert.Equal(t, "for A-1", string(ask[SyncResponse](d, SyncRequest{MemberID: "A-2", InstanceID: "A", Generation: 1}).Assignment))
	old := beat("A-1", 1)
	old.InstanceID = "A"
	d.refusedWith(ErrFencedInstance, old)
	d.refusedWith(ErrFencedInstance, SyncRequest{MemberID: "A-1", InstanceID: "A", Generation: 1})
	d.refusedWith(ErrFencedInstance, CommitRequest{MemberID: "A-1", InstanceID: "A", Generation: 1, ProducerID: -1})
	d.refusedWith(ErrFencedInstance, staticJoin("A-1", "A", "", "a"))

	older := staticJoin("", "A", "3", "a")
	older.SkipsAssignment = false
	assert.Equal(t, "A-2", ask[JoinResponse](d, older).Leader, "a client that cannot skip is not told that it leads")

	removed := ask[LeaveResponse](d, LeaveRequest{[]Leaver{{InstanceID: "B"}}})
	require.NoError(t, removed.Members[0].Err, "an administrator names the instance alone")
	assert.Equal(t, PreparingRebalance, d.m.state())
}

func TestStaticMemberChangesItsMind(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	both := staticJoin("", "A", "1", "a")
	both.Protocols = append(both.Protocols, Protocol{"other", nil})
	a := d.send(both)
	d.wait(3 * time.Second)
	syncAll(d, []string{answered[JoinResponse](d, a).MemberID})
	other := staticJoin("", "A", "2", "a")
	other.Protocols = []Protocol{{"other", nil}}
	d.refusedWith(nil, other)
	assert.Equal(t, "other", d.m.classic.protocol, "the protocol changes, so there is a rebalance")
	assert.Equal(t, int32(2), d.m.classic.generation)
}

func TestStaticMembersDoNotLeaveByARebalance(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	long := staticJoin("", "A", "1", "a")
	long.SessionTimeout = 10 * time.Minute
	a, b := d.send(long), d.send(joining("", "2", "a"))
	d.wait(6 * time.Second)
	ids := []string{answered[JoinResponse](d, a).MemberID, answered[JoinResponse](d, b).MemberID}
	syncAll(d, ids)
	call := d.send(joining(ids[1], "", "a", "b"))
	d.wait(time.Minute)
	r := answered[JoinResponse](d, call)
	require.Len(t, r.Members, 2, "the static member keeps its place until its session ends")
	assert.Equal(t, ids[1], r.Leader)
}

func TestProtocolWithMostVotes(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	wish := func(fresh string, names ...string) {
		req := joining("", fresh, "a")
		req.Protocols = nil
		for _, name := range names {
			req.Protocols = append(req.Protocols, Protocol{name, []byte(name)})
		}
		d.send(req)
	}
	wish("1", "x", "y", "z")
	wish("2", "y", "x")
	wish("3", "z", "y", "x")
	d.wait(6 * time.Second)
	assert.Equal(t, "y", d.m.classic.protocol, "z is not everybody's, and its voter then likes y best")
}

func TestFailedAppendGivesTheMachineUp(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	first, second := d.send(joining("", "1", "a")), d.send(joining("", "2", "a"))
	d.wait(6 * time.Second)
	leader, follower := answered[JoinResponse](d, first), answered[JoinResponse](d, second)
	d.slow = true
	waits := d.send(SyncRequest{MemberID: follower.MemberID, Generation: 1})
	assigns := d.send(SyncRequest{MemberID: leader.MemberID, Generation: 1})
	assert.NotContains(t, d.answers, assigns, "nobody is told what is not stored")
	d.report(errors.New("no room"))
	assert.ErrorIs(t, answered[SyncResponse](d, waits).Err, ErrNotAvailable)
	assert.ErrorContains(t, answered[SyncResponse](d, assigns).Err, "no room")
	assert.True(t, d.dead)
	assert.Empty(t, d.timers)
	d.refusedWith(ErrNotAvailable, joining("", "3", "a"))
}

func TestAssignmentOfAnOldGenerationIsNotSent(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	first, second := d.send(joining("", "1", "a")), d.send(joining("", "2", "a"))
	d.wait(6 * time.Second)
	leader, follower := answered[JoinResponse](d, first), answered[JoinResponse](d, second)
	d.slow = true
	assigns := d.send(SyncRequest{MemberID: leader.MemberID, Generation: 1})
	d.send(joining(follower.MemberID, "", "a", "b"))
	d.report(nil)
	assert.ErrorIs(t, answered[SyncResponse](d, assigns).Err, ErrRebalanceInProgress)
	assert.Equal(t, PreparingRebalance, d.m.state())
}

func TestClassicGroupReopens(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	ids := together(d, 2)
	d.send(CommitRequest{MemberID: ids[0], Generation: 1, ProducerID: -1, Offsets: []PartitionOffset{{TopicPartition: tp("a", 0), Offset: 7}}})
	d.reopen()
	assert.Equal(t, Stable, d.m.state())
	require.NoError(t, ask[HeartbeatResponse](d, beat(ids[1], 1)).Err)
	assert.Equal(t, "for "+ids[1], string(ask[SyncResponse](d, SyncRequest{MemberID: ids[1], Generation: 1}).Assignment))
	assert.Equal(t, int64(7), ask[FetchOffsetsResponse](d, FetchOffsetsRequest{Epoch: -1}).Offsets[0].Offset)
	d.wait(11 * time.Second)
	d.refusedWith(ErrUnknownMember, beat(ids[1], 1))
}

func TestLeaderThatAsksTwiceAssignsOnce(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	first := d.send(joining("", "1", "a"))
	d.wait(3 * time.Second)
	leader := answered[JoinResponse](d, first)
	d.slow = true
	assigning := func(what string) uint64 {
		return d.send(SyncRequest{MemberID: leader.MemberID, Generation: 1, Assignments: map[string][]byte{leader.MemberID: []byte(what)}})
	}
	one := assigning("one")
	two := assigning("two")
	assert.ErrorIs(t, answered[SyncResponse](d, one).Err, ErrRebalanceInProgress)
	d.report(nil)
	assert.Empty(t, d.queue, "the log has one assignment for the generation")
	assert.Equal(t, "one", string(answered[SyncResponse](d, two).Assignment))
}

// Newcomers that are refused for want of room leave the group's own timers alone: those that came first get their generation.
func TestRefusedNewcomerDoesNotStopTheRebalance(t *testing.T) {
	d := drive(t, Config{MaxSize: 2}, abc(2))
	first, second := d.send(joining("", "1", "a")), d.send(joining("", "2", "a"))
	d.refusedWith(ErrGroupFull, joining("", "3", "a"))
	d.wait(6 * time.Second)
	require.NoError(t, answered[JoinResponse](d, first).Err)
	require.NoError(t, answered[JoinResponse](d, second).Err)
	d.refusedWith(ErrGroupFull, joining("", "4", "a"))
	require.Contains(t, d.timers, timerName{timerSync, ""}, "the limit to the wait for their syncs")
}

// A member that comes too late for a place in a full generation is not waited for.
func TestRefusedMemberGivesUpItsPlace(t *testing.T) {
	d := drive(t, Config{MaxSize: 2}, abc(2))
	needs := joining("", "1", "a")
	needs.NeedsMemberID = true
	pending := ask[JoinResponse](d, needs).MemberID
	first, second := d.send(joining("", "2", "a")), d.send(joining("", "3", "a"))
	d.wait(6 * time.Second)
	require.NoError(t, answered[JoinResponse](d, first).Err)
	require.NoError(t, answered[JoinResponse](d, second).Err)
	d.refusedWith(ErrGroupFull, joining(pending, "", "a"))
	require.Empty(t, d.m.classic.pending)
	require.Equal(t, CompletingRebalance, d.m.state(), "an id that never came back is no member that was lost")
}

// Once every member has asked for its assignment nothing of the wait for that is left.
func TestSyncedGroupHasNoSyncTimer(t *testing.T) {
	d := drive(t, Config{}, abc(2))
	ids := together(d, 2)
	require.NotContains(t, d.timers, timerName{timerSync, ""})
	for _, id := range ids {
		require.Contains(t, d.timers, timerName{timerSession, id})
	}
}

// An assignment that is stored late is not that of a group which was made anew meanwhile, though in the same generation.
func TestLateAssignmentIsOfItsOwnGroup(t *testing.T) {
	d := drive(t, Config{}, abc(2))
	first := d.send(joining("", "1", "a"))
	d.wait(3 * time.Second)
	id := answered[JoinResponse](d, first).MemberID
	d.slow = true
	d.send(SyncRequest{MemberID: id, Generation: 1, ProtocolType: assignor.ProtocolType, Protocol: "range", Assignments: map[string][]byte{id: []byte("old")}})
	d.send(LeaveRequest{[]Leaver{{MemberID: id}}})
	d.send(DeleteGroupRequest{})
	require.Nil(t, d.m.classic)
	d.send(joining("", "2", "a"))
	d.wait(3 * time.Second)
	require.Equal(t, CompletingRebalance, d.m.state())
	require.EqualValues(t, 1, d.m.classic.generation)
	for len(d.queue) > 0 {
		d.report(nil)
		require.Equal(t, CompletingRebalance, d.m.state(), "its own leader has yet to say who reads what")
	}
}
