package log

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// Abandon writes and syncs nothing, ends calls as Close does, and leaves a log as after a kill.
func TestAbandon(t *testing.T) {
	for name, level := range map[string]Durability{"sync": Sync, "interval": Interval, "os": OS} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				disk := vfs.NewFault(mem)
				l := openLog(t, disk, &Config{Durability: level, SegmentBytes: 200})
				for range 9 {
					put(t, l, "some value", "another value")
				}
				pinned, err := l.Slice(0, ReadOptions{})
				require.NoError(t, err)
				ended := make(chan error)
				go func() { ended <- l.Wait(context.Background(), 1000, High) }()
				synctest.Wait()
				before := disk.Count(vfs.OpWrite) + disk.Count(vfs.OpSync) + disk.Count(vfs.OpSyncDir) + disk.Count(vfs.OpTruncate) + disk.Count(vfs.OpRename)
				l.Abandon()
				assert.Equal(t, before, disk.Count(vfs.OpWrite)+disk.Count(vfs.OpSync)+disk.Count(vfs.OpSyncDir)+disk.Count(vfs.OpTruncate)+disk.Count(vfs.OpRename))
				require.ErrorIs(t, <-ended, ErrClosed)
				_, err = l.Append(context.Background(), batchOf(t, "late"), AppendOptions{Synced: true})
				require.ErrorIs(t, err, ErrClosed)
				require.NoError(t, l.Close())
				got, err := pinned.AppendTo(nil)
				require.NoError(t, err)
				assert.NotEmpty(t, got)
				pinned.Release()
				assert.Zero(t, mem.OpenFiles())
				again, found := reopen(t, mem, &Config{Durability: level, SegmentBytes: 200})
				assert.False(t, found.Clean)
				assert.EqualValues(t, 18, again.End())
			})
		})
	}
}

// Abandon waits for no fsync; what the fsync was for is told by its own outcome, and nothing is written behind it.
func TestAbandonUnderAnFsync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewFault(vfs.NewMem())
		l := openLog(t, disk, &Config{Durability: Sync})
		put(t, l, "first")
		open := make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpSync, Path: ".log", Hook: func(vfs.Op, string) { <-open }})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := l.Append(context.Background(), batchOf(t, "v"), AppendOptions{Synced: true}); err != nil {
					assert.ErrorIs(t, err, ErrUncertain)
					assert.ErrorIs(t, err, ErrClosed)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		l.Abandon()
		assert.Zero(t, time.Since(began))
		writes := disk.Count(vfs.OpWrite)
		close(open)
		wg.Wait()
		time.Sleep(time.Minute)
		assert.Equal(t, writes, disk.Count(vfs.OpWrite))
	})
}

// Files of removed segments that wait for their delay, or for a reader, go with the directory: nothing is unlinked by a name that may be another log's.
func TestAbandonLeavesRemovedFiles(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	l, _, err := Open(disk, testDir, &Config{SegmentBytes: 200}, OpenState{Hooks: Hooks{Removed: func(*Log, time.Duration) {}}})
	require.NoError(t, err)
	for range 9 {
		put(t, l, "some value", "another value")
	}
	pinned, err := l.Slice(0, ReadOptions{})
	require.NoError(t, err)
	_, err = l.DeleteRecords(9)
	require.NoError(t, err)
	removed := disk.Count(vfs.OpRemove)
	l.Abandon()
	pinned.Release()
	assert.Equal(t, removed, disk.Count(vfs.OpRemove))
	assert.Zero(t, l.RemovedBytes())
}
