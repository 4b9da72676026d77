package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	golang "github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

// fuzzDecoder checks that arbitrary bytes give either output within the limit or
// one of the package's errors, whatever lay in dst before.
func fuzzDecoder(f *testing.F, c Codec) {
	for _, in := range [][]byte{nil, []byte("a"), text(500), noise(300), make([]byte, 70_000)} {
		out, err := Encode(nil, in, c, DefaultLevel)
		require.NoError(f, err)
		f.Add(out, 1<<16)
		f.Add(out[:len(out)/2], 100)
	}
	f.Fuzz(func(t *testing.T, src []byte, limit int) {
		limit = min(max(limit, 0), 1<<20)
		fresh, err := Decode(nil, src, c, limit)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("foreign error: %v", err)
			}
			return
		}
		if len(fresh) > limit {
			t.Fatalf("%d bytes, limit %d", len(fresh), limit)
		}
		behind, err := Decode(append(make([]byte, 0, 64), "head"...), src, c, limit)
		if err != nil || !bytes.Equal(behind[4:], fresh) || string(behind[:4]) != "head" {
			t.Fatalf("another result behind a prefix: %v", err)
		}
	})
}

func FuzzDecodeGzip(f *testing.F)   { fuzzDecoder(f, Gzip) }
func FuzzDecodeSnappy(f *testing.F) { fuzzDecoder(f, Snappy) }
func FuzzDecodeLZ4(f *testing.F)    { fuzzDecoder(f, LZ4) }
func FuzzDecodeZstd(f *testing.F)   { fuzzDecoder(f, Zstd) }

// FuzzRoundTrip encodes anything with everything.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(nil), int8(1), 0)
	f.Add(text(3000), int8(3), 9)
	f.Add(noise(3000), int8(4), 22)
	f.Fuzz(func(t *testing.T, in []byte, codec int8, level int) {
		c := Codec(codec & 7)
		out, err := Encode(nil, in, c, level)
		if err != nil {
			if CheckLevel(c, level) == nil {
				t.Fatal(err)
			}
			return
		}
		got, err := Decode(nil, out, c, len(in))
		if err != nil || !bytes.Equal(got, in) {
			t.Fatalf("%s level %d: %v", c, level, err)
		}
	})
}

// FuzzSnappyAgainstGolang holds our reading of bare blocks against the second
// implementation: both accept the same bytes and read the same from them.
func FuzzSnappyAgainstGolang(f *testing.F) {
	f.Add(golang.Encode(nil, text(2000)))
	f.Add(golang.Encode(nil, make([]byte, 2000)))
	f.Add([]byte("\x80\x80\x80\x80\x80\x00"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if bytes.HasPrefix(src, []byte(xerialMagic)) {
			return
		}
		ours, err := Decode(nil, src, Snappy, 1<<20)
		// The format's length is below 2^32, so at most five bytes long; golang/snappy takes longer spellings.
		if _, width := binary.Uvarint(src); width > 5 {
			if err == nil {
				t.Fatal("we accept a length that is spelt too long")
			}
			return
		}
		n, golangErr := golang.DecodedLen(src)
		if golangErr != nil || n > 1<<20 {
			if err == nil {
				t.Fatal("we accept a length that golang/snappy does not")
			}
			return
		}
		theirs, golangErr := golang.Decode(nil, src)
		if (err == nil) != (golangErr == nil) || err == nil && !bytes.Equal(ours, theirs) {
			t.Fatalf("ours %v, theirs %v", err, golangErr)
		}
	})
}
