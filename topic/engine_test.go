package topic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// openOn opens an engine on fsys and closes it at the end of the test.
func openOn(t testing.TB, fsys vfs.FS, opts ...Option) *Engine {
	t.Helper()
	e, err := Open("data", append([]Option{On(fsys)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}

func openTopic(t testing.TB, e *Engine, name string, opts ...TopicOption) *Topic {
	t.Helper()
	tp, err := e.Topic(t.Context(), name, opts...)
	require.NoError(t, err)
	return tp
}

// quick is for topics of tests that do not look at durability: no fsync on the way.
func quick() TopicOption { return NoSync() }

func filesIn(t testing.TB, fsys vfs.FS, dir string) []string {
	t.Helper()
	names, err := fsys.List(dir)
	require.NoError(t, err)
	return names
}

func TestOpenLeavesKafkaDirectory(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	assert.Equal(t, []string{lockFile, metaFile, manifestFile, catalog.JournalFile(1), manifestPrev}, filesIn(t, fsys, "data"))
	openTopic(t, e, "orders", Partitions(2))
	assert.NotContains(t, filesIn(t, fsys, "data"), "orders-1", "a partition has its directory when it is first used")
	require.NoError(t, partitionOf(t, openTopic(t, e, "orders"), 1).Warm(t.Context()))
	assert.Contains(t, filesIn(t, fsys, "data"), "orders-1")
	assert.NotContains(t, filesIn(t, fsys, "data"), "orders-0")
	require.NoError(t, e.Close())
	assert.Contains(t, filesIn(t, fsys, "data"), cleanFile)
	assert.Contains(t, filesIn(t, fsys, "data"), "recovery-point-offset-checkpoint")

	again := openOn(t, fsys)
	assert.NotContains(t, filesIn(t, fsys, "data"), cleanFile)
	assert.True(t, again.startedOK)
	assert.Equal(t, e.ClusterID(), again.ClusterID())
	assert.Equal(t, e.DirectoryID(), again.DirectoryID())
	assert.Len(t, again.DirectoryID(), 22)
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open("")
	assert.ErrorIs(t, err, ErrInvalid)
	_, err = Open("", InMemory(), Defaults(Set("segment.bytes", "x"), Set("y", "z")))
	assert.ErrorIs(t, err, ErrInvalid)
	_, err = Open("data", InMemory(), ReadOnlyMode())
	assert.ErrorIs(t, err, os.ErrNotExist)

	fsys := vfs.NewMem()
	require.NoError(t, vfs.WriteFile(fsys, "file", []byte("x")))
	_, err = Open("file", On(fsys))
	assert.ErrorIs(t, err, ErrInvalid)

	require.NoError(t, fsys.MkdirAll("data"))
	require.NoError(t, vfs.WriteFile(fsys, filepath.Join("data", metaFile), []byte("version=7\n")))
	_, err = Open("data", On(fsys))
	assert.ErrorIs(t, err, ErrNewerFormat)
	assert.Equal(t, []string{lockFile, metaFile}, filesIn(t, fsys, "data"), "nothing is written beside the lock")
	require.NoError(t, vfs.WriteFile(fsys, filepath.Join("data", metaFile), []byte("version=1\ncluster.id=c\nother=1\n")))
	e := openOn(t, fsys)
	assert.Equal(t, "c", e.ClusterID())
	data, err := vfs.ReadFile(fsys, filepath.Join("data", metaFile), smallFile)
	require.NoError(t, err)
	assert.Contains(t, string(data), "other=1")
}

func TestNewerManifestIsRefused(t *testing.T) {
	fsys := vfs.NewMem()
	require.NoError(t, fsys.MkdirAll("data"))
	body := `{"format":99}` + "\n"
	text := fmt.Sprintf("%scrc32c:%08x\n", body, crc([]byte(body)))
	require.NoError(t, vfs.WriteFile(fsys, filepath.Join("data", manifestFile), []byte(text)))
	for _, opts := range [][]Option{{On(fsys)}, {On(fsys), RebuildManifest()}, {On(fsys), ReadOnlyMode()}} {
		_, err := Open("data", opts...)
		assert.ErrorIs(t, err, ErrNewerFormat)
	}
	got, err := vfs.ReadFile(fsys, filepath.Join("data", manifestFile), maxManifest)
	require.NoError(t, err)
	assert.Equal(t, text, string(got))
}

func TestDamagedManifest(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	tp := openTopic(t, e, "orders", Partitions(3), SegmentBytes(1<<20))
	for n := range int32(3) {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(n))
		require.NoError(t, err)
	}
	require.NoError(t, e.Close())
	for _, name := range []string{manifestFile, manifestPrev} {
		require.NoError(t, vfs.WriteFile(fsys, filepath.Join("data", name), []byte("rubbish")))
	}
	_, err := Open("data", On(fsys))
	require.ErrorIs(t, err, ErrCorrupt)

	e = openOn(t, fsys, RebuildManifest())
	found, err := e.lookup("orders")
	require.NoError(t, err)
	assert.Equal(t, 3, found.Partitions())
	assert.Equal(t, tp.ID(), found.ID(), "the id is in the directories")
	high, err := found.state.Load().partitions[2].High()
	require.NoError(t, err)
	assert.EqualValues(t, 1, high)
	require.NoError(t, e.Close())
	openOn(t, fsys) // the manifest is whole again
}

func TestSecondOpener(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	e, err := Open(dir)
	require.NoError(t, err)
	link := dir + "-link"
	require.NoError(t, os.Symlink(dir, link))
	for _, path := range []string{dir, link, filepath.Join(dir, ".", "..", "data")} {
		_, err := Open(path)
		var locked *LockedError
		require.ErrorAs(t, err, &locked)
		assert.ErrorIs(t, err, ErrLocked)
		assert.Contains(t, locked.Holder, fmt.Sprint(os.Getpid()))
	}
	out := openInChild(t, dir)
	assert.Contains(t, out, "locked")
	require.NoError(t, e.Close())
	assert.Contains(t, openInChild(t, dir), "opened")
	e, err = Open(link)
	require.NoError(t, err)
	require.NoError(t, e.Close())
}

const childDir = "QUIRE_TEST_OPEN"

// openInChild lets another process open the directory and returns what it says.
func openInChild(t *testing.T, dir string) string {
	cmd := exec.Command(os.Args[0], "-test.run=^TestOpenChild$", "-test.v")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// TestOpenChild is the other process of TestSecondOpener; alone it does nothing.
func TestOpenChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	e, err := Open(dir)
	if errors.Is(err, ErrLocked) {
		fmt.Println("locked", err)
		return
	}
	require.NoError(t, err)
	fmt.Println("opened")
	require.NoError(t, e.Close())
}

func TestTopicsList(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	for _, name := range []string{"b", "a", "__internal"} {
		openTopic(t, e, name)
	}
	names := func(opts ...ListOption) (list []string) {
		topics, err := e.Topics(t.Context(), opts...)
		require.NoError(t, err)
		for _, tp := range topics {
			list = append(list, tp.Name())
		}
		return list
	}
	assert.Equal(t, []string{"a", "b"}, names())
	assert.Equal(t, []string{"__internal", "a", "b"}, names(WithInternal()))
}

func TestClosedEngine(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", quick())
	p, err := tp.Partition(0)
	require.NoError(t, err)
	_, err = tp.Append(t.Context(), Record{})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.NoError(t, e.Close())
	require.NoError(t, e.Shutdown(t.Context()))

	ctx := t.Context()
	calls := map[string]func() error{
		"Topic":         func() error { _, err := e.Topic(ctx, "x"); return err },
		"CreateTopic":   func() error { _, err := e.CreateTopic(ctx, "x"); return err },
		"AlterTopic":    func() error { return e.AlterTopic(ctx, "orders") },
		"DeleteTopic":   func() error { return e.DeleteTopic(ctx, "orders") },
		"Topics":        func() error { _, err := e.Topics(ctx); return err },
		"Partition":     func() error { _, err := e.Partition("orders", 0); return err },
		"Flush":         func() error { return e.Flush(ctx) },
		"Checkpoint":    func() error { return e.Checkpoint(ctx) },
		"Tick":          func() error { return e.Tick(ctx, time.Now()) },
		"register":      func() error { _, err := e.register(nil); return err },
		"producer id":   func() error { _, err := e.nextProducerID(); return err },
		"Append":        func() error { _, err := tp.Append(ctx, Record{}); return err },
		"AppendBatch":   func() error { _, err := tp.AppendBatch(ctx, []Record{{}}); return err },
		"p.Append":      func() error { _, err := p.Append(ctx, Record{}); return err },
		"FetchRaw":      func() error { _, err := p.FetchRaw(ctx, 0, Fetch{}); return err },
		"Offsets":       func() error { _, err := p.Offsets(); return err },
		"High":          func() error { _, err := p.High(); return err },
		"Wait":          func() error { return p.Wait(ctx, 9, ReadUncommitted) },
		"Watch":         func() error { _, err := p.Watch(func() {}); return err },
		"OffsetForTime": func() error { _, _, _, err := p.OffsetForTime(ctx, time.Now()); return err },
		"DeleteRecords": func() error { _, err := p.DeleteRecords(ctx, -1); return err },
		"Commit":        func() error { return p.Commit(ctx, 1) },
	}
	for name, call := range calls {
		assert.ErrorIs(t, call(), ErrClosed, name)
	}
	assert.False(t, e.goFunc(func() {}))
	assert.Equal(t, int64(1), e.Metrics().Total.RecordsIn, "metrics can be asked after Close")
}

func TestCancelledContext(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders")
	why := errors.New("no time")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := e.Topic(ctx, "other")
	assert.ErrorIs(t, err, why)
	_, err = e.Topics(ctx)
	assert.ErrorIs(t, err, why)
	assert.ErrorIs(t, e.DeleteTopic(ctx, "orders"), why)
	_, err = tp.Append(ctx, Record{})
	assert.ErrorIs(t, err, why)
	assert.NotErrorIs(t, err, ErrUncertain)
	_, err = tp.state.Load().partitions[0].FetchRaw(ctx, 0, Fetch{MaxWait: time.Hour})
	assert.ErrorIs(t, err, why)
	assert.NoError(t, e.AlterTopic(t.Context(), "orders", Partitions(2)), "the turn was given back")
}

func TestInMemoryEnginesAreApart(t *testing.T) {
	a, err := Open("", InMemory())
	require.NoError(t, err)
	defer a.Close()
	b, err := Open("", InMemory())
	require.NoError(t, err)
	defer b.Close()
	openTopic(t, a, "orders")
	_, err = b.lookup("orders")
	assert.ErrorIs(t, err, ErrNotFound)
}

func TestProducerIDs(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	var last int64 = lowestProducerID - 1
	for range idBlockSize + 5 {
		id, err := e.nextProducerID()
		require.NoError(t, err)
		require.Greater(t, id, last)
		last = id
	}
	require.NoError(t, e.Close())
	e = openOn(t, fsys)
	id, err := e.nextProducerID()
	require.NoError(t, err)
	assert.Greater(t, id, last, "an id is never given out twice, also after a stop")
}

// A partition that moves between directories must not meet two producers of one id.
func TestProducerIDsDifferBetweenDirectories(t *testing.T) {
	seen := map[int64]bool{}
	for range 50 {
		id, err := openOn(t, vfs.NewMem()).nextProducerID()
		require.NoError(t, err)
		require.GreaterOrEqual(t, id, int64(lowestProducerID))
		require.Less(t, id, int64(1)<<producerIDBits)
		require.False(t, seen[id])
		seen[id] = true
	}
}

func TestLogging(t *testing.T) {
	assert.NotPanics(t, func() { openOn(t, vfs.NewMem()) }, "without a logger nothing is logged")
	assert.True(t, strings.HasPrefix(ErrNotFound.Error(), "topic: "))
}
