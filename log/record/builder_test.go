package record

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
)

var allCodecs = []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}

// variety gives records of every shape that the format knows.
func variety() []Record {
	long := bytes.Repeat([]byte("0123456789"), 30_000)
	return []Record{
		{Timestamp: 1000, Key: []byte("k"), Value: []byte("v")},
		{Timestamp: 900},
		{Timestamp: NoTimestamp, Key: []byte{}, Value: []byte{}},
		{Timestamp: math.MaxInt64, Value: long[:63]},
		{Timestamp: 0, Key: long[:64], Value: long[:8191]},
		{Timestamp: 1 << 40, Key: long[:8192], Value: long},
		{Timestamp: 1000, Headers: []Header{{"", nil}, {"", []byte{}}, {"same", []byte("1")}, {"same", []byte("2")}, {"näme", long[:200]}}},
		{Timestamp: 1001, Value: []byte("last")},
	}
}

// normal makes decoded and built records comparable: an empty list of headers and
// none are the same bytes.
func normal(rs []Record) []Record {
	out := append([]Record(nil), rs...)
	for i := range out {
		out[i].Offset = int64(i)
		if len(out[i].Headers) == 0 {
			out[i].Headers = nil
		}
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for _, c := range allCodecs {
		b := mustSeal(t, BuilderConfig{Codec: c}, variety())
		require.NoError(t, b.Check())
		require.NoError(t, b.CheckClient())
		assert.Equal(t, c, b.Codec())
		assert.Equal(t, normal(variety()), normal(records(t, b)), c.String())
		assert.Equal(t, int64(math.MaxInt64), b.MaxTimestamp())
		assert.Equal(t, int64(1000), b.BaseTimestamp())
	}
}

func TestRecordSizeBound(t *testing.T) {
	for _, r := range variety() {
		b := mustSeal(t, BuilderConfig{}, []Record{r})
		assert.LessOrEqual(t, len(b)-HeaderSize, RecordSizeBound(&r))
	}
}

func TestTimestamps(t *testing.T) {
	tests := map[string]struct {
		ts        []int64
		base, max int64
	}{
		"ascending":     {[]int64{1, 2, 3}, 1, 3},
		"first is last": {[]int64{9, 2, 3}, 9, 9},
		"none at all":   {[]int64{-1, -1}, -1, -1},
		"first without": {[]int64{-1, 5}, -1, 5},
		"later without": {[]int64{5, -1}, 5, 5},
		"the epoch":     {[]int64{0}, 0, 0},
	}
	for name, tt := range tests {
		var rs []Record
		for _, ts := range tt.ts {
			rs = append(rs, Record{Timestamp: ts})
		}
		b := mustSeal(t, BuilderConfig{}, rs)
		assert.Equal(t, tt.base, b.BaseTimestamp(), name)
		assert.Equal(t, tt.max, b.MaxTimestamp(), name)
		for i, r := range records(t, b) {
			assert.Equal(t, tt.ts[i], r.Timestamp, name)
		}
	}
}

func TestProducerFields(t *testing.T) {
	r := []Record{{Value: []byte("v")}}
	got := func(cfg BuilderConfig) []any {
		b := mustSeal(t, cfg, r)
		return []any{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()}
	}
	none := []any{NoProducer, NoProducerEpoch, NoSequence}
	assert.Equal(t, none, got(BuilderConfig{}))
	assert.Equal(t, none, got(BuilderConfig{ProducerID: NoProducer, ProducerEpoch: 3, BaseSequence: 3}))
	assert.Equal(t, []any{int64(0), int16(0), int32(0)}, got(BuilderConfig{HasProducer: true}))
	assert.Equal(t, []any{int64(8), int16(1), int32(2)}, got(BuilderConfig{ProducerID: 8, ProducerEpoch: 1, BaseSequence: 2}))
	assert.Equal(t, []any{int64(8), int16(1), NoSequence},
		got(BuilderConfig{ProducerID: 8, ProducerEpoch: 1, BaseSequence: 2, Control: true}))
}

func TestBuilderLimit(t *testing.T) {
	for _, c := range allCodecs {
		const limit = 2000
		b := NewBuilder(BuilderConfig{Codec: c, LimitBytes: limit})
		value := make([]byte, 90)
		for i := range value {
			value[i] = byte(i*i*31 + i)
		}
		n := 0
		for ; ; n++ {
			before := b.Buffered()
			err := b.Add(&Record{Value: value})
			if err != nil {
				require.ErrorIs(t, err, ErrFull)
				assert.Equal(t, before, b.Buffered())
				assert.Equal(t, n, b.Count())
				break
			}
		}
		assert.GreaterOrEqual(t, n, 10)
		bound := b.Len()
		assert.LessOrEqual(t, bound, limit)
		batch, err := b.Seal()
		require.NoError(t, err)
		assert.LessOrEqual(t, len(batch), bound)
		if c == compress.None {
			assert.Len(t, batch, bound)
		}

		b.Reset(BuilderConfig{Codec: c, LimitBytes: limit})
		require.NoError(t, b.Add(&Record{Value: make([]byte, 10_000)}), "the first record always fits")
		require.ErrorIs(t, b.Add(&Record{}), ErrFull)
	}
}

func TestBuilderRefuses(t *testing.T) {
	b := NewBuilder(BuilderConfig{})
	_, err := b.Seal()
	require.ErrorIs(t, err, ErrInvalid, "no records")
	require.ErrorIs(t, b.Add(&Record{Timestamp: -2}), ErrInvalid)
	require.ErrorIs(t, b.AddAt(-1, &Record{}), ErrInvalid)
	require.NoError(t, b.AddAt(3, &Record{}))
	require.ErrorIs(t, b.AddAt(3, &Record{}), ErrInvalid)
	require.ErrorIs(t, b.SetLastOffsetDelta(2), ErrInvalid)
	require.NoError(t, b.AddAt(math.MaxInt32, &Record{}))
	require.ErrorIs(t, b.Add(&Record{}), ErrTooLarge, "no offset delta left")
	assert.Equal(t, 2, b.Count())
	_, err = b.Seal()
	require.NoError(t, err)
	require.ErrorIs(t, b.Add(&Record{}), ErrSealed)
	require.ErrorIs(t, b.SetLastOffsetDelta(math.MaxInt32), ErrSealed)

	b.Reset(BuilderConfig{Codec: compress.LZ4, Level: 99})
	require.NoError(t, b.Add(&Record{}))
	_, err = b.Seal()
	require.ErrorIs(t, err, compress.ErrLevel)
}

// TestBuilderTooLarge adds the same 64 MiB value until the format's 2 GiB are
// passed; the headers' sum is counted without being written.
func TestBuilderTooLarge(t *testing.T) {
	value := make([]byte, 64<<20)
	hs := make([]Header, 40)
	for i := range hs {
		hs[i] = Header{Key: "k", Value: value}
	}
	b := NewBuilder(BuilderConfig{})
	require.ErrorIs(t, b.Add(&Record{Headers: hs}), ErrTooLarge)
	assert.Zero(t, b.Count())
	assert.Equal(t, HeaderSize, b.Buffered())
}

func TestGapsAndSeal(t *testing.T) {
	b := NewBuilder(BuilderConfig{DeleteHorizon: 7777, TimestampType: CreateTime})
	require.NoError(t, b.AddAt(2, &Record{Timestamp: 100, Key: []byte("a")}))
	require.NoError(t, b.AddAt(5, &Record{Timestamp: 200, Key: []byte("b")}))
	require.NoError(t, b.SetLastOffsetDelta(9))
	batch, err := b.Seal()
	require.NoError(t, err)
	again, err := b.Seal()
	require.NoError(t, err)
	assert.Same(t, &batch[0], &again[0])
	batch.SetBaseOffset(1000)
	require.NoError(t, batch.Check())
	assert.True(t, batch.HasDeleteHorizon())
	assert.Equal(t, int64(7777), batch.BaseTimestamp())
	assert.Equal(t, int64(200), batch.MaxTimestamp())
	assert.Equal(t, int64(1009), batch.LastOffset())
	rs := records(t, batch)
	assert.Equal(t, []int64{1002, 100, 1005, 200}, []int64{rs[0].Offset, rs[0].Timestamp, rs[1].Offset, rs[1].Timestamp})
	e := batch.Emptied()
	require.NoError(t, e.Check())
	assert.False(t, e.HasDeleteHorizon())
	assert.Equal(t, []int64{1000, 1009, 200, -1}, []int64{e.BaseOffset(), e.LastOffset(), e.MaxTimestamp(), e.BaseTimestamp()})
}

func TestBuilderSteadyStateDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	rs := benchRecords(100, 100, twoHeaders...)
	for _, c := range allCodecs {
		b := NewBuilder(BuilderConfig{Codec: c})
		allocs := testing.AllocsPerRun(50, func() {
			b.Reset(BuilderConfig{Codec: c})
			for i := range rs {
				_ = b.Add(&rs[i])
			}
			_, _ = b.Seal()
		})
		if c == compress.None {
			assert.Zero(t, allocs)
		} else {
			assert.LessOrEqual(t, allocs, 1.0, c.String())
		}
	}
}
