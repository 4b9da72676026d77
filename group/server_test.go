package group

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

func entering(id string, topics ...string) ConsumerHeartbeatRequest {
	return ConsumerHeartbeatRequest{
		MemberID: id, ClientID: "c", ClientHost: "/h", RebalanceTimeout: time.Minute, Topics: topics, Fresh: "fresh",
	}
}

// pulse is a heartbeat in which only what changed is said.
func pulse(id string, epoch int32, owned ...TopicIDPartitions) ConsumerHeartbeatRequest {
	return ConsumerHeartbeatRequest{MemberID: id, Epoch: epoch, ClientID: "c", ClientHost: "/h", Owned: owned}
}

func of(name rune, partitions ...int32) TopicIDPartitions {
	return TopicIDPartitions{topic.ID{15: byte(name - 'a' + 1)}, partitions}
}

func TestServerMembersShareOneHeartbeatAtATime(t *testing.T) {
	d := drive(t, Config{}, abc(4))
	one := ask[ConsumerHeartbeatResponse](d, entering("1", "a"))
	assert.Equal(t, ConsumerHeartbeatResponse{
		MemberID: "1", Epoch: 1, Interval: 5 * time.Second, HasAssigned: true, Assigned: []TopicIDPartitions{of('a', 0, 1, 2, 3)},
	}, one)
	assert.Equal(t, Stable, d.m.state())

	two := ask[ConsumerHeartbeatResponse](d, entering("2", "a"))
	assert.Equal(t, int32(2), two.Epoch)
	assert.Empty(t, two.Assigned, "the first still has everything")
	assert.Equal(t, Reconciling, d.m.state())

	one = ask[ConsumerHeartbeatResponse](d, pulse("1", 1, of('a', 0, 1, 2, 3)))
	assert.Equal(t, int32(1), one.Epoch, "it stays in its epoch until it has let go")
	assert.Equal(t, []TopicIDPartitions{of('a', 0, 1)}, one.Assigned)
	assert.False(t, ask[ConsumerHeartbeatResponse](d, pulse("1", 1)).HasAssigned, "nothing new, nothing said")
	assert.False(t, ask[ConsumerHeartbeatResponse](d, pulse("2", 2)).HasAssigned)
	one = ask[ConsumerHeartbeatResponse](d, pulse("1", 1, of('a', 0, 1)))
	assert.Equal(t, int32(2), one.Epoch)
	two = ask[ConsumerHeartbeatResponse](d, pulse("2", 2))
	assert.Equal(t, []TopicIDPartitions{of('a', 2, 3)}, two.Assigned)
	assert.Equal(t, Stable, d.m.state())

	late := ask[ConsumerHeartbeatResponse](d, pulse("1", 1, of('a', 0)))
	assert.Equal(t, int32(2), late.Epoch, "the answer that brought the epoch may have been lost")
	d.refusedWith(ErrFencedEpoch, pulse("1", 1, of('a', 3)))
	d.refusedWith(ErrFencedEpoch, pulse("1", 1))
	d.refusedWith(ErrFencedEpoch, pulse("1", 9))
	d.refusedWith(ErrUnknownMember, pulse("3", 1))
}

func TestServerMemberThatKeepsWhatIsNotItsOwnIsFenced(t *testing.T) {
	d := drive(t, Config{}, abc(2))
	d.send(entering("1", "a"))
	d.send(entering("2", "a"))
	for range 15 {
		d.send(pulse("1", 1, of('a', 0, 1)))
		d.send(pulse("2", 2))
		d.wait(4 * time.Second)
	}
	d.refusedWith(ErrUnknownMember, pulse("1", 1, of('a', 0, 1)))
	r := ask[ConsumerHeartbeatResponse](d, pulse("2", 2))
	assert.Equal(t, []TopicIDPartitions{of('a', 0, 1)}, r.Assigned)
	assert.Equal(t, int32(3), r.Epoch)
}

func TestServerSessionAndLeave(t *testing.T) {
	d := drive(t, Config{}, abc(2))
	d.send(entering("1", "a"))
	d.send(entering("2", "a"))
	d.wait(40 * time.Second)
	d.send(pulse("2", 2))
	d.wait(6 * time.Second)
	d.refusedWith(ErrUnknownMember, pulse("1", 1))
	assert.Equal(t, Assigning, d.m.state())
	assert.Equal(t, []TopicIDPartitions{of('a', 0, 1)}, ask[ConsumerHeartbeatResponse](d, pulse("2", 2)).Assigned)
	left := ask[ConsumerHeartbeatResponse](d, pulse("2", EpochLeave))
	require.NoError(t, left.Err)
	assert.Equal(t, EpochLeave, left.Epoch)
	assert.Equal(t, Empty, d.m.state())
	assert.Empty(t, d.timers)
	d.refusedWith(ErrUnknownMember, pulse("2", EpochLeave))
	d.send(expire{})
	assert.True(t, d.m.unused())
}

func TestServerStaticMember(t *testing.T) {
	d := drive(t, Config{}, abc(2))
	static := func(id string, epoch int32) ConsumerHeartbeatRequest {
		req := entering(id, "a")
		req.InstanceID, req.Epoch = "I", epoch
		return req
	}
	d.send(entering("1", "a"))
	d.send(static("2", 0))
	d.send(pulse("1", 1, of('a', 0)))
	assert.Equal(t, []TopicIDPartitions{of('a', 1)}, ask[ConsumerHeartbeatResponse](d, static("2", 2)).Assigned)
	d.refusedWith(ErrUnreleasedInstance, static("3", 0))
	d.refusedWith(ErrFencedInstance, static("3", 2))
	away := ask[ConsumerHeartbeatResponse](d, static("2", EpochLeaveStatic))
	require.NoError(t, away.Err)
	assert.Equal(t, EpochLeaveStatic, away.Epoch)
	d.wait(40 * time.Second)
	assert.False(t, ask[ConsumerHeartbeatResponse](d, pulse("1", 2)).HasAssigned, "nobody else gets its partitions")
	back := ask[ConsumerHeartbeatResponse](d, static("3", 0))
	require.NoError(t, back.Err)
	assert.Equal(t, []TopicIDPartitions{of('a', 1)}, back.Assigned)
	assert.Equal(t, int32(2), back.Epoch, "no new epoch")
	d.refusedWith(ErrFencedInstance, static("2", 2))
	d.send(static("3", EpochLeaveStatic))
	d.wait(20 * time.Second)
	d.send(pulse("1", 2))
	d.wait(26 * time.Second)
	assert.Equal(t, []TopicIDPartitions{of('a', 0, 1)}, ask[ConsumerHeartbeatResponse](d, pulse("1", 2, of('a', 0))).Assigned)
}

// A static member that is away owes nothing: its partitions are kept for it as long as its session, though it had some to let go of;
// and what it sent before it left is not taken for its return.
func TestServerStaticMemberThatIsAway(t *testing.T) {
	static := func(epoch int32, owned ...TopicIDPartitions) ConsumerHeartbeatRequest {
		req := entering("1", "a")
		req.InstanceID, req.Epoch, req.Owned, req.RebalanceTimeout = "I", epoch, owned, 20*time.Second
		return req
	}
	for _, let := range []bool{false, true} {
		d := drive(t, Config{}, abc(2))
		for _, req := range []ConsumerHeartbeatRequest{static(0), entering("2", "a"), static(1, of('a', 0, 1))} {
			require.NoError(t, ask[ConsumerHeartbeatResponse](d, req).Err)
		}
		require.Contains(t, d.timers, timerName{timerRevoke, "1"})
		if let {
			require.EqualValues(t, 2, ask[ConsumerHeartbeatResponse](d, static(1, of('a', 0))).Epoch)
		}
		require.NoError(t, ask[ConsumerHeartbeatResponse](d, static(EpochLeaveStatic)).Err)
		require.NotContains(t, d.timers, timerName{timerRevoke, "1"})
		d.refusedWith(ErrFencedEpoch, static(1, of('a', 0)))
		require.Equal(t, EpochLeaveStatic, d.m.server.member("1").epoch)
	}
}

func TestServerRefuses(t *testing.T) {
	d := drive(t, Config{MaxSize: 1}, abc(2))
	with := func(change func(*ConsumerHeartbeatRequest)) ConsumerHeartbeatRequest {
		req := entering("1", "a")
		change(&req)
		return req
	}
	bad := "a("
	for name, req := range map[string]ConsumerHeartbeatRequest{
		"epoch":      with(func(r *ConsumerHeartbeatRequest) { r.Epoch = -3 }),
		"member":     pulse("", 1),
		"instance":   pulse("1", EpochLeaveStatic),
		"timeout":    with(func(r *ConsumerHeartbeatRequest) { r.RebalanceTimeout = 0 }),
		"owned":      with(func(r *ConsumerHeartbeatRequest) { r.Owned = []TopicIDPartitions{of('a', 0)} }),
		"no topics":  entering("1"),
		"no topics ": with(func(r *ConsumerHeartbeatRequest) { r.Topics = []string{} }),
	} {
		call := d.send(req)
		assert.ErrorIs(t, errorOf(d.answers[call]), ErrInvalidRequest, name)
	}
	d.refusedWith(ErrUnsupportedAssignor, with(func(r *ConsumerHeartbeatRequest) { r.Assignor = "none" }))
	d.refusedWith(ErrInvalidRegex, with(func(r *ConsumerHeartbeatRequest) { r.Regex = &bad }))
	d.refusedWith(ErrGroupNotFound, pulse("1", 1))
	d.refusedWith(ErrGroupNotFound, pulse("1", EpochLeave))
	assert.True(t, d.m.unused())
	require.NoError(t, ask[ConsumerHeartbeatResponse](d, entering("", "a")).Err)
	assert.NotNil(t, d.m.server.member("fresh"), "the coordinator chose the id")
	d.refusedWith(ErrGroupFull, entering("2", "a"))
}

// Kafka's resolver matches whole names, every name.
func TestRegexMatchesWholeNames(t *testing.T) {
	for _, c := range []struct {
		text, name string
		matches    bool
	}{
		{"orders", "orders", true}, {"orders", "orders2", false}, {"orders", "reorders", false}, {"a|ab", "ab", true}, {"a|b", "ab", false},
		{"a*?", "aaa", true}, {"^orders$", "orders", true}, {`\Qa.b`, "a.b", true}, {`\Qa.b`, "axb", false}, {`\Qa\E|b`, "b", true},
		{"(?i)ORDERS", "orders", true}, {"(?U)a+", "aaa", true}, {".*", OffsetsTopic, true}, {"__.*", ShareStateTopic, true}, {"x?", "", true},
	} {
		re, err := compileRegex(c.text)
		require.NoError(t, err, c.text)
		require.Equal(t, c.matches, re.matches(c.name), "%s, %s", c.text, c.name)
		require.Equal(t, c.matches, len(resolve(c.text, assignor.Metadata{c.name: {Internal: true}})) == 1, "%s, %s", c.text, c.name)
	}
}

func TestServerRegex(t *testing.T) {
	meta := assignor.Metadata{
		"orders": {ID: topic.ID{1}, Partitions: 1}, "orders-dead": {ID: topic.ID{2}, Partitions: 1}, "reorders": {ID: topic.ID{3}, Partitions: 1},
		"orders-internal": {ID: topic.ID{4}, Partitions: 1, Internal: true},
	}
	d := drive(t, Config{}, meta)
	req := entering("1")
	text := "orders.*|z)?(" // two halves that must not break out of the match
	req.Regex = &text
	d.refusedWith(ErrInvalidRegex, req)
	text = "orders.*|zzz"
	r := ask[ConsumerHeartbeatResponse](d, req)
	assert.Equal(t, []TopicIDPartitions{{topic.ID{1}, []int32{0}}, {topic.ID{2}, []int32{0}}, {topic.ID{4}, []int32{0}}}, r.Assigned, "as a whole")
	assert.True(t, d.m.subscribedTo("orders"))
	assert.False(t, d.m.subscribedTo("reorders"))

	more := assignor.Metadata{"orders-new": {ID: topic.ID{5}, Partitions: 2}}
	for name, info := range meta {
		more[name] = info
	}
	d.send(metadataChanged{more})
	r = ask[ConsumerHeartbeatResponse](d, pulse("1", 1))
	assert.Len(t, r.Assigned, 4, "a topic created later joins")
	assert.Equal(t, int32(2), r.Epoch)
	d.send(metadataChanged{more})
	assert.Equal(t, int32(2), ask[ConsumerHeartbeatResponse](d, pulse("1", 2)).Epoch, "no change, no epoch")
	d.reopen()
	assert.True(t, d.m.subscribedTo("orders-new"))
	assert.Equal(t, int32(2), ask[ConsumerHeartbeatResponse](d, pulse("1", 2)).Epoch)
}

func TestServerTopicGrowsAndGoes(t *testing.T) {
	d := drive(t, Config{}, abc(1, 1))
	d.send(entering("1", "a", "b"))
	d.send(metadataChanged{abc(3, 1)})
	r := ask[ConsumerHeartbeatResponse](d, pulse("1", 1, of('a', 0), of('b', 0)))
	assert.Equal(t, []TopicIDPartitions{of('a', 0, 1, 2), of('b', 0)}, r.Assigned)
	d.send(metadataChanged{abc(3)})
	r = ask[ConsumerHeartbeatResponse](d, pulse("1", 2, of('a', 0, 1, 2), of('b', 0)))
	assert.Equal(t, []TopicIDPartitions{of('a', 0, 1, 2)}, r.Assigned, "what is gone is taken away")
}

func TestServerCommit(t *testing.T) {
	d := drive(t, Config{}, abc(2))
	d.send(entering("1", "a"))
	require.NoError(t, ask[CommitResponse](d, committing("1", 1, "a", 5)).Err)
	d.refusedWith(ErrStaleEpoch, committing("1", 0, "a", 6))
	d.refusedWith(ErrUnknownMember, committing("2", 1, "a", 6))
	d.refusedWith(ErrUnknownMember, committing("", -1, "a", 6))
	inTxn := committing("1", 0, "a", 6)
	inTxn.ProducerID = 4
	d.refusedWith(ErrIllegalGeneration, inTxn)
	d.refusedWith(ErrStaleEpoch, FetchOffsetsRequest{MemberID: "1", Epoch: 0})
	d.refusedWith(ErrUnknownMember, FetchOffsetsRequest{MemberID: "2", Epoch: 0})
	assert.Equal(t, int64(5), fetched(d, "a"))
	d.wait(40 * time.Second)
	d.send(pulse("1", 1))
	d.send(expire{})
	assert.Equal(t, int64(5), fetched(d, "a"))
	d.refusedWith(ErrNonEmptyGroup, DeleteGroupRequest{})
}

// wild gives everything to everybody.
type wild struct{ err error }

func (wild) Name() string      { return "wild" }
func (wild) Cooperative() bool { return false }

func (w wild) Assign(meta assignor.Metadata, members []assignor.Subscriber) (assignor.Plan, error) {
	plan := assignor.Plan{}
	for _, m := range members {
		for name, info := range meta {
			for p := range info.Partitions {
				plan[m.MemberID] = append(plan[m.MemberID], tp(name, p))
			}
		}
	}
	return plan, w.err
}

func TestServerHoldsAssignorsToTheirPromise(t *testing.T) {
	for _, w := range []wild{{}, {errors.New("no idea")}} {
		d := drive(t, Config{Assignors: []assignor.Assignor{w}}, abc(2))
		d.send(entering("1", "a"))
		d.refusedWith(ErrUnknownServer, entering("2", "a"))
		assert.Equal(t, Assigning, d.m.state())
		d.wait(time.Minute)
		assert.Equal(t, Empty, d.m.state(), "members that get no answer do not stay for ever")
	}
}

func TestServerAssignorByVote(t *testing.T) {
	d := drive(t, Config{}, abc(3, 3))
	with := func(id, assignor string) ConsumerHeartbeatRequest {
		req := entering(id, "a", "b")
		req.Assignor = assignor
		return req
	}
	d.send(with("1", "range"))
	d.send(with("2", "range"))
	d.send(with("3", "uniform"))
	assert.Equal(t, "range", d.m.preferred().Name())
	assert.Equal(t, newPartitionSet([]TopicIDPartitions{of('a', 0), of('b', 0)}), d.m.server.member("1").target)
}

func TestServerGroupReopens(t *testing.T) {
	d := drive(t, Config{}, abc(4))
	d.send(entering("1", "a"))
	d.send(entering("2", "a"))
	d.send(pulse("1", 1, of('a', 0, 1, 2, 3)))
	before := fmt.Sprint(dump(d.m))
	d.reopen()
	d.m.server.refresh = false
	assert.Equal(t, before, fmt.Sprint(dump(d.m)), "everything is in the log")
	assert.Equal(t, int32(2), ask[ConsumerHeartbeatResponse](d, pulse("1", 1, of('a', 0, 1))).Epoch)
	assert.Equal(t, []TopicIDPartitions{of('a', 2, 3)}, ask[ConsumerHeartbeatResponse](d, pulse("2", 2)).Assigned)
	d.wait(46 * time.Second)
	assert.Equal(t, Empty, d.m.state())
}

func TestUpgradeAndDowngrade(t *testing.T) {
	d := drive(t, Config{}, abc(4))
	first := d.send(joining("", "1", "a"))
	d.wait(3 * time.Second)
	id := answered[JoinResponse](d, first).MemberID
	d.send(SyncRequest{MemberID: id, Generation: 1, Assignments: map[string][]byte{
		id: assignor.AppendAssignment(nil, 1, []topic.TopicPartition{tp("a", 0), tp("a", 1), tp("a", 2), tp("a", 3)}, nil),
	}})
	parked := d.send(joining("", "2", "a"))

	modern := ask[ConsumerHeartbeatResponse](d, entering("m", "a"))
	require.NoError(t, modern.Err)
	assert.Empty(t, modern.Assigned, "the classic member still has everything")
	assert.ErrorIs(t, answered[JoinResponse](d, parked).Err, ErrRebalanceInProgress)
	assert.NotNil(t, d.m.server)

	d.refusedWith(ErrRebalanceInProgress, beat(id, 1))
	again := joining(id, "", "a")
	again.Protocols[0].Metadata = assignor.AppendSubscription(nil, 1, assignor.Subscription{
		Topics: []string{"a"}, Owned: []topic.TopicPartition{tp("a", 0), tp("a", 1), tp("a", 2), tp("a", 3)},
	})
	r := ask[JoinResponse](d, again)
	require.NoError(t, r.Err)
	assert.Equal(t, int32(1), r.Generation, "it has to let go first")
	list, _, err := assignor.ParseAssignment(ask[SyncResponse](d, SyncRequest{MemberID: id, Generation: 1}).Assignment)
	require.NoError(t, err)
	assert.Less(t, len(list), 4)
	again.Protocols[0].Metadata = assignor.AppendSubscription(nil, 1, assignor.Subscription{Topics: []string{"a"}, Owned: list})
	r = ask[JoinResponse](d, again)
	assert.Equal(t, int32(2), r.Generation)
	require.NoError(t, ask[SyncResponse](d, SyncRequest{MemberID: id, Generation: 2}).Err)
	require.NoError(t, ask[HeartbeatResponse](d, beat(id, 2)).Err)
	assert.NotEmpty(t, ask[ConsumerHeartbeatResponse](d, pulse("m", modern.Epoch)).Assigned)
	d.refusedWith(ErrIllegalGeneration, committing(id, 1, "a", 1))
	require.NoError(t, ask[CommitResponse](d, committing(id, 2, "a", 1)).Err)
	d.reopen()
	require.NoError(t, ask[HeartbeatResponse](d, beat(id, 2)).Err)

	require.NoError(t, ask[LeaveResponse](d, LeaveRequest{[]Leaver{{MemberID: "c-2"}}}).Members[0].Err)
	require.NoError(t, ask[ConsumerHeartbeatResponse](d, pulse("m", EpochLeave)).Err)
	require.NotNil(t, d.m.classic, "only members of the classic protocol are left")
	assert.Equal(t, PreparingRebalance, d.m.state())
	back := ask[JoinResponse](d, joining(id, "", "a"))
	assert.Greater(t, back.Generation, int32(2))
	assert.Equal(t, id, back.Leader)
	d.reopen()
	assert.NotNil(t, d.m.classic)
	assert.Equal(t, int64(1), fetched(d, "a"), "offsets stay through it all")
}

// A member of the server-side protocol for which a full classic group has no room does not change the group's protocol.
func TestFullGroupIsNotUpgraded(t *testing.T) {
	d := drive(t, Config{MaxSize: 1}, abc(2))
	ids := together(d, 1)
	before := dump(d.m)
	d.refusedWith(ErrGroupFull, entering("m", "a"))
	require.Equal(t, before, dump(d.m))
	require.NoError(t, ask[HeartbeatResponse](d, beat(ids[0], 1)).Err)
}

func TestMigrationMayBeForbidden(t *testing.T) {
	d := drive(t, Config{Migration: MigrateDown}, abc(2))
	together(d, 1)
	d.refusedWith(ErrGroupNotFound, entering("m", "a"))
	d = drive(t, Config{Migration: MigrateUp}, abc(2))
	d.send(entering("m", "a"))
	id := ask[JoinResponse](d, joining("", "1", "a")).MemberID
	d.send(pulse("m", EpochLeave))
	assert.NotNil(t, d.m.server)
	require.NoError(t, ask[LeaveResponse](d, LeaveRequest{[]Leaver{{MemberID: id}}}).Members[0].Err)
	assert.Equal(t, Empty, d.m.state())
	require.ErrorIs(t, errorOf(d.answers[d.send(joining("who", "", "a"))]), ErrUnknownMember)
	call := d.send(joining("", "2", "a"))
	d.wait(3 * time.Second)
	require.NoError(t, answered[JoinResponse](d, call).Err, "without members a group may always change")
}

func TestClassicMembersInAServerGroup(t *testing.T) {
	d := drive(t, Config{}, abc(4))
	d.send(entering("m", "a"))
	needs := joining("", "1", "a")
	needs.NeedsMemberID = true
	d.refusedWith(ErrMemberIDRequired, needs)
	r := ask[JoinResponse](d, joining("c-1", "", "a"))
	require.NoError(t, r.Err)
	d.wait(9 * time.Second)
	d.send(beat("c-1", r.Generation))
	d.wait(9 * time.Second)
	d.send(pulse("m", 1, of('a', 0, 1)))
	d.refusedWith(ErrRebalanceInProgress, beat("c-1", r.Generation)) // there is something to fetch
	r = ask[JoinResponse](d, joining("c-1", "", "a"))
	list, _, err := assignor.ParseAssignment(ask[SyncResponse](d, SyncRequest{MemberID: "c-1", Generation: r.Generation}).Assignment)
	require.NoError(t, err)
	assert.Equal(t, []topic.TopicPartition{tp("a", 2), tp("a", 3)}, list)
	d.refusedWith(ErrInconsistentProtocol, SyncRequest{MemberID: "c-1", Generation: r.Generation, Protocol: "other"})
	d.refusedWith(ErrUnknownMember, SyncRequest{MemberID: "m", Generation: 2})
	garbled := joining("c-1", "", "a")
	garbled.Protocols[0].Metadata = []byte{0}
	d.refusedWith(ErrInconsistentProtocol, garbled)
	d.wait(11 * time.Second)
	d.refusedWith(ErrUnknownMember, beat("c-1", r.Generation))

	static := ask[JoinResponse](d, staticJoin("", "S", "1", "a"))
	require.NoError(t, static.Err)
	moved := ask[JoinResponse](d, staticJoin("", "S", "2", "a"))
	require.NoError(t, moved.Err)
	fenced := beat(static.MemberID, static.Generation)
	fenced.InstanceID = "S"
	d.refusedWith(ErrFencedInstance, fenced)
	d.send(joining("c-9", "", "a")) // joins and does not sync
	d.wait(9 * time.Second)
	d.wait(52 * time.Second)
	assert.Equal(t, Empty, d.m.state())
}
