package record

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
)

func TestRecompressKeepsEverythingButTheCodec(t *testing.T) {
	records := []Record{
		{Timestamp: 1000, Key: []byte("a"), Value: []byte("one"), Headers: []Header{{Key: "h", Value: []byte("x")}}},
		{Timestamp: NoTimestamp, Value: nil},
		{Timestamp: 7, Key: []byte{}, Value: []byte{}},
	}
	from := NewBuilder(BuilderConfig{Codec: compress.Gzip, HasProducer: true, ProducerID: 9, ProducerEpoch: 4, BaseSequence: 17, Transactional: true})
	for i := range records {
		require.NoError(t, from.Add(&records[i]))
	}
	old, err := from.Seal()
	require.NoError(t, err)
	for _, c := range []Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		b, err := Recompress(old, c, compress.DefaultLevel, 0)
		require.NoError(t, err)
		require.NoError(t, b.Check())
		require.Equal(t, c, b.Codec())
		require.Equal(t, old.ProducerID(), b.ProducerID())
		require.Equal(t, old.ProducerEpoch(), b.ProducerEpoch())
		require.Equal(t, old.BaseSequence(), b.BaseSequence())
		require.Equal(t, old.MaxTimestamp(), b.MaxTimestamp())
		require.True(t, b.Transactional())
		require.Equal(t, all(t, old), all(t, b))
	}
}

// all decodes every record into memory of its own.
func all(t *testing.T, b Batch) (out []Record) {
	t.Helper()
	var d Decoder
	require.NoError(t, d.Reset(b, 0))
	var r Record
	for d.Next(&r) {
		c := Record{Offset: r.Offset, Timestamp: r.Timestamp}
		c.Key, c.Value = append([]byte(nil), r.Key...), append([]byte(nil), r.Value...)
		if r.Key == nil {
			c.Key = nil
		}
		c.Headers = append(c.Headers, r.Headers...)
		out = append(out, c)
	}
	require.NoError(t, d.Err())
	return out
}

func TestRecompressRefusesDamage(t *testing.T) {
	from := NewBuilder(BuilderConfig{Codec: compress.LZ4})
	require.NoError(t, from.Add(&Record{Value: []byte("some value that compresses, compresses, compresses")}))
	b, err := from.Seal()
	require.NoError(t, err)
	b[len(b)-5] ^= 0xff
	_, err = Recompress(b, compress.None, 0, 0)
	require.ErrorIs(t, err, ErrCorrupt)
	_, err = Recompress(b, compress.None, 0, 4)
	require.Error(t, err)
}
