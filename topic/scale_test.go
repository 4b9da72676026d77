package topic

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readsOf counts how often data files are read and opened on a disk.
func readsOf(disk vfs.FS) (counting vfs.FS, reads, opens *atomic.Int64) {
	reads, opens = new(atomic.Int64), new(atomic.Int64)
	note := func(n *atomic.Int64, op vfs.Op) vfs.Rule {
		return vfs.Rule{Op: op, Path: ".log", Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) { n.Add(1) }}
	}
	return vfs.NewFault(disk, note(reads, vfs.OpRead), note(opens, vfs.OpOpen), note(opens, vfs.OpOpenRead)), reads, opens
}

// Many partitions and many more segments cost neither descriptors nor reads until they are used, and few while they
// are. internal/bench measures ten thousand partitions on a real disk.
func TestManySegments(t *testing.T) {
	const partitions, segments, most = 300, 10, 40
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "many", Partitions(partitions), SegmentBytes(100), NoSync())
	for n := range int32(partitions) {
		appendTo(t, partitionOf(t, tp, n), segments)
	}
	require.NoError(t, e.Close())

	counting, reads, opens := readsOf(disk)
	before := heapBytes()
	e = openOn(t, counting, MaxOpenFiles(most))
	require.NoError(t, e.ApplyRetention(t.Context()))
	assert.Zero(t, reads.Load()+opens.Load(), "nobody uses anything yet")
	assert.Zero(t, e.openFiles())

	tp = openTopic(t, e, "many")
	for n := range int32(partitions) {
		p := partitionOf(t, tp, n)
		require.NoError(t, p.Warm(t.Context()))
		require.Len(t, p.log.Load().Segments(), segments)
	}
	assert.Zero(t, reads.Load(), "a clean start reads no data")
	assert.LessOrEqual(t, e.openFiles(), most)
	cost := (heapBytes() - before) / (partitions * segments)
	t.Logf("%d bytes per open segment", cost)
	assert.Less(t, cost, int64(1500))

	for offset := range int64(segments) {
		for n := range int32(partitions) {
			r, err := partitionOf(t, tp, n).Get(t.Context(), offset)
			require.NoError(t, err)
			require.Equal(t, "v", string(r.Value))
			require.LessOrEqual(t, e.openFiles(), most+1)
		}
	}
	assert.Positive(t, reads.Load())
	require.NoError(t, e.Close())
	assert.Zero(t, disk.OpenFiles())
}

// syncsOf counts the syncs of data files and of others, and how often data files are opened again.
func syncsOf(disk vfs.FS) (counting vfs.FS, data, others, opens *atomic.Int64) {
	data, others, opens = new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)
	return vfs.NewFault(disk,
		vfs.Rule{Op: vfs.OpSync, Count: vfs.Forever, Done: true, Hook: func(_ vfs.Op, path string) {
			if strings.HasSuffix(path, ".log") {
				data.Add(1)
			} else {
				others.Add(1)
			}
		}},
		vfs.Rule{Op: vfs.OpOpen, Path: "*.log", Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) { opens.Add(1) }},
	), data, others, opens
}

// More partitions than descriptors are appended to: an append waits for the syncs that its level asks for, and for no
// other; as long as each partition can have one descriptor it opens no data file.
func TestAppendsBeyondTheOpenFiles(t *testing.T) {
	const most, rounds = 64, 3
	for _, c := range []struct {
		name        string
		level       TopicOption
		partitions  int32
		syncs, open int64 // an append
	}{
		{"NoSync, within", NoSync(), 60, 0, 0},
		{"NoSync, beyond", NoSync(), 300, 0, 1},
		{"SyncEvery, beyond", SyncEvery(time.Hour), 300, 0, 1},
		{"Durable, within", Durable(), 60, 1, 0},
		{"Durable, beyond", Durable(), 300, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewCrash()
				counting, data, others, opens := syncsOf(disk)
				e := openOn(t, counting, MaxOpenFiles(most))
				tp := openTopic(t, e, "many", Partitions(int(c.partitions)), c.level)
				round := func() {
					for n := range c.partitions {
						appendTo(t, partitionOf(t, tp, n), 1)
					}
				}
				round()
				round()
				data.Store(0)
				others.Store(0)
				opens.Store(0)
				for range rounds {
					round()
				}
				appends := rounds * int64(c.partitions)
				assert.Equal(t, c.syncs*appends, data.Load(), "syncs of data")
				assert.Zero(t, others.Load(), "syncs of other files")
				assert.Equal(t, c.open*appends, opens.Load(), "data files opened again")
				assert.LessOrEqual(t, e.openFiles(), most)
				require.NoError(t, e.Flush(t.Context()))
				e = openOn(t, disk.After(vfs.KeepNone, 0))
				tp = openTopic(t, e, "many")
				for n := range c.partitions {
					end, err := partitionOf(t, tp, n).End()
					require.NoError(t, err)
					require.EqualValues(t, rounds+2, end, "what Flush promised")
				}
			})
		})
	}
}

// What the disk fails to take while a partition has no descriptor, and memory forgets, Flush tells; it tells of no other.
func TestFlushTellsWhatTheDiskLostMeanwhile(t *testing.T) {
	const partitions, lost = 60, 7
	disk := vfs.NewCrash()
	e := openOn(t, disk, MaxOpenFiles(16))
	tp := openTopic(t, e, "many", Partitions(partitions), NoSync())
	for n := range int32(partitions) {
		appendTo(t, partitionOf(t, tp, n), 1)
	}
	require.NoError(t, disk.FailWriteback(filepath.Join(partitionOf(t, tp, lost).Dir(), "00000000000000000000.log")))
	disk.DropCache()
	require.ErrorIs(t, e.Flush(t.Context()), syscall.EIO)
	_, err := partitionOf(t, tp, lost).Append(t.Context(), Record{Value: []byte("v")})
	require.ErrorIs(t, err, ErrFenced)

	e = openOn(t, disk.After(vfs.KeepNone, 0))
	tp = openTopic(t, e, "many")
	for n := range int32(partitions) {
		end, err := partitionOf(t, tp, n).End()
		require.NoError(t, err)
		require.Equal(t, n != lost, end == 1, "partition %d", n)
	}
}

// After a kill only what lies past the durable watermark is read, however much there is.
func TestRecoveryReadsPastTheCheckpoint(t *testing.T) {
	disk := vfs.NewCrash()
	e := openOn(t, disk)
	p := partitionOf(t, openTopic(t, e, "orders", SegmentBytes(200_000)), 0)
	for range 300 {
		_, err := p.Append(t.Context(), kilo())
		require.NoError(t, err)
	}
	size, err := p.Size()
	require.NoError(t, err)
	killed := disk.Kill(1)
	e = openOn(t, killed)
	p = partitionOf(t, openTopic(t, e, "orders"), 0)
	end, err := p.End()
	require.NoError(t, err)
	assert.EqualValues(t, 300, end)
	found := p.Recovered()
	require.NotNil(t, found)
	assert.False(t, found.Clean)
	assert.Less(t, found.Scanned, size/10)
	require.NoError(t, e.Close())
	names, err := killed.List(p.Dir())
	require.NoError(t, err)
	assert.Contains(t, strings.Join(names, " "), "quire.slot")
}
