package log

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

func TestTruncate(t *testing.T) {
	for to := int64(2); to <= 12; to++ {
		t.Run(fmt.Sprint(to), func(t *testing.T) {
			disk := vfs.NewMem()
			cfg := &Config{Replicated: true, SegmentBytes: 300}
			l := openLog(t, disk, cfg)
			var want []string
			for i := range int64(5) { // batches of two: 0-1, 2-3, ... 8-9
				require.NoError(t, l.SetLeaderEpoch(int32(i)))
				put(t, l, "a", "b")
				if 2*i+1 < to {
					want = append(want, fmt.Sprintf("%d:a", 2*i), fmt.Sprintf("%d:b", 2*i+1))
				}
			}
			l.AdvanceHigh(2)
			require.ErrorIs(t, l.Truncate(1), ErrBelowHigh)
			require.EqualValues(t, 10, l.End())
			require.NoError(t, l.Truncate(to))
			end := min(to/2*2, 10)
			require.Equal(t, []int64{2, 2, end, end}, []int64{l.Stable(), l.High(), l.End(), l.Durable()})
			list, err := contents(l, End)
			require.NoError(t, err)
			require.Equal(t, want, list)
			epoch, last := l.EpochEnd(int32(end/2 - 1))
			require.EqualValues(t, end/2-1, epoch)
			require.Equal(t, end, last)
			epoch, _ = l.EpochEnd(4)
			require.Equal(t, end == 10, epoch == 4, "an epoch that was cut off is forgotten")
			for _, how := range []string{"killed", "closed"} {
				again, rep := reopen(t, disk, cfg)
				list, err = contents(again, End)
				require.NoError(t, err)
				require.Equal(t, want, list, how)
				require.Empty(t, rep.Damage)
				require.NoError(t, again.Close())
			}
		})
	}
}

func TestTruncateFully(t *testing.T) {
	for _, to := range []int64{0, 3, 6, 100} {
		disk := vfs.NewMem()
		cfg := &Config{SegmentBytes: 300}
		l, _, err := Open(disk, testDir, cfg, OpenState{Epoch: 4})
		require.NoError(t, err)
		for range 6 {
			put(t, l, "v")
		}
		_, err = l.DeleteRecords(2)
		require.NoError(t, err)
		slice, err := l.Slice(2, ReadOptions{})
		require.NoError(t, err)
		ch := make(chan struct{}, 1)
		defer watch(l, ch)()
		require.NoError(t, l.TruncateFully(to))
		<-ch
		require.Equal(t, []int64{to, to, to, to, to}, []int64{l.Start(), l.Stable(), l.High(), l.End(), l.Durable()})
		epoch, end := l.EpochEnd(4)
		require.EqualValues(t, -1, epoch)
		require.EqualValues(t, -1, end)
		data, err := slice.AppendTo(nil)
		require.NoError(t, err, "a reader finishes")
		require.NotEmpty(t, data)
		slice.Release()
		requireContents(t, l)
		a := put(t, l, "w")
		require.Equal(t, to, a.Base)
		require.NoError(t, l.Close())
		l, rep := reopen(t, disk, cfg)
		require.True(t, rep.Clean)
		requireContents(t, l, fmt.Sprintf("%d:w", to))
		require.Equal(t, 1, len(l.Segments()))
		require.ErrorIs(t, l.TruncateFully(-1), ErrOffsetOutOfRange)
	}
}

func TestDeleteRecords(t *testing.T) {
	disk := vfs.NewMem()
	cfg := &Config{SegmentBytes: 300}
	l, _, err := Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err)
	for range 10 {
		put(t, l, "v")
	}
	require.Len(t, l.Segments(), 3)
	for _, tc := range []struct{ ask, start int64 }{{0, 0}, {3, 3}, {2, 3}, {4, 4}, {9, 9}, {-1, 10}, {10, 10}} {
		start, err := l.DeleteRecords(tc.ask)
		require.NoError(t, err)
		require.Equal(t, tc.start, start)
		require.Equal(t, tc.start, l.Start())
		require.GreaterOrEqual(t, l.Stable(), l.Start())
		list, err := contents(l, High)
		require.NoError(t, err)
		require.Len(t, list, int(10-start))
		_, _, err = l.Read(nil, At(start-1), ReadOptions{})
		var out *RangeError
		require.ErrorAs(t, err, &out)
		require.Equal(t, RangeError{start - 1, start, 10}, *out)
	}
	require.Len(t, l.Segments(), 1)
	for _, bad := range []int64{-2, 11} {
		_, err := l.DeleteRecords(bad)
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
	_, ok, err := l.OffsetFor(TimeMax, High)
	require.NoError(t, err)
	require.False(t, ok, "nothing left to have a time")
	put(t, l, "w")
	l, _ = reopen(t, disk, cfg)
	require.EqualValues(t, 10, l.Start())
	requireContents(t, l, "10:w")
}

// What a reader holds is deleted when it lets go.
func TestDeleteWhilePinned(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk, &Config{SegmentBytes: 300})
	for range 10 {
		put(t, l, "v")
	}
	s, err := l.Slice(0, ReadOptions{})
	require.NoError(t, err)
	before, err := s.AppendTo([]byte("x"))
	require.NoError(t, err)
	_, err = l.DeleteRecords(8)
	require.NoError(t, err)
	after, err := s.AppendTo([]byte("x"))
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Contains(t, names(t, disk), "00000000000000000000.log.deleted")
	s.Release()
	s.Release()
	_, err = s.AppendTo(nil)
	require.ErrorIs(t, err, ErrClosed)
	require.NotContains(t, names(t, disk), "00000000000000000000.log.deleted")
}

// Whatever fails in a truncation fences the log, and the next open finishes it.
func TestFailedTruncation(t *testing.T) {
	for k := 1; k < 40; k++ {
		disk := vfs.NewFault(vfs.NewMem())
		cfg := &Config{Replicated: true, SegmentBytes: 300}
		l, _, err := Open(disk, testDir, cfg, OpenState{})
		require.NoError(t, err)
		for range 10 {
			put(t, l, "v")
		}
		for _, op := range []vfs.Op{vfs.OpRename, vfs.OpTruncate, vfs.OpSync, vfs.OpSyncDir, vfs.OpWrite, vfs.OpRemove} {
			if int(op)%6 == k%6 {
				disk.Add(vfs.Rule{Op: op, K: 1 + k/6, Err: syscall.EIO})
			}
		}
		err = l.Truncate(5)
		disk.Clear()
		if err != nil && l.Fenced() == nil {
			require.EqualValues(t, 10, l.End(), "refused before anything happened")
		}
		_, appendErr := l.Append(context.Background(), batchOf(t, "w"), AppendOptions{NoWait: true})
		if err != nil && l.Fenced() != nil {
			require.ErrorIs(t, appendErr, ErrFenced)
		}
		_ = l.Close()
		l, rep := reopen(t, disk, cfg)
		require.Empty(t, rep.Damage)
		list, readErr := contents(l, End)
		require.NoError(t, readErr)
		if err == nil {
			require.Equal(t, []string{"0:v", "1:v", "2:v", "3:v", "4:v", "5:w"}, list)
		} else {
			require.GreaterOrEqual(t, len(list), 5)
		}
	}
}

// The start may lie inside a batch, and with it the high watermark: the batch stays.
func TestTruncateAtAStartInsideABatch(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{Replicated: true, Durability: OS})
	put(t, l, "a")
	put(t, l, "b", "c")
	require.EqualValues(t, 2, l.AdvanceHigh(2))
	_, err := l.DeleteRecords(2)
	require.NoError(t, err)
	require.ErrorIs(t, l.Truncate(2), ErrBelowHigh)
	require.EqualValues(t, 3, l.End())
	requireContents(t, l)
	l.AdvanceHigh(3)
	requireContents(t, l, "2:c")
}

// Rot in one half of the slot must not bring the intent of a finished truncation back.
func TestTruncationLeavesItsIntentInNeitherHalf(t *testing.T) {
	for name, cut := range map[string]func(l *Log) error{
		"truncate":       func(l *Log) error { return l.Truncate(1) },
		"truncate fully": func(l *Log) error { return l.TruncateFully(7) },
	} {
		t.Run(name, func(t *testing.T) {
			disk := crashDisk(t)
			l := openLog(t, disk, &Config{Replicated: true})
			put(t, l, "a")
			put(t, l, "b")
			require.NoError(t, cut(l))
			data, err := readSlots(disk.After(vfs.KeepNone, 0), filepath.Join(testDir, SlotFile))
			require.NoError(t, err)
			for half := range 2 {
				st, _, err := decodeSlot(data[half*slotSector:])
				require.NoError(t, err)
				require.False(t, st.truncating, "half %d", half)
			}
		})
	}
}

// At a level that does not wait for the disk, records are deleted that no sync has
// covered: the start is durable at once, and so is what lies behind it.
func TestDeleteRecordsAheadOfTheDisk(t *testing.T) {
	disk := crashDisk(t)
	cfg := &Config{Durability: OS}
	l := openLog(t, disk, cfg)
	for range 10 {
		_, err := l.Append(t.Context(), batchOf(t, "v"), AppendOptions{})
		require.NoError(t, err)
	}
	require.Zero(t, l.Durable())
	_, err := l.DeleteRecords(8)
	require.NoError(t, err)
	l, rep := reopen(t, disk.After(vfs.KeepNone, 0), cfg)
	require.Empty(t, rep.Damage)
	require.EqualValues(t, 8, l.Start())
	requireContents(t, l, "8:v", "9:v")
}
