package record

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
)

func TestAccessors(t *testing.T) {
	bld := NewBuilder(BuilderConfig{
		Codec: compress.Zstd, ProducerID: 77, ProducerEpoch: 3, BaseSequence: math.MaxInt32, Transactional: true,
		TimestampType: LogAppendTime, AppendTime: 5000,
	})
	require.NoError(t, bld.Add(&Record{Timestamp: 100, Value: []byte("a")}))
	require.NoError(t, bld.Add(&Record{Timestamp: 50, Value: []byte("b")}))
	b, err := bld.Seal()
	require.NoError(t, err)
	b.SetBaseOffset(1 << 40)
	b.SetLeaderEpoch(9)
	require.NoError(t, b.Check())

	assert.Equal(t, int64(1<<40), b.BaseOffset())
	assert.Equal(t, int64(1<<40+1), b.LastOffset())
	assert.Equal(t, int64(1<<40+2), b.NextOffset())
	assert.Equal(t, int32(1), b.LastOffsetDelta())
	assert.Equal(t, int32(9), b.LeaderEpoch())
	assert.Equal(t, int8(2), b.Magic())
	assert.Equal(t, int16(4|8|16), b.Attributes())
	assert.Equal(t, int64(100), b.BaseTimestamp())
	assert.Equal(t, int64(5000), b.MaxTimestamp())
	assert.Equal(t, int64(77), b.ProducerID())
	assert.Equal(t, int16(3), b.ProducerEpoch())
	assert.Equal(t, int32(math.MaxInt32), b.BaseSequence())
	assert.Equal(t, int32(0), b.LastSequence(), "sequences wrap")
	assert.Equal(t, 2, b.Count())
	assert.Equal(t, compress.Zstd, b.Codec())
	assert.Equal(t, LogAppendTime, b.TimestampType())
	assert.True(t, b.Transactional())
	assert.False(t, b.Control())
	assert.False(t, b.HasDeleteHorizon())
	for _, r := range records(t, b) {
		assert.Equal(t, int64(5000), r.Timestamp, "every record reports the append time")
	}
	assert.Equal(t, "LogAppendTime", LogAppendTime.String())
	assert.Equal(t, "CreateTime", CreateTime.String())
}

func TestSettersKeepTheChecksumRight(t *testing.T) {
	b := unhex(t, goldenTwo)
	crc := b.CRC()
	b.SetBaseOffset(99)
	b.SetLeaderEpoch(12)
	assert.Equal(t, crc, b.CRC(), "offset and epoch lie outside")
	require.NoError(t, b.Check())

	b.SetTimestamps(CreateTime, 1007)
	b.SetProducer(NoProducer, NoProducerEpoch, NoSequence)
	assert.Equal(t, crc, b.CRC(), "nothing changed")

	b.SetTimestamps(LogAppendTime, 2000)
	require.NoError(t, b.Check())
	assert.Equal(t, LogAppendTime, b.TimestampType())
	assert.Equal(t, int64(2000), b.MaxTimestamp())
	assert.Equal(t, int64(1000), b.BaseTimestamp())
	b.SetTimestamps(CreateTime, 1007)
	assert.Equal(t, crc, b.CRC())

	b.SetProducer(0, 1, 2)
	require.NoError(t, b.Check())
	assert.Equal(t, []any{int64(0), int16(1), int32(2)}, []any{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()})
}

// put changes an integer field of a copy and mends the checksum.
func put(b Batch, pos, size int, v int64) Batch {
	c := Batch(append([]byte(nil), b...))
	var p [8]byte
	binary.BigEndian.PutUint64(p[:], uint64(v))
	copy(c[pos:pos+size], p[8-size:])
	c.updateCRC()
	return c
}

func TestCheckHeader(t *testing.T) {
	one := unhex(t, goldenOne)
	tests := map[string]Batch{
		"length shorter":            put(one, posLength, 4, 57),
		"length longer":             put(one, posLength, 4, 59),
		"negative length":           put(one, posLength, 4, -1),
		"magic 1":                   put(one, posMagic, 1, 1),
		"magic 3":                   put(one, posMagic, 1, 3),
		"attribute bit 7":           put(one, posAttributes, 2, 0x80),
		"attribute bit 15":          put(one, posAttributes, 2, -0x8000),
		"codec 5":                   put(one, posAttributes, 2, 5),
		"codec 6":                   put(one, posAttributes, 2, 6),
		"codec 7":                   put(one, posAttributes, 2, 7),
		"negative base offset":      put(one, posBaseOffset, 8, -1),
		"last offset overflows":     put(put(one, posBaseOffset, 8, math.MaxInt64-1), posLastDelta, 4, 1),
		"next offset overflows":     put(one, posBaseOffset, 8, math.MaxInt64),
		"negative last delta":       put(one, posLastDelta, 4, -1),
		"negative count":            put(one, posCount, 4, -1),
		"more records than offsets": put(one, posCount, 4, 2),
		"more records than bytes":   put(put(one, posCount, 4, 2), posLastDelta, 4, 1),
		"bytes without records":     put(one, posCount, 4, 0),
		"producer -2":               put(one, posProducerID, 8, -2),
		"epoch -2":                  put(one, posProducerEpoch, 2, -2),
		"sequence -2":               put(one, posBaseSequence, 4, -2),
		"producer without epoch":    put(one, posProducerID, 8, 0),
		"60 bytes":                  one[:60],
		"no bytes":                  nil,
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			err := b.Check()
			require.ErrorIs(t, err, ErrCorrupt)
			require.Equal(t, err, b.CheckHeader())
			var facts *CorruptError
			require.ErrorAs(t, err, &facts)
			assert.NotEmpty(t, facts.Reason)
			assert.False(t, facts.InRecords)
		})
	}
	require.NoError(t, put(one, posBaseOffset, 8, math.MaxInt64-1).Check(), "the last offset there is")
	require.NoError(t, put(one, posLastDelta, 4, math.MaxInt32).Check(), "compaction leaves gaps")
}

func TestCheckFindsEveryFlippedBit(t *testing.T) {
	for _, s := range []string{goldenOne, goldenTwo, goldenCommit, goldenEmpty} {
		b := unhex(t, s)
		for bit := posLength * 8; bit < len(b)*8; bit++ {
			b[bit/8] ^= 1 << (bit % 8)
			err := b.Check()
			if bit/8 >= posLeaderEpoch && bit/8 < posMagic {
				assert.NoError(t, err, "the leader epoch is outside the checksum")
			} else {
				assert.ErrorIs(t, err, ErrCorrupt, "bit %d", bit)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestCheckClient(t *testing.T) {
	one := unhex(t, goldenOne)
	require.NoError(t, one.CheckClient())
	withProducer := put(put(one, posProducerID, 8, 0), posProducerEpoch, 2, 0)
	require.NoError(t, put(withProducer, posBaseSequence, 4, 0).CheckClient())
	for name, b := range map[string]Batch{
		"base offset":           put(one, posBaseOffset, 8, 1),
		"no records":            put(unhex(t, goldenEmpty), posBaseOffset, 8, 0),
		"fewer than offsets":    put(one, posLastDelta, 4, 1),
		"control":               put(one, posAttributes, 2, attrControl),
		"producer, no sequence": withProducer,
		"transaction":           put(one, posAttributes, 2, attrTransactional),
		"delete horizon":        put(one, posAttributes, 2, attrDeleteHorizon),
	} {
		require.NoError(t, b.CheckHeader(), name)
		assert.ErrorIs(t, b.CheckClient(), ErrInvalid, name)
	}
}

func TestCorruptError(t *testing.T) {
	b := unhex(t, goldenOne)
	b[69] ^= 1
	err := b.Check()
	assert.ErrorContains(t, err, "record: corrupt batch: base offset 0, byte 17: checksum is 716a6189")
	assert.NotErrorIs(t, err, ErrIncomplete)
}
