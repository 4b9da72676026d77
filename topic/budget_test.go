package topic

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dataBytes is the size of all data files on a disk, of removed ones too. What it returns was there at one moment: files
// only grow or go, so if none has gone before the sizes were added up, there are at least as many bytes then.
func dataBytes(t testing.TB, disk vfs.FS, dir string) int64 {
	t.Helper()
	for {
		sizes := map[string]int64{}
		dataFiles(t, disk, dir, sizes)
		total, whole := int64(0), true
		for path, size := range sizes {
			_, err := disk.Stat(path)
			whole = whole && err == nil
			total += size
		}
		if whole {
			return total
		}
	}
}

func dataFiles(t testing.TB, disk vfs.FS, dir string, sizes map[string]int64) {
	t.Helper()
	names, err := disk.List(dir)
	if !errors.Is(err, fs.ErrNotExist) { // not used yet, or deleted meanwhile
		require.NoError(t, err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := disk.Stat(path)
		switch {
		case err != nil: // unlinked or renamed meanwhile
		case info.IsDir:
			dataFiles(t, disk, path, sizes)
		case strings.Contains(name, ".log"):
			sizes[path] = info.Size
		}
	}
}

// kilo is a record whose batch takes a little more than a kilobyte.
func kilo() Record { return Record{Value: make([]byte, 1000)} }

// within is a topic under a budget, with four batches of kilo in a segment.
func within(limit int64, full WhenFull, opts ...TopicOption) []TopicOption {
	return append([]TopicOption{SegmentBytes(4400), Budget(limit, full)}, opts...)
}

func TestBudgetRefuses(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "orders", within(20_000, RefuseAppends, Partitions(2))...)
	var quota *QuotaError
	var err error
	n := 0
	for ; err == nil; n++ {
		_, err = tp.Append(t.Context(), kilo())
		require.LessOrEqual(t, dataBytes(t, disk, "data"), int64(20_000))
	}
	require.ErrorIs(t, err, ErrQuota)
	require.ErrorAs(t, err, &quota)
	require.NotErrorIs(t, err, ErrUncertain)
	assert.Equal(t, "orders", quota.Topic)
	assert.EqualValues(t, 20_000, quota.Limit)
	assert.Greater(t, quota.Used+quota.Wanted, quota.Limit)
	assert.Equal(t, dataBytes(t, disk, "data"), quota.Used)
	assert.GreaterOrEqual(t, n, 18)
	_, err = tp.Append(t.Context(), Record{Value: make([]byte, 30)})
	require.NoError(t, err, "what fits is taken")

	_, err = partitionOf(t, tp, 0).DeleteRecords(t.Context(), 5)
	require.NoError(t, err)
	before := dataBytes(t, disk, "data")
	_, err = tp.Append(t.Context(), kilo())
	require.NoError(t, err, "files that only wait for their delay make way")
	assert.Less(t, dataBytes(t, disk, "data"), before)

	require.NoError(t, e.Close())
	e = openOn(t, disk)
	tp = openTopic(t, e, "orders")
	assert.Equal(t, dataBytes(t, disk, "data"), tp.budget.Load().used.Load(), "known without opening anything")
	assert.Zero(t, tp.Metrics().OpenPartitions)
	for err = nil; err == nil; {
		_, err = tp.Append(t.Context(), kilo())
		require.LessOrEqual(t, dataBytes(t, disk, "data"), int64(20_000))
	}
	require.ErrorIs(t, err, ErrQuota)
	require.NoError(t, e.AlterTopic(t.Context(), "orders", Budget(-1, RefuseAppends)))
	_, err = tp.Append(t.Context(), kilo())
	require.NoError(t, err)
	require.NoError(t, e.AlterTopic(t.Context(), "orders", Budget(500, DropOldest)))
	_, err = tp.Append(t.Context(), kilo())
	require.ErrorIs(t, err, ErrQuota, "never fits")
	require.NoError(t, e.Close())
}

func TestBudgetDropsOldest(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "orders", within(40_000, DropOldest, Partitions(3))...)
	for range 300 {
		_, err := tp.Append(t.Context(), kilo())
		require.NoError(t, err)
		require.LessOrEqual(t, dataBytes(t, disk, "data"), int64(40_000))
	}
	var kept int64
	for n := range int32(3) {
		o, err := partitionOf(t, tp, n).Offsets()
		require.NoError(t, err)
		assert.EqualValues(t, 100, o.End)
		assert.Positive(t, o.Start)
		kept += o.End - o.Start
	}
	assert.GreaterOrEqual(t, kept, int64(30), "no more goes than must")
	assert.Positive(t, e.Metrics().Total.SegmentsRemoved)
	require.NoError(t, e.Close())
}

// The engine's budget takes from whichever topic has the oldest segment, never from one that keeps the newest value of
// each key, and knows partitions that nobody has opened.
func TestEngineBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk, CompactEvery(time.Hour)) // what compaction saves is another matter
		fill := func(name string, opts ...TopicOption) *Partition {
			p := partitionOf(t, openTopic(t, e, name, append(opts, SegmentBytes(4400))...), 0)
			for range 10 {
				r := kilo()
				r.Key = []byte("k")
				_, err := p.Append(t.Context(), r)
				require.NoError(t, err)
				time.Sleep(time.Second)
			}
			return p
		}
		fill("keys", CleanupWith(CleanupCompact))
		fill("old")
		fill("new")
		require.NoError(t, e.Close())

		e = openOn(t, disk, DiskBudget(33_000, DropOldest), CompactEvery(time.Hour))
		appendKilos := func(topic string, n int) {
			for range n {
				_, err := openTopic(t, e, topic).Append(t.Context(), kilo())
				require.NoError(t, err)
				require.LessOrEqual(t, dataBytes(t, disk, "data"), int64(33_000))
			}
		}
		start := func(topic string) int64 { return startOf(t, partitionOf(t, openTopic(t, e, topic), 0)) }
		appendKilos("new", 4)
		assert.Nil(t, partitionOf(t, openTopic(t, e, "keys"), 0).log.Load())
		assert.EqualValues(t, 4, start("old"))
		assert.Zero(t, start("new"))
		appendKilos("new", 30)
		assert.GreaterOrEqual(t, start("old"), int64(8), "what is left of it is being written to")
		assert.Positive(t, start("new"))
		assert.Zero(t, start("keys"))
		info, err := disk.Stat(filepath.Join("data", reserveFile))
		require.NoError(t, err)
		assert.EqualValues(t, defaultReserve, info.Size)
		require.NoError(t, e.DeleteTopic(t.Context(), "keys"))
		before := start("new")
		appendKilos("new", 8)
		assert.Equal(t, before, start("new"), "there is room now")
		require.NoError(t, e.Close())
	})
}

func TestBudgetBlocks(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		tp := openTopic(t, e, "orders", within(10_000, BlockAppends, Retention(time.Hour))...)
		p := partitionOf(t, tp, 0)
		for range 9 {
			_, err := tp.Append(t.Context(), kilo())
			require.NoError(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		_, err := tp.Append(ctx, kilo())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(began))

		done := make(chan error)
		for range 2 {
			go func() {
				_, err := tp.Append(context.Background(), kilo())
				done <- err
			}()
		}
		synctest.Wait()
		_, err = p.DeleteRecords(t.Context(), 4)
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.NoError(t, <-done)

		var batch []Record
		for range 4 {
			batch = append(batch, kilo())
		}
		began = time.Now()
		go func() {
			_, err := tp.AppendBatch(context.Background(), batch)
			done <- err
		}()
		require.NoError(t, <-done, "retention makes room in its time")
		assert.InDelta(t, time.Hour.Minutes(), time.Since(began).Minutes(), 6)

		for err = nil; err == nil; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = tp.Append(ctx, kilo())
			cancel()
		}
		go func() {
			_, err := tp.Append(context.Background(), kilo())
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, e.Close())
		require.ErrorIs(t, <-done, ErrClosed)
	})
}

// A producer waits for room as it waits for a full disk: until its delivery timeout.
func TestBudgetBlocksProducer(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		tp := openTopic(t, e, "orders", within(10_000, BlockAppends)...)
		for range 9 {
			_, err := tp.Append(t.Context(), kilo())
			require.NoError(t, err)
		}
		p, err := e.NewProducer(DeliveryTimeout(time.Minute))
		require.NoError(t, err)
		done := make(chan error, 1)
		send := func() {
			require.NoError(t, p.Send(t.Context(), "orders", kilo(), func(_ Position, err error) { done <- err }))
		}
		send()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		assert.Empty(t, done)
		_, err = partitionOf(t, tp, 0).DeleteRecords(t.Context(), 4)
		require.NoError(t, err)
		require.NoError(t, <-done)
		for err = nil; err == nil; {
			send()
			err = <-done
		}
		require.ErrorIs(t, err, ErrQuota)
	})
}

// What a reader holds is on disk until it lets go, and counts until then.
func TestBudgetCountsWhatReadersHold(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", within(9_000, DropOldest)...)
	p := partitionOf(t, tp, 0)
	for range 8 {
		_, err := tp.Append(t.Context(), kilo())
		require.NoError(t, err)
	}
	first, err := p.log.Load().Slice(0, log.ReadOptions{})
	require.NoError(t, err)
	second, err := p.log.Load().Slice(4, log.ReadOptions{})
	require.NoError(t, err)
	_, err = tp.Append(t.Context(), kilo())
	require.ErrorIs(t, err, ErrQuota)
	first.Release()
	second.Release()
	_, err = tp.Append(t.Context(), kilo())
	require.NoError(t, err)
	require.NoError(t, e.Close())
}

func TestBudgetAsksTheArchive(t *testing.T) {
	refused := errors.New("no tape")
	e := openOn(t, vfs.NewMem(), WithRetention(RetentionHooks{Archive: func(context.Context, *LeavingSegment) error { return refused }}))
	tp := openTopic(t, e, "orders", within(9_000, DropOldest)...)
	for range 8 {
		_, err := tp.Append(t.Context(), kilo())
		require.NoError(t, err)
	}
	_, err := tp.Append(t.Context(), kilo())
	require.ErrorIs(t, err, ErrQuota)
	require.ErrorIs(t, err, refused)
	assert.Zero(t, startOf(t, partitionOf(t, tp, 0)))
	refused = nil
	_, err = tp.Append(t.Context(), kilo())
	require.NoError(t, err)
	require.NoError(t, e.Close())
}

// However many append at once, the disk never holds more than the budget.
func TestBudgetUnderLoad(t *testing.T) {
	for _, full := range []WhenFull{RefuseAppends, DropOldest} {
		disk := vfs.NewMem()
		e := openOn(t, disk, DiskBudget(100_000, full))
		tp := openTopic(t, e, "orders", SegmentBytes(9000), Partitions(4), NoSync())
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				for range 100 {
					_, err := tp.Append(context.Background(), kilo())
					if full == DropOldest {
						assert.NoError(t, err)
					} else if err != nil {
						assert.ErrorIs(t, err, ErrQuota)
					}
				}
			})
		}
		for range 50 {
			assert.LessOrEqual(t, dataBytes(t, disk, "data"), int64(100_000))
		}
		wg.Wait()
		assert.LessOrEqual(t, dataBytes(t, disk, "data"), int64(100_000))
		assert.Zero(t, e.budget.flight.Load())
		assert.GreaterOrEqual(t, e.budget.used.Load(), dataBytes(t, disk, "data"))
		require.NoError(t, e.Close())
	}
}

// On a full disk the reserve lets the engine write what it must, and comes back when there is room.
func TestReserve(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk, DiskReserve(64<<10))
	tp := openTopic(t, e, "orders", small(RetentionRecords(0), Set("file.delete.delay.ms", "0"))...)
	p := partitionOf(t, tp, 0)
	appendTo(t, p, 3)
	held := func() bool {
		_, err := disk.Stat(filepath.Join("data", reserveFile))
		return err == nil
	}
	require.True(t, held())
	disk.SetByteLimit(disk.Used())
	require.NoError(t, e.Checkpoint(t.Context()))
	assert.False(t, held())
	disk.SetByteLimit(0)
	require.NoError(t, e.Checkpoint(t.Context()))
	assert.True(t, held())

	disk.SetByteLimit(disk.Used())
	_, err := p.ApplyRetention(t.Context())
	require.NoError(t, err, "there is room for the new segment that the last one needs to go")
	assert.EqualValues(t, 3, startOf(t, p))
	disk.SetByteLimit(0)
	require.NoError(t, e.Checkpoint(t.Context()))

	disk.SetByteLimit(disk.Used())
	require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
	require.NoError(t, e.Close())
	disk.SetByteLimit(0)
	e = openOn(t, disk)
	topics, err := e.Topics(t.Context())
	require.NoError(t, err)
	assert.Empty(t, topics)
	require.NoError(t, e.Close())
}

// The file is as large as this engine's reserve is to be, and is gone when it is to have none.
func TestReserveOfAnotherSize(t *testing.T) {
	disk := vfs.NewMem()
	for _, c := range []struct{ wanted, size int64 }{{64 << 10, 64 << 10}, {1 << 10, 1 << 10}, {1 << 20, 1 << 20}, {0, -1}, {5, 5}, {-1, -1}} {
		e := openOn(t, disk, DiskReserve(c.wanted))
		info, err := disk.Stat(filepath.Join("data", reserveFile))
		if c.size < 0 {
			require.ErrorIs(t, err, fs.ErrNotExist, "%d", c.wanted)
		} else {
			require.NoError(t, err)
			require.Equal(t, c.size, info.Size)
		}
		require.NoError(t, e.Close())
	}
}

// Some disks, those of a network above all, tell only a sync that there is no room: then there is no reserve.
func TestReserveForWhichThereIsNoRoom(t *testing.T) {
	mem := vfs.NewMem()
	openOn(t, vfs.NewFault(mem, vfs.Rule{Op: vfs.OpSync, Path: reserveFile, Err: syscall.ENOSPC}), DiskReserve(64<<10))
	assert.NotContains(t, filesIn(t, mem, "data"), reserveFile)
}
