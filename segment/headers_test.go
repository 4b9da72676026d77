package segment

import (
	"testing"

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
