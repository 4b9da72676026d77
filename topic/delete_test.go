package topic

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// usedTopic makes a topic with records in all its partitions.
func usedTopic(t testing.TB, e *Engine, name string, partitions int, opts ...TopicOption) *Topic {
	t.Helper()
	tp := openTopic(t, e, name, append([]TopicOption{Partitions(partitions)}, opts...)...)
	for n := range partitions {
		_, err := tp.Append(t.Context(), Record{Key: []byte("k"), Value: make([]byte, 100)}, AppendTo(int32(n)))
		require.NoError(t, err)
	}
	return tp
}

// left is the names of directories of deleted partitions.
func left(t testing.TB, disk vfs.FS) []string {
	return slices.DeleteFunc(filesIn(t, disk, "data"), func(base string) bool {
		_, deleted := parseDeletedDirName(base)
		return !deleted
	})
}

// removed waits until nothing is being removed.
func removed(t testing.TB, e *Engine) {
	t.Helper()
	require.Eventually(t, func() bool {
		e.removals.mu.Lock()
		defer e.removals.mu.Unlock()
		return e.removals.running == 0
	}, time.Minute, time.Millisecond)
}

// A deletion writes and syncs the catalog and the engine's directory, and nothing in those of the partitions, open or not, synced or not.
func TestDeleteSyncsNoLog(t *testing.T) {
	for name, opts := range map[string][]TopicOption{"durable": nil, "no sync": {NoSync()}, "compacted": {CleanupWith(CleanupCompact)}} {
		synctest.Test(t, func(t *testing.T) {
			const n = 40
			mem := vfs.NewMem()
			disk := vfs.NewFault(mem)
			e := openOn(t, disk, MaxOpenFiles(1000))
			usedTopic(t, e, "orders", n, opts...)
			require.NoError(t, e.Close())
			e = openOn(t, disk, MaxOpenFiles(1000))
			for i := range int32(n / 2) {
				_, err := openTopic(t, e, "orders").Append(t.Context(), Record{Key: []byte("k")}, AppendTo(i))
				require.NoError(t, err)
			}
			ops := []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpRename, vfs.OpCreate, vfs.OpTruncate}
			before := map[vfs.Op]int64{}
			for _, op := range ops {
				before[op] = disk.Count(op)
			}
			require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
			for i, most := range []int64{2, 2, 2, n, 0, 0} {
				assert.LessOrEqual(t, disk.Count(ops[i])-before[ops[i]], most, "%s: %v", name, ops[i])
			}
			assert.Empty(t, left(t, mem))
			require.NoError(t, e.Close())
		})
	}
}

// While files are removed the name is free, and the topic gone for good; a caller that leaves leaves that be.
func TestFilesOfADeletedTopicGoBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewCrash()
		disk := vfs.NewFault(mem)
		e, err := Open("data", On(disk))
		require.NoError(t, err)
		old := usedTopic(t, e, "orders", 9)
		open := make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpRemove, Path: "-delete", Count: vfs.Forever, Hook: func(vfs.Op, string) { <-open }})
		reason := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, reason)
		defer cancel()
		told := make(chan error)
		go func() { told <- e.DeleteTopic(ctx, "orders") }()
		synctest.Wait()
		assert.Len(t, left(t, mem), 9)
		_, err = old.Append(t.Context(), Record{})
		require.ErrorIs(t, err, ErrNotFound)
		fresh := usedTopic(t, e, "orders", 3)
		assert.NotEqual(t, old.ID(), fresh.ID())
		openTopic(t, e, "unused")
		require.NoError(t, e.DeleteTopic(t.Context(), "unused"))
		err = <-told
		require.ErrorIs(t, err, ErrUncertain)
		require.ErrorIs(t, err, reason)

		after := mem.After(vfs.KeepNone, 0) // a power cut now
		again, err := Open("data", On(after))
		require.NoError(t, err)
		topics, err := again.Topics(t.Context())
		require.NoError(t, err)
		require.Len(t, topics, 1)
		assert.Equal(t, fresh.ID(), topics[0].ID())
		assert.Len(t, stored(t, partitionOf(t, topics[0], 2)), 1)
		synctest.Wait()
		assert.Empty(t, left(t, after))
		require.NoError(t, again.Close())

		close(open)
		synctest.Wait()
		assert.Empty(t, left(t, mem))
		assert.Len(t, stored(t, partitionOf(t, fresh, 2)), 1)
		require.NoError(t, e.Close())
	})
}

// Close ends the removal, tells who waits for it, and the next Open goes on: a few at a time.
func TestCloseWhileFilesAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 30
		mem := vfs.NewMem()
		disk := vfs.NewFault(mem)
		e, err := Open("data", On(disk))
		require.NoError(t, err)
		usedTopic(t, e, "orders", n)
		usedTopic(t, e, "small", 1)
		open := make(chan struct{})
		var at, most atomic.Int32
		disk.Add(vfs.Rule{Op: vfs.OpRemove, Path: "-delete", Count: vfs.Forever, Hook: func(vfs.Op, string) {
			most.Store(max(most.Load(), at.Add(1)))
			<-open
			at.Add(-1)
		}})
		told := make(chan error)
		for _, name := range []string{"orders", "small"} {
			go func() { told <- e.DeleteTopic(t.Context(), name) }()
		}
		synctest.Wait()
		assert.EqualValues(t, removers, most.Load())
		closed := make(chan error)
		go func() { closed <- e.Close() }()
		for range 2 {
			err := <-told
			require.ErrorIs(t, err, ErrUncertain)
			require.ErrorIs(t, err, ErrClosed)
		}
		close(open)
		require.NoError(t, <-closed)
		assert.Greater(t, len(left(t, mem)), n/2)
		e, err = Open("data", On(disk))
		require.NoError(t, err)
		topics, err := e.Topics(t.Context())
		require.NoError(t, err)
		assert.Empty(t, topics)
		synctest.Wait()
		assert.Empty(t, left(t, mem))
		require.NoError(t, e.Close())
	})
}

// A topic of one partition does not wait behind one of thousands.
func TestSmallRemovalBesideALargeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		disk := vfs.NewFault(mem)
		e, err := Open("data", On(disk))
		require.NoError(t, err)
		usedTopic(t, e, "large", 50)
		usedTopic(t, e, "small", 1)
		disk.Add(vfs.Rule{Op: vfs.OpRemove, Path: "large-*-delete", Count: vfs.Forever, Hook: func(vfs.Op, string) { time.Sleep(time.Second) }})
		var wg sync.WaitGroup
		wg.Go(func() { require.NoError(t, e.DeleteTopic(t.Context(), "large")) })
		synctest.Wait()
		began := time.Now()
		require.NoError(t, e.DeleteTopic(t.Context(), "small"))
		assert.LessOrEqual(t, time.Since(began), 5*time.Second)
		wg.Wait()
		assert.Greater(t, time.Since(began), 20*time.Second)
		assert.Empty(t, left(t, mem))
		require.NoError(t, e.Close())
	})
}

// Topics of one partition that are deleted side by side are removed as many at once as the partitions of one topic.
func TestManySmallRemovals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		disk := vfs.NewFault(mem)
		e, err := Open("data", On(disk))
		require.NoError(t, err)
		name := func(i int) string { return fmt.Sprintf("t%d", i) }
		for i := range 2 * removers {
			usedTopic(t, e, name(i), 1)
		}
		var underWay atomic.Int64
		open := make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpRemove, Path: "-delete", Count: vfs.Forever, Hook: func(vfs.Op, string) {
			underWay.Add(1)
			<-open
			underWay.Add(-1)
		}})
		var wg sync.WaitGroup
		for i := range 2 * removers {
			wg.Go(func() { assert.NoError(t, e.DeleteTopic(t.Context(), name(i))) })
			synctest.Wait()
		}
		assert.EqualValues(t, removers, underWay.Load())
		close(open)
		wg.Wait()
		assert.Empty(t, left(t, mem))
		require.NoError(t, e.Close())
	})
}

// Whatever the disk refuses, the topic is gone or wholly there, its name can be used, and what is left goes with the next Open.
func TestDeleteOnFailingDisk(t *testing.T) {
	for _, rule := range []vfs.Rule{
		{Op: vfs.OpRename, Path: "orders-1", Err: syscall.EIO},
		{Op: vfs.OpRename, Path: "orders-2", Err: syscall.EIO, Done: true},
		{Op: vfs.OpRename, Path: "orders-1", Err: syscall.ENOSPC},
		{Op: vfs.OpSyncDir, Path: "data", Err: syscall.EIO},
		{Op: vfs.OpSyncDir, Path: "data", K: 2, Err: syscall.EIO},
		{Op: vfs.OpSyncDir, Path: "data", Err: syscall.ENOSPC},
		{Op: vfs.OpOpenRead, Path: "orders-0/" + log.PartitionMetadataFile, Err: syscall.EIO},
		{Op: vfs.OpSync, Path: ".journal", Err: syscall.EIO},
		{Op: vfs.OpSync, Path: ".journal", K: 2, Err: syscall.EIO},
		{Op: vfs.OpRemove, Path: "data/orders-1.*-delete/*.log", Err: syscall.EIO},
		{Op: vfs.OpList, Path: "orders-2.*-delete", Err: syscall.EIO},
		{Op: vfs.OpRemove, Path: "-delete", K: 3, Err: syscall.EBUSY},
	} {
		mem := vfs.NewMem()
		disk := vfs.NewFault(mem)
		e := openOn(t, disk, DiskBudget(1<<20, RefuseAppends))
		old := usedTopic(t, e, "orders", 3)
		disk.Add(rule)
		err := e.DeleteTopic(t.Context(), "orders")
		require.ErrorIs(t, err, rule.Err, "%v", rule)
		if _, err := e.lookup("orders"); err == nil {
			assert.Equal(t, "sync", rule.Op.String())
			assert.Len(t, stored(t, partitionOf(t, old, 1)), 1)
			require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
		}
		fresh := usedTopic(t, e, "orders", 3)
		assert.NotEqual(t, old.ID(), fresh.ID())
		removed(t, e)
		held := int64(0)
		for _, base := range left(t, mem) {
			m, err := log.Measure(mem, filepath.Join("data", base))
			require.NoError(t, err)
			held += m.Bytes
		}
		assert.Equal(t, held, e.removals.bytes.Load(), "budgets count what is left: %v", rule)
		require.NoError(t, e.Close())
		e = openOn(t, disk)
		assert.Len(t, stored(t, partitionOf(t, openTopic(t, e, "orders"), 2)), 1)
		removed(t, e)
		assert.Empty(t, left(t, mem), "%v", rule)
		require.NoError(t, e.Close())
	}
}

// A deletion that waits for a hung fsync of the topic's slot ends with its context, and so does Shutdown beside it.
func TestDeleteAndShutdownBesideAHungSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		disk := vfs.NewFault(vfs.NewMem(), vfs.Rule{Op: vfs.OpSync, Path: "quire.slot", Done: true, Hook: func(vfs.Op, string) { <-open }})
		e, err := Open("data", On(disk))
		require.NoError(t, err)
		usedTopic(t, e, "orders", 1)
		time.Sleep(2 * time.Second) // the slot is synced meanwhile
		for _, call := range []func(ctx context.Context) error{
			func(ctx context.Context) error { return e.DeleteTopic(ctx, "orders") },
			e.Shutdown,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			require.ErrorIs(t, call(ctx), context.DeadlineExceeded)
			assert.LessOrEqual(t, time.Since(began), time.Second+shutdownGrace)
			cancel()
		}
		close(open)
		require.NoError(t, e.Close())
	})
}

// A removal that has ended is told as that, whatever else has.
func TestEndedRemovalIsTold(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	one := newRemoval("orders")
	close(one.done)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, e.Close())
	for range 50 {
		require.NoError(t, e.removals.await(ctx, one))
	}
	assert.ErrorIs(t, e.removals.await(ctx, newRemoval("orders")), ErrUncertain)
}

// What is being removed still takes its room of the budget for all topics, also after another Open.
func TestBudgetCountsWhatIsBeingRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		disk := vfs.NewFault(mem)
		e, err := Open("data", On(disk), DiskBudget(30_000, RefuseAppends))
		require.NoError(t, err)
		tp := openTopic(t, e, "old", Partitions(2), SegmentBytes(4400))
		for i := range 24 {
			_, err := tp.Append(t.Context(), kilo(), AppendTo(int32(i%2)))
			require.NoError(t, err)
		}
		beside := openTopic(t, e, "beside", SegmentBytes(4400))
		open := make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpRemove, Path: "-delete", Count: vfs.Forever, Hook: func(vfs.Op, string) { <-open }})
		go e.DeleteTopic(t.Context(), "old")
		synctest.Wait()
		fill := func() (n int) {
			for {
				if _, err := beside.Append(t.Context(), kilo()); err != nil {
					require.ErrorIs(t, err, ErrQuota)
					return n
				}
				n++
			}
		}
		assert.Less(t, fill(), 7)
		go e.Close()
		synctest.Wait()
		time.Sleep(time.Minute) // Close has given up waiting for the disk
		again, err := Open("data", On(vfs.NewFault(mem, vfs.Rule{Op: vfs.OpRemove, Path: "-delete", Count: vfs.Forever, Hook: func(vfs.Op, string) { <-open }})),
			DiskBudget(30_000, RefuseAppends))
		require.NoError(t, err)
		beside = openTopic(t, again, "beside")
		assert.Zero(t, fill())
		close(open)
		synctest.Wait()
		assert.Empty(t, left(t, mem))
		assert.Greater(t, fill(), 15)
		require.NoError(t, again.Close())
	})
}

// An append that waits for room of its topic's budget ends with the topic.
func TestBlockedAppendOfADeletedTopic(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		tp := openTopic(t, e, "orders", within(5_000, BlockAppends, Retention(-1))...)
		told := make(chan error)
		go func() {
			for {
				if _, err := tp.Append(t.Context(), kilo()); err != nil {
					told <- err
					return
				}
			}
		}()
		synctest.Wait()
		require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
		require.ErrorIs(t, <-told, ErrNotFound)
	})
}

// The first use of a partition, held at each of its steps, comes before the deletion as a whole or not at all: nothing brings the topic back, and a
// topic of its name can be used.
func TestFirstUseBesideDeletion(t *testing.T) {
	for k, over := 1, false; !over; k++ {
		synctest.Test(t, func(t *testing.T) {
			mem := vfs.NewCrash()
			disk := vfs.NewFault(mem)
			e, err := Open("data", On(disk))
			require.NoError(t, err)
			tp := openTopic(t, e, "orders", Partitions(2))
			open := make(chan struct{})
			held := false
			disk.Add(vfs.Rule{Op: vfs.OpAny, K: k, Hook: func(vfs.Op, string) { held = true; <-open }})
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := tp.Append(t.Context(), Record{}, AppendTo(1)); err != nil {
					assert.ErrorIs(t, err, ErrNotFound)
					assert.NotErrorIs(t, err, ErrClosed)
				}
			})
			synctest.Wait()
			over = !held
			wg.Go(func() { assert.NoError(t, e.DeleteTopic(t.Context(), "orders")) })
			synctest.Wait()
			close(open)
			wg.Wait()
			names := filesIn(t, mem, "data")
			for _, n := range []string{"orders-0", "orders-1"} {
				assert.NotContains(t, names, n, "held at %d", k)
			}
			again, err := Open("data", On(mem.Kill(1)))
			require.NoError(t, err)
			assert.Empty(t, again.allTopics(), "held at %d", k)
			require.NoError(t, again.Close())
			usedTopic(t, e, "orders", 2)
			require.NoError(t, e.Close())
		})
	}
}

// A first use that fails half-way leaves a directory with the id of its topic. It is in the way of no later topic of the name, and never adopted.
func TestLeftoverOfAFailedFirstUse(t *testing.T) {
	mem := vfs.NewMem()
	disk := vfs.NewFault(mem)
	e := openOn(t, disk)
	for _, partitions := range []int{1, 2} {
		tp := openTopic(t, e, "orders", Partitions(2))
		if partitions == 2 {
			_, err := tp.Append(t.Context(), Record{}, AppendTo(1))
			require.NoError(t, err)
		}
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: ".journal", Err: syscall.ENOSPC})
		_, err := tp.Append(t.Context(), Record{}, AppendTo(0))
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
		fresh := openTopic(t, e, "orders", Partitions(2))
		_, err = fresh.Append(t.Context(), Record{}, AppendTo(0))
		require.NoError(t, err)
		require.NoError(t, e.Close())
		e = openOn(t, disk)
		assert.Len(t, stored(t, partitionOf(t, openTopic(t, e, "orders"), 0)), 1)
		require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
		assert.NotContains(t, filesIn(t, mem, "data"), "orders-0")
	}
	require.NoError(t, e.Close())
}

// A directory whose records are another topic's is no leftover.
func TestUnusedPartitionTakesOverNoData(t *testing.T) {
	mem := vfs.NewMem()
	e := openOn(t, mem)
	openTopic(t, e, "orders")
	require.NoError(t, mem.MkdirAll("data/orders-0"))
	require.NoError(t, log.WritePartitionMetadata(mem, "data/orders-0/"+log.PartitionMetadataFile, ID{9}))
	require.NoError(t, vfs.WriteFile(mem, "data/orders-0/00000000000000000000.log", nil))
	_, err := openTopic(t, e, "orders").Append(t.Context(), Record{})
	require.ErrorIs(t, err, ErrCorrupt)
}

// Compaction, retention and appends of a deleted topic, held at one of their steps in three, leave nothing in the directory of a topic that is made under the
// name at once, and take nothing from it.
func TestWorkOfADeletedTopicEnds(t *testing.T) {
	works := map[string]func(ctx context.Context, p *Partition) error{
		"compaction": func(ctx context.Context, p *Partition) error { return failed(p.Compact(ctx)) },
		"retention":  func(ctx context.Context, p *Partition) error { return failed(p.ApplyRetention(ctx)) },
		"append":     func(ctx context.Context, p *Partition) error { return failed(p.Append(ctx, Record{Key: []byte("k")})) },
		"deletion of records": func(ctx context.Context, p *Partition) error {
			return failed(p.DeleteRecords(ctx, 15))
		},
		"indexes": func(ctx context.Context, p *Partition) error { return p.RebuildIndexes(ctx) },
	}
	for name, work := range works {
		t.Run(name, func(t *testing.T) {
			for k, over := 1, false; !over; k += 3 {
				synctest.Test(t, func(t *testing.T) { over = !deletedUnder(t, work, k) })
			}
		})
	}
}

func failed[T any](_ T, err error) error { return err }

// deletedUnder deletes a topic while work on it is held at its k-th call of the disk; false when there is none.
func deletedUnder(t *testing.T, work func(ctx context.Context, p *Partition) error, k int) (held bool) {
	mem := vfs.NewMem()
	disk := vfs.NewFault(mem)
	e, err := Open("data", On(disk), MaxOpenFiles(5))
	require.NoError(t, err)
	both := []TopicOption{CleanupWith(CleanupCompact | CleanupDelete), SegmentBytes(300), RetentionRecords(5), Set("file.delete.delay.ms", "1000")}
	p := partitionOf(t, openTopic(t, e, "orders", both...), 0)
	putKeys(t, p, 10, 3)
	open := make(chan struct{})
	disk.Add(vfs.Rule{Op: vfs.OpAny, Path: "orders-0", K: k, Hook: func(vfs.Op, string) { held = true; <-open }})
	var wg sync.WaitGroup
	wg.Go(func() { _ = work(t.Context(), p) })
	synctest.Wait()
	disk.Clear()
	wg.Go(func() { assert.NoError(t, e.DeleteTopic(t.Context(), "orders")) })
	synctest.Wait()
	release := sync.OnceFunc(func() { close(open); wg.Wait() })
	if e.anyChange() != nil { // the deletion waits for the call that is held
		release()
	}
	fresh := partitionOf(t, openTopic(t, e, "orders", SegmentBytes(300)), 0)
	putKeys(t, fresh, 4, 3)
	release()
	time.Sleep(time.Minute)
	assert.Len(t, stored(t, fresh), 12, "held at %d", k)
	require.NoError(t, e.Close())
	e, err = Open("data", On(mem))
	require.NoError(t, err)
	found, err := e.Verify(t.Context(), VerifyOptions{})
	require.NoError(t, err)
	assert.Empty(t, found.Faults, "held at %d", k)
	assert.Len(t, stored(t, partitionOf(t, openTopic(t, e, "orders"), 0)), 12, "held at %d", k)
	require.NoError(t, e.Close())
	return held
}

// What a reader has pinned of a deleted topic is that topic's, also when its files had to be closed and another topic has the name.
func TestPinnedRecordsOfADeletedTopic(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk, MaxOpenFiles(3))
	old := partitionOf(t, usedTopic(t, e, "orders", 1), 0)
	raw, err := old.FetchRaw(t.Context(), 0, Fetch{})
	require.NoError(t, err)
	before, err := raw.AppendTo(nil)
	require.NoError(t, err)
	usedTopic(t, e, "beside", 10) // takes the descriptors
	require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
	fresh := openTopic(t, e, "orders")
	for range 3 {
		_, err = fresh.Append(t.Context(), Record{Value: []byte("another topic's, and longer than what was there before")})
		require.NoError(t, err)
	}
	usedTopic(t, e, "beside", 10)
	again, err := raw.AppendTo(nil)
	require.NoError(t, err)
	assert.Equal(t, before, again)
	raw.Release()
	assert.Len(t, stored(t, partitionOf(t, fresh, 0)), 3)
	require.NoError(t, e.Close())
}

// Topics that are used, deleted and made anew from all sides: after the end no deleted one is there, and nothing of them.
func TestDeleteAndUseFromAllSides(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk, MaxOpenFiles(30))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				name := fmt.Sprint("topic", (g+i)%3)
				if g < 2 {
					if err := e.DeleteTopic(t.Context(), name); err != nil {
						assert.ErrorIs(t, err, ErrNotFound)
					}
					continue
				}
				tp, err := e.Topic(t.Context(), name, Partitions(5), quick())
				if err == nil {
					_, err = tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(int32(i%5)))
				}
				if err != nil {
					assert.True(t, errors.Is(err, ErrNotFound) || errors.Is(err, ErrUncertain), "%v", err)
				}
			}
		})
	}
	wg.Wait()
	for n := range 3 {
		_ = e.DeleteTopic(t.Context(), fmt.Sprint("topic", n))
	}
	require.NoError(t, e.Close())
	for _, base := range filesIn(t, disk, "data") {
		assert.False(t, strings.HasPrefix(base, "topic"), base)
	}
	e = openOn(t, disk)
	assert.Empty(t, e.allTopics())
}

// A tombstone of an earlier version, whose directories have their names yet, and directories that it had renamed.
func TestDeletionOfAnEarlierVersion(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	id := usedTopic(t, e, "orders", 3).ID()
	require.NoError(t, e.catalog.Commit(catalog.Change{Delete: "orders"}))
	require.NoError(t, e.Close())
	require.NoError(t, disk.Rename("data/orders-1", filepath.Join("data", deletedDirName("orders", 1, id))))
	e = openOn(t, disk)
	assert.Empty(t, e.allTopics())
	assert.NotEqual(t, id, usedTopic(t, e, "orders", 3).ID())
	removed(t, e)
	assert.Empty(t, left(t, disk))
	require.NoError(t, e.Close())
}
