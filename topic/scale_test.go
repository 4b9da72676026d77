package topic

import (
	"strings"
	"sync/atomic"
	"testing"

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
