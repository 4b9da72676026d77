package record

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
)

// withPayload gives a batch whose header says count records and whose records are
// these bytes, checksum right.
func withPayload(count int, payload []byte) Batch {
	b := Batch(append(bytes.Repeat([]byte{0}, HeaderSize), payload...))
	b[posMagic] = Magic
	b = put(b, posLength, 4, int64(len(b)-LogOverhead))
	b.putProducer(NoProducer, NoProducerEpoch, NoSequence)
	b = put(b, posLastDelta, 4, int64(max(count-1, 0)))
	return put(b, posCount, 4, int64(count))
}

func hexBytes(tb testing.TB, s string) []byte {
	tb.Helper()
	p, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(tb, err)
	return p
}

// malformed are records that a reader must refuse: how many, their bytes, and
// what the error says.
var malformed = map[string]struct {
	count  int
	bytes  string
	reason string
}{
	"nothing":                     {1, "", "length"},
	"length cut":                  {1, "80", "length"},
	"negative length":             {1, "01 00 00 00 01 01 00", "length"},
	"length beyond the end":       {1, "0e 00 00 00 01 01 00", "length"},
	"length six bytes":            {1, "8c80808080 00 00 00 00 01 01 00", "length"},
	"length 2^31-1":               {1, "feffffff0f 00 00 00 01 01 00", "length"},
	"length zero":                 {1, "00", "cut short"},
	"one byte":                    {1, "02 00", "malformed"},
	"timestamp cut":               {1, "04 00 80", "malformed"},
	"timestamp eleven bytes":      {1, "1e 00 ffffffffffffffffffff01 00 01 01", "malformed"},
	"offset cut":                  {1, "06 00 00 80", "malformed"},
	"offset five bytes and more":  {1, "16 00 00 ffffffffff01 01 01 00", "malformed"},
	"offset negative":             {1, "0c 00 00 01 01 01 00", "offset"},
	"offset above the last":       {1, "0c 00 00 02 01 01 00", "offset"},
	"key length -2":               {1, "0c 00 00 00 03 01 00", "malformed"},
	"key longer than the record":  {1, "0c 00 00 00 40 01 00", "malformed"},
	"key to the end of the batch": {2, "0c 00 00 00 0e 01 00 0c 00 00 02 01 01 00", "malformed"},
	"key length 2^31-1":           {1, "14 00 00 00 feffffff0f 01 00", "malformed"},
	"value length -2":             {1, "0c 00 00 00 01 03 00", "malformed"},
	"value longer":                {1, "0c 00 00 00 01 02 00", "malformed"},
	"no header count":             {1, "0a 00 00 00 01 01", "header"},
	"header count negative":       {1, "0c 00 00 00 01 01 01", "header"},
	"more headers than bytes":     {1, "0c 00 00 00 01 01 02", "header"},
	"header count 2^31-1":         {1, "14 00 00 00 01 01 feffffff0f", "header"},
	"header key null":             {1, "10 00 00 00 01 01 02 01 01", "header"},
	"header key too long":         {1, "10 00 00 00 01 01 02 06 01", "header"},
	"header value too long":       {1, "10 00 00 00 01 01 02 00 04", "header"},
	"header value length -2":      {1, "10 00 00 00 01 01 02 00 03", "header"},
	"a byte more in the record":   {1, "0e 00 00 00 01 01 00 00", "longer"},
	"a byte more in the batch":    {1, "0c 00 00 00 01 01 00 00", "after the last"},
	"a record more":               {1, "0c 00 00 00 01 01 00 0c 00 00 00 01 01 00", "after the last"},
	"a record less":               {2, "0c 00 00 00 01 01 00", "length"},
	"bytes in an empty batch":     {0, "00", "after the last"},
}

func TestDecoderMalformed(t *testing.T) {
	for name, tt := range malformed {
		payload := hexBytes(t, tt.bytes)
		for _, c := range allCodecs {
			t.Run(name+"/"+c.String(), func(t *testing.T) {
				packed, err := compress.Encode(nil, payload, c, compress.DefaultLevel)
				require.NoError(t, err)
				b := withPayload(tt.count, packed)
				b = put(b, posAttributes, 2, int64(c))
				_, err = tryRecords(b)
				require.ErrorIs(t, err, ErrCorrupt)
				assert.ErrorContains(t, err, tt.reason)
				var facts *CorruptError
				require.ErrorAs(t, err, &facts)
				assert.True(t, facts.InRecords)
				var d Decoder
				_, err = b.CheckRecords(&d, 0)
				assert.ErrorIs(t, err, ErrCorrupt)
			})
		}
	}
}

// TestQuickAndCarefulAgree puts each malformed and each good record at the front
// of a long batch, where the quick way is tried, and at the end, where it cannot be.
func TestQuickAndCarefulAgree(t *testing.T) {
	filler := mustSeal(t, BuilderConfig{}, []Record{{Value: make([]byte, 100)}}).Records()
	check := func(name string, one []byte) {
		alone, aloneErr := tryRecords(withPayload(1, one))
		front, frontErr := tryRecords(withPayload(2, append(bytes.Clone(one), filler...)))
		require.Equal(t, aloneErr == nil, frontErr == nil, name)
		if aloneErr == nil {
			assert.Equal(t, normal(alone), normal(front[:1]), name)
		}
	}
	for name, tt := range malformed {
		if tt.count == 1 && !strings.Contains(name, "more") && name != "nothing" && !strings.Contains(name, "cut") &&
			name != "length beyond the end" && name != "offset above the last" {
			check(name, hexBytes(t, tt.bytes))
		}
	}
	for i, r := range variety() {
		check(fmt.Sprint("variety ", i), mustSeal(t, BuilderConfig{}, []Record{r}).Records())
	}
}

func TestDecoderHeaderFaults(t *testing.T) {
	var d Decoder
	require.ErrorIs(t, d.Reset(nil, 0), ErrCorrupt)
	require.ErrorIs(t, d.Err(), ErrCorrupt)
	assert.False(t, d.Next(new(Record)))
	require.ErrorIs(t, d.Err(), ErrCorrupt)
	require.ErrorIs(t, d.Reset(put(unhex(t, goldenOne), posCount, 4, -1), 0), ErrCorrupt)
	require.ErrorIs(t, d.Reset(put(unhex(t, goldenOne), posAttributes, 2, 6), 0), ErrCorrupt, "codec 6")
	require.ErrorIs(t, d.Reset(put(unhex(t, goldenOne), posAttributes, 2, 1), 0), ErrCorrupt, "not gzip")
	require.NoError(t, d.Reset(unhex(t, goldenOne), 0), "usable again")
	assert.True(t, d.Next(new(Record)))
	require.NoError(t, d.Err())
}

// TestCountIsNotTrusted: a header may say anything about its records; no memory
// may be taken for it.
func TestCountIsNotTrusted(t *testing.T) {
	b := put(put(unhex(t, goldenOne), posCount, 4, math.MaxInt32), posLastDelta, 4, math.MaxInt32)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := tryRecords(b)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrCorrupt)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10))
}

func TestDecodeLimit(t *testing.T) {
	rs := []Record{{Value: make([]byte, 1<<20)}}
	for _, c := range allCodecs[1:] {
		b := mustSeal(t, BuilderConfig{Codec: c}, rs)
		var d Decoder
		err := d.Reset(b, 1<<20)
		require.ErrorIs(t, err, ErrTooLarge, c.String())
		require.ErrorIs(t, err, compress.ErrTooLarge)
		assert.False(t, d.Next(new(Record)))
		require.NoError(t, d.Reset(b, 1<<20+100))
		require.NoError(t, d.Reset(b, 0))
	}
}

func TestEmptyBatchOfAnyCodec(t *testing.T) {
	for _, c := range allCodecs {
		rs, err := tryRecords(put(unhex(t, goldenEmpty), posAttributes, 2, int64(c)))
		require.NoError(t, err)
		assert.Empty(t, rs)
	}
}

func TestBorrowing(t *testing.T) {
	b := mustSeal(t, BuilderConfig{}, []Record{{Key: []byte("abc"), Value: []byte("def")}})
	var d Decoder
	var r Record
	require.NoError(t, d.Reset(b, 0))
	require.True(t, d.Next(&r))
	assert.Same(t, &b[HeaderSize+5], &r.Key[0], "the key is the batch's bytes")
	assert.Equal(t, 3, cap(r.Key), "an append cannot reach what follows")
	assert.Equal(t, 3, cap(r.Value))
	assert.False(t, d.Next(&r))
	require.NoError(t, d.Err())
	assert.False(t, d.Next(&r))
}

func TestHeaderNamesAreKeptWithinLimits(t *testing.T) {
	var d Decoder
	var r Record
	for i := range 3 * maxNames {
		b := mustSeal(t, BuilderConfig{}, []Record{{Headers: []Header{{fmt.Sprint("name", i), nil}, {strings.Repeat("x", 100), nil}}}})
		require.NoError(t, d.Reset(b, 0))
		require.True(t, d.Next(&r))
		assert.Equal(t, fmt.Sprint("name", i), r.Headers[0].Key)
		assert.Len(t, r.Headers[1].Key, 100)
	}
	assert.LessOrEqual(t, len(d.names.names), maxNames)
}

func TestDecoderSteadyStateDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	rs := benchRecords(100, 100, twoHeaders...)
	rs = append(rs, benchRecords(10, 10_000, Header{"third", nil})...)
	for _, c := range allCodecs {
		b := mustSeal(t, BuilderConfig{Codec: c}, rs)
		var d Decoder
		var r Record
		allocs := testing.AllocsPerRun(50, func() {
			_ = d.Reset(b, 0)
			for d.Next(&r) {
			}
			if _, err := b.CheckRecords(&d, 0); err != nil {
				panic(err)
			}
		})
		require.NoError(t, d.Err())
		switch c {
		case compress.None:
			assert.Zero(t, allocs)
		case compress.Zstd:
			assert.LessOrEqual(t, allocs, 120.0, "two decoders, a batch each: see compress")
		default:
			assert.LessOrEqual(t, allocs, 2.0, c.String())
		}
	}
}

func TestCheckRecords(t *testing.T) {
	var d Decoder
	rs := []Record{
		{Timestamp: 50, Key: []byte("k")}, {Timestamp: 70}, {Timestamp: NoTimestamp, Key: []byte{}}, {Timestamp: 70}, {Timestamp: 20},
	}
	in, err := mustSeal(t, BuilderConfig{}, rs).CheckRecords(&d, 0)
	require.NoError(t, err)
	assert.Equal(t, RecordsInfo{
		MaxTimestamp: 70, MaxTimestampOffsetDelta: 1, MinTimestamp: 20, MissingTimestamps: 1,
		Keyless: 3, KeylessIndexes: []int{1, 3, 4}, Contiguous: true,
	}, in)

	in, err = mustSeal(t, BuilderConfig{TimestampType: LogAppendTime, AppendTime: 999}, rs).CheckRecords(&d, 0)
	require.NoError(t, err)
	assert.Equal(t, int64(70), in.MaxTimestamp, "the producer's times")

	in, err = mustSeal(t, BuilderConfig{}, make([]Record, 30)).CheckRecords(&d, 0)
	require.NoError(t, err)
	assert.Equal(t, 30, in.Keyless)
	assert.Len(t, in.KeylessIndexes, MaxKeyless)

	b := NewBuilder(BuilderConfig{})
	require.NoError(t, b.AddAt(1, &Record{Timestamp: NoTimestamp}))
	batch, err := b.Seal()
	require.NoError(t, err)
	in, err = batch.CheckRecords(&d, 0)
	require.NoError(t, err)
	assert.False(t, in.Contiguous)
	assert.Equal(t, []int64{-1, -1}, []int64{in.MaxTimestamp, in.MinTimestamp})
	assert.Equal(t, int32(-1), in.MaxTimestampOffsetDelta)

	short := put(unhex(t, goldenOne), posLastDelta, 4, 1)
	in, err = short.CheckRecords(&d, 0)
	require.NoError(t, err)
	assert.False(t, in.Contiguous, "the last offset has no record")

	twice := withPayload(2, hexBytes(t, "0c 00 00 00 01 01 00 0c 00 00 00 01 01 00"))
	_, err = twice.CheckRecords(&d, 0)
	require.ErrorIs(t, err, ErrCorrupt)
	assert.ErrorContains(t, err, "ascend")
}

// TestDecoderCrossesBubbles: a decoder kept by its owner may serve in one bubble
// after another, with every codec.
func TestDecoderCrossesBubbles(t *testing.T) {
	var d Decoder
	use := func(t *testing.T) {
		for _, c := range allCodecs {
			b := mustSeal(t, BuilderConfig{Codec: c}, benchRecords(50, 100))
			in, err := b.CheckRecords(&d, 0)
			require.NoError(t, err)
			assert.True(t, in.Contiguous)
		}
	}
	synctest.Test(t, use)
	synctest.Test(t, use)
	use(t)
}

func TestSkip(t *testing.T) {
	b := NewBuilder(BuilderConfig{})
	for i := range 50 {
		require.NoError(t, b.Add(&Record{Key: []byte("k"), Value: make([]byte, i*i*i), Timestamp: int64(i)}))
	}
	batch, err := b.Seal()
	require.NoError(t, err)
	for n := range 53 {
		var d Decoder
		var r Record
		require.NoError(t, d.Reset(batch, 0))
		done := d.Skip(n)
		require.LessOrEqual(t, done, n)
		if n <= 30 {
			require.Equal(t, n, done)
		}
		for i := done; i < 50; i++ {
			require.True(t, d.Next(&r))
			require.EqualValues(t, i, r.Offset)
			require.Len(t, r.Value, i*i*i)
		}
		require.False(t, d.Next(&r))
		require.NoError(t, d.Err())
		require.Zero(t, d.Skip(1))
	}
	for name, tc := range malformed {
		var d Decoder
		require.NoError(t, d.Reset(withPayload(tc.count, hexBytes(t, tc.bytes)), 0))
		require.LessOrEqual(t, d.Skip(5), tc.count, name)
		require.LessOrEqual(t, d.Pos(), len(hexBytes(t, tc.bytes)), name)
	}
}
