package segment

import (
	"bytes"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// A batch whose length was damaged in front of sound ones: a walk by its length ends in the middle of nowhere, and the ones behind it are read.
func TestReadBehindAWrongLength(t *testing.T) {
	for _, change := range []byte{1, 2, 64} {
		s, disk, ends := lengthDamaged(t, change)
		for i := range int64(6) {
			run, _, err := s.Read(nil, Place{i, -1}, maxOffset, 1)
			if i == 1 {
				continue // the checksum of what is read tells
			}
			require.NoError(t, err, "offset %d", i)
			require.Len(t, run, int(ends[i]))
		}
		require.NoError(t, s.Close())
		require.Zero(t, disk.OpenFiles())
	}
}

// lengthDamaged is a segment of six batches of which the second one's length is wrong.
func lengthDamaged(t *testing.T, change byte) (*Segment, *vfs.Mem, []int64) {
	t.Helper()
	disk := vfs.NewMem()
	s, err := Create(disk, ".", 0, &Config{})
	require.NoError(t, err)
	var sizes []int64
	for i := range int64(6) {
		b := makeBatch(t, i, 1, 1000, 10)
		sizes = append(sizes, int64(len(b)))
		require.NoError(t, s.Append(b))
	}
	require.NoError(t, s.Seal(SideFacts{}))
	require.NoError(t, s.Close())
	f, err := disk.Open(FileName(0, LogSuffix))
	require.NoError(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], sizes[0]+11)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{b[0] + change}, sizes[0]+11)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return OpenSealed(disk, ".", 0, 6, &Config{}), disk, sizes
}

// Which base offset a batch gets whose header was damaged: what is due if the batch behind goes on there, else its own where that can be.
func TestBaseOfARightedBatch(t *testing.T) {
	disk := vfs.NewMem()
	newDir(t, disk)
	s := create(t, disk, 0, &Config{})
	const due = 5
	for _, c := range []struct {
		own, behind int64
		dense       bool
		intact      bool // all but the base offset
		want        int64
	}{
		{99, 6, true, false, 5}, {99, 6, false, true, 5}, {7, 9, false, false, 7}, {8, 9, false, false, 8}, {5, 9, true, false, 5}, {7, -1, false, false, 7},
		{7, 9, true, false, -1}, {7, 9, false, true, -1}, {9, 9, false, false, -1}, {4, 9, false, false, -1}, {4, -1, false, false, -1},
	} {
		b := makeBatch(t, due, 1, 1000, 10)
		was := record.Batch(bytes.Clone(b))
		was.SetBaseOffset(c.own)
		if !c.intact {
			was[11]++
		}
		var behind record.Batch
		if c.behind >= 0 {
			behind = makeBatch(t, c.behind, 1, 1000, 10)
		}
		got := int64(-1)
		if b := s.placed(b, was, behind, c.dense); b != nil {
			got = b.BaseOffset()
		}
		require.Equal(t, c.want, got, "%+v", c)
	}
}

// Every read of a file whose headers are put right shows them so, wherever it begins and ends.
func TestReadsOfRightedHeaders(t *testing.T) {
	disk := vfs.NewMem()
	inner, err := disk.Create("f")
	require.NoError(t, err)
	want := bytes.Repeat([]byte{1}, 80)
	_, err = inner.WriteAt(want, 0)
	require.NoError(t, err)
	f := &rightedFile{File: inner}
	for _, pos := range []int64{3, 40} {
		fix := headerFix{pos: pos}
		for i := range fix.head {
			fix.head[i] = byte(100 + i)
		}
		copy(want[pos:], fix.head[:])
		f.fixes = append(f.fixes, fix)
	}
	for from := range want {
		for to := from; to <= len(want); to++ {
			got := make([]byte, to-from)
			_, err := f.ReadAt(got, int64(from))
			require.NoError(t, err)
			require.Equal(t, want[from:to], got, "[%d, %d)", from, to)
		}
	}
}
