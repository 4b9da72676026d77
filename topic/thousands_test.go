package topic

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// changesOf counts the changes of a disk, syncs among them.
func changesOf(disk vfs.FS) (counting vfs.FS, count *atomic.Int64) {
	count = new(atomic.Int64)
	fault := vfs.NewFault(disk)
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpRename, vfs.OpMkdirAll} {
		fault.Add(vfs.Rule{Op: op, Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) { count.Add(1) }})
	}
	return fault, count
}

// Thousands of topics: to create, alter or delete one costs a write and a sync, however many there are, and one call for all of them costs no more.
// internal/bench measures 34,000 on a real disk.
func TestThousandsOfTopics(t *testing.T) {
	const n = 3000
	mem := vfs.NewMem()
	disk, changes := changesOf(mem)
	e := openOn(t, disk)
	many := make([]NewTopic, n)
	for i := range many {
		many[i] = NewTopic{Name: fmt.Sprintf("many%04d", i), Options: []TopicOption{Partitions(1 + i%3), SegmentBytes(1 << 20)}}
	}
	cost := func(what string, most int, f func()) {
		t.Helper()
		before := changes.Load()
		f()
		assert.LessOrEqual(t, changes.Load()-before, int64(most), what)
	}
	var made []*Topic
	cost("one call", 20, func() { // with a new snapshot
		var err error
		made, err = e.CreateTopics(t.Context(), many...)
		require.NoError(t, err)
	})
	require.Len(t, made, n)
	assert.Equal(t, "many0007", made[7].Name())
	assert.Equal(t, 2, made[7].Partitions())
	each := func(f func(i int) error) func() {
		return func() {
			for i := range n {
				require.NoError(t, f(i))
			}
		}
	}
	const room = 100 // for the new snapshots between
	cost("single calls", 2*n+room, each(func(i int) error {
		_, err := e.CreateTopic(t.Context(), fmt.Sprintf("single%04d", i))
		return err
	}))
	cost("alterations", 2*n+room, each(func(i int) error {
		return e.AlterTopic(t.Context(), fmt.Sprintf("single%04d", i), RetentionBytes(int64(i)), Partitions(2))
	}))
	cost("deletions", 2*n+room, each(func(i int) error {
		return e.DeleteTopic(t.Context(), fmt.Sprintf("many%04d", i))
	}))
	assert.Len(t, filesIn(t, mem, "data"), 6, "a topic that was never used has no directory")
	require.NoError(t, e.Close())

	e = openOn(t, mem)
	list, err := e.Topics(t.Context())
	require.NoError(t, err)
	require.Len(t, list, n)
	assert.Equal(t, map[string]string{"retention.bytes": "2999"}, list[n-1].Overrides())
	assert.Equal(t, 2, list[0].Partitions())
}

// All topics of one call are created, or none; all that is wrong is told at once.
func TestCreateTopicsAllOrNone(t *testing.T) {
	e := clientEngine(t)
	openTopic(t, e, "c.d")
	_, err := e.CreateTopics(t.Context(), NewTopic{Name: "a"}, NewTopic{Name: "/"}, NewTopic{Name: "b", Options: []TopicOption{Set("x", "y"), Partitions(0)}})
	require.ErrorIs(t, err, ErrInvalid)
	for _, part := range []string{`"/"`, `"x"`, "0 partitions"} {
		assert.ErrorContains(t, err, part)
	}
	for _, bad := range [][]NewTopic{{{Name: "a"}, {Name: "a"}}, {{Name: "x.y"}, {Name: "x_y"}}} {
		_, err = e.CreateTopics(t.Context(), bad...)
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err = e.CreateTopics(t.Context(), NewTopic{Name: "a"}, NewTopic{Name: "c_d"})
	require.ErrorIs(t, err, ErrExists)
	list, err := e.CreateTopics(t.Context())
	require.NoError(t, err)
	assert.Empty(t, list)
	topics, err := e.Topics(t.Context())
	require.NoError(t, err)
	assert.Len(t, topics, 1)
	_, err = e.CreateTopics(t.Context(), NewTopic{Name: "b"}, NewTopic{Name: "a"})
	require.NoError(t, err, "the names are free again")
}

// A directory of an earlier version, whose manifest has no journal, opens as it is and goes on with one.
func TestManifestOfAnEarlierVersion(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "orders", Partitions(2), SegmentBytes(1<<20))
	for n := range int32(2) {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(n))
		require.NoError(t, err)
	}
	require.NoError(t, e.Close())
	loseManifest(t, disk)
	for _, base := range []string{"orders-0", "orders-1"} {
		_ = disk.Remove("data/" + base + "/" + catalog.CopyFile)
	}
	body := fmt.Sprintf(`{
 "format": 1,
 "generation": 9,
 "nextProducerId": 4294968000,
 "topics": [
  {"name": "half", "id": %q, "partitions": 3, "state": "creating"},
  {"name": "orders", "id": %q, "partitions": 2, "state": "ready", "settings": {"segment.bytes": "1048576"}}
 ]
}
`, ID{7}, tp.ID())
	require.NoError(t, vfs.WriteFile(disk, "data/"+manifestFile, fmt.Appendf(nil, "%scrc32c:%08x\n", body, crc([]byte(body)))))
	for range 2 {
		e = openOn(t, disk)
		again := openTopic(t, e, "orders", Partitions(2), SegmentBytes(1<<20))
		assert.Equal(t, tp.ID(), again.ID())
		assert.Len(t, stored(t, partitionOf(t, again, 1)), 1)
		_, err := openTopic(t, e, "half", Partitions(3)).Append(t.Context(), Record{}, AppendTo(2))
		require.NoError(t, err)
		require.NoError(t, e.Close())
	}
	_, err := catalog.ReadCopy(disk, "data/orders-0", checkEntry)
	assert.NoError(t, err, "its settings lie beside the data from now on")
}
