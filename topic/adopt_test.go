package topic

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// kafkaDirectory makes what an Apache Kafka broker leaves after an orderly stop: nothing of ours in it.
func kafkaDirectory(t *testing.T) *vfs.Mem {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	tp := openTopic(t, e, "orders", Partitions(3))
	for n := range int32(3) {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(n))
		require.NoError(t, err)
	}
	_, err := openTopic(t, e, "__consumer_offsets").Append(t.Context(), Record{Key: []byte("k")})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	loseManifest(t, fsys)
	for _, base := range filesIn(t, fsys, "data") {
		if _, ok := parseDirName(base); !ok {
			continue
		}
		for _, name := range filesIn(t, fsys, filepath.Join("data", base)) {
			if strings.HasPrefix(name, "quire.") || filepath.Ext(name) == ".sums" {
				require.NoError(t, fsys.Remove(filepath.Join("data", base, name)))
			}
		}
	}
	return fsys
}

// loseManifest removes all files of the manifest.
func loseManifest(t *testing.T, fsys vfs.FS) {
	for _, base := range filesIn(t, fsys, "data") {
		if strings.HasPrefix(base, manifestFile) {
			require.NoError(t, fsys.Remove(filepath.Join("data", base)))
		}
	}
}

func TestAdoptKafkaDirectory(t *testing.T) {
	fsys := kafkaDirectory(t)
	// Junk and directories of other meaning are left alone.
	for _, dir := range []string{"data/lost+found", "data/orders-1-future", "data/empty-0", "data/orders-01", "data/a..b", "data/junk-0"} {
		require.NoError(t, fsys.MkdirAll(dir))
	}
	require.NoError(t, vfs.WriteFile(fsys, "data/junk-0/notes.log", []byte("x")))

	e := openOn(t, fsys)
	topics, err := e.Topics(t.Context(), WithInternal())
	require.NoError(t, err)
	require.Len(t, topics, 2)
	tp := openTopic(t, e, "orders")
	assert.Equal(t, 3, tp.Partitions())
	for n := range int32(3) {
		assert.Len(t, stored(t, partitionOf(t, tp, n)), 1)
	}
	_, err = tp.Append(t.Context(), Record{})
	require.NoError(t, err)
	id, err := e.nextProducerID()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, id, int64(lowestProducerID))
	require.NoError(t, e.Close())
	for _, base := range []string{"lost+found", "orders-1-future", "empty-0", "orders-01", "a..b", "junk-0"} {
		assert.Contains(t, filesIn(t, fsys, "data"), base)
	}
	again := openOn(t, fsys)
	assert.Equal(t, tp.ID(), openTopic(t, again, "orders").ID())
}

// An adopted topic that Kafka or the engine keeps for itself has the settings that such a topic is made with, and is compacted; a user's keeps everything.
func TestAdoptedInternalTopicsHaveTheirSettings(t *testing.T) {
	fsys := kafkaDirectory(t)
	e := openOn(t, fsys)
	offsets := openTopic(t, e, "__consumer_offsets")
	assert.Equal(t, map[string]string{"cleanup.policy": "compact", "segment.bytes": "104857600", "max.message.bytes": "67108863", "quire.durability": "sync"},
		offsets.Overrides())
	assert.Empty(t, openTopic(t, e, "orders").Overrides())
	require.NoError(t, e.AlterTopic(t.Context(), "__consumer_offsets", SegmentBytes(1000), Set("min.cleanable.dirty.ratio", "0")))
	for range 100 {
		_, err := offsets.Append(t.Context(), Record{Key: []byte("k"), Value: []byte("v")})
		require.NoError(t, err)
	}
	require.NoError(t, e.Compact(t.Context()))
	assert.Less(t, len(stored(t, partitionOf(t, offsets, 0))), 20)
	require.NoError(t, e.Close())

	again := openOn(t, fsys)
	assert.Equal(t, CleanupCompact, openTopic(t, again, "__consumer_offsets").Settings().Cleanup)
}

// When a generation is lost, topics that only it knew are found again, and nothing is deleted.
func TestLostGenerationCostsNoData(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	openTopic(t, e, "first")
	tp := openTopic(t, e, "second", Partitions(2), quick())
	_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(0))
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.NoError(t, vfs.WriteFile(fsys, filepath.Join("data", manifestFile), []byte("rot")))
	e = openOn(t, fsys)
	found := openTopic(t, e, "second")
	assert.Equal(t, tp.ID(), found.ID())
	assert.Len(t, stored(t, partitionOf(t, found, 0)), 1)
	assert.Contains(t, filesIn(t, fsys, "data"), manifestFile+".damaged")
	openTopic(t, e, "first")
}

func TestAdoptRefusesMixedIDs(t *testing.T) {
	fsys := kafkaDirectory(t)
	id, err := newID()
	require.NoError(t, err)
	require.NoError(t, log.WritePartitionMetadata(fsys, "data/orders-1/partition.metadata", id))
	e := openOn(t, fsys)
	_, err = e.lookup("orders")
	assert.ErrorIs(t, err, ErrNotFound, "left alone")
	_, err = e.lookup("__consumer_offsets")
	assert.NoError(t, err)
	assert.Contains(t, filesIn(t, fsys, "data"), "orders-1")
}

// A directory that cannot be listed is an error of Open: it may hold a topic's data, and its name must not be given away.
func TestAdoptTellsOfADiskThatDoesNotAnswer(t *testing.T) {
	fsys := kafkaDirectory(t)
	require.NoError(t, vfs.WriteFile(fsys, "data/file-0", []byte("x"))) // no directory
	disk := vfs.NewFault(fsys)
	for _, opts := range [][]Option{nil, {ReadOnlyMode()}} {
		disk.Add(vfs.Rule{Op: vfs.OpList, Path: "orders-1", Count: vfs.Forever, Err: syscall.EIO})
		_, err := Open("data", append([]Option{On(disk)}, opts...)...)
		require.ErrorIs(t, err, syscall.EIO)
		require.ErrorContains(t, err, "orders-1")
		disk.Clear()
	}
	e := openOn(t, disk)
	assert.Equal(t, 3, openTopic(t, e, "orders").Partitions())
	require.NoError(t, e.Close())

	e = openOn(t, disk, ReadOnlyMode())
	disk.Add(vfs.Rule{Op: vfs.OpList, Path: "orders-1", Count: vfs.Forever, Err: syscall.EIO})
	p, err := e.Partition("orders", 1)
	require.NoError(t, err)
	_, err = p.End()
	require.ErrorIs(t, err, syscall.EIO, "and not an empty partition")
}

// A journal that was cut behind an earlier stop's closing line looks orderly: what lies in a directory that it knows nothing of is found
// all the same, by marks and by readers.
func TestCutJournalHidesNoRecords(t *testing.T) {
	mem := vfs.NewMem()
	e := openOn(t, mem)
	openTopic(t, e, "orders", Partitions(2))
	require.NoError(t, e.Close())
	orderly := journals(t, mem)
	e = openOn(t, mem)
	tp := openTopic(t, e, "orders")
	_, err := tp.Append(t.Context(), Record{Value: []byte("a")}, AppendTo(1))
	require.NoError(t, err)
	require.NoError(t, e.Close())
	for name, data := range orderly {
		require.NoError(t, vfs.WriteFile(mem, name, data))
	}
	e = openOn(t, mem)
	p := partitionOf(t, openTopic(t, e, "orders"), 1)
	o, err := p.Offsets()
	require.NoError(t, err)
	assert.EqualValues(t, 1, o.End)
	require.NoError(t, e.Close())
	for name, data := range orderly {
		require.NoError(t, vfs.WriteFile(mem, name, data))
	}
	e = openOn(t, mem)
	c := clientConsumer(t, e, MaxWait(0))
	require.NoError(t, c.Assign(TopicPartition{Topic: "orders", Partition: 1}))
	recs, err := c.Poll(t.Context())
	require.NoError(t, err)
	assert.Len(t, recs, 1)
	require.NoError(t, e.Close())
}

func journals(t *testing.T, mem *vfs.Mem) map[string][]byte {
	t.Helper()
	names, err := mem.List("data")
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, base := range names {
		if strings.HasPrefix(base, "quire.manifest") {
			name := filepath.Join("data", base)
			files[name], err = vfs.ReadFile(mem, name, 1<<20)
			require.NoError(t, err)
		}
	}
	return files
}
