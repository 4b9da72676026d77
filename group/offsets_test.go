package group

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic"
)

func tp(name string, partition int32) topic.TopicPartition {
	return topic.TopicPartition{Topic: name, Partition: partition}
}

func committing(id string, generation int32, name string, offset int64) CommitRequest {
	return CommitRequest{
		MemberID: id, Generation: generation, ProducerID: -1,
		Offsets: []PartitionOffset{{TopicPartition: tp(name, 0), Offset: offset, LeaderEpoch: 3, Metadata: "m"}},
	}
}

func fetched(d *driver, name string) int64 {
	return ask[FetchOffsetsResponse](d, FetchOffsetsRequest{Epoch: -1, Partitions: []topic.TopicPartition{tp(name, 0)}}).Offsets[0].Offset
}

func TestCommitOfASimpleReader(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	assert.Equal(t, int64(-1), fetched(d, "a"), "nothing committed, and no error")
	require.NoError(t, ask[CommitResponse](d, committing("", -1, "a", 5)).Err)
	assert.Equal(t, int64(5), fetched(d, "a"))
	require.NoError(t, ask[CommitResponse](d, committing("", -1, "a", 2)).Err, "it may go back")
	assert.Equal(t, int64(2), fetched(d, "a"))
	assert.Equal(t, Empty, d.m.state())
	d.refusedWith(ErrGroupNotFound, committing("m", 1, "a", 5))
	assert.Equal(t, PartitionOffset{TopicPartition: tp("a", 0), Offset: 2, LeaderEpoch: 3, Metadata: "m"},
		ask[FetchOffsetsResponse](d, FetchOffsetsRequest{Epoch: -1}).Offsets[0])
}

func TestCommitIsCheckedAgainstTheGroup(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	ids := together(d, 2)
	require.NoError(t, ask[CommitResponse](d, committing(ids[0], 1, "a", 5)).Err)
	d.refusedWith(ErrIllegalGeneration, committing(ids[0], 0, "a", 9))
	d.refusedWith(ErrUnknownMember, committing("who", 1, "a", 9))
	d.refusedWith(ErrUnknownMember, committing("", -1, "a", 9))
	call := d.send(joining(ids[0], "", "a"))
	require.NoError(t, ask[CommitResponse](d, committing(ids[1], 1, "a", 6)).Err, "while a rebalance is prepared")
	d.send(joining(ids[1], "", "a"))
	require.NoError(t, answered[JoinResponse](d, call).Err)
	d.refusedWith(ErrRebalanceInProgress, committing(ids[0], 2, "a", 9))
	assert.Equal(t, int64(6), fetched(d, "a"))
}

func TestCommitKeepsTheSession(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	ids := together(d, 1)
	for range 5 {
		d.wait(9 * time.Second)
		require.NoError(t, ask[CommitResponse](d, committing(ids[0], 1, "a", 5)).Err)
	}
}

func TestLongMetadataIsRefusedAlone(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	req := committing("", -1, "a", 5)
	req.Offsets = append(req.Offsets, PartitionOffset{TopicPartition: tp("a", 1), Metadata: strings.Repeat("x", 4097)})
	r := ask[CommitResponse](d, req)
	require.NoError(t, r.Err)
	require.NoError(t, r.Offsets[0].Err)
	require.ErrorIs(t, r.Offsets[1].Err, ErrMetadataTooLarge)
	assert.Equal(t, int64(5), fetched(d, "a"))
}

func TestCommitIsSeenWhenItIsStored(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	d.slow = true
	call := d.send(committing("", -1, "a", 5))
	assert.NotContains(t, d.answers, call)
	assert.Equal(t, int64(-1), fetched(d, "a"))
	d.report(nil)
	require.NoError(t, answered[CommitResponse](d, call).Err)
	assert.Equal(t, int64(5), fetched(d, "a"))
}

func TestCommitInATransaction(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	d.send(committing("", -1, "a", 1))
	in := func(producer, offset int64) CommitRequest {
		req := committing("", -1, "a", offset)
		req.ProducerID = producer
		return req
	}
	require.NoError(t, ask[CommitResponse](d, in(7, 10)).Err)
	assert.Equal(t, int64(1), fetched(d, "a"))
	stable := ask[FetchOffsetsResponse](d, FetchOffsetsRequest{Epoch: -1, Stable: true})
	require.ErrorIs(t, stable.Offsets[0].Err, ErrUnstableOffset)
	d.send(EndTransaction{7, false})
	assert.Equal(t, int64(1), fetched(d, "a"), "aborted")
	d.send(in(8, 20))
	d.send(EndTransaction{8, true})
	assert.Equal(t, int64(20), fetched(d, "a"))
	wrong := in(9, 30)
	wrong.Generation = 4
	wrong.MemberID = "m"
	fresh := drive(t, Config{}, nil)
	fresh.refusedWith(ErrIllegalGeneration, wrong)
}

func TestDeleteOffsetsAndGroup(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	d.refusedWith(ErrGroupNotFound, DeleteGroupRequest{})
	d.refusedWith(ErrGroupNotFound, DeleteOffsetsRequest{})
	ids := together(d, 1)
	d.send(CommitRequest{MemberID: ids[0], Generation: 1, ProducerID: -1, Offsets: []PartitionOffset{
		{TopicPartition: tp("a", 0), Offset: 1}, {TopicPartition: tp("z", 0), Offset: 2},
	}})
	d.refusedWith(ErrNonEmptyGroup, DeleteGroupRequest{})
	r := ask[DeleteOffsetsResponse](d, DeleteOffsetsRequest{[]topic.TopicPartition{tp("a", 0), tp("z", 0), tp("z", 9)}})
	require.ErrorIs(t, r.Partitions[0].Err, ErrSubscribedToTopic)
	require.NoError(t, r.Partitions[1].Err)
	require.NoError(t, r.Partitions[2].Err)
	assert.Equal(t, int64(-1), fetched(d, "z"))
	d.send(LeaveRequest{[]Leaver{{MemberID: ids[0]}}})
	require.NoError(t, ask[DeleteGroupResponse](d, DeleteGroupRequest{}).Err)
	assert.True(t, d.m.unused())
	d.reopen()
	assert.True(t, d.m.unused(), "the log says so too")
}

func TestCommitOnItsWayIsNotLostToExpiry(t *testing.T) {
	d := drive(t, Config{}, nil)
	d.send(committing("", -1, "a", 1))
	d.wait(8 * 24 * time.Hour)
	d.slow = true
	d.send(committing("", -1, "a", 2))
	d.send(expire{})
	d.report(nil)
	assert.Empty(t, d.queue)
	assert.Equal(t, int64(2), fetched(d, "a"))

	d.send(committing("", -1, "b", 3)) // and what is deleted counts it in
	call := d.send(DeleteGroupRequest{})
	d.report(nil)
	d.report(nil)
	require.NoError(t, answered[DeleteGroupResponse](d, call).Err)
	assert.True(t, d.m.unused())
	d.slow = false
	d.reopen()
	assert.True(t, d.m.unused())
}

func TestDeletedTopicTakesItsOffsets(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	d.send(committing("", -1, "a", 1))
	d.send(committing("", -1, "b", 2))
	d.send(topicDeleted{"a"})
	assert.Equal(t, int64(-1), fetched(d, "a"))
	assert.Equal(t, int64(2), fetched(d, "b"))
}

func TestExpiry(t *testing.T) {
	const week = 7 * 24 * time.Hour
	t.Run("simple reader: since the commit", func(t *testing.T) {
		d := drive(t, Config{}, nil)
		d.send(committing("", -1, "a", 1))
		d.wait(week - time.Millisecond)
		d.send(expire{})
		assert.Equal(t, int64(1), fetched(d, "a"))
		d.wait(time.Millisecond)
		d.send(expire{})
		assert.True(t, d.m.unused())
	})
	t.Run("group without members: since it has none", func(t *testing.T) {
		d := drive(t, Config{}, abc(3))
		req := joining("", "1", "a")
		req.SessionTimeout = 30 * time.Minute
		call := d.send(req)
		d.wait(3 * time.Second)
		id := answered[JoinResponse](d, call).MemberID
		syncAll(d, []string{id})
		d.send(committing(id, 1, "a", 1))
		for range 2 * week / (20 * time.Minute) {
			d.wait(20 * time.Minute)
			d.send(beat(id, 1))
		}
		d.send(LeaveRequest{[]Leaver{{MemberID: id}}})
		d.send(expire{})
		assert.Equal(t, int64(1), fetched(d, "a"), "two weeks old, and the group was not empty")
		d.wait(week)
		d.send(expire{})
		assert.Equal(t, int64(-1), fetched(d, "a"))
		assert.True(t, d.m.unused(), "and the group goes with it")
	})
	t.Run("stable group: only topics nobody reads", func(t *testing.T) {
		d := drive(t, Config{MaxSession: 2 * week}, abc(3))
		req := joining("", "1", "a")
		req.SessionTimeout = 2 * week
		call := d.send(req)
		d.wait(3 * time.Second)
		id := answered[JoinResponse](d, call).MemberID
		syncAll(d, []string{id})
		d.send(committing(id, 1, "a", 1))
		d.send(committing(id, 1, "z", 2))
		d.wait(week)
		d.send(expire{})
		assert.Equal(t, int64(1), fetched(d, "a"))
		assert.Equal(t, int64(-1), fetched(d, "z"))
	})
	t.Run("not what a transaction is moving", func(t *testing.T) {
		d := drive(t, Config{}, nil)
		d.send(committing("", -1, "a", 1))
		moving := committing("", -1, "a", 2)
		moving.ProducerID = 7
		d.send(moving)
		d.wait(week)
		d.send(expire{})
		assert.Equal(t, int64(1), fetched(d, "a"))
	})
	t.Run("asked for by an old client", func(t *testing.T) {
		d := drive(t, Config{}, nil)
		d.m.replay(RecordKey{Kind: KeyOffset, Group: "g", Topic: "a"}, OffsetRecord{Offset: 1, CommitTime: 0, ExpireTime: d.now.Milliseconds() + 10}, -1)
		d.send(expire{})
		assert.Equal(t, int64(1), fetched(d, "a"))
		d.wait(10 * time.Millisecond)
		d.send(expire{})
		assert.True(t, d.m.unused())
	})
}
