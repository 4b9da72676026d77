package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
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
		Reach:   last.NextOffset(),
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
	for version := range byte(6) {
		other := bytes.Clone(data)
		other[5] = version
		binary.BigEndian.PutUint32(other[len(other)-4:], crc32.Checksum(other[:len(other)-4], castagnoli))
		_, err := DecodeSide(other)
		require.Equal(t, version == sideVersion, err == nil, "version %d in the bytes of version %d", version, sideVersion)
	}
}

// A side file of version 1 says all but what lies behind the segment.
func TestDecodeSideOfVersionOne(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 10, &Config{})
	fill(t, s, 2000)
	require.NoError(t, s.Seal(SideFacts{Reach: 5000}))
	require.EqualValues(t, 5000, s.Reach())
	data, err := vfs.ReadFile(fsys, s.path(KindSums, 0), -1)
	require.NoError(t, err)
	now, err := DecodeSide(data)
	require.NoError(t, err)
	require.EqualValues(t, 5000, now.Reach)
	require.NoError(t, s.Close())

	old := bytes.Clone(data[:sideSizeOne])
	old[5] = 1
	binary.BigEndian.PutUint32(old[sideSizeOne-4:], crc32.Checksum(old[:sideSizeOne-4], castagnoli))
	was, err := DecodeSide(old)
	require.NoError(t, err)
	want := *now
	want.Reach, want.Partition = -1, -1
	require.Equal(t, &want, was)

	two := bytes.Clone(data[:sideSizeTwo])
	two[5] = 2
	binary.BigEndian.PutUint32(two[sideSizeTwo-4:], crc32.Checksum(two[:sideSizeTwo-4], castagnoli))
	was, err = DecodeSide(two)
	require.NoError(t, err)
	want.Reach = now.Reach
	require.Equal(t, &want, was)

	require.NoError(t, vfs.WriteFile(fsys, s.path(KindSums, 0), old))
	s = OpenSealed(fsys, dir, 10, 5000, &Config{})
	require.EqualValues(t, -1, s.Reach())
	require.NoError(t, s.Verify())
	require.NoError(t, s.Reseal(SideFacts{Reach: 5000}))
	require.NoError(t, s.Close())
	again, err := vfs.ReadFile(fsys, s.path(KindSums, 0), -1)
	require.NoError(t, err)
	require.Equal(t, data, again)
}

func sumOfFile(t *testing.T, fsys vfs.FS, s *Segment, kind Kind) index.Sum {
	t.Helper()
	data, err := vfs.ReadFile(fsys, s.path(kind, 0), -1)
	require.NoError(t, err)
	require.NotEmpty(t, data)
	return index.SumOf(data)
}

// What a slot vouches for of an index file may be more than is there.
func TestBeginsOfShorterData(t *testing.T) {
	data := []byte("eight by")
	sum := crc32.Checksum(data, castagnoli)
	require.True(t, begins(data, 8, sum))
	require.False(t, begins(data, 9, sum))
	require.False(t, begins(data, -1, sum))
}

// A seal whose numbers cannot be a segment's is none, whatever its checksum says.
func TestSealThatIsNone(t *testing.T) {
	seal := func(harm func(b []byte)) error {
		b := (&side{base: 10, facts: facts{next: 10, reach: unknownReach}}).encode()
		harm(b)
		end := len(b) - 4
		binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[:end], castagnoli))
		_, err := decodeSide(b)
		return err
	}
	require.NoError(t, seal(func([]byte) {}))
	require.Error(t, seal(func(b []byte) { b[0] ^= 1 }), "another magic")
	require.Error(t, seal(func(b []byte) { binary.BigEndian.PutUint64(b[32:], 9) }), "it ends before its base")
}
