package catalog

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// journalOf is the path of the newest journal.
func journalOf(t *testing.T, fsys vfs.FS) string {
	names, err := fsys.List("d")
	require.NoError(t, err)
	path, newest := "", uint64(0)
	for _, name := range names {
		if base, ok := ParseJournalFile(name); ok && base >= newest {
			path, newest = filepath.Join("d", name), base
		}
	}
	require.NotEmpty(t, path)
	return path
}

func loaded(t *testing.T, fsys vfs.FS) *Found {
	found, err := Load(fsys, "d", anyTopic, false)
	require.NoError(t, err)
	return found
}

// A line that reached the file whole, and of which the disk says that it did not, is not there: the caller was told so.
func TestRefusedLineIsNotThere(t *testing.T) {
	mem := vfs.NewMem()
	disk := vfs.NewFault(mem)
	s := open(t, disk)
	require.NoError(t, s.Commit(created("a", 1)))
	before := topics(s.Manifest())
	disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.journal", Done: true, Err: syscall.EIO})
	err := s.Commit(created("refused", 1))
	require.ErrorIs(t, err, syscall.EIO)
	require.NotErrorIs(t, err, log.ErrUncertain)
	assert.Equal(t, before, topics(loaded(t, mem).Manifest))
}

// An end that could not be made durable is taken back: the page cache may be all that has it, and the lines in front of it.
func TestEndThatIsNotDurable(t *testing.T) {
	mem := vfs.NewMem()
	disk := vfs.NewFault(mem)
	s := open(t, disk)
	require.NoError(t, s.Commit(created("a", 1)))
	disk.Add(vfs.Rule{Op: vfs.OpSync, Count: vfs.Forever})
	s.Close()
	assert.True(t, loaded(t, mem).Unended)
	assert.Len(t, loaded(t, mem).Manifest.Topics, 1)
}

// Changes that find no room together are made each for itself.
func TestNoRoomForAllTogether(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	s := open(t, disk)
	begun, goOn := make(chan struct{}), make(chan struct{})
	disk.Add(vfs.Rule{Op: vfs.OpSync, Done: true, Hook: func(vfs.Op, string) { close(begun); <-goOn }})
	disk.Add(vfs.Rule{Op: vfs.OpWrite, K: 2, Err: syscall.ENOSPC}) // the line of those who come while the first one is synced
	told := make(chan error, 3)
	go func() { told <- s.Commit(created("first", 1)) }()
	<-begun
	for _, name := range []string{"b", "c"} {
		go func() { told <- s.Commit(created(name, 1)) }()
	}
	for waiting := 0; waiting < 2; {
		s.mu.Lock()
		waiting = len(s.waiting)
		s.mu.Unlock()
	}
	close(goOn)
	for range 3 {
		require.NoError(t, <-told)
	}
	assert.Len(t, loaded(t, disk).Manifest.Topics, 3)
}

// An orderly stop that comes together with changes ends the journal when these are on disk: who finds the end relies on that.
func TestEndStandsByItself(t *testing.T) {
	mem := vfs.NewMem()
	disk := vfs.NewFault(mem)
	s := open(t, disk)
	begun, goOn := make(chan struct{}), make(chan struct{})
	disk.Add(vfs.Rule{Op: vfs.OpSync, Done: true, Hook: func(vfs.Op, string) { close(begun); <-goOn }})
	var ended []bool
	disk.Add(vfs.Rule{Op: vfs.OpSync, Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) { ended = append(ended, !loaded(t, mem).Unended) }})
	var callers sync.WaitGroup
	callers.Go(func() { assert.NoError(t, s.Commit(created("a", 1))) })
	<-begun
	for i, call := range []func(){func() { assert.NoError(t, s.Commit(created("b", 1))) }, s.Close} {
		callers.Go(call)
		for waiting := 0; waiting <= i; {
			s.mu.Lock()
			waiting = len(s.waiting)
			s.mu.Unlock()
		}
	}
	close(goOn)
	callers.Wait()
	assert.Equal(t, []bool{false, false, true}, ended)
}

// A snapshot that was damaged is put aside and written anew: the next opening finds two.
func TestDamagedSnapshotIsMadeAnew(t *testing.T) {
	disk := vfs.NewMem()
	open(t, disk).Close()
	require.NoError(t, vfs.WriteFile(disk, filepath.Join("d", File), []byte("rot")))
	require.Error(t, loaded(t, disk).Degraded)
	open(t, disk).Close()
	require.NoError(t, loaded(t, disk).Degraded)
	_, err := disk.Stat(filepath.Join("d", File+damagedSuffix))
	require.NoError(t, err)
}

// Bytes behind an orderly stop say that it was not the last thing that happened.
func TestBytesBehindTheEnd(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk)
	require.NoError(t, s.Commit(created("a", 1)))
	s.Close()
	require.False(t, loaded(t, disk).Unended)
	f, err := disk.Open(journalOf(t, disk))
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(lineMark), size)
	require.NoError(t, errors.Join(err, f.Close()))
	require.True(t, loaded(t, disk).Unended)
}

// An entry knows the generation of its creation and of its last alteration, at once and after an opening: the copies go by it.
func TestEntriesKnowTheirGeneration(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk)
	for _, c := range []Change{created("a", 1), altered("a", 2, "2")} {
		require.NoError(t, s.Commit(c))
		e, found := s.Topic("a")
		require.True(t, found)
		assert.Equal(t, s.Manifest().Generation, e.Changed)
		assert.Equal(t, e.Changed, loaded(t, disk).Manifest.Topics[0].Changed)
	}
	s.Close()
}

// A power cut in the midst of a rebuild takes nothing of a damaged journal that could be read.
func TestRebuildBearsPowerCuts(t *testing.T) {
	disk := vfs.NewCrash()
	s := open(t, disk)
	require.NoError(t, disk.SyncDir("."))
	for _, name := range []string{"a", "b", "c", "d"} {
		require.NoError(t, s.Commit(created(name, 1)))
	}
	path := journalOf(t, disk)
	data, err := vfs.ReadFile(disk, path, MaxBytes)
	require.NoError(t, err)
	data[bytes.IndexByte(data, '\n')+20] ^= 1
	require.NoError(t, vfs.WriteFile(disk, path, data))
	rebuild := func(disk vfs.FS) (string, error) {
		found, err := Load(disk, "d", anyTopic, true)
		require.NoError(t, err)
		_, err = Start(disk, "d", found, false, never)
		return topics(found.Manifest), err
	}
	damaged := func() *vfs.Crash { return disk.After(vfs.KeepNone, 0) }
	whole := damaged()
	before := whole.Ops()
	want, err := rebuild(whole)
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(want, "ready"), "all but what is damaged")
	for n := before + 1; n <= whole.Ops(); n++ {
		for _, policy := range []vfs.Policy{vfs.KeepNone, vfs.KeepAll, vfs.KeepPrefix, vfs.RandomEntries} {
			cut := damaged()
			cut.CrashAt(n)
			_, err := rebuild(cut)
			require.True(t, err == nil || errors.Is(err, vfs.ErrCrashed), "%v", err)
			after := cut.After(policy, uint64(n))
			got, err := rebuild(after)
			require.NoError(t, err)
			require.Equal(t, want, got, "power cut at %d, %v", n, policy)
			faults, err := Faults(after, "d", anyTopic, false)
			require.NoError(t, err)
			require.Empty(t, faults, "power cut at %d, %v", n, policy)
			_, err = after.Stat(path + damagedSuffix)
			require.NoError(t, err, "power cut at %d, %v", n, policy)
		}
	}
}

// On a full disk the previous snapshot, and the journal behind it, give way: the newest must be in its place durably by then.
func TestRoomForADeletionBearsPowerCuts(t *testing.T) {
	for seed := range uint64(32) {
		disk := vfs.NewCrash()
		full := vfs.NewFault(disk)
		s := open(t, full)
		require.NoError(t, disk.SyncDir("."))
		require.NoError(t, s.Commit(created("a", 1)))
		require.NoError(t, s.Commit(created("b", 1)))
		s.fold()
		full.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.journal", Err: syscall.ENOSPC})
		require.NoError(t, s.Commit(Change{Delete: "a"}))
		_, err := disk.Stat(filepath.Join("d", PrevFile))
		require.ErrorIs(t, err, fs.ErrNotExist)
		want := topics(s.Manifest())
		for _, policy := range []vfs.Policy{vfs.KeepNone, vfs.KeepAll, vfs.RandomEntries} {
			require.Equal(t, want, topics(loaded(t, disk.After(policy, seed)).Manifest), "%v, seed %d", policy, seed)
		}
	}
}
