package record

import (
	"encoding/hex"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Batches whose bytes are known, from the layout of Kafka's format.
const (
	// one record k/v, timestamp 1000, no producer, no leader epoch
	goldenOne = "00000000000000000000003affffffff02716a618900000000000000000000000003e800000000000003e8" +
		"ffffffffffffffffffffffffffff000000011000" + "0000026b027600"
	// base 5, epoch 3, {a, 1, h=x, 1000}, {null, null, 1007}
	goldenTwo = "00000000000000050000004500000003027e93f06b00000000000100000000000003e800000000000003ef" +
		"ffffffffffffffffffffffffffff000000021800" + "00000261023102026802780c000e02010100"
	// COMMIT marker, offset 42, leader epoch 7, producer 9 epoch 4, coordinator epoch 13, timestamp 1000
	goldenCommit = "000000000000002a00000042000000070249ceef2f00300000000000000000000003e800000000000003e8" +
		"00000000000000090004ffffffff000000012000" + "000008000000010c00000000000d00"
	// retained empty batch, base 10, last 14, producer 9 epoch 4, sequence 7, leader epoch 2, max timestamp 1234
	goldenEmpty = "000000000000000a000000310000000202ffe6bb62000000000004ffffffffffffffff00000000000004d2" +
		"000000000000000900040000000700000000"
)

func unhex(tb testing.TB, s string) Batch {
	tb.Helper()
	p, err := hex.DecodeString(s)
	require.NoError(tb, err)
	return Batch(p)
}

// records decodes a whole batch; the records own their bytes.
func records(tb testing.TB, b Batch) []Record {
	tb.Helper()
	rs, err := tryRecords(b)
	require.NoError(tb, err)
	return rs
}

func tryRecords(b Batch) ([]Record, error) {
	var d Decoder
	var rs []Record
	if err := d.Reset(b, 1<<20); err != nil {
		return nil, err
	}
	for {
		var r Record
		if !d.Next(&r) {
			return rs, d.Err()
		}
		rs = append(rs, r)
	}
}

func TestGoldenOne(t *testing.T) {
	b := unhex(t, goldenOne)
	require.Len(t, b, 70)
	require.NoError(t, b.Check())
	require.NoError(t, b.CheckClient())
	assert.Equal(t, []Record{{Timestamp: 1000, Key: []byte("k"), Value: []byte("v")}}, records(t, b))
	assert.Equal(t, uint32(0x716a6189), b.CRC())
	assert.Equal(t, NoLeaderEpoch, b.LeaderEpoch())
	assert.Equal(t, NoProducer, b.ProducerID())
	assert.Equal(t, NoSequence, b.LastSequence())

	built := mustSeal(t, BuilderConfig{}, records(t, b))
	assert.Equal(t, goldenOne, hex.EncodeToString(built))
}

func TestGoldenTwo(t *testing.T) {
	b := unhex(t, goldenTwo)
	require.Len(t, b, 81)
	require.NoError(t, b.Check())
	want := []Record{
		{Offset: 5, Timestamp: 1000, Key: []byte("a"), Value: []byte("1"), Headers: []Header{{"h", []byte("x")}}},
		{Offset: 6, Timestamp: 1007},
	}
	assert.Equal(t, want, records(t, b))

	built := mustSeal(t, BuilderConfig{}, want)
	built.SetBaseOffset(5)
	built.SetLeaderEpoch(3)
	assert.Equal(t, goldenTwo, hex.EncodeToString(built))
}

func TestGoldenCommit(t *testing.T) {
	b := unhex(t, goldenCommit)
	require.Len(t, b, EndTxnMarkerSize)
	require.NoError(t, b.Check())
	require.ErrorIs(t, b.CheckClient(), ErrInvalid)
	kind, epoch, err := ParseControl(b)
	require.NoError(t, err)
	assert.Equal(t, Commit, kind)
	assert.Equal(t, int32(13), epoch)

	for _, kind := range []ControlType{Commit, Abort} {
		m := EndTxnMarker(kind, 9, 4, 13, 1000)
		m.SetBaseOffset(42)
		m.SetLeaderEpoch(7)
		require.NoError(t, m.Check())
		got, epoch, err := ParseControl(m)
		require.NoError(t, err)
		assert.Equal(t, kind, got)
		assert.Equal(t, int32(13), epoch)
		if kind == Commit {
			assert.Equal(t, goldenCommit, hex.EncodeToString(m))
			continue
		}
		differ := 0
		for i := range m {
			if m[i] != b[i] && (i < posCRC || i >= posAttributes) {
				differ++
			}
		}
		assert.Equal(t, 1, differ, "only the type in the key differs beside the checksum")
	}
}

func TestGoldenEmpty(t *testing.T) {
	b := unhex(t, goldenEmpty)
	require.Len(t, b, HeaderSize)
	require.NoError(t, b.Check())
	assert.Empty(t, records(t, b))
	assert.Equal(t, int64(14), b.LastOffset())
	assert.Equal(t, int64(15), b.NextOffset())
	assert.Equal(t, int32(11), b.LastSequence())
	assert.Equal(t, goldenEmpty, hex.EncodeToString(b.Emptied()), "an empty batch stays what it is")

	bld := NewBuilder(BuilderConfig{HasProducer: true, ProducerID: 9, ProducerEpoch: 4, BaseSequence: 7})
	for i := range 5 {
		require.NoError(t, bld.Add(&Record{Timestamp: 1230 + int64(i), Key: []byte{1}}))
	}
	full, err := bld.Seal()
	require.NoError(t, err)
	full.SetBaseOffset(10)
	full.SetLeaderEpoch(2)
	assert.Equal(t, goldenEmpty, hex.EncodeToString(full.Emptied()))
}

func TestGoldenCRC(t *testing.T) {
	assert.Equal(t, uint32(0xe3069283), crc32.Checksum([]byte("123456789"), crc32.MakeTable(crc32.Castagnoli)))
}
