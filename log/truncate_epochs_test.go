package log

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// ofEpoch is a leader's batch of one record.
func ofEpoch(t testing.TB, offset int64, epoch int32) record.Batch {
	b := batchOf(t, fmt.Sprintf("%d", offset))
	b.SetBaseOffset(offset)
	b.SetLeaderEpoch(epoch)
	return b
}

// led has offsets 0 to 5 of epoch 3, and an epoch 4 whose leader wrote nothing.
func led(t testing.TB, disk vfs.FS) (*Log, error) {
	l, _, err := Open(disk, testDir, &Config{Replicated: true}, OpenState{})
	require.NoError(t, err)
	for o := range int64(6) {
		require.NoError(t, l.AppendAt(t.Context(), ofEpoch(t, o, 3)))
	}
	return l, l.SetLeaderEpoch(4)
}

// A follower that was leader for a moment and wrote nothing takes what the leader has of the epoch before (KIP-101).
func TestTruncateAtTheEndForgetsEpochs(t *testing.T) {
	for _, to := range []int64{6, 7, 100} {
		disk := vfs.NewCrash()
		require.NoError(t, disk.MkdirAll(testDir))
		require.NoError(t, disk.SyncDir("."))
		l, err := led(t, disk)
		require.NoError(t, err)
		require.Error(t, l.AppendAt(t.Context(), ofEpoch(t, 6, 3)), "its own epoch stands in the way")
		require.NoError(t, l.Truncate(to))
		require.EqualValues(t, 6, l.End())
		requireEpochEnd(t, l, 3, 3, 6)
		require.NoError(t, l.AppendAt(t.Context(), ofEpoch(t, 6, 3)))
		requireEpochEnd(t, l, 3, 3, 7)
		for _, policy := range vfs.Policies() {
			after := disk.After(policy, 1)
			again, rep, err := Open(after, testDir, &Config{Replicated: true}, OpenState{})
			require.NoError(t, err)
			require.Empty(t, rep.Damage, policy)
			require.EqualValues(t, 7, again.End(), policy)
			requireEpochEnd(t, again, 3, 3, 7)
			require.NoError(t, again.Close())
		}
		require.NoError(t, l.SetLeaderEpoch(4), "it may lead again")
		require.NoError(t, l.AppendAt(t.Context(), ofEpoch(t, 7, 5)))
		requireEpochEnd(t, l, 4, 3, 7)
		require.NoError(t, l.Close())
		require.Empty(t, verified(t, disk, &Config{}).Faults)
	}
}

func requireEpochEnd(t testing.TB, l *Log, asked, epoch int32, end int64) {
	t.Helper()
	found, at := l.EpochEnd(asked)
	require.Equal(t, [2]int64{int64(epoch), end}, [2]int64{int64(found), at})
}

// A history that cannot be stored stays as it was, and what would contradict it is refused.
func TestForgottenEpochsAreStoredFirst(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	l, err := led(t, disk)
	require.NoError(t, err)
	disk.Add(vfs.Rule{Op: vfs.OpCreate, Path: LeaderEpochFile, Err: syscall.ENOSPC})
	require.ErrorIs(t, l.Truncate(6), ErrNoSpace)
	requireEpochEnd(t, l, 4, 4, 6)
	require.Error(t, l.AppendAt(t.Context(), ofEpoch(t, 6, 3)))
	require.NoError(t, l.Fenced())
	require.NoError(t, l.Truncate(6))
	require.NoError(t, l.AppendAt(t.Context(), ofEpoch(t, 6, 3)))
	require.NoError(t, l.Close())
}
