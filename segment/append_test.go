package segment

import (
	"errors"
	"math"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

func TestAppendRefuses(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 100, &Config{})
	fill(t, s, 1)
	good := makeBatch(t, s.Next(), 2, 5, 10)
	for name, run := range map[string][]byte{
		"below the end": makeBatch(t, s.Next()-1, 2, 5, 10), "torn": good[:len(good)-1], "short": good[:10],
		"second below first": append(append([]byte(nil), good...), good...), "behind": append(append([]byte(nil), good...), 1),
	} {
		assert.ErrorIs(t, s.Append(run), ErrInvalid, name)
	}
	far := makeBatch(t, 100+math.MaxInt32, 2, 5, 10)
	assert.ErrorIs(t, s.Append(far), ErrFull)
	assert.True(t, s.NeedsRoll(len(far), far.LastOffset(), 5, RollRules{}))
	assert.EqualValues(t, 102, s.Next())
	require.NoError(t, s.Append(good))
	// Several batches in one call, with a gap.
	two := append(makeBatch(t, s.Next(), 1, 9, 10), makeBatch(t, s.Next()+5, 1, 7, 10)...)
	require.NoError(t, s.Append(two))
	assert.True(t, s.Sparse())
	ts, offset := s.MaxTimestamp()
	assert.Equal(t, []int64{1000 + 10*100 + 1, 101}, []int64{ts, offset})
	s.Retire(nil)
	assert.ErrorIs(t, s.Append(good), ErrRetired)
}

func TestFailedWriteIsCutBack(t *testing.T) {
	for _, short := range []int{0, 1, 60} {
		mem := vfs.NewMem()
		newDir(t, mem)
		fault := vfs.NewFault(mem, vfs.Rule{Op: vfs.OpWrite, Path: "*.log", K: 2, Short: short, Err: syscall.ENOSPC})
		s := create(t, fault, 0, &Config{})
		want := fill(t, s, 1)
		err := s.Append(makeBatch(t, s.Next(), 2, 5, 100))
		require.True(t, vfs.IsNoSpace(err))
		require.NotErrorIs(t, err, ErrTorn)
		info, err := mem.Stat(s.Path())
		require.NoError(t, err)
		assert.Equal(t, s.Size(), info.Size)
		want = append(want, fill(t, s, 1)...)
		assert.Equal(t, want, readAll(t, s, 0, 1000))
	}
}

func TestTornWriteIsFinal(t *testing.T) {
	mem := vfs.NewMem()
	newDir(t, mem)
	fault := vfs.NewFault(mem, vfs.Rule{Op: vfs.OpWrite, Path: "*.log", K: 2, Short: 7}, vfs.Rule{Op: vfs.OpTruncate, Path: "*.log"})
	s := create(t, fault, 0, &Config{})
	want := fill(t, s, 1)
	for range 2 {
		err := s.Append(makeBatch(t, s.Next(), 2, 5, 100))
		require.ErrorIs(t, err, ErrTorn)
		require.ErrorIs(t, err, syscall.EIO)
	}
	require.ErrorIs(t, s.Seal(SideFacts{}), ErrTorn)
	assert.Equal(t, want, readAll(t, s, 0, 1000))
}

func TestFailedSyncIsFinal(t *testing.T) {
	mem := vfs.NewMem()
	newDir(t, mem)
	s := create(t, vfs.NewFault(mem, vfs.Rule{Op: vfs.OpSync}), 0, &Config{})
	want := fill(t, s, 1)
	for range 3 {
		require.ErrorIs(t, s.Sync(), syscall.EIO)
	}
	require.ErrorIs(t, s.Append(want[0]), syscall.EIO)
	require.ErrorIs(t, s.Seal(SideFacts{}), syscall.EIO)
	assert.Equal(t, want, readAll(t, s, 0, 1000))
}

// Writing ahead that fails must cost nothing but speed.
func TestWriteAheadOnAFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	newDir(t, mem)
	mem.SetByteLimit(20 << 10)
	s := create(t, mem, 0, &Config{PreWrite: 64 << 10})
	var err error
	var want []record.Batch
	for err == nil && len(want) < 1000 {
		b := makeBatch(t, s.Next(), 1, 5, 200)
		if err = s.Append(b); err == nil {
			want = append(want, b)
		}
	}
	require.True(t, vfs.IsNoSpace(err))
	require.Greater(t, len(want), 10)
	mem.SetByteLimit(1 << 20)
	want = append(want, fill(t, s, 1000)...)
	assert.Equal(t, want, readAll(t, s, 0, 5000))
	require.NoError(t, s.Seal(SideFacts{}))
	info, err := mem.Stat(s.Path())
	require.NoError(t, err)
	assert.Equal(t, s.Size(), info.Size)
}

// countWrites counts the writes to data files.
func countWrites(n *atomic.Int64) vfs.Rule {
	return vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Hook: func(vfs.Op, string) { n.Add(1) }}
}

func TestOneWriteForEachAppend(t *testing.T) {
	mem := vfs.NewMem()
	newDir(t, mem)
	var writes atomic.Int64
	s := create(t, vfs.NewFault(mem, countWrites(&writes)), 0, &Config{})
	n := len(fill(t, s, 50000))
	assert.EqualValues(t, n, writes.Load())
}

func TestAppendAllocatesNothing(t *testing.T) {
	if raceBuild {
		return // the race detector allocates
	}
	mem := vfs.NewMem()
	newDir(t, mem)
	s := create(t, mem, 0, &Config{IndexInterval: 1 << 30})
	b := makeBatch(t, 0, 1, 5, 100)
	var buf []byte
	require.NoError(t, s.Append(b))
	place := Place{0, -1}
	buf, _, _ = s.Read(buf, place, 1<<40, 1000)
	allocs := testing.AllocsPerRun(100, func() {
		b.SetBaseOffset(s.Next())
		if err := s.Append(b); err != nil {
			t.Error(err)
		}
		run, next, err := s.Read(buf[:0], place, 1<<40, 200)
		if err != nil || len(run) == 0 {
			t.Error(err)
		}
		place = next
	})
	assert.LessOrEqual(t, allocs, 1.0, "the memory disk may grow its file")
}

func TestNeedsRoll(t *testing.T) {
	mem := vfs.NewMem()
	newDir(t, mem)
	for _, c := range []struct {
		name  string
		first int64 // timestamp of the first batch; 0: no batch
		n     int
		last  int64
		ts    int64
		rules RollRules
		want  bool
	}{
		{"empty and too large", 0, 5000, 1, 5, RollRules{Bytes: 1000}, false},
		{"empty and old", 0, 100, 1, 1 << 40, RollRules{Age: time.Second, Now: 1 << 50}, false},
		{"empty, offset too far", 0, 100, 1 << 31, 5, RollRules{}, true},
		{"fits exactly", 50, 1000 - 83, 2, 50, RollRules{Bytes: 1000}, false},
		{"one byte too many", 50, 1000 - 82, 2, 50, RollRules{Bytes: 1000}, true},
		{"just young enough", 50, 1, 2, 1050, RollRules{Age: time.Second}, false},
		{"older", 50, 1, 2, 1051, RollRules{Age: time.Second}, true},
		{"older by the jitter", 50, 1, 2, 951, RollRules{Age: time.Second, Jitter: 100 * time.Millisecond}, true},
		{"wall clock alone does not count", 50, 1, 2, 60, RollRules{Age: time.Second, Now: 1 << 50}, false},
		{"it does without record times", -1, 1, 2, -1, RollRules{Age: time.Second, Now: 1 << 50}, true},
		{"position", 50, math.MaxInt32, 2, 50, RollRules{}, true},
		{"offset", 50, 1, math.MaxInt32, 50, RollRules{}, false},
		{"offset too far", 50, 1, math.MaxInt32 + 1, 50, RollRules{}, true},
	} {
		s, err := CreateMarked(mem, dir, 0, Cleaned, &Config{})
		require.NoError(t, err)
		if c.first != 0 {
			b := makeBatch(t, 0, 1, c.first, 14)
			require.Len(t, b, 83)
			require.NoError(t, s.Append(b))
		}
		assert.Equal(t, c.want, s.NeedsRoll(c.n, c.last, c.ts, c.rules), c.name)
		require.NoError(t, s.Unlink())
	}
}

func TestRollWhenAnIndexIsFull(t *testing.T) {
	mem := vfs.NewMem()
	newDir(t, mem)
	s := create(t, mem, 0, &Config{IndexInterval: 1, IndexBytes: 4*8 + 7})
	var list []record.Batch
	for !s.NeedsRoll(1, s.Next(), 1<<40, RollRules{}) {
		list = append(list, fill(t, s, 1)...)
	}
	// The time index holds 3 entries of 12 bytes and counts as full when there is room for one more only.
	assert.Equal(t, []int{2, 2}, []int{s.offsets.Len(), s.times.Len()})
	list = append(list, fill(t, s, 5000)...) // whoever does not roll loses density, not data
	require.NoError(t, s.Seal(SideFacts{}))
	assert.Equal(t, []int{4, 3}, []int{s.offsets.Len(), s.times.Len()})
	assert.Equal(t, list, readAll(t, s, 0, 1000))
}

func TestPins(t *testing.T) {
	mem := vfs.NewMem()
	newDir(t, mem)
	s := create(t, mem, 0, &Config{})
	want := fill(t, s, 500)
	require.NoError(t, s.Seal(SideFacts{}))
	require.NoError(t, s.Close())
	s = OpenSealed(mem, dir, 0, 1000, &Config{})
	require.True(t, s.Pin())
	require.True(t, s.Pin())
	gone := 0
	require.NoError(t, s.MarkDeleted())
	s.Retire(func() { gone++; assert.NoError(t, s.Unlink()) })
	s.Retire(func() { t.Error("second Retire") })
	assert.False(t, s.Pin())
	assert.True(t, s.Retired())
	assert.Equal(t, want, readAll(t, s, 0, 1000), "opened for the first time under its new name")
	s.Unpin()
	assert.Zero(t, gone)
	s.Unpin()
	assert.Equal(t, 1, gone)
	names, err := mem.List(dir)
	require.NoError(t, err)
	assert.Empty(t, names)
	assert.Zero(t, mem.OpenFiles())

	s = OpenSealed(mem, dir, 0, 1000, &Config{})
	s.Retire(func() { gone++ })
	assert.Equal(t, 2, gone, "without pins at once")
	_, _, err = s.Read(nil, Place{0, -1}, 10, 10)
	assert.True(t, errors.Is(err, syscall.ENOENT) || err != nil)
}
