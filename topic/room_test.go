package topic

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// filthy fills a compacted topic with values of a kilobyte of few keys, in many segments.
func filthy(t testing.TB, tp *Topic, n int) {
	t.Helper()
	for i := range n {
		r := kilo()
		r.Key = fmt.Appendf(nil, "k%d", i%3)
		_, err := tp.Append(t.Context(), r, AppendTo(0))
		require.NoError(t, err)
	}
}

// What a compaction builds beside the log is charged while it lies there, whether the partition is in use or not; and what
// it has made room for is known afterwards.
func TestBudgetCountsWhatCompactionBuilds(t *testing.T) {
	for _, used := range []bool{true, false} {
		t.Run(fmt.Sprintf("used %v", used), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewMem()
				e := openOn(t, disk)
				tp := openTopic(t, e, "newest", within(400_000, RefuseAppends, Partitions(1), Set("cleanup.policy", "compact"), Set("file.delete.delay.ms", "0"))...)
				filthy(t, tp, 60)
				require.NoError(t, e.Close())

				var looks atomic.Int64
				watched := vfs.NewFault(disk)
				e = openOn(t, watched)
				tp = openTopic(t, e, "newest")
				b := tp.budget.Load()
				watched.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log.cleaned", Count: vfs.Forever, Hook: func(vfs.Op, string) {
					looks.Add(1)
					onDisk := dataBytes(t, disk, "data")
					assert.GreaterOrEqual(t, b.used.Load(), onDisk)
					b.freed()
					b.count(0)
					assert.GreaterOrEqual(t, b.used.Load(), onDisk, "counted anew")
				}})
				if used {
					require.NoError(t, e.Compact(t.Context()))
				} else {
					time.Sleep(time.Hour)
				}
				require.NotZero(t, looks.Load())
				assert.Equal(t, used, partitionOf(t, tp, 0).log.Load() != nil)
				b.freed()
				b.count(0)
				assert.EqualValues(t, b.used.Load()-partitionOf(t, tp, 0).allowed(), dataBytes(t, disk, "data"))
				require.Less(t, dataBytes(t, disk, "data"), int64(20_000))
				require.NoError(t, e.Close())
			})
		})
	}
}

// allowed is what the partition is charged with for what it may write ahead.
func (p *Partition) allowed() int64 {
	if p.log.Load() == nil {
		return 0
	}
	return p.topic.state.Load().allowance
}

// Who waits for room gets what retention removes from a partition that nobody uses.
func TestRoomFromAnUnusedPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk, DiskBudget(40_000, BlockAppends))
		old := openTopic(t, e, "old", SegmentBytes(4400), Retention(time.Hour))
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := old.Append(ctx, kilo())
			cancel()
			if err != nil {
				break
			}
		}
		require.NoError(t, e.Close())
		time.Sleep(2 * time.Hour)

		watched := vfs.NewFault(disk)
		e = openOn(t, watched, DiskBudget(40_000, BlockAppends), RetentionEvery(24*time.Hour))
		fresh := openTopic(t, e, "fresh")
		done := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			for range 10 {
				if _, err := fresh.Append(ctx, kilo()); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		synctest.Wait()
		// Who waits looks before the partition is closed again, and finds nothing yet.
		watched.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*/old-0/quire.slot", Count: vfs.Forever, Hook: func(vfs.Op, string) { synctest.Wait() }})
		require.NoError(t, e.ApplyRetention(t.Context()))
		require.NoError(t, <-done)
		assert.Nil(t, partitionOf(t, openTopic(t, e, "old"), 0).log.Load())
		require.NoError(t, e.Close())
		assert.LessOrEqual(t, dataBytes(t, disk, "data"), int64(40_000))
	})
}
