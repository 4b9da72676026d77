package log

import (
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// undertaker is an owner that writes down when it is to call DeleteFiles.
type undertaker struct{ told []time.Duration }

func (u *undertaker) open(t testing.TB, disk vfs.FS, cfg *Config) *Log {
	t.Helper()
	l, _, err := Open(disk, testDir, cfg, OpenState{Hooks: Hooks{Removed: func(_ *Log, d time.Duration) { u.told = append(u.told, d) }}})
	require.NoError(t, err)
	return l
}

// marked is the files on their way out.
func marked(t testing.TB, disk vfs.FS) (list []string) {
	for _, name := range names(t, disk) {
		if strings.HasSuffix(name, ".deleted") {
			list = append(list, name)
		}
	}
	return list
}

// putFrom appends one batch of an idempotent producer.
func putFrom(t testing.TB, l *Log, seq int32) {
	t.Helper()
	_, err := l.Append(t.Context(), sent{id: 9, seq: seq, n: 1}.batch(t), AppendOptions{})
	require.NoError(t, err)
}

func TestRemovedFilesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u undertaker
		disk := vfs.NewMem()
		l := u.open(t, disk, &Config{SegmentBytes: 100})
		for seq := range int32(5) {
			putFrom(t, l, seq)
		}
		require.Len(t, l.Segments(), 5)
		bytes := l.Segments()[0].Bytes
		_, err := l.DeleteRecords(3)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{time.Minute}, u.told)
		require.Contains(t, marked(t, disk), "00000000000000000000.log.deleted")
		require.Contains(t, marked(t, disk), "00000000000000000002.sums.deleted")
		require.Contains(t, marked(t, disk), "00000000000000000002.snapshot.deleted", "the state at a segment's begin goes with it")
		require.EqualValues(t, 3*bytes, l.RemovedBytes())
		require.EqualValues(t, 2*bytes, l.Size())

		again, err := l.DeleteFiles(time.Now().Add(time.Minute - 1))
		require.NoError(t, err)
		require.EqualValues(t, 1, again)
		require.NotEmpty(t, marked(t, disk))
		time.Sleep(time.Minute)
		again, err = l.DeleteFiles(time.Now())
		require.NoError(t, err)
		require.Zero(t, again)
		require.Empty(t, marked(t, disk))
		require.Zero(t, l.RemovedBytes())
		require.Contains(t, names(t, disk), "00000000000000000003.snapshot")
		require.NoError(t, l.Close())
	})
}

// A reader that holds a removed segment finishes; the files go when both it and the delay are over.
func TestRemovedFilesWaitForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u undertaker
		disk := vfs.NewMem()
		l := u.open(t, disk, &Config{SegmentBytes: 100, FileDeleteDelay: time.Second})
		for range 4 {
			put(t, l, "v")
		}
		long, err := l.Slice(0, ReadOptions{})
		require.NoError(t, err)
		short, err := l.Slice(0, ReadOptions{})
		require.NoError(t, err)
		_, err = l.DeleteRecords(3)
		require.NoError(t, err)
		short.Release()
		time.Sleep(time.Second)
		again, err := l.DeleteFiles(time.Now())
		require.NoError(t, err)
		require.Zero(t, again, "what a reader holds is the reader's business")
		left := marked(t, disk)
		require.Contains(t, left, "00000000000000000000.log.deleted")
		require.NotContains(t, left, "00000000000000000001.log.deleted")
		got, err := long.AppendTo(nil)
		require.NoError(t, err)
		require.NotEmpty(t, got)
		long.Release()
		require.Empty(t, marked(t, disk))
		require.NoError(t, l.Close())
	})
}

func TestRemovedFilesGoWithClose(t *testing.T) {
	var u undertaker
	disk := vfs.NewMem()
	l := u.open(t, disk, &Config{SegmentBytes: 100})
	for seq := range int32(4) {
		putFrom(t, l, seq)
	}
	held, err := l.Slice(0, ReadOptions{})
	require.NoError(t, err)
	_, err = l.DeleteRecords(2)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	for _, name := range marked(t, disk) {
		require.True(t, strings.HasPrefix(name, "00000000000000000000."), "%s is held by nobody", name)
	}
	require.Contains(t, marked(t, disk), "00000000000000000000.log.deleted")
	got, err := held.AppendTo(nil)
	require.NoError(t, err)
	require.NotEmpty(t, got)
	held.Release()
	require.NotEmpty(t, marked(t, disk), "another log may have begun to use these names")
}

func TestRemovedFilesGoWithTheNextOpen(t *testing.T) {
	var u undertaker
	disk := vfs.NewMem()
	cfg := &Config{SegmentBytes: 100}
	l := u.open(t, disk, cfg)
	for seq := range int32(4) {
		putFrom(t, l, seq)
	}
	held, err := l.Slice(0, ReadOptions{})
	require.NoError(t, err)
	defer held.Release()
	_, err = l.DeleteRecords(2)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NotEmpty(t, marked(t, disk))
	_, err = l.DeleteFiles(time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.NotEmpty(t, marked(t, disk), "a closed log touches nothing")
	l, rep := reopen(t, disk, cfg)
	require.True(t, rep.Clean)
	require.Empty(t, marked(t, disk))
	require.EqualValues(t, 2, l.Start())
}

func TestNoDelay(t *testing.T) {
	var u undertaker
	disk := vfs.NewMem()
	l := u.open(t, disk, &Config{SegmentBytes: 100, FileDeleteDelay: -1})
	for range 4 {
		put(t, l, "v")
	}
	_, err := l.DeleteRecords(3)
	require.NoError(t, err)
	require.Empty(t, u.told)
	require.NotContains(t, strings.Join(names(t, disk), " "), "00000000000000000000.")
}

// A base offset may leave the log twice within the delay.
func TestSameNamesTwice(t *testing.T) {
	for _, held := range []bool{false, true} {
		var u undertaker
		disk := vfs.NewMem()
		l := u.open(t, disk, &Config{SegmentBytes: 100})
		round := func(v string) *Slice {
			put(t, l, v)
			put(t, l, v)
			s, err := l.Slice(0, ReadOptions{})
			require.NoError(t, err)
			if !held {
				s.Release()
			}
			_, err = l.DeleteRecords(1)
			require.NoError(t, err)
			return s
		}
		first := round("first")
		require.NoError(t, l.TruncateFully(0))
		second := round("second")
		if held {
			for want, s := range map[string]*Slice{"first": first, "second": second} {
				got, err := s.AppendTo(nil)
				require.NoError(t, err)
				require.Contains(t, string(got), want)
			}
			first.Release()
			require.Contains(t, marked(t, disk), "00000000000000000000.log.deleted", "those of the second")
			second.Release()
		}
		_, err := l.DeleteFiles(time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.Empty(t, marked(t, disk))
		require.Zero(t, l.RemovedBytes())
		require.NoError(t, l.Close())
	}
}

// A directory too full for longer names still loses files.
func TestRemovalOnAFullDisk(t *testing.T) {
	for k := range 8 {
		var u undertaker
		disk := vfs.NewFault(vfs.NewMem())
		l := u.open(t, disk, &Config{SegmentBytes: 100})
		for seq := range int32(5) {
			putFrom(t, l, seq)
		}
		disk.Add(vfs.Rule{Op: vfs.OpRename, Path: ".deleted", K: 1 + k, Count: vfs.Forever, Err: syscall.ENOSPC})
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Count: vfs.Forever, Path: ".log", Err: syscall.ENOSPC})
		_, err := l.DeleteRecords(3)
		require.NoError(t, err)
		_, err = l.DeleteFiles(time.Now().Add(time.Hour))
		require.NoError(t, err)
		for _, name := range names(t, disk) {
			for _, gone := range []string{"00000000000000000000.", "00000000000000000001.", "00000000000000000002."} {
				require.False(t, strings.HasPrefix(name, gone), name)
			}
		}
		disk.Clear()
		require.NoError(t, l.Close())
	}
}

// A segment that cannot be marked stays in the log, and the next attempt takes it.
func TestRemovalThatFails(t *testing.T) {
	var u undertaker
	disk := vfs.NewFault(vfs.NewMem())
	l := u.open(t, disk, &Config{SegmentBytes: 100})
	for range 5 {
		put(t, l, "v")
	}
	disk.Add(vfs.Rule{Op: vfs.OpRename, Path: "00000000000000000001.log", Err: syscall.EIO})
	start, err := l.DeleteRecords(3)
	require.ErrorIs(t, err, syscall.EIO)
	require.EqualValues(t, 3, start, "the records are gone all the same")
	require.EqualValues(t, 3, l.Start())
	require.Len(t, l.Segments(), 4)
	require.NoError(t, l.Fenced())
	_, err = l.DeleteRecords(4)
	require.NoError(t, err)
	require.Len(t, l.Segments(), 1)

	disk.Add(vfs.Rule{Op: vfs.OpRemove, Path: "00000000000000000002.log", Err: syscall.EIO})
	soon := time.Now().Add(2 * time.Minute)
	again, err := l.DeleteFiles(soon)
	require.ErrorIs(t, err, syscall.EIO)
	require.NotZero(t, again)
	require.NotEmpty(t, marked(t, disk))
	_, err = l.DeleteFiles(soon.Add(2 * time.Minute))
	require.NoError(t, err)
	require.Empty(t, marked(t, disk))
	require.NoError(t, l.Close())
}
