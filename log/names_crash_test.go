package log

import (
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// What an open goes by, and what it makes in the place of something lost, has its name on disk before a record is acknowledged in it:
// a power cut after the open, and after an append, takes nothing of it back.
func TestWhatAnOpenMakesIsNamed(t *testing.T) {
	lost := OpenState{AcceptLoss: true}
	for name, tc := range map[string]struct {
		harm func(disk vfs.FS)
		st   OpenState
	}{
		"the last segment is gone": {func(disk vfs.FS) { require.NoError(t, disk.Remove(logFile(8))) }, lost},
		"all data files are gone": {func(disk vfs.FS) {
			for _, base := range []int64{0, 4, 8} {
				require.NoError(t, disk.Remove(logFile(base)))
			}
		}, lost},
		"all but the slot is gone": {func(disk vfs.FS) { removeAllBut(t, disk, SlotFile) }, lost},
		"a broker led meanwhile":   {func(disk vfs.FS) { underBroker(t, disk) }, OpenState{}},
		"a broker compacted meanwhile": {func(disk vfs.FS) {
			underBroker(t, disk)
			edit(t, disk, logFile(4), func([]byte) []byte { return nil })
			edit(t, disk, logFile(0), func(b []byte) []byte { return b[len(batchOf(t, "v")):] })
		}, OpenState{}},
		"it was deleted under a broker":  {func(disk vfs.FS) { underBroker(t, disk); removeSegment(t, disk, 0) }, OpenState{Kafka: KafkaState{Start: 4}}},
		"all was deleted under a broker": {func(disk vfs.FS) { underBroker(t, disk) }, OpenState{Kafka: KafkaState{Start: 40}}},
	} {
		for _, closed := range []bool{true, false} {
			mem := tenRecords(t, small, closed)
			tc.harm(mem)
			disk := settledLog(t, files(t, mem))
			l, _, err := Open(disk, testDir, small, tc.st)
			require.NoError(t, err, name)
			want, err := contents(l, End)
			require.NoError(t, err, name)
			same := func(fs *vfs.Crash, want []string) {
				t.Helper()
				again, rep, err := Open(fs, testDir, small, OpenState{})
				require.NoError(t, err, name)
				require.Empty(t, rep.Damage, name)
				got, err := contents(again, End)
				require.NoError(t, err, name)
				require.Equal(t, want, got, name)
				require.NoError(t, again.Close())
			}
			same(disk.After(vfs.KeepNone, 0), want)
			a := put(t, l, "v")
			same(disk.After(vfs.KeepNone, 0), append(want, itoa(int(a.Base))+":v"))
		}
	}
}

// A log that is empty at an offset, and whose data file is gone: the one that takes its place is named before it takes a record.
func TestEmptyLogMadeAnewIsNamed(t *testing.T) {
	cfg := &Config{Replicated: true}
	mem := vfs.NewMem()
	l := openLog(t, mem, cfg)
	put(t, l, "v")
	require.NoError(t, l.TruncateFully(5))
	require.NoError(t, l.Close())
	removeAllBut(t, mem, SlotFile)
	disk := settledLog(t, files(t, mem))
	l, _, err := Open(disk, testDir, cfg, OpenState{AcceptLoss: true})
	require.NoError(t, err)
	require.EqualValues(t, 5, put(t, l, "v").Base)
	list, err := contents(openLog(t, disk.After(vfs.KeepNone, 0), cfg), End)
	require.NoError(t, err)
	require.Equal(t, []string{"5:v"}, list)
}

func removeAllBut(t testing.TB, disk vfs.FS, keep string) {
	t.Helper()
	for _, name := range names(t, disk) {
		if name != keep {
			require.NoError(t, disk.Remove(testDir+"/"+name))
		}
	}
}

// A leader's batches leave offsets out; what was acknowledged of them is there after a power cut, though the slot that was written
// since is not.
func TestGapsSurviveAPowerCut(t *testing.T) {
	cfg := &Config{Replicated: true, PreWrite: -1}
	for _, closed := range []bool{false, true} {
		disk := settledLog(t, nil)
		l := openLog(t, disk, cfg)
		if put(t, l, "v"); closed {
			require.NoError(t, l.Close())
			l = openLog(t, disk, cfg)
		}
		for _, offset := range []int64{10, 11, 20} {
			require.NoError(t, l.AppendAt(t.Context(), at(batchOf(t, "v"), offset, 0)))
		}
		for _, policy := range vfs.Policies() {
			again, rep, err := Open(disk.After(policy, 1), testDir, cfg, OpenState{})
			require.NoError(t, err)
			require.Empty(t, rep.Damage)
			list, err := contents(again, End)
			require.NoError(t, err)
			require.Equal(t, []string{"0:v", "10:v", "11:v", "20:v"}, list, "%v", policy)
			require.NoError(t, again.Close())
		}
	}
}

// A cut that a process saw, and whose sync failed, is in the page cache only: the open that finishes the truncation makes it durable.
func TestCutWhoseSyncFailedIsDurableAfterTheOpen(t *testing.T) {
	cfg := &Config{Replicated: true, PreWrite: -1}
	crash := settledLog(t, nil)
	disk := vfs.NewFault(crash)
	l := openLog(t, disk, cfg)
	for range 5 {
		put(t, l, "v")
	}
	disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log", Err: syscall.EIO})
	require.ErrorIs(t, l.Truncate(2), syscall.EIO)
	killed := crash.Kill(0)
	for range 2 {
		l, _, err := Open(killed, testDir, cfg, OpenState{})
		require.NoError(t, err)
		list, err := contents(l, End)
		require.NoError(t, err)
		require.Equal(t, tenWant(2), list)
		killed = killed.After(vfs.KeepNone, 0)
		require.NoError(t, l.Close())
	}
}
