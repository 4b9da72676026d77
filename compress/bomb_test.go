package compress

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/thin"
)

// bombs are small inputs that expand to about a gigabyte.
func bombs(t *testing.T) map[string]struct {
	codec Codec
	src   []byte
} {
	t.Helper()
	var plain bytes.Buffer
	w, err := gzip.NewWriterLevel(&plain, gzip.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 16<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return map[string]struct {
		codec Codec
		src   []byte
	}{
		"gzip members":         {Gzip, bytes.Repeat(plain.Bytes(), 64)},
		"lz4 4 MiB blocks":     {LZ4, lz4Bomb(256)},
		"zstd rle blocks":      {Zstd, zstdBomb(0x50, 8192)},      // window 1 MiB
		"zstd large window":    {Zstd, zstdBomb(17<<3, 8192)},     // window 128 MiB
		"snappy xerial blocks": {Snappy, snappyBomb(1500, 1<<16)}, // 100 MiB: snappy's densest is 21 to 1
		"snappy raw block":     {Snappy, snappy.Encode(nil, make([]byte, 40<<20))},
		"gzip one member":      {Gzip, zeros(Gzip, 40<<20)},
		"zstd one frame":       {Zstd, zstdStream(t, 40<<20)},
		"zstd content size":    {Zstd, zeros(Zstd, 40<<20)},
		"zstd frames":          {Zstd, bytes.Repeat(zstdBomb(17<<3, 8), 1000)},
		"zstd small frame":     {Zstd, append(zeros(Zstd, 10), bytes.Repeat(zeros(Zstd, 8<<20), 5)...)},
		"zstd skippable":       {Zstd, append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}, zstdBomb(17<<3, 8192)...)},
	}
}

// zeros is n zero bytes, compressed.
func zeros(c Codec, n int) []byte {
	out, err := Encode(nil, make([]byte, n), c, DefaultLevel)
	if err != nil {
		panic(err)
	}
	return out
}

// zstdStream is n zero bytes as a client compresses them that does not know their number.
func zstdStream(t *testing.T, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	for range n >> 20 {
		_, err = w.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// lz4Bomb is a frame of n blocks of zeros of 4 MiB each.
func lz4Bomb(n int) []byte {
	block := []byte{0x1f, 0, 1, 0} // one literal, then a match at distance 1
	run := 4<<20 - 1 - 19 - 5
	for ; run >= 255; run -= 255 {
		block = append(block, 255)
	}
	block = append(block, byte(run), 0x50, 0, 0, 0, 0, 0)
	p := []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x70}
	p = append(p, byte(xxh32(p[4:6])>>8))
	for range n {
		p = binary.LittleEndian.AppendUint32(p, uint32(len(block)))
		p = append(p, block...)
	}
	return append(p, 0, 0, 0, 0)
}

// zstdBomb is a frame without content size of n RLE blocks of 128 KiB.
func zstdBomb(window byte, n int) []byte {
	p := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, window}
	for i := range n {
		head := uint32(zstdBlock)<<3 | 1<<1
		if i == n-1 {
			head |= 1
		}
		p = append(p, byte(head), byte(head>>8), byte(head>>16), 'z')
	}
	return p
}

// snappyBomb is n xerial blocks of size zeros each.
func snappyBomb(n, size int) []byte {
	p := []byte(xerialMagic + xerialVersions)
	for range n {
		p = appendSnappyBlock(p, make([]byte, size))
	}
	return p
}

// The refusal takes little memory, however much the limit allows.
func TestBombsFailEarly(t *testing.T) {
	for name, bomb := range bombs(t) {
		for _, limit := range []int{2 << 20, 16 << 20}[:thin.Raced(2, 1)] {
			t.Run(fmt.Sprintf("%s/%d", name, limit>>20), func(t *testing.T) {
				_, _ = Decode(nil, bomb.src, bomb.codec, limit) // fills the pools
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := Decode(nil, bomb.src, bomb.codec, limit)
				runtime.ReadMemStats(&after)
				require.ErrorIs(t, err, ErrTooLarge)
				// The sum of all allocations: the first guess at the output, with its doublings, and working memory.
				most := 3*uint64(firstGuess*len(bomb.src)+quickRoom) + 6<<20
				if bomb.codec == Snappy {
					most = 1 << 20
				}
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, most, "allocated")
			})
		}
	}
}

// What expands a hundredfold and stays within the limit is decoded, into memory of its own size.
func TestDenseInputWithinTheLimit(t *testing.T) {
	n := thin.Raced(10<<20, 3<<20)
	for name, tt := range map[string]struct {
		codec Codec
		src   []byte
	}{
		"gzip": {Gzip, zeros(Gzip, n)}, "lz4": {LZ4, zeros(LZ4, n)}, "lz4 4 MiB": {LZ4, lz4Bomb(2)}, "zstd": {Zstd, zeros(Zstd, n)}, "zstd stream": {Zstd, zstdStream(t, n)},
		"snappy": {Snappy, zeros(Snappy, n)}, "zstd frames": {Zstd, bytes.Repeat(zstdStream(t, 1<<20), 10)},
		"far matches": {Zstd, farMatches(t, 5<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := Decode(nil, tt.src, tt.codec, 40<<20) // whatever its size
			require.NoError(t, err)
			for limit := range 2 {
				got, err := Decode([]byte("kept"), tt.src, tt.codec, len(want)-limit)
				if limit > 0 {
					require.ErrorIs(t, err, ErrTooLarge)
					continue
				}
				require.NoError(t, err)
				require.True(t, bytes.Equal(append([]byte("kept"), want...), got))
				assert.LessOrEqual(t, cap(got), len(want)+1<<20)
			}
		})
	}
}

// farMatches repeats n bytes of noise several times: matches reach back n bytes.
func farMatches(t *testing.T, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	require.NoError(t, err)
	for range 6 {
		_, err = w.Write(noise(n))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// The size of a block of LZ4 is told without decoding it.
func TestLZ4BlockSize(t *testing.T) {
	for _, in := range inputs() {
		dst := make([]byte, lz4.CompressBlockBound(len(in)))
		n, err := lz4.CompressBlock(in, dst, nil)
		require.NoError(t, err)
		if n > 0 {
			assert.Equal(t, len(in), lz4BlockSize(dst[:n]))
		}
	}
}

func TestBombsDecodeWithinALimitThatFits(t *testing.T) {
	for name, tt := range map[string]struct {
		codec Codec
		src   []byte
		size  int
	}{
		"lz4":               {LZ4, lz4Bomb(2), 8 << 20},
		"zstd":              {Zstd, zstdBomb(0x50, 16), 2 << 20},
		"zstd large window": {Zstd, zstdBomb(17<<3, 16), 2 << 20},
		"snappy":            {Snappy, snappyBomb(4, 1<<16), 4 << 16},
	} {
		for _, limit := range []int{tt.size, tt.size + 1, 200 << 20} {
			out, err := Decode(nil, tt.src, tt.codec, limit)
			require.NoError(t, err, "%s %d", name, limit)
			assert.Len(t, out, tt.size, name)
		}
		_, err := Decode(nil, tt.src, tt.codec, tt.size-1)
		require.ErrorIs(t, err, ErrTooLarge, name)
	}
}

// TestLyingSizes gives headers that claim far more than their bytes can hold: no
// memory may be taken for the claim (I2).
func TestLyingSizes(t *testing.T) {
	zstdClaim := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0} // single segment, 8-byte content size
	zstdClaim = binary.LittleEndian.AppendUint64(zstdClaim, 1<<29)
	zstdClaim = append(zstdClaim, 1, 0, 0)
	for name, tt := range map[string]struct {
		codec Codec
		src   []byte
	}{
		"snappy bare":   {Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 'x'}},
		"snappy framed": {Snappy, append([]byte(xerialMagic+xerialVersions), 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 'x')},
		"snappy length": {Snappy, append([]byte(xerialMagic+xerialVersions), 0xff, 0xff, 0xff, 0xff, 0)},
		"lz4 block":     {LZ4, append([]byte(lz4Header), 0xff, 0xff, 0xff, 0x7f, 0)},
		"zstd content":  {Zstd, zstdClaim},
		"zstd window":   {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 1, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode(nil, tt.src, tt.codec, 1<<30)
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, ErrCorrupt)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "allocated")
		})
	}
}

// TestZstdStreamsOfOthers decodes frames as a client makes them that streams
// without knowing the size, at its largest window, with a checksum.
func TestZstdStreamsOfOthers(t *testing.T) {
	in := text(900_000)
	for _, window := range []int{1 << 20, 8 << 20, 128 << 20} {
		var out bytes.Buffer
		w, err := zstd.NewWriter(&out, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
		require.NoError(t, err)
		for p := in; len(p) > 0; p = p[min(len(p), 10_000):] {
			_, err = w.Write(p[:min(len(p), 10_000)])
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		for _, limit := range []int{len(in), 64 << 20, 1 << 30} {
			got, err := Decode(nil, out.Bytes(), Zstd, limit)
			require.NoError(t, err, "window %d limit %d", window, limit)
			assert.True(t, bytes.Equal(in, got))
		}
		two := append(bytes.Clone(out.Bytes()), out.Bytes()...)
		got, err := Decode(nil, two, Zstd, 8<<20)
		if window <= 8<<20 {
			require.NoError(t, err)
			assert.True(t, bytes.Equal(append(bytes.Clone(in), in...), got))
		}
	}
}
