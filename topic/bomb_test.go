package topic

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"testing"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bombOf is a batch whose header is sound and whose records are n zero bytes, compressed.
func bombOf(t *testing.T, codec compress.Codec, n int) []byte {
	t.Helper()
	small := batchOf(t, record.BuilderConfig{Codec: codec}, "value")
	payload, err := compress.Encode(nil, make([]byte, n), codec, compress.DefaultLevel)
	require.NoError(t, err)
	b := append(small[:record.HeaderSize:record.HeaderSize], payload...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// allocated is the bytes that f takes from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A batch that decompresses to more than the topic accepts is refused for little memory.
func TestAppendRawRefusesBombs(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders", MaxMessageBytes(8<<20)), 0)
	q := partitionOf(t, openTopic(t, e, "small", MaxDecompressedBytes(1<<20)), 0)
	for _, codec := range []compress.Codec{compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		bomb := bombOf(t, codec, 8<<20)
		for name, c := range map[string]struct {
			p    *Partition
			bomb []byte
			want error
		}{
			"proportion": {q, bomb, ErrTooLarge},
			"within":     {p, bomb, ErrCorrupt}, // zeros are no records, and it is looked
		} {
			var err error
			took := allocated(func() { _, err = c.p.AppendRaw(t.Context(), c.bomb, RawAppend{}) })
			require.ErrorIs(t, err, c.want, "%v %s", codec, name)
			require.NotErrorIs(t, err, ErrUncertain)
			if c.want == ErrTooLarge {
				var facts *record.DecompressedError
				require.ErrorAs(t, err, &facts)
				assert.Equal(t, 1<<20, facts.Limit)
				assert.NotErrorIs(t, err, ErrCorrupt)
				assert.Less(t, took, uint64(7<<20), "%v", codec)
			}
		}
	}
	assert.Equal(t, 64*1048588, openTopic(t, e, "plain").maxDecoded(), "the default")
	assert.Equal(t, 256<<20, openTopic(t, e, "large", MaxMessageBytes(1<<30)).maxDecoded())
	assert.Equal(t, 1<<20, openTopic(t, e, "tiny", MaxMessageBytes(100)).maxDecoded())
}

// A topic that is to store batches in a codec of its own decompresses within the same bound.
func TestRecompressionRefusesBombs(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders", Set("compression.type", "lz4"), MaxDecompressedBytes(1<<20)), 0)
	_, err := p.AppendRaw(t.Context(), bombOf(t, compress.Zstd, 8<<20), RawAppend{})
	require.ErrorIs(t, err, ErrTooLarge)
}

// What was stored under a larger limit is refused by every way that looks into it, and there again when the limit is
// put back. Compaction leaves it as it is.
func TestStoredBatchAboveTheLimit(t *testing.T) {
	const size = 8 << 20
	e := openOn(t, vfs.NewMem())
	top := openTopic(t, e, "orders", Set("compression.type", "zstd"), CleanupWith(CleanupCompact), Set("min.cleanable.dirty.ratio", "0"))
	key := []byte("k")
	first := time.Now()
	for i, value := range [][]byte{[]byte("old"), make([]byte, size), []byte("new")} {
		_, err := top.Append(t.Context(), Record{Key: key, Value: value, Time: first.Add(time.Duration(i) * time.Second)})
		require.NoError(t, err)
	}
	limit := func(n int) {
		require.NoError(t, e.AlterTopic(t.Context(), "orders", MaxDecompressedBytes(n)))
	}
	limit(1 << 20)
	p := partitionOf(t, top, 0)
	c, err := e.NewConsumer()
	require.NoError(t, err)
	require.NoError(t, c.AssignTopics("orders"))
	for name, look := range map[string]func() error{
		"read": func() error {
			for _, err := range top.Read(t.Context(), UntilEnd()) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"poll": func() error {
			for {
				recs, err := c.Poll(t.Context())
				if err != nil || len(recs) == 0 {
					return err
				}
			}
		},
		"get":    func() error { _, err := p.Get(t.Context(), 1); return err },
		"time":   func() error { _, _, _, err := p.OffsetForTime(t.Context(), first.Add(time.Millisecond)); return err },
		"redact": func() error { return p.Redact(t.Context(), 1, RedactOptions{}) },
	} {
		var err error
		took := allocated(func() { err = look() })
		assert.ErrorIs(t, err, ErrTooLarge, name)
		assert.NotErrorIs(t, err, ErrCorrupt, name)
		var facts *record.DecompressedError
		if assert.ErrorAs(t, err, &facts, name) {
			assert.EqualValues(t, 1, facts.BaseOffset, name)
			assert.EqualValues(t, 2, facts.NextOffset, name)
		}
		assert.Less(t, took, uint64(4<<20), name)
	}
	_, err = p.Compact(t.Context())
	require.NoError(t, err)
	limit(64 << 20)
	var sizes []int
	for rec, err := range top.Read(t.Context(), UntilEnd()) {
		require.NoError(t, err)
		sizes = append(sizes, len(rec.Value))
	}
	assert.Equal(t, size, sizes[len(sizes)-2], "stays")
}

// What this library writes itself it can read.
func TestOwnBatchesWithinTheLimit(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	top := openTopic(t, e, "orders", Set("compression.type", "zstd"), MaxDecompressedBytes(1<<20), NoSync())
	_, err := top.Append(t.Context(), Record{Value: make([]byte, 2<<20)})
	require.ErrorIs(t, err, ErrTooLarge)
	p := clientProducer(t, e, BatchSize(8<<20), Linger(time.Minute))
	for range 80 {
		require.NoError(t, p.Send(t.Context(), "orders", Record{Value: make([]byte, 100<<10)}, nil))
	}
	require.NoError(t, p.Close(), "batches are split")
	n := 0
	for _, err := range top.Read(context.Background(), UntilEnd()) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 80, n)
}
