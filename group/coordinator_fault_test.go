package group_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// What Commit has returned for is there after a power cut, whatever the cut leaves of the rest; and whoever comes then does not wait for
// members of the process that is gone.
func TestCommitsSurvivePowerCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash()
		eng := open(t, disk)
		fill(t, eng, "a", 1, 20)
		c := join(t, eng, group.CommitByHand(), group.ReadWith(topic.MaxPollRecords(5)))
		cuts := 0
		for b, err := range c.Batches(t.Context()) {
			require.NoError(t, err)
			b.Mark()
			require.NoError(t, c.Commit(t.Context()))
			acked := b.Records[len(b.Records)-1].Offset + 1
			for _, policy := range vfs.Policies() {
				left := open(t, disk.After(policy, uint64(acked)))
				require.Equal(t, acked, committed(t, left)[tp("a", 0)], "%v", policy)
				start := time.Now()
				next := join(t, left)
				if acked < 20 {
					require.Len(t, take(t, next, 20-int(acked)), 20-int(acked))
				}
				require.Zero(t, time.Since(start))
				require.NoError(t, next.Close())
				require.NoError(t, left.Close())
				cuts++
			}
			if acked == 20 {
				break
			}
		}
		require.Positive(t, cuts)
		require.NoError(t, c.Close())
	})
}

// A commit that cannot be stored is refused, and counted on by nobody; when there is room again the member goes on.
func TestFullDiskLosesNoCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewFault(vfs.NewMem())
		eng := open(t, disk)
		fill(t, eng, "a", 1, 4)
		c := join(t, eng, group.CommitByHand(), group.ReadWith(topic.MaxPollRecords(2)))
		require.Len(t, take(t, c, 2), 2)
		require.NoError(t, c.Commit(t.Context()))
		require.Len(t, take(t, c, 2), 2)
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "__consumer_offsets", Count: vfs.Forever, Err: syscall.ENOSPC})
		err := c.Commit(t.Context())
		require.ErrorIs(t, err, group.ErrNotAvailable)
		require.ErrorIs(t, err, topic.ErrNoSpace)
		disk.Clear()
		require.EqualValues(t, 2, committed(t, eng)[tp("a", 0)])
		for b, err := range c.Batches(t.Context()) { // it has lost its place, and is given it again
			require.NoError(t, err)
			require.EqualValues(t, 2, b.Records[0].Offset)
			b.Mark()
			break
		}
		require.NoError(t, c.Close())
		require.EqualValues(t, 4, committed(t, eng)[tp("a", 0)])
	})
}

func failing(why error) group.Callback {
	return func(context.Context, []topic.TopicPartition) error { return why }
}

// Callbacks' errors come out of the loop, and what was to be done is done all the same.
func TestCallbacksThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 1)
		why := errors.New("no")
		c := join(t, eng, group.OnRevoke(failing(why)))
		require.Len(t, take(t, c, 1), 1)
		require.ErrorIs(t, c.Close(), why)
		require.EqualValues(t, 1, committed(t, eng)[tp("a", 0)])
		c = join(t, eng, group.OnAssign(failing(why)))
		n := 0
		for _, err := range c.Batches(t.Context()) {
			require.ErrorIs(t, err, why)
			n++
		}
		require.Equal(t, 1, n)
		require.NoError(t, c.Close())
	})
}

// A static member that goes is waited for; one that comes back has what it had, without a rebalance.
func TestStaticMemberIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 2, 0)
		opts := []group.JoinOption{group.StaticMember("pod-1"), group.Session(30 * time.Second)}
		one, other := join(t, eng, opts...), join(t, eng)
		var got []string
		endOne, endOther := runs(t, one, &got), runs(t, other, &got)
		synctest.Wait()
		had := one.Assignment()
		require.Len(t, had, 1)
		_, generation := other.Member()
		require.NoError(t, one.Shutdown(t.Context()))
		require.NoError(t, <-endOne)
		time.Sleep(29 * time.Second)
		require.Len(t, other.Assignment(), 1)
		one = join(t, eng, opts...)
		endOne = runs(t, one, &got)
		synctest.Wait()
		require.Equal(t, had, one.Assignment())
		_, now := other.Member()
		require.Equal(t, generation, now)
		require.NoError(t, one.Shutdown(t.Context()))
		require.NoError(t, <-endOne)
		time.Sleep(30*time.Second + time.Millisecond)
		synctest.Wait()
		require.Len(t, other.Assignment(), 2)
		require.NoError(t, other.Shutdown(t.Context()))
		require.NoError(t, <-endOther)
	})
}
