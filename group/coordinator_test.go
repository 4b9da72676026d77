package group_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

func joinRequest(id string) group.JoinRequest {
	return group.JoinRequest{
		MemberID: id, ClientID: "c", ClientHost: "/h", SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute,
		ProtocolType: assignor.ProtocolType,
		Protocols:    []group.Protocol{{Name: "range", Metadata: assignor.AppendSubscription(nil, 3, assignor.Subscription{Topics: []string{"a"}})}},
	}
}

// coordinate opens an engine's coordinator with Kafka's rules.
func coordinate(t *testing.T, eng *topic.Engine) *group.Coordinator {
	t.Helper()
	c, err := group.On(eng)
	require.NoError(t, err)
	return c
}

func TestBrokersDriveTheClassicProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		eng := open(t, fs)
		fill(t, eng, "a", 2, 0)
		c := coordinate(t, eng)
		ctx := t.Context()
		start := time.Now()
		require.ErrorIs(t, c.Heartbeat(ctx, "g", group.HeartbeatRequest{MemberID: "x", Generation: 1}).Err, group.ErrUnknownMember)
		_, err := eng.Partition(group.OffsetsTopic, 0)
		require.ErrorIs(t, err, topic.ErrNotFound, "a question makes no topic")

		j := c.Join(ctx, "g", joinRequest(""))
		require.NoError(t, j.Err)
		require.Equal(t, 3*time.Second, time.Since(start), "Kafka's initial delay")
		require.Equal(t, j.MemberID, j.Leader)
		plan := assignor.AppendAssignment(nil, 3, []topic.TopicPartition{tp("a", 0), tp("a", 1)}, nil)
		s := c.Sync(ctx, "g", group.SyncRequest{MemberID: j.MemberID, Generation: 1, Assignments: map[string][]byte{j.MemberID: plan}})
		require.NoError(t, s.Err)
		require.Equal(t, plan, s.Assignment)
		commit := group.CommitRequest{MemberID: j.MemberID, Generation: 1, ProducerID: -1,
			Offsets: []group.PartitionOffset{{TopicPartition: tp("a", 1), Offset: 7, Metadata: "m"}}}
		require.NoError(t, c.Commit(ctx, "g", commit).Err)
		commit.ProducerID = 4
		require.ErrorIs(t, c.Commit(ctx, "g", commit).Err, group.ErrInvalidRequest)

		d, err := c.Describe(ctx, "g")
		require.NoError(t, err)
		require.Equal(t, group.Stable, d.State)
		require.NoError(t, eng.Close())
		require.ErrorIs(t, c.Heartbeat(ctx, "g", group.HeartbeatRequest{MemberID: j.MemberID, Generation: 1}).Err, topic.ErrClosed)

		c = coordinate(t, open(t, fs))
		require.NoError(t, c.Heartbeat(ctx, "g", group.HeartbeatRequest{MemberID: j.MemberID, Generation: 1}).Err, "the log alone makes the group")
		list, err := c.Offsets(ctx, "g")
		require.NoError(t, err)
		require.Equal(t, []group.PartitionOffset{{TopicPartition: tp("a", 1), Offset: 7, Metadata: "m"}}, list)
		time.Sleep(10*time.Second - time.Millisecond)
		groups, err := c.List(ctx)
		require.NoError(t, err)
		require.Len(t, groups, 1)
		require.Equal(t, group.Stable, groups[0].State)
		require.ErrorIs(t, c.Delete(ctx, "g"), group.ErrNonEmptyGroup)
		_, err = c.ResetOffsets(ctx, "g", group.ToEarliest())
		require.ErrorIs(t, err, group.ErrNonEmptyGroup)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		d, err = c.Describe(ctx, "g")
		require.NoError(t, err)
		require.Equal(t, group.Empty, d.State, "its session is over")
		require.NoError(t, c.Delete(ctx, "g"))
		d, err = c.Describe(ctx, "g")
		require.NoError(t, err)
		require.Equal(t, group.Dead, d.State)
	})
}

func TestServerSideProtocolThroughTheCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 3, 0)
		c := coordinate(t, eng)
		r := c.ConsumerHeartbeat(t.Context(), "g", group.ConsumerHeartbeatRequest{
			MemberID: "m", RebalanceTimeout: time.Minute, Topics: []string{"a"}, Owned: []group.TopicIDPartitions{}})
		require.NoError(t, r.Err)
		require.Len(t, r.Assigned, 1)
		require.Equal(t, []int32{0, 1, 2}, r.Assigned[0].Partitions)
		mixed := join(t, eng)
		for _, err := range mixed.Batches(t.Context()) {
			require.ErrorIs(t, err, group.ErrInconsistentProtocol, "members of this process send no heartbeats")
		}
		require.NoError(t, mixed.Close())
		time.Sleep(45 * time.Second)
		synctest.Wait()
		d, err := c.Describe(t.Context(), "g")
		require.NoError(t, err)
		require.Empty(t, d.Members)
	})
}

func TestOffsetsAreReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 5)
		time.Sleep(time.Hour)
		later := time.Now()
		fill(t, eng, "a", 1, 5)
		c := coordinate(t, eng)
		at := func(r group.Reset) int64 {
			t.Helper()
			list, err := c.ResetOffsets(t.Context(), "g", r, tp("a", 0))
			require.NoError(t, err)
			require.Equal(t, list[0].Offset, committed(t, eng)[tp("a", 0)])
			return list[0].Offset
		}
		require.EqualValues(t, 10, at(group.ToLatest()))
		require.EqualValues(t, 0, at(group.ToEarliest()))
		require.EqualValues(t, 5, at(group.ToTime(later)))
		require.EqualValues(t, 10, at(group.ToTime(later.Add(time.Hour))))
		require.EqualValues(t, 7, at(group.ShiftBy(-3)))
		require.EqualValues(t, 10, at(group.ShiftBy(100)))
		require.EqualValues(t, 4, at(group.ToOffset(4)))
		part, err := eng.Partition("a", 0)
		require.NoError(t, err)
		_, err = part.DeleteRecords(t.Context(), 3)
		require.NoError(t, err)
		require.EqualValues(t, 3, at(group.ToOffset(1)), "what is gone is not gone back to")
		require.EqualValues(t, 3, at(group.ShiftBy(-9)))
		_, err = c.ResetOffsets(t.Context(), "g", group.ToEarliest(), tp("nothing", 0))
		require.ErrorIs(t, err, topic.ErrNotFound)
		require.NoError(t, c.SetOffsets(t.Context(), "g", []group.PartitionOffset{{TopicPartition: tp("a", 0), Offset: 2}}))
		r := c.DeleteOffsets(t.Context(), "g", group.DeleteOffsetsRequest{Partitions: []topic.TopicPartition{tp("a", 0)}})
		require.NoError(t, r.Err)
		require.Empty(t, committed(t, eng))
	})
}

func TestOffsetsExpireInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 5)
		c := coordinate(t, eng)
		_, err := c.ResetOffsets(t.Context(), "g", group.ToLatest(), tp("a", 0))
		require.NoError(t, err)
		time.Sleep(7*24*time.Hour - time.Second)
		require.Len(t, committed(t, eng), 1)
		time.Sleep(2 * time.Second)
		require.Empty(t, committed(t, eng))
	})
}

func TestWhoWaitsWhileTheEngineClosesIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 0)
		c := coordinate(t, eng)
		answers := make(chan group.JoinResponse, 1)
		go func() { answers <- c.Join(t.Context(), "g", joinRequest("")) }()
		looped := make(chan error, 1)
		m, err := group.Join(t.Context(), eng, "other", group.Topics("a"))
		require.NoError(t, err)
		go func() {
			for _, err := range m.Batches(t.Context()) {
				looped <- err
			}
		}()
		synctest.Wait()
		require.NoError(t, eng.Close())
		require.ErrorIs(t, (<-answers).Err, topic.ErrClosed)
		require.ErrorIs(t, <-looped, topic.ErrClosed)
		_, err = group.Join(t.Context(), eng, "g", group.Topics("a"))
		require.ErrorIs(t, err, topic.ErrClosed)
	})
}

func TestShutdownCommitsWhatWasMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		eng := open(t, fs)
		fill(t, eng, "a", 1, 3)
		c := join(t, eng)
		var got []string
		ended := runs(t, c, &got)
		synctest.Wait()
		require.NoError(t, eng.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.EqualValues(t, 3, committed(t, open(t, fs))[tp("a", 0)])
	})
}

func TestCallersThatGoAndFalseStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 0)
		c := coordinate(t, eng)
		again, err := group.On(eng)
		require.NoError(t, err)
		require.Same(t, c, again)
		_, err = group.NewCoordinator(eng, group.Config{})
		require.ErrorIs(t, err, topic.ErrExists)
		why := errors.New("gone")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer cancel()
		require.ErrorIs(t, c.Join(ctx, "g", joinRequest("")).Err, why)
		_, err = group.Join(t.Context(), eng, "", group.MaxPollInterval(0), group.Session(time.Second), group.CommitEvery(-1), group.TopicsMatching("("))
		require.ErrorIs(t, err, topic.ErrInvalid)
		for _, text := range []string{"no name", "max poll", "session", "commit interval", "regexp"} {
			require.ErrorContains(t, err, text)
		}
	})
}

// A newcomer for which a group has no room stops nothing: those that came first get their generation when the initial delay is over.
func TestFullGroupStillRebalances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 2, 0)
		c, err := group.NewCoordinator(eng, group.Config{MaxSize: 2})
		require.NoError(t, err)
		start, answers := time.Now(), make(chan group.JoinResponse, 2)
		for range 2 {
			go func() { answers <- c.Join(t.Context(), "g", joinRequest("")) }()
		}
		synctest.Wait()
		require.ErrorIs(t, c.Join(t.Context(), "g", joinRequest("")).Err, group.ErrGroupFull)
		for range 2 {
			r := <-answers
			require.NoError(t, r.Err)
			require.EqualValues(t, 1, r.Generation)
		}
		require.LessOrEqual(t, time.Since(start), 6*time.Second)
	})
}

// A member of this process that a full group turns away says so, and joins when there is room.
func TestMemberOfAFullGroupComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 2, 1)
		_, err := group.NewCoordinator(eng, group.Config{MaxSize: 1})
		require.NoError(t, err)
		first, second := join(t, eng), join(t, eng)
		require.Len(t, take(t, first, 2), 2)
		run := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return second.Run(ctx, 1, func(context.Context, *group.Batch) error { return nil })
		}
		require.ErrorIs(t, run(), group.ErrGroupFull)
		require.Empty(t, second.Assignment())
		require.Len(t, first.Assignment(), 2, "it is not disturbed")
		require.NoError(t, first.Close())
		require.ErrorIs(t, run(), context.DeadlineExceeded)
		require.Len(t, second.Assignment(), 2)
		require.NoError(t, second.Close())
	})
}
