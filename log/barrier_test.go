package log

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// crashDisk is a disk whose log directory is durable.
func crashDisk(t *testing.T) *vfs.Crash {
	t.Helper()
	disk := vfs.NewCrash()
	require.NoError(t, disk.MkdirAll(testDir))
	require.NoError(t, disk.SyncDir("."))
	return disk
}

// A producer snapshot beyond a truncation is gone for good: were it to come back, it would be taken for the state of
// what was written there since.
func TestSnapshotsBeyondACutStayGone(t *testing.T) {
	disk := crashDisk(t)
	cfg := &Config{Replicated: true}
	l := openLog(t, disk, cfg)
	send := func(id int64, seq int32) {
		t.Helper()
		_, err := l.Append(t.Context(), sent{id, 0, seq, 1, 0, false}.batch(t), AppendOptions{})
		require.NoError(t, err)
	}
	for seq := range int32(10) {
		send(9, seq)
	}
	require.NoError(t, l.Close()) // a snapshot at 10
	l = openLog(t, disk, cfg)
	require.NoError(t, l.Truncate(5))
	for seq := range int32(5) {
		send(8, seq)
	}
	want := l.Producers()
	require.Len(t, want, 2)
	after := openLog(t, disk.After(vfs.KeepNone, 0), cfg)
	require.EqualValues(t, 10, after.End())
	assert.ElementsMatch(t, lastSequences(want), lastSequences(after.Producers()))
}

func lastSequences(states []ProducerState) (list [][2]int64) {
	for _, s := range states {
		list = append(list, [2]int64{s.ProducerID, int64(s.LastSequence)})
	}
	return list
}

// A truncation syncs what it keeps; a log alone shows that to readers at once, not with the next append.
func TestCutRaisesHigh(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{})
	for range 3 {
		_, err := l.Append(t.Context(), batchOf(t, "v"), AppendOptions{NoWait: true})
		require.NoError(t, err)
	}
	require.Zero(t, l.High())
	require.NoError(t, l.Truncate(2))
	assert.Equal(t, []int64{2, 2, 2, 2}, []int64{l.Stable(), l.High(), l.Durable(), l.End()})
	requireContents(t, l, tenWant(2)...)
}

// Commit returns when its records are durable and visible. In between, when the fsync has ended and the slot is being
// written, they are only the one.
func TestCommitWaitsUntilVisible(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	l := openLog(t, disk, &Config{})
	put(t, l, "v")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	looks := 0
	disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: SlotFile, Count: vfs.Forever, Hook: func(vfs.Op, string) {
		if l.Durable() < 2 || l.High() >= 2 {
			return
		}
		looks++
		err := l.Commit(ended, 2)
		assert.ErrorIs(t, err, ErrUncertain, "nobody can read the record yet")
		assert.ErrorIs(t, err, context.Canceled, "it waits for nothing else")
	}})
	put(t, l, "v")
	disk.Clear()
	assert.Equal(t, 1, looks)
	assert.EqualValues(t, 2, l.High())
	assert.NoError(t, l.Commit(ended, 2))
}

// An index of aborted transactions that a power cut left shorter, but whole, is not believed: it is made anew from the
// batches by whoever asks first.
func TestShortAbortedIndexIsDoubted(t *testing.T) {
	disk := crashDisk(t)
	x := &txnLog{t, openLog(t, disk, &Config{}), map[int64]int32{}}
	var want []Aborted
	for range 3 {
		first := x.send(7).Base
		last := x.end(7, record.Abort).Base
		want = append(want, Aborted{7, first, last, last + 1})
	}
	for _, name := range names(t, disk) {
		if strings.HasSuffix(name, ".txnindex") {
			edit(t, disk, testDir+"/"+name, func(b []byte) []byte { return b[:len(b)/3] })
		}
	}
	l := openLog(t, disk.Kill(0), &Config{})
	got, err := l.AbortedIn(0, l.End())
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// What the first batch of a log costs in barriers. Before it: one directory sync for the names of all new files, and
// the epoch history's own. A log that was stopped cleanly takes that back first.
func TestBarriersBeforeTheFirstBatch(t *testing.T) {
	mem := vfs.NewMem()
	for _, c := range []struct {
		name        string
		syncs, dirs int64
	}{
		{"new", 2, 1},      // history, data; directory
		{"reopened", 3, 1}, // the slot as found, the slot unclean, data; the side file is gone
	} {
		disk := vfs.NewFault(mem)
		l := openLog(t, disk, &Config{})
		put(t, l, "v")
		assert.Equal(t, []int64{c.syncs, c.dirs}, []int64{disk.Count(vfs.OpSync), disk.Count(vfs.OpSyncDir)}, c.name)
		put(t, l, "v")
		assert.Equal(t, []int64{c.syncs + 1, c.dirs}, []int64{disk.Count(vfs.OpSync), disk.Count(vfs.OpSyncDir)}, c.name)
		require.NoError(t, l.Close())
	}
}
