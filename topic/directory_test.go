package topic

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEnsureDirIsDurable(t *testing.T) {
	disk := vfs.NewCrash()
	dir := filepath.Join("a", "b", "c")
	require.NoError(t, ensureDir(disk, dir))
	require.NoError(t, ensureDir(disk, dir))
	info, err := disk.After(vfs.KeepNone, 0).Stat(dir)
	require.NoError(t, err)
	assert.True(t, info.IsDir)

	disk = vfs.NewCrash()
	require.NoError(t, disk.MkdirAll(dir)) // by one that was killed
	require.NoError(t, syncAbove(disk, dir))
	_, err = disk.After(vfs.KeepNone, 0).Stat(dir)
	require.NoError(t, err)
}

func TestIdentityFile(t *testing.T) {
	cases := map[string]struct {
		text  string
		found bool
		want  identity
	}{
		"kafka":   {"#\n#Sat Nov 21\nnode.id=3\nversion=1\ndirectory.id=d\ncluster.id=c\n", true, identity{cluster: "c", node: "3", directory: "d"}},
		"older":   {"broker.id=7\nversion=0\ncluster.id=c\n", true, identity{cluster: "c", node: "7"}},
		"windows": {"version=1\r\ncluster.id=c\r\ndirectory.id=d\r\n", true, identity{cluster: "c", directory: "d"}},
		"empty":   {"", false, identity{}},
		"junk":    {"\x00\xff=\n===\n", false, identity{}},
		"extra":   {"version=1\nx.y=z\n", true, identity{rest: []string{"x.y=z"}}},
	}
	for name, c := range cases {
		fsys := vfs.NewMem()
		require.NoError(t, fsys.MkdirAll("d"))
		require.NoError(t, vfs.WriteFile(fsys, filepath.Join("d", metaFile), []byte(c.text)))
		id, found, damage, err := readIdentity(fsys, "d")
		require.NoError(t, err, name)
		assert.Equal(t, c.found, found, name)
		assert.Equal(t, !c.found, errors.Is(damage, ErrCorrupt), name)
		if found {
			assert.Equal(t, c.want, id, name)
		}
		whole, err := completeIdentity(fsys, "d", id, found)
		require.NoError(t, err, name)
		again, found, _, err := readIdentity(fsys, "d")
		require.NoError(t, err, name)
		assert.True(t, found)
		assert.Equal(t, whole, again, name)
		assert.NotEmpty(t, again.cluster)
		assert.Len(t, again.directory, max(len(c.want.directory), len(again.directory)))
	}
}

// A damaged identity is replaced, and that is told.
func TestDamagedIdentityIsTold(t *testing.T) {
	disk := vfs.NewMem()
	require.NoError(t, openOn(t, disk).Close())
	path := filepath.Join("data", metaFile)
	require.NoError(t, vfs.WriteFile(disk, path, []byte("\x00\x00")))
	var out bytes.Buffer
	openLogged := func() {
		e, err := Open("data", On(disk), Logger(slog.New(slog.NewTextHandler(&out, nil))))
		require.NoError(t, err)
		require.NoError(t, e.Close())
	}
	openLogged()
	assert.Contains(t, out.String(), "level=WARN")
	assert.Contains(t, out.String(), metaFile)
	out.Reset()
	openLogged()
	assert.NotContains(t, out.String(), "WARN", "told once")
}

func TestCleanMark(t *testing.T) {
	disk := vfs.NewCrash()
	require.NoError(t, ensureDir(disk, "d"))
	clean, err := takeCleanMark(disk, "d")
	require.NoError(t, err)
	assert.False(t, clean)
	require.NoError(t, writeCleanMark(disk, "d"))
	clean, err = takeCleanMark(disk.After(vfs.KeepNone, 0), "d")
	require.NoError(t, err)
	assert.True(t, clean, "it is durable when written")
	clean, err = takeCleanMark(disk, "d")
	require.NoError(t, err)
	assert.True(t, clean)
	clean, err = takeCleanMark(disk.After(vfs.KeepNone, 0), "d")
	require.NoError(t, err)
	assert.False(t, clean, "and durably gone when taken")
}

// endOfJournal is how an orderly stop goes on behind the checksum. A journal that has lost its end is looked at more closely, that is all.
var endOfJournal = regexp.MustCompile(`crc32c:[0-9a-f]{8} {"generation":\d+,"closed":true}\n`)

// namesIn gives what lies in an engine's directory, with the content of files: of those that a power cut must not take.
func namesIn(t testing.TB, disk vfs.FS) map[string]string {
	t.Helper()
	names, err := disk.List("data")
	require.NoError(t, err)
	found := map[string]string{}
	for _, name := range names {
		path := filepath.Join("data", name)
		info, err := disk.Stat(path)
		require.NoError(t, err)
		switch {
		case name == lockFile, strings.HasSuffix(name, ".tmp"):
		case info.IsDir:
			found[name] = "directory"
		default:
			data, err := vfs.ReadFile(disk, path, -1)
			require.NoError(t, err)
			found[name] = endOfJournal.ReplaceAllString(string(data), "")
		}
	}
	return found
}

// A killed engine leaves names that only the page cache has. Once another has served what it found there, no power cut brings older ones back.
func TestNamesFoundAfterAKillAreDurable(t *testing.T) {
	disk := vfs.NewCrash()
	var killed []*vfs.Crash
	disk.OnOp(func(vfs.Op, string) { killed = append(killed, disk.Kill(uint64(len(killed)))) })
	e := openOn(t, disk)
	p := partitionOf(t, openTopic(t, e, "users", compacting()...), 0)
	putKeys(t, p, 10, 2)
	require.NoError(t, e.Compact(t.Context()))
	require.NoError(t, e.Checkpoint(t.Context()))
	require.NoError(t, e.DeleteTopic(t.Context(), "users"))
	require.NoError(t, e.Close())
	disk.OnOp(nil)
	require.Greater(t, len(killed), 50)
	for n, disk := range killed {
		e, err := Open("data", On(disk))
		require.NoError(t, err, "killed at %d", n)
		removed(t, e)
		found, after := namesIn(t, disk), disk.After(vfs.KeepNone, 0)
		require.NoError(t, e.Close())
		require.Equal(t, found, namesIn(t, after), "killed at %d", n)
	}
}

// What Checkpoint returns for lies on disk, and says what the partitions hold.
func TestCheckpointByHandIsDurable(t *testing.T) {
	disk := vfs.NewCrash()
	e := openOn(t, disk)
	p := partitionOf(t, openTopic(t, e, "orders", SegmentBytes(300)), 0)
	appendTo(t, p, 20)
	_, err := p.DeleteRecords(t.Context(), 7)
	require.NoError(t, err)
	require.NoError(t, e.Checkpoint(t.Context()))
	after := disk.After(vfs.KeepNone, 0)
	for name, want := range map[string]int64{log.RecoveryPointFile: 20, log.HighWatermarkFile: 20, log.LogStartFile: 7} {
		c, err := log.ReadOffsetCheckpoint(after, filepath.Join("data", name))
		require.NoError(t, err, name)
		assert.Equal(t, want, c[log.TopicPartition{Topic: "orders"}], name)
	}
}

// A directory whose name could not be made durable is no directory yet: the next use makes it so.
func TestDirectoryWhoseSyncFailed(t *testing.T) {
	disk := vfs.NewCrash()
	fails := vfs.NewFault(disk)
	tp := openTopic(t, openOn(t, fails), "orders")
	fails.Add(vfs.Rule{Op: vfs.OpSyncDir, Path: "data", Err: syscall.EIO})
	_, err := tp.Append(t.Context(), say("lost"))
	require.ErrorIs(t, err, syscall.EIO)
	_, err = tp.Append(t.Context(), say("kept"))
	require.NoError(t, err)
	after := openOn(t, disk.After(vfs.KeepNone, 0))
	require.Equal(t, []string{"kept"}, delivered(t, openTopic(t, after, "orders")))
}
