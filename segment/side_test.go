package segment

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/vfs"
)

// A tool reads from a side file what the segment knew when it was sealed; any other bytes are refused.
func TestDecodeSide(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 10, &Config{IndexInterval: 1000})
	batches := fill(t, s, 20000)
	require.NoError(t, s.Seal(SideFacts{TopicID: [16]byte{7}, Sparse: true}))
	data, err := vfs.ReadFile(fsys, s.path(KindSums, 0), -1)
	require.NoError(t, err)
	got, err := DecodeSide(data)
	require.NoError(t, err)

	last := batches[len(batches)-1]
	ts, offset := s.MaxTimestamp()
	f := s.look()
	assert.Equal(t, &Side{
		TopicID: [16]byte{7}, Base: 10, Next: last.NextOffset(), Size: s.Size(), Batches: int64(len(batches)), MaxTimestamp: ts, MaxOffset: offset,
		FirstTimestamp: batches[0].MaxTimestamp(), Created: f.created, LastEpoch: last.LeaderEpoch(), HeaderSum: f.headerSum, Sparse: true,
		Offsets: sumOfFile(t, fsys, s, KindIndex), Times: sumOfFile(t, fsys, s, KindTimeIndex), Aborted: index.Sum{},
	}, got)
	require.NoError(t, s.Close())

	for bit := range len(data) * 8 {
		bad := bytes.Clone(data)
		bad[bit/8] ^= 1 << (bit % 8)
		_, err := DecodeSide(bad)
		require.Error(t, err, "bit %d", bit)
	}
	for n := range data {
		_, err := DecodeSide(data[:n])
		require.Error(t, err)
	}
}

func sumOfFile(t *testing.T, fsys vfs.FS, s *Segment, kind Kind) index.Sum {
	t.Helper()
	data, err := vfs.ReadFile(fsys, s.path(kind, 0), -1)
	require.NoError(t, err)
	require.NotEmpty(t, data)
	return index.SumOf(data)
}
