package log

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// strangeDir puts a directory with a file in it where the log has its files, instead of what was there.
func strangeDir(t *testing.T, disk vfs.FS, name string) {
	t.Helper()
	path := filepath.Join(testDir, name)
	if err := disk.Remove(path); err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.NoError(t, disk.MkdirAll(path))
	require.NoError(t, vfs.WriteFile(disk, filepath.Join(path, "letter"), []byte("mine")))
}

func requireLetter(t *testing.T, disk vfs.FS, name string) {
	t.Helper()
	data, err := vfs.ReadFile(disk, filepath.Join(testDir, name, "letter"), 100)
	require.NoError(t, err)
	require.Equal(t, "mine", string(data))
}

// Directories that are named like files of a log, but not like one it has to write, are nobody's business: the log
// opens, is read and written, and leaves them as they are.
func TestStrangeDirectoriesAreLeftAlone(t *testing.T) {
	names := []string{
		segment.FileName(100, ".log"), segment.FileName(9, ".log"), segment.FileName(2, ".log"), segment.FileName(100, ".index"),
		segment.FileName(9, ".snapshot"), segment.FileName(11, ".snapshot"),
		segment.FileName(3, ".log.swap"), segment.FileName(3, ".index.swap"), segment.FileName(3, ".log.deleted"),
		segment.FileName(3, ".log.cleaned"), segment.FileName(3, ".index.tmp"), "quire.slot.tmp",
	}
	for _, closed := range []bool{true, false} {
		disk := tenRecords(t, small, closed)
		for _, name := range names {
			strangeDir(t, disk, name)
		}
		l, rep := reopen(t, disk, small)
		assert.Equal(t, closed, rep.Clean)
		assert.Empty(t, rep.Damage)
		requireContents(t, l, tenWant(10)...)
		for i := range 12 { // an idempotent producer, so that rolls take snapshots
			_, err := l.Append(t.Context(), sent{9, 0, int32(i), 1, 0, false}.batch(t), AppendOptions{})
			require.NoError(t, err)
		}
		require.NoError(t, l.Close())
		l, _ = reopen(t, disk, small)
		require.EqualValues(t, 22, l.End())
		require.NoError(t, l.TruncateFully(30))
		require.NoError(t, l.Close())
		for _, name := range names {
			requireLetter(t, disk, name)
		}
	}
}

// A directory where the log has to write a file keeps it from opening, with an error that names the directory, and
// nothing is changed: once it is moved away everything is as before.
func TestDirectoryInTheWay(t *testing.T) {
	for _, name := range []string{
		SlotFile, LeaderEpochFile, segment.FileName(8, ".index"), segment.FileName(8, ".timeindex"), segment.FileName(8, ".txnindex"),
		segment.FileName(8, ".sums"), segment.FileName(8, ".sums.tmp"),
	} {
		for _, closed := range []bool{true, false} {
			disk := tenRecords(t, small, closed)
			strangeDir(t, disk, name)
			before := files(t, disk)
			_, _, err := Open(disk, testDir, small, OpenState{})
			var way *NotAFileError
			require.ErrorAs(t, err, &way, name)
			require.Equal(t, filepath.Join(testDir, name), way.Path)
			require.ErrorIs(t, err, fs.ErrExist)
			require.Equal(t, before, files(t, disk))
			require.NoError(t, vfs.RemoveAll(disk, way.Path))
			l, _ := reopen(t, disk, small)
			requireContents(t, l, tenWant(10)...)
		}
	}
}

// A data file in whose place there is a directory is missing, whatever the directory is called.
func TestDirectoryInsteadOfData(t *testing.T) {
	for _, base := range []int64{0, 4, 8} {
		disk := tenRecords(t, small, true)
		strangeDir(t, disk, segment.FileName(base, ".log"))
		_, _, err := Open(disk, testDir, small, OpenState{})
		require.ErrorIs(t, err, ErrDataLoss)
	}
}

// A derived file of a sealed segment in whose place there is a directory is made do without.
func TestDirectoryInsteadOfDerivedFile(t *testing.T) {
	for _, suffix := range []string{".sums", ".index", ".timeindex"} {
		disk := tenRecords(t, small, true)
		strangeDir(t, disk, segment.FileName(4, suffix))
		l, _ := reopen(t, disk, small)
		requireContents(t, l, tenWant(10)...)
		_, found, err := l.OffsetFor(1000, High)
		require.NoError(t, err)
		require.True(t, found)
	}
}
