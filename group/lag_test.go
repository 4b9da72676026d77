package group_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

func lag(name string, p int32, position, committed, end, lag int64) group.PartitionLag {
	return group.PartitionLag{TopicPartition: tp(name, p), Position: position, Committed: committed, End: end, Lag: lag}
}

func TestLagFollowsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 2, 3)
		c := join(t, eng, group.CommitByHand(), group.ReadWith(topic.MaxPollRecords(2)))
		require.Empty(t, c.Lag(), "it has no partition before it loops")
		for b, err := range c.Batches(t.Context()) {
			require.NoError(t, err)
			b.MarkThrough(b.Records[0].Offset)
			require.Equal(t, []group.PartitionLag{lag("a", 0, 2, -1, 3, 1), lag("a", 1, 0, -1, 3, 3)}, c.Lag())
			m := c.Metrics()
			require.Equal(t, []int64{4, 3}, []int64{m.Lag, m.MaxLag})
			require.Zero(t, m.UnknownLag)
			break
		}
		require.NoError(t, c.Commit(t.Context()))
		require.Equal(t, lag("a", 0, 2, 1, 3, 1), c.Lag()[0])
		require.NoError(t, c.Seek(tp("a", 0), 0))
		require.Equal(t, lag("a", 0, 0, 1, 3, 3), c.Lag()[0])

		fill(t, eng, "b", 1, 0)
		groups, err := group.On(eng)
		require.NoError(t, err)
		require.NoError(t, groups.SetOffsets(t.Context(), "other", []group.PartitionOffset{
			{TopicPartition: tp("a", 1), Offset: 2}, {TopicPartition: tp("gone", 0), Offset: 7}, {TopicPartition: tp("b", 0), Offset: 9}}))
		rows, err := groups.Lag(t.Context(), "other")
		require.NoError(t, err)
		require.Equal(t, []group.GroupLag{{PartitionLag: lag("a", 1, -1, 2, 3, 1)}, {PartitionLag: lag("b", 0, -1, 9, 0, 0)},
			{PartitionLag: lag("gone", 0, -1, 7, -1, -1)}}, rows)
		rows, err = groups.Lag(t.Context(), "g")
		require.NoError(t, err)
		require.Len(t, rows, 2)
		id, _ := c.Member()
		require.Equal(t, []string{id, "quire"}, []string{rows[1].MemberID, rows[1].ClientID})
		require.Equal(t, []group.PartitionLag{lag("a", 0, -1, 1, 3, 2), lag("a", 1, -1, -1, 3, -1)},
			[]group.PartitionLag{rows[0].PartitionLag, rows[1].PartitionLag})
		rows, err = groups.Lag(t.Context(), "nobody")
		require.NoError(t, err)
		require.Empty(t, rows)
		require.NoError(t, c.Close())
		require.Empty(t, c.Lag())
	})
}

// A member that waits knows its positions, also in partitions that are empty; with keys the oldest unfinished record counts.
func TestLagOfAMemberThatWaitsAndOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := keyed(t, "a", "b", "b")
		fill(t, eng, "empty", 1, 0)
		c := join(t, eng, group.Topics("empty"), group.CommitEvery(0))
		ended := make(chan error, 1)
		go func() {
			ended <- c.RunByKey(t.Context(), 2, func(ctx context.Context, b *group.Batch) error {
				if string(b.Records[0].Key) == "a" {
					time.Sleep(time.Minute)
				}
				return nil
			})
		}()
		synctest.Wait()
		require.Equal(t, []group.PartitionLag{lag("a", 0, 0, -1, 3, 3), lag("empty", 0, 0, -1, 0, 0)}, c.Lag())
		m := c.Metrics()
		require.Equal(t, []int{1, 3, 0, 2}, []int{m.AtWork, m.InFlight, m.UnknownLag, m.Partitions})
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, lag("a", 0, 3, 3, 3, 0), c.Lag()[0])
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
	})
}

func TestMetricsOfAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 2, 2)
		c := join(t, eng, group.AssignWith(assignor.Range()), group.MaxPollInterval(time.Minute), group.CommitEvery(0))
		ended := make(chan error, 1)
		var nap atomic.Int64
		go func() {
			ended <- c.Run(t.Context(), 1, func(ctx context.Context, b *group.Batch) error {
				time.Sleep(time.Duration(nap.Load()))
				return nil
			})
		}()
		synctest.Wait()
		m := c.Metrics()
		require.Equal(t, group.ConsumerMetrics{
			Batches: 2, Records: 4, Bytes: 20, Commits: m.Commits, Rebalances: 1, Heartbeats: m.Heartbeats, Partitions: 2, MaxLag: 0,
		}, m)
		require.Positive(t, m.Commits)
		nap.Store(int64(10 * time.Second))
		fill(t, eng, "a", 2, 1)
		time.Sleep(time.Second)
		other := join(t, eng, group.AssignWith(assignor.Range())) // eager: the member must let go of all first, and its handler takes its time
		var got []string
		endOther := runs(t, other, &got)
		time.Sleep(time.Minute)
		m = c.Metrics()
		require.EqualValues(t, 2, m.Rebalances)
		require.Equal(t, []time.Duration{9 * time.Second, 9 * time.Second}, []time.Duration{m.RebalanceTime, m.LongestRebalance})
		require.Equal(t, 1, m.Partitions)
		synctest.Wait()
		nap.Store(int64(time.Hour))
		fill(t, eng, "a", 2, 1)
		time.Sleep(10 * time.Hour)
		m = c.Metrics()
		require.Positive(t, m.Evictions)
		require.Positive(t, m.Lost)
		require.Contains(t, m.String(), "rebalances in")
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.NoError(t, other.Shutdown(t.Context()))
		require.NoError(t, <-endOther)
	})
}

// A commit that cannot be stored counts as one that failed.
func TestMetricsCountCommitsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 1)
		c := join(t, eng, group.CommitByHand(), group.MaxPollInterval(time.Minute))
		require.Len(t, take(t, c, 1), 1)
		time.Sleep(2 * time.Minute)
		require.True(t, errors.Is(c.Commit(t.Context()), group.ErrUnknownMember))
		m := c.Metrics()
		require.Equal(t, []int64{0, 1, 1}, []int64{m.Commits, m.CommitFailures, m.Evictions})
		require.NoError(t, c.Close())
	})
}
