package log

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Bytes as Kafka writes them.
const (
	vectorSnapshot = "000156b6ca0c000000010000000000000009000400000009000000000000002c0000000200000000000003ea" +
		"0000000d000000000000002a"
	vectorEmptyBatch = "000000000000000a000000310000000202ffe6bb62000000000004ffffffffffffffff00000000000004d2" +
		"000000000000000900040000000700000000"
)

var snapshotStates = []ProducerState{{9, 4, 9, 44, 2, 1002, 13, 42}}

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	data, err := hex.DecodeString(s)
	require.NoError(t, err)
	return data
}

func TestSnapshotGoldenVector(t *testing.T) {
	data := EncodeProducerSnapshot(nil, snapshotStates)
	assert.Equal(t, vectorSnapshot, hex.EncodeToString(data))
	assert.Len(t, data, 56)
	states, err := DecodeProducerSnapshot(data)
	require.NoError(t, err)
	assert.Equal(t, snapshotStates, states)

	empty := EncodeProducerSnapshot([]byte("kept"), nil)
	assert.Equal(t, "kept", string(empty[:4]))
	states, err = DecodeProducerSnapshot(empty[4:])
	require.NoError(t, err)
	assert.Empty(t, states)
	assert.Equal(t, uint32(0xe3069283), crc32c([]byte("123456789")))
}

// sealed makes the checksum of a changed snapshot right again.
func sealed(data []byte) []byte {
	binary.BigEndian.PutUint32(data[2:], crc32c(data[6:]))
	return data
}

func TestSnapshotMalformed(t *testing.T) {
	golden := fromHex(t, vectorSnapshot)
	change := func(at int, to ...byte) []byte {
		data := bytes.Clone(golden)
		copy(data[at:], to)
		return sealed(data)
	}
	ff := bytes.Repeat([]byte{0xff}, 8)
	minus2 := append(bytes.Repeat([]byte{0xff}, 7), 0xfe)
	maxOffset := append([]byte{0x7f}, ff[:7]...)
	twice := EncodeProducerSnapshot(nil, []ProducerState{snapshotStates[0], {ProducerID: 10}, snapshotStates[0]})
	for _, tc := range []struct {
		name, reason string
		data         []byte
	}{
		{"empty", "empty", nil},
		{"one byte", "1 bytes, shorter than its header", golden[:1]},
		{"header only in part", "9 bytes, shorter than its header", golden[:9]},
		{"cut", "checksum mismatch", golden[:55]},
		{"zeros", "checksum mismatch", make([]byte, 56)},
		{"appended to", "checksum mismatch", append(bytes.Clone(golden), 0)},
		{"appended to, sealed", "1 entries do not fill 57 bytes", sealed(append(bytes.Clone(golden), 0))},
		{"count 2", "2 entries do not fill 56 bytes", change(6, 0, 0, 0, 2)},
		{"count 2^31-1", "2147483647 entries do not fill 56 bytes", change(6, 0x7f, 0xff, 0xff, 0xff)},
		{"count negative", "-1 entries do not fill 56 bytes", change(6, ff[:4]...)},
		{"version 0", "version 0", change(0, 0, 0)},
		{"version negative", "version 65535", change(0, ff[:2]...)},
		{"producer id", "entry 0: producer id -1", change(10, ff...)},
		{"epoch", "entry 0: epoch -2", change(18, minus2[6:]...)},
		{"sequence", "entry 0: last sequence -2", change(20, minus2[4:]...)},
		{"offset", "entry 0: last offset -2", change(24, minus2...)},
		{"offset without a next", "entry 0: last offset 9223372036854775807", change(24, maxOffset...)},
		{"delta", "entry 0: offset delta -1 of last offset 44", change(32, ff[:4]...)},
		{"delta below 0", "entry 0: offset delta 45 of last offset 44", change(32, 0, 0, 0, 45)},
		{"coordinator", "entry 0: coordinator epoch -2", change(44, minus2[4:]...)},
		{"transaction", "entry 0: transaction start -2", change(48, minus2...)},
		{"same producer twice", "producer 9 twice", twice},
	} {
		t.Run(tc.name, func(t *testing.T) {
			states, err := DecodeProducerSnapshot(tc.data)
			assert.Nil(t, states)
			assert.ErrorIs(t, err, ErrCorrupt)
			assert.NotErrorIs(t, err, ErrNewerFormat)
			assert.EqualError(t, err, "log: producer snapshot: "+tc.reason)
		})
	}
	_, err := DecodeProducerSnapshot(change(0, 0, 2))
	assert.ErrorIs(t, err, ErrNewerFormat)
	assert.NotErrorIs(t, err, ErrCorrupt)
}

func TestSnapshotEveryBit(t *testing.T) {
	golden := fromHex(t, vectorSnapshot)
	for bit := range len(golden) * 8 {
		data := bytes.Clone(golden)
		data[bit/8] ^= 1 << (bit % 8)
		_, err := DecodeProducerSnapshot(data)
		require.Error(t, err, "bit %d", bit)
	}
}

func TestSnapshotNames(t *testing.T) {
	for offset, name := range map[int64]string{
		0: "00000000000000000000.snapshot", 42: "00000000000000000042.snapshot",
		math.MaxInt64: "09223372036854775807.snapshot",
	} {
		assert.Equal(t, name, snapshotName(offset))
		got, ok := parseSnapshotName(name)
		assert.True(t, ok)
		assert.Equal(t, offset, got)
	}
	for _, name := range []string{
		"", ".snapshot", "42.snapshot", "00000000000000000042.snapshot.tmp", "00000000000000000042.snapshot.deleted",
		"0000000000000000004x.snapshot", "+0000000000000000042.snapshot", "-0000000000000000001.snapshot",
		"09223372036854775808.snapshot", "99999999999999999999.snapshot", "00000000000000000042.log",
		"000000000000000000042.snapshot", "00000000000000000042.SNAPSHOT",
	} {
		_, ok := parseSnapshotName(name)
		assert.False(t, ok, name)
	}
	assert.Equal(t, []int64{7, 42}, snapshotOffsets([]string{"x", snapshotName(42), "00000000000000000000.log", snapshotName(7)}))
}

// onDisk is a memory disk with a directory d and these snapshots of one producer
// each, whose id is the offset.
func onDisk(t testing.TB, offsets ...int64) vfs.FS {
	t.Helper()
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll("d"))
	for _, offset := range offsets {
		p := &producers{}
		p.apply(sent{offset, 1, 0, 1, offset - 1, false}.batch(t), 1)
		require.NoError(t, p.save(disk, "d", offset))
	}
	return disk
}

func window(after, upTo int64) snapshotWindow {
	return snapshotWindow{after: after, upTo: upTo, now: time.Now().UnixMilli(), ttl: 86_400_000}
}

func TestLoadSnapshot(t *testing.T) {
	offsets := []int64{10, 20, 30, 40}
	spoil := func(disk vfs.FS, offset int64, data []byte) {
		require.NoError(t, vfs.WriteFile(disk, filepath.Join("d", snapshotName(offset)), data))
	}
	for _, tc := range []struct {
		name        string
		after, upTo int64
		spoil       map[int64][]byte
		want        int64 // 0: none
		skipped     int
		left        []int64
	}{
		{"newest", 0, 40, nil, 40, 0, offsets},
		{"not above", 0, 39, nil, 30, 0, offsets},
		{"above the start only", 30, 39, nil, 0, 0, offsets},
		{"at the start does not count", 40, 50, nil, 0, 0, offsets},
		{"damaged and empty ones go", 0, 40, map[int64][]byte{40: {1, 2, 3}, 30: {}}, 20, 2, []int64{10, 20}},
		{"all damaged", 0, 40, map[int64][]byte{10: {1}, 20: {}, 30: {2}, 40: {3}}, 0, 4, nil},
		{"a newer format stays", 0, 40, map[int64][]byte{40: sealed([]byte{0, 2, 0, 0, 0, 0, 0, 0, 0, 0})}, 30, 1, offsets},
		{"damage outside the window stays", 0, 30, map[int64][]byte{40: {1}}, 30, 0, offsets},
	} {
		t.Run(tc.name, func(t *testing.T) {
			disk := onDisk(t, offsets...)
			for offset, data := range tc.spoil {
				spoil(disk, offset, data)
			}
			p := applied(t, sent{99, 0, 0, 1, 99, true}.batch(t))
			load, err := p.loadSnapshot(disk, "d", offsets, window(tc.after, tc.upTo))
			require.NoError(t, err)
			assert.Equal(t, tc.want != 0, load.found)
			assert.Equal(t, tc.want, load.offset)
			assert.Len(t, load.skipped, tc.skipped)
			if tc.want == 0 {
				assert.Equal(t, producers{}, *p)
			} else {
				require.Len(t, p.list(), 1)
				assert.Equal(t, tc.want, p.list()[0].ProducerID)
			}
			names, err := disk.List("d")
			require.NoError(t, err)
			assert.Equal(t, tc.left, snapshotOffsets(names))
		})
	}
}

func TestLoadSnapshotFaults(t *testing.T) {
	offsets := []int64{10, 20}
	load := func(disk vfs.FS) (snapshotLoad, error) {
		p := &producers{}
		return p.loadSnapshot(disk, "d", offsets, window(0, 20))
	}
	disk := onDisk(t, offsets...)
	require.NoError(t, vfs.WriteFile(disk, filepath.Join("d", snapshotName(20)), []byte("bad")))
	got, err := load(vfs.ReadOnly(disk))
	require.NoError(t, err)
	assert.EqualValues(t, 10, got.offset)
	require.Len(t, got.skipped, 1, "that it cannot be removed is no news on a read-only disk")
	assert.ErrorContains(t, got.skipped[0], filepath.Join("d", snapshotName(20))+": 3 bytes")

	disk = onDisk(t, 10)
	got, err = load(disk)
	require.NoError(t, err)
	assert.EqualValues(t, 10, got.offset, "one that is listed but gone")

	disk = onDisk(t, offsets...)
	got, err = load(vfs.NewFault(disk, vfs.Rule{Op: vfs.OpRead, Path: snapshotName(20), Err: syscall.EIO}))
	require.NoError(t, err)
	assert.EqualValues(t, 10, got.offset)
	names, _ := disk.List("d")
	assert.Equal(t, offsets, snapshotOffsets(names), "what cannot be read is not removed")

	_, err = load(vfs.NewFault(disk, vfs.Rule{Op: vfs.OpOpenRead, Path: snapshotName(20), Err: syscall.EMFILE}))
	assert.ErrorIs(t, err, syscall.EMFILE)
}

func TestSaveSnapshot(t *testing.T) {
	disk := onDisk(t)
	list := func() []int64 {
		names, err := disk.List("d")
		require.NoError(t, err)
		return snapshotOffsets(names)
	}
	p := &producers{}
	require.NoError(t, p.save(disk, "d", 5))
	assert.Empty(t, list(), "no producer ever: no file")
	p.apply(sent{9, 0, 0, 1, 5, false}.batch(t), 1)
	require.NoError(t, p.save(disk, "d", 6))
	require.NoError(t, p.save(disk, "d", 6))
	require.NoError(t, p.save(disk, "d", 9))
	assert.Equal(t, []int64{6, 9}, list())
	var back producers
	_, err := back.loadSnapshot(disk, "d", list(), window(0, 9))
	require.NoError(t, err)
	assert.Equal(t, p.list(), back.list())
	assert.EqualValues(t, 9, back.saved)

	assert.Equal(t, 1, p.expire(math.MaxInt64, 1))
	require.NoError(t, p.save(disk, "d", 12))
	assert.Equal(t, []int64{6, 9, 12}, list(), "that all are forgotten is news")

	assert.True(t, p.truncate(10))
	require.NoError(t, dropSnapshots(disk, "d", list(), func(offset int64) bool { return offset > 10 }))
	require.NoError(t, p.save(disk, "d", 12))
	assert.Equal(t, []int64{6, 9, 12}, list(), "the file above the cut was gone")
	require.NoError(t, dropSnapshots(disk, "d", []int64{6, 7}, func(int64) bool { return true }))
	assert.Equal(t, []int64{9, 12}, list())

	failing := vfs.NewFault(disk, vfs.Rule{Op: vfs.OpRemove, Count: vfs.Forever, Err: syscall.EIO})
	assert.ErrorIs(t, dropSnapshots(failing, "d", list(), func(int64) bool { return true }), syscall.EIO)
	failing = vfs.NewFault(disk, vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO})
	assert.ErrorIs(t, p.save(failing, "d", 15), syscall.EIO)
	require.NoError(t, p.save(disk, "d", 15))
	assert.Equal(t, []int64{9, 12, 15}, list())
}

func FuzzProducerSnapshot(f *testing.F) {
	f.Add(fromHex(f, vectorSnapshot))
	f.Add(EncodeProducerSnapshot(nil, nil))
	f.Add(EncodeProducerSnapshot(nil, []ProducerState{{9, 4, -1, -1, 0, -1, -1, -1}, {3, 0, 7, 7, 7, 1, 1, 2}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, input []byte) {
		data := bytes.Clone(input)
		if len(data) >= snapshotHeaderSize {
			sealed(data) // else hardly anything gets past the checksum
		}
		states, err := DecodeProducerSnapshot(data)
		if err != nil {
			return
		}
		require.Equal(t, data, EncodeProducerSnapshot(nil, states))
		p := &producers{}
		p.restore(states, 1, 1, 1, math.MaxInt64)
		require.Len(t, p.list(), len(states))
	})
}
