package topic

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"path/filepath"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bubble runs f in a bubble with an engine on a disk that can crash.
func bubble(t *testing.T, f func(t *testing.T, e *Engine, disk *vfs.Crash), opts ...Option) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash()
		e, err := Open("data", append([]Option{On(disk)}, opts...)...)
		require.NoError(t, err)
		f(t, e, disk)
		require.NoError(t, e.Close())
	})
}

func durableOf(t *testing.T, p *Partition) int64 {
	o, err := p.Offsets()
	require.NoError(t, err)
	return o.Durable
}

func TestIntervalSync(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, disk *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "orders", SyncEvery(50*time.Millisecond)), 0)
		_, err := p.Append(t.Context(), Record{Value: []byte("v")})
		require.NoError(t, err)
		assert.Zero(t, durableOf(t, p), "written, not synced")
		time.Sleep(49 * time.Millisecond)
		assert.Zero(t, durableOf(t, p))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		assert.EqualValues(t, 1, durableOf(t, p))
		after, err := Open("data", On(disk.After(vfs.KeepNone, 0)))
		require.NoError(t, err)
		defer after.Close()
		assert.Len(t, stored(t, partitionOf(t, openTopic(t, after, "orders"), 0)), 1)
	})
}

func TestIdleEngineHasNothingArmed(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "orders", Retention(-1)), 0)
		assert.Zero(t, e.goroutines.size(), "before the first append")
		_, err := p.Append(t.Context(), Record{})
		require.NoError(t, err)
		synctest.Wait()
		assert.Zero(t, e.goroutines.size(), "a timer is enough to wait")
		assert.Len(t, listed(e), 2, "care of the log, and a checkpoint")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Zero(t, e.goroutines.size(), "some time after the last append")
		assert.Empty(t, listed(e))
		_, err = p.Append(t.Context(), Record{})
		require.NoError(t, err)
		assert.Len(t, listed(e), 2, "and again")
	})
}

func TestCheckpointsFromTimeToTime(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, disk *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "orders"), 0)
		read := func(name string) int64 {
			c, err := log.ReadOffsetCheckpoint(disk, filepath.Join("data", name))
			if err != nil {
				return -1
			}
			return c[log.TopicPartition{Topic: "orders"}]
		}
		for range 3 {
			_, err := p.Append(t.Context(), Record{})
			require.NoError(t, err)
		}
		time.Sleep(9 * time.Second)
		assert.EqualValues(t, -1, read(log.RecoveryPointFile))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 3, read(log.RecoveryPointFile))
		assert.EqualValues(t, 3, read(log.HighWatermarkFile))
		_, err := p.DeleteRecords(t.Context(), 2)
		require.NoError(t, err)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 2, read(log.LogStartFile))
	}, CheckpointEvery(10*time.Second))
}

func TestTickAndFlushByHand(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		tp := openTopic(t, e, "orders", SyncEvery(time.Hour), Partitions(3))
		for n := range int32(3) {
			_, err := tp.Append(t.Context(), Record{}, AppendTo(n))
			require.NoError(t, err)
		}
		p := partitionOf(t, tp, 1)
		require.NoError(t, e.Tick(t.Context(), time.Now()))
		assert.Zero(t, durableOf(t, p))
		require.NoError(t, e.Tick(t.Context(), time.Now().Add(time.Hour)))
		assert.EqualValues(t, 1, durableOf(t, p))
		_, err := tp.Append(t.Context(), Record{}, AppendTo(1))
		require.NoError(t, err)
		require.NoError(t, p.Flush(t.Context()))
		assert.EqualValues(t, 2, durableOf(t, p))
		_, err = tp.Append(t.Context(), Record{}, AppendTo(2))
		require.NoError(t, err)
		require.NoError(t, e.Flush(t.Context()))
		assert.EqualValues(t, 2, durableOf(t, partitionOf(t, tp, 2)))
	})
}

// An engine costs little per partition that nobody uses, and not much per one that was used once.
func TestIdleCost(t *testing.T) {
	const partitions = 2000
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	openTopic(t, e, "many", Partitions(partitions), quick())
	require.NoError(t, e.Close())

	before, goroutines := heapBytes(), runtime.NumGoroutine()
	e = openOn(t, fsys)
	unused := (heapBytes() - before) / partitions
	t.Logf("%d bytes per unused partition", unused)
	assert.Less(t, unused, int64(500))
	assert.Zero(t, e.openFiles())

	tp := openTopic(t, e, "many")
	for n := range int32(partitions) {
		_, err := partitionOf(t, tp, n).High()
		require.NoError(t, err)
	}
	idle := (heapBytes() - before) / partitions
	t.Logf("%d bytes per idle partition, files of the memory disk included", idle)
	assert.Equal(t, goroutines, runtime.NumGoroutine())
	runtime.KeepAlive(e)
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
