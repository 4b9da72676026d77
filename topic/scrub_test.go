package topic

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestScrubByHand(t *testing.T) {
	disk := stockedDisk(t, true)
	var told []DamageFacts
	var done []ScrubFacts
	e := openOn(t, disk, WithEvents(Events{Damage: func(f DamageFacts) { told = append(told, f) }, Scrubbed: func(f ScrubFacts) { done = append(done, f) }}))
	rep, err := e.Scrub(t.Context(), ScrubOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 48, rep.Records)
	assert.Empty(t, rep.Faults)
	damageFile(t, disk, "data/orders-0/00000000000000000000.log", "changed")
	rep, err = e.Scrub(t.Context(), ScrubOptions{})
	require.NoError(t, err)
	require.Len(t, rep.Faults, 1)
	require.Len(t, told, 1)
	assert.Equal(t, "orders", told[0].Topic)
	assert.ErrorIs(t, told[0].Err, ErrCorrupt)
	require.Len(t, done, 2)
	assert.Equal(t, 1, done[1].Faults)
	assert.EqualValues(t, 1, e.Metrics().ScrubFaults)
	assert.Positive(t, e.Metrics().Scrubbed)
}

// A partition that the disk does not let read is told and passed over: what is wrong with the others is found, and the next pass is a whole one.
func TestScrubPassesByWhatCannotBeRead(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	e := openOn(t, disk)
	tp := openTopic(t, e, "many", Partitions(20))
	for n := range int32(20) {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(n))
		require.NoError(t, err)
	}
	require.NoError(t, e.Close())
	damageFile(t, disk, "data/many-19/00000000000000000000.log", "changed")
	e = openOn(t, disk)
	defer e.Close()
	for _, bad := range []int{1, 12} {
		for n := range bad {
			disk.Add(vfs.Rule{Op: vfs.OpRead, Path: fmt.Sprintf("data/many-%d/*.log", n), Count: vfs.Forever})
		}
		rep, err := e.Scrub(t.Context(), ScrubOptions{})
		require.ErrorIs(t, err, syscall.EIO)
		assert.ErrorContains(t, err, "many-0: ")
		if bad > toldFailures {
			assert.ErrorContains(t, err, "4 more")
		}
		assert.Equal(t, 20-bad, rep.Partitions)
		assert.Len(t, rep.Faults, 1)
		disk.Clear()
	}
	rep, err := e.Scrub(t.Context(), ScrubOptions{})
	require.NoError(t, err)
	assert.Equal(t, 20, rep.Partitions)
}

// In the background, at its rate; interrupted, it goes on where it stopped; between two passes there is no goroutine.
func TestScrubInTheBackground(t *testing.T) {
	disk := stockedDisk(t, true)
	size := func() int64 {
		rep, err := VerifyDirectory(t.Context(), disk, "data", VerifyOptions{})
		require.NoError(t, err)
		return rep.Bytes
	}()
	synctest.Test(t, func(t *testing.T) {
		var done []ScrubFacts
		open := func() *Engine {
			e, err := Open("data", On(disk), ScrubEvery(time.Hour, size/100), WithEvents(Events{Scrubbed: func(f ScrubFacts) { done = append(done, f) }}))
			require.NoError(t, err)
			return e
		}
		e := open()
		synctest.Wait()
		assert.Zero(t, e.Metrics().Goroutines)
		time.Sleep(time.Hour + 50*time.Second)
		synctest.Wait()
		assert.Equal(t, 1, e.Metrics().Goroutines)
		assert.InDelta(t, size/2, e.Metrics().Scrubbed, float64(size)/10)
		_, err := e.Scrub(context.Background(), ScrubOptions{})
		assert.ErrorIs(t, err, ErrBusy)
		half := e.Metrics().Scrubbed
		require.NoError(t, e.Close())
		assert.Contains(t, filesIn(t, disk, "data"), scrubFile)

		e = open()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		require.Len(t, done, 1)
		assert.Less(t, e.Metrics().Scrubbed, size-half/2)
		assert.Zero(t, e.Metrics().Goroutines)
		assert.NotContains(t, filesIn(t, disk, "data"), scrubFile)
		time.Sleep(time.Hour + 101*time.Second)
		synctest.Wait()
		assert.Len(t, done, 2)
		require.NoError(t, e.Close())
	})
}

// TestScrubGoesOnInATopicCreatedAnew stops a pass in a late segment of a topic that is deleted and created anew: where the pass is to go on there is
// nothing, which is no loss, and what is there is read.
func TestScrubGoesOnInATopicCreatedAnew(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	e := openOn(t, disk)
	fill := func(n int) {
		tp := openTopic(t, e, "orders", SegmentBytes(200))
		for range n {
			_, err := tp.Append(t.Context(), Record{Value: make([]byte, 100)})
			require.NoError(t, err)
		}
	}
	fill(8)
	ctx, cancel := context.WithCancel(t.Context())
	disk.Add(vfs.Rule{Op: vfs.OpOpenRead, Path: "orders-0/00000000000000000006.log", Hook: func(vfs.Op, string) { cancel() }})
	_, err := e.Scrub(ctx, ScrubOptions{})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
	fill(3)
	found, err := e.Scrub(t.Context(), ScrubOptions{})
	require.NoError(t, err)
	assert.Empty(t, found.Faults)
	assert.EqualValues(t, 3, found.Batches)
	require.NoError(t, e.Close())
}

// TestVerifyWhileTheStartIsRaised raises the start whenever a segment is about to be held against the history of leader epochs, which by then knows
// nothing of what lies below.
func TestVerifyWhileTheStartIsRaised(t *testing.T) {
	mem := vfs.NewMem()
	disk, e := vfs.NewFault(mem), openOn(t, mem)
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	appendTo(t, p, 40)
	reads := int64(0)
	disk.Add(vfs.Rule{Op: vfs.OpOpenRead, Path: "leader-epoch-checkpoint", Count: vfs.Forever, Hook: func(vfs.Op, string) {
		if reads++; reads%2 == 0 { // the first is of the file by itself
			_, err := p.DeleteRecords(t.Context(), reads)
			assert.NoError(t, err)
		}
	}})
	found, err := VerifyDirectory(t.Context(), disk, "data", VerifyOptions{})
	require.NoError(t, err)
	assert.Empty(t, append(found.Faults, found.Notes...))
	assert.Positive(t, reads)
	require.NoError(t, e.Close())
}

func TestScrubReadOnly(t *testing.T) {
	disk := stockedDisk(t, true)
	before := tree(t, disk, "data")
	e := openOn(t, disk, ReadOnlyMode())
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := e.Scrub(ctx, ScrubOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = e.Scrub(t.Context(), ScrubOptions{})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	assert.Equal(t, before, tree(t, disk, "data"))
	_, err = e.Scrub(t.Context(), ScrubOptions{})
	require.ErrorIs(t, err, ErrClosed)
}

// A pass notes now and then how far it is: after a kill the next engine goes on near there.
func TestScrubGoesOnAfterAKill(t *testing.T) {
	stocked := stockedDisk(t, true)
	rep, err := VerifyDirectory(t.Context(), stocked, "data", VerifyOptions{})
	require.NoError(t, err)
	files := contentsOf(t, stocked)
	synctest.Test(t, func(t *testing.T) {
		const whole = 1000 // seconds that a pass takes
		open := func(disk vfs.FS) *Engine {
			e, err := Open("data", On(disk), ScrubEvery(time.Hour, rep.Bytes/whole))
			require.NoError(t, err)
			return e
		}
		disk := settled(t, files)
		e := open(disk)
		time.Sleep(time.Hour + whole/2*time.Second)
		synctest.Wait()
		killed := disk.Kill(1)
		require.NoError(t, e.Close())

		e = open(killed)
		time.Sleep(2 * whole * time.Second)
		synctest.Wait()
		assert.Less(t, e.Metrics().Scrubbed, rep.Bytes*3/4)
		assert.Positive(t, e.Metrics().Scrubbed)
		require.NoError(t, e.Close())
	})
}
