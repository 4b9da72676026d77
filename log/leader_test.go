package log

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// A leader's epoch begins at the log's end as soon as it leads: a follower with batches of an epoch in between
// learns from it where to cut, before the leader has written anything.
func TestLeaderEpochBeforeItsFirstBatch(t *testing.T) {
	disk := vfs.NewMem()
	l, _, err := Open(disk, testDir, small, OpenState{Epoch: 1})
	require.NoError(t, err)
	put(t, l, "v")
	require.NoError(t, l.SetLeaderEpoch(7))
	for asked, want := range map[int32][2]int64{1: {1, 1}, 5: {1, 1}, 7: {7, 1}} {
		found, end := l.EpochEnd(asked)
		require.Equal(t, want, [2]int64{int64(found), end}, "epoch %d", asked)
	}
	list, err := DecodeLeaderEpochs([]byte(files(t, disk)[LeaderEpochFile]))
	require.NoError(t, err)
	require.Equal(t, []LeaderEpoch{{1, 0}, {7, 1}}, list, "on disk")
	slots, newest := DecodeSlots([]byte(files(t, disk)[SlotFile]))
	require.EqualValues(t, 7, slots[newest].LeaderEpoch)
	require.Equal(t, LeaderEpochSum([]byte(files(t, disk)[LeaderEpochFile])), slots[newest].EpochSum)

	require.NoError(t, l.SetLeaderEpoch(8), "two elections in a row")
	found, end := l.EpochEnd(7)
	require.Equal(t, []int64{1, 1}, []int64{int64(found), end}, "an epoch that ended where it began never was")
	require.Error(t, l.SetLeaderEpoch(7))
	put(t, l, "v")
	_, end = l.EpochEnd(1)
	require.EqualValues(t, 1, end)
	require.EqualValues(t, 8, l.LeaderEpoch())
}

// An epoch without a batch does not outlast the log's opening, by whatever end, and costs neither a note of damage
// nor a second reading of all batches.
func TestLeaderEpochWithoutBatchIsForgotten(t *testing.T) {
	for _, how := range []string{"closed", "killed", "killed twice"} {
		disk := vfs.NewMem()
		l, _, err := Open(disk, testDir, small, OpenState{Epoch: 1})
		require.NoError(t, err)
		put(t, l, "v")
		require.NoError(t, l.SetLeaderEpoch(7))
		if how == "closed" {
			require.NoError(t, l.Close())
		}
		if how == "killed twice" {
			reopen(t, disk, small)
		}
		again, rep := reopen(t, disk, small)
		require.Empty(t, rep.Notes, how)
		require.Equal(t, how == "closed", rep.Clean)
		require.EqualValues(t, 1, again.LeaderEpoch())
		found, end := again.EpochEnd(1)
		require.Equal(t, []int64{1, 1}, []int64{int64(found), end})
		slots, newest := DecodeSlots([]byte(files(t, disk)[SlotFile]))
		require.EqualValues(t, 1, slots[newest].LeaderEpoch, how)
		require.Equal(t, LeaderEpochSum([]byte(files(t, disk)[LeaderEpochFile])), slots[newest].EpochSum, how)
	}
}

// An epoch that could not be stored has not begun.
func TestLeaderEpochOnFailingDisk(t *testing.T) {
	for _, c := range []struct {
		fault  vfs.Rule
		fenced bool
	}{
		{vfs.Rule{Op: vfs.OpWrite, Path: LeaderEpochFile, Err: syscall.ENOSPC}, false},
		{vfs.Rule{Op: vfs.OpCreate, Path: LeaderEpochFile, Err: syscall.EMFILE}, false},
		{vfs.Rule{Op: vfs.OpSync, Path: LeaderEpochFile, Err: syscall.EIO}, true},
	} {
		disk := vfs.NewFault(vfs.NewMem())
		l, _, err := Open(disk, testDir, small, OpenState{Epoch: 1})
		require.NoError(t, err)
		put(t, l, "v")
		disk.Add(c.fault)
		require.ErrorIs(t, l.SetLeaderEpoch(7), c.fault.Err)
		require.EqualValues(t, 1, l.LeaderEpoch())
		found, _ := l.EpochEnd(7)
		require.EqualValues(t, -1, found)
		if c.fenced {
			require.ErrorIs(t, l.SetLeaderEpoch(7), ErrFenced)
			continue
		}
		require.NoError(t, l.SetLeaderEpoch(7), "there is room again")
		put(t, l, "v")
		_, end := l.EpochEnd(1)
		require.EqualValues(t, 1, end)
	}
}
