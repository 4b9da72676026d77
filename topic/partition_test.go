package topic

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPartitionFacts(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", Partitions(2))
	p := partitionOf(t, tp, 1)
	assert.EqualValues(t, 1, p.ID())
	assert.Same(t, tp, p.Topic())
	assert.Same(t, e, tp.Engine())
	assert.Equal(t, "orders-1", p.String())
	same, err := e.Partition("orders", 1)
	require.NoError(t, err)
	assert.Same(t, p, same)
	for _, n := range []int32{-1, 2, 1 << 30} {
		_, err := e.Partition("orders", n)
		assert.ErrorIs(t, err, ErrNotFound)
	}
	assert.Nil(t, p.log.Load(), "asking for facts opens nothing")
}

// Many first users open the log once; the others wait and get the same one.
func TestOpenOnce(t *testing.T) {
	var opened atomic.Int32
	e := openOn(t, vfs.NewMem(), WithEvents(Events{PartitionOpened: func(OpenedFacts) { opened.Add(1) }}))
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	logs := make([]*log.Log, 16)
	var wg sync.WaitGroup
	for i := range logs {
		wg.Go(func() {
			l, err := p.open()
			assert.NoError(t, err)
			logs[i] = l
		})
	}
	wg.Wait()
	for _, l := range logs {
		assert.Same(t, logs[0], l)
	}
	assert.EqualValues(t, 1, opened.Load())
}

func TestFailedOpenIsTriedAgain(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	e := openOn(t, fault)
	tp := openTopic(t, e, "orders")
	fault.Add(vfs.Rule{Op: vfs.OpCreate, Path: "*.log", Err: syscall.EMFILE})
	_, err := tp.Append(t.Context(), Record{})
	require.ErrorIs(t, err, syscall.EMFILE)
	var place *PartitionError
	require.ErrorAs(t, err, &place)
	assert.Equal(t, "orders", place.Topic)
	_, err = tp.Append(t.Context(), Record{})
	require.NoError(t, err)
}

// Who waits for a slow opening can stop waiting, and a Close that comes meanwhile gets the log.
func TestSlowOpening(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	e := openOn(t, fault)
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	fault.Add(vfs.Rule{Op: vfs.OpCreate, Path: "*.log", Done: true, Err: syscall.EIO, Hook: func(vfs.Op, string) {
		close(entered)
		<-release
	}})
	first := make(chan error, 1)
	go func() { _, err := p.open(); first <- err }()
	<-entered
	why := errors.New("no patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := p.openWith(ctx)
	assert.ErrorIs(t, err, why)

	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	<-e.closing
	close(release)
	<-closed
	assert.Error(t, <-first)
	_, err = p.open()
	assert.ErrorIs(t, err, ErrClosed)
	assert.Zero(t, e.openFiles())
}

func TestWaitAndWatch(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", Partitions(2))
	p := partitionOf(t, tp, 0)
	ch := make(chan struct{}, 1)
	for n := range int32(2) {
		stop, err := partitionOf(t, tp, n).Watch(func() {
			select {
			case ch <- struct{}{}:
			default:
			}
		})
		require.NoError(t, err)
		defer stop()
	}
	done := make(chan error, 1)
	go func() { done <- p.Wait(t.Context(), 1, ReadCommitted) }()
	for range 2 {
		_, err := p.Append(t.Context(), Record{})
		require.NoError(t, err)
	}
	require.NoError(t, <-done)
	<-ch
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, p.Wait(ctx, 2, ReadUncommitted), context.DeadlineExceeded)
	size, err := p.Size()
	require.NoError(t, err)
	assert.Positive(t, size)
	start, err := p.DeleteRecords(t.Context(), -1)
	require.NoError(t, err)
	assert.EqualValues(t, 2, start)
}

// After Close no goroutine and no descriptor is left, on the real disk, whatever was in use.
func TestCloseLeavesNothing(t *testing.T) {
	descriptors := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return 0 // no such place on this system: only goroutines are counted
		}
		return len(names)
	}
	dir := t.TempDir()
	warm, err := Open(dir) // whatever the runtime opens at the first use of files
	require.NoError(t, err)
	require.NoError(t, warm.Close())
	files, routines := descriptors(), runtime.NumGoroutine()
	e, err := Open(dir, MaxOpenFiles(16))
	require.NoError(t, err)
	tp := openTopic(t, e, "orders", Partitions(40), SyncEvery(time.Millisecond))
	for n := range int32(40) {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(n))
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, e.openFiles(), 24, "descriptors stay near the limit")
	raw, err := partitionOf(t, tp, 7).FetchRaw(t.Context(), 0, Fetch{})
	require.NoError(t, err)
	raw.Release()
	require.NoError(t, e.Close())
	assert.Equal(t, files, descriptors())
	for range 1000 { // one that has said goodbye still needs a moment to end
		if runtime.NumGoroutine() > routines {
			runtime.Gosched()
		}
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), routines)

	e, err = Open(dir)
	require.NoError(t, err)
	assert.True(t, e.startedOK)
	high, err := partitionOf(t, openTopic(t, e, "orders"), 39).High()
	require.NoError(t, err)
	assert.EqualValues(t, 1, high)
	require.NoError(t, e.Close())
}

func TestIdleHeapOnDisk(t *testing.T) {
	if invariant.Enabled {
		return // assertions change what things weigh
	}
	const partitions = 400
	e, err := Open(t.TempDir(), MaxOpenFiles(16))
	require.NoError(t, err)
	defer e.Close()
	_, err = partitionOf(t, openTopic(t, e, "first", quick()), 0).High() // what the first one makes for all is not theirs
	require.NoError(t, err)
	tp := openTopic(t, e, "many", Partitions(partitions), quick())
	before := heapBytes()
	for n := range int32(partitions) {
		_, err := partitionOf(t, tp, n).High()
		require.NoError(t, err)
	}
	each := (heapBytes() - before) / partitions
	t.Logf("%d bytes of heap and %.2f descriptors per open, idle partition", each, float64(e.openFiles())/partitions)
	assert.Less(t, each, int64(2100))
}
