package compress

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// text gives n bytes that compress about as log lines do.
func text(n int) []byte {
	var b bytes.Buffer
	r := rand.New(rand.NewSource(7))
	for b.Len() < n {
		fmt.Fprintf(&b, "10.0.%d.%d - GET /item/%d HTTP/1.1 200 %d\n", r.Intn(256), r.Intn(256), r.Intn(1000), r.Intn(100000))
	}
	return b.Bytes()[:n]
}

// noise gives n bytes that do not compress.
func noise(n int) []byte {
	p := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(p)
	return p
}

func inputs() map[string][]byte {
	in := map[string][]byte{"empty": {}, "one": {7}}
	in["text600000"] = text(600_000)
	for _, n := range []int{100, 32<<10 - 1, 32 << 10, 32<<10 + 1, 64 << 10, 64<<10 + 1, 150_000} {
		in[fmt.Sprintf("text%d", n)] = text(n)
		in[fmt.Sprintf("noise%d", n)] = noise(n)
		in[fmt.Sprintf("zeros%d", n)] = make([]byte, n)
	}
	return in
}

// levels lists the ends and some of the middle of a codec's range.
func levels(c Codec) []int {
	switch c {
	case Gzip:
		return []int{DefaultLevel, -1, 1, 5, 9}
	case LZ4:
		return []int{DefaultLevel, 1, 8, 9, 10, 17}
	case Zstd:
		return []int{DefaultLevel, -131072, 0, 1, 3, 9, 22}
	}
	return []int{DefaultLevel}
}

func TestRoundTrip(t *testing.T) {
	ins := inputs()
	for _, c := range codecs {
		for _, level := range levels(c) {
			for name, in := range ins {
				if len(in) > 100_000 && level != DefaultLevel && name != "text150000" {
					continue // the slow levels show the same on less
				}
				out, err := Encode([]byte("head"), in, c, level)
				require.NoError(t, err)
				assert.Equal(t, "head", string(out[:4]))
				assert.LessOrEqual(t, len(out)-4, MaxSize(c, len(in)), "%s %d %s", c, level, name)
				got, err := Decode([]byte("tail"), out[4:], c, len(in))
				require.NoError(t, err, "%s %d %s", c, level, name)
				require.True(t, bytes.Equal(got, append([]byte("tail"), in...)), "%s %d %s", c, level, name)
			}
		}
	}
}

func TestEncodeWithinMaxSizeKeepsTheBuffer(t *testing.T) {
	for _, c := range codecs {
		for name, in := range inputs() {
			dst := make([]byte, 0, 1+MaxSize(c, len(in)))
			out, err := Encode(dst, in, c, DefaultLevel)
			require.NoError(t, err)
			assert.Same(t, &dst[:1][0], &out[:1][0], "%s %s", c, name)
		}
	}
}

func TestLimit(t *testing.T) {
	for _, c := range codecs {
		for name, in := range inputs() {
			if len(in) == 0 {
				continue
			}
			out, err := Encode(nil, in, c, DefaultLevel)
			require.NoError(t, err)
			for _, limit := range []int{len(in) - 1, len(in) / 2, 0, -1} {
				got, err := Decode([]byte("x"), out, c, limit)
				require.ErrorIs(t, err, ErrTooLarge, "%s %s %d", c, name, limit)
				assert.Equal(t, "x", string(got))
			}
		}
	}
}

func TestEmptyInputIsCorrupt(t *testing.T) {
	for _, c := range codecs[1:] {
		_, err := Decode(nil, nil, c, 100)
		assert.ErrorIs(t, err, ErrCorrupt, c.String())
	}
	out, err := Decode(nil, nil, None, 0)
	require.NoError(t, err)
	assert.Empty(t, out)
}

func TestTruncatedInputIsCorrupt(t *testing.T) {
	in := text(5000)
	for _, c := range codecs[1:] {
		out, err := Encode(nil, in, c, DefaultLevel)
		require.NoError(t, err)
		for n := range len(out) {
			got, err := Decode(nil, out[:n], c, 1<<20)
			if c == Snappy && n == xerialHeaderSize {
				require.NoError(t, err) // a stream without blocks
				assert.Empty(t, got)
				continue
			}
			require.ErrorIs(t, err, ErrCorrupt, "%s cut to %d of %d", c, n, len(out))
		}
	}
}

// TestFlippedBits looks for panics, for output past the limit and for errors
// outside the package's vocabulary; wrong output is for the batch's checksum.
func TestFlippedBits(t *testing.T) {
	in := text(700)
	for _, c := range codecs[1:] {
		out, err := Encode(nil, in, c, DefaultLevel)
		require.NoError(t, err)
		for bit := range len(out) * 8 {
			out[bit/8] ^= 1 << (bit % 8)
			got, err := Decode(nil, out, c, 4096)
			out[bit/8] ^= 1 << (bit % 8)
			assert.LessOrEqual(t, len(got), 4096)
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%s bit %d: %v", c, bit, err)
			}
		}
	}
}

func TestCheckLevel(t *testing.T) {
	tests := []struct {
		codec Codec
		ok    []int
		bad   []int
	}{
		{None, nil, []int{-1, 0, 1}},
		{Gzip, []int{-1, 1, 9}, []int{-2, 0, 10}},
		{Snappy, nil, []int{-1, 0, 1}},
		{LZ4, []int{1, 9, 17}, []int{-1, 0, 18}},
		{Zstd, []int{-131072, -1, 0, 22}, []int{-131073, 23}},
	}
	for _, tt := range tests {
		for _, level := range append(tt.ok, DefaultLevel) {
			assert.NoError(t, CheckLevel(tt.codec, level), "%s %d", tt.codec, level)
		}
		for _, level := range tt.bad {
			require.ErrorIs(t, CheckLevel(tt.codec, level), ErrLevel, "%s %d", tt.codec, level)
			out, err := Encode([]byte("x"), []byte("y"), tt.codec, level)
			require.ErrorIs(t, err, ErrLevel)
			assert.Equal(t, "x", string(out))
		}
	}
}

func TestUnknownCodec(t *testing.T) {
	for _, c := range []Codec{-1, 5, 6, 7, 127} {
		assert.False(t, c.Valid())
		assert.ErrorIs(t, CheckLevel(c, DefaultLevel), ErrCodec)
		_, err := Encode(nil, nil, c, DefaultLevel)
		assert.ErrorIs(t, err, ErrCodec)
		_, err = Decode(nil, nil, c, 1)
		assert.ErrorIs(t, err, ErrCodec)
	}
}

func TestParse(t *testing.T) {
	for _, c := range codecs {
		for _, name := range []string{c.String(), strings.ToUpper(c.String())} {
			got, err := Parse(name)
			require.NoError(t, err)
			assert.Equal(t, c, got)
		}
	}
	got, err := Parse("uncompressed")
	require.NoError(t, err)
	assert.Equal(t, None, got)
	for _, name := range []string{"", "producer", "lzma", "zstd "} {
		_, err := Parse(name)
		assert.ErrorIs(t, err, ErrCodec, name)
	}
	assert.Equal(t, "codec(6)", Codec(6).String())
}

// TestPoolsCrossBubbles uses every codec at every level outside a bubble, in
// one, in a second, and outside again: an idle object that held a channel would
// end the program (I3).
func TestPoolsCrossBubbles(t *testing.T) {
	in := text(140_000) // more than one block of every codec
	use := func(t *testing.T) {
		for _, c := range codecs {
			for _, level := range levels(c) {
				out, err := Encode(nil, in, c, level)
				require.NoError(t, err)
				got, err := Decode(nil, out, c, len(in))
				require.NoError(t, err)
				require.True(t, bytes.Equal(in, got))
				_, err = Decode(nil, out[:len(out)/2], c, len(in)/3)
				require.Error(t, err)
			}
		}
	}
	use(t)
	synctest.Test(t, use)
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { use(t) })
		}
		wg.Wait()
	})
	use(t)
}

func TestConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in := text(10_000 + 1000*i)
			for _, c := range codecs {
				for range 10 {
					out, err := Encode(nil, in, c, DefaultLevel)
					assert.NoError(t, err)
					got, err := Decode(nil, out, c, len(in))
					assert.NoError(t, err)
					assert.True(t, bytes.Equal(in, got))
				}
			}
		})
	}
	wg.Wait()
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop objects at random under the race detector")
	}
	in := text(20_000)
	for _, c := range codecs {
		out := make([]byte, 0, MaxSize(c, len(in)))
		plain := make([]byte, 0, len(in)+1024)
		encode := testing.AllocsPerRun(50, func() { out, _ = Encode(out[:0], in, c, DefaultLevel) })
		assert.LessOrEqual(t, encode, 1.0, "%s encode", c)
		decode := testing.AllocsPerRun(50, func() { plain, _ = Decode(plain[:0], out, c, len(in)) })
		want := 1.0
		if c == Zstd {
			want = 60 // a new decoder a call: see decodeZstd
		}
		assert.LessOrEqual(t, decode, want, "%s decode", c)
	}
}

func benchmarkInput(b *testing.B) []byte { b.Helper(); return text(100_000) }

func BenchmarkEncode(b *testing.B) {
	in := benchmarkInput(b)
	for _, c := range codecs[1:] {
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				out, _ = Encode(out[:0], in, c, DefaultLevel)
			}
			b.ReportMetric(float64(len(in))/float64(len(out)), "ratio")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	in := benchmarkInput(b)
	for _, c := range codecs[1:] {
		b.Run(c.String(), func(b *testing.B) {
			out, _ := Encode(nil, in, c, DefaultLevel)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			var plain []byte
			for b.Loop() {
				plain, _ = Decode(plain[:0], out, c, len(in))
			}
		})
	}
}
