package compress

import (
	"fmt"
	"math"
	"strings"
)

// Codec names a compression format. Its number is the one that a record batch
// carries in the low three bits of its attributes.
type Codec int8

// The codecs of Apache Kafka's message format. Their numbers are stored on disk.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// DefaultLevel asks for the level that Kafka uses when none is configured:
// gzip 6, lz4's fast compressor, zstd 3.
const DefaultLevel = math.MinInt32

// String returns the name used in Kafka's configuration: "none", "gzip",
// "snappy", "lz4" or "zstd"; other numbers print as "codec(5)".
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec(%d)", int8(c))
}

// Valid reports whether c is one of the five codecs of this package.
func (c Codec) Valid() bool { return c >= None && c <= Zstd }

// Parse returns the codec of a name as String gives it, in any case.
// "uncompressed", Kafka's name in topic settings, is None. Any other name is an
// error that matches ErrCodec.
func Parse(name string) (Codec, error) {
	switch strings.ToLower(name) {
	case "none", "uncompressed":
		return None, nil
	case "gzip":
		return Gzip, nil
	case "snappy":
		return Snappy, nil
	case "lz4":
		return LZ4, nil
	case "zstd":
		return Zstd, nil
	}
	return None, fmt.Errorf("%w: %q", ErrCodec, name)
}

// CheckLevel tells whether Encode accepts level for codec c. DefaultLevel is
// legal everywhere. The ranges are Kafka's: gzip 1 to 9 and -1 (default), lz4 1
// to 17, zstd -131072 to 22. None and Snappy know no levels and accept
// DefaultLevel only. Errors match ErrLevel or ErrCodec.
func CheckLevel(c Codec, level int) error {
	if !c.Valid() {
		return fmt.Errorf("%w: id %d", ErrCodec, int8(c))
	}
	if level == DefaultLevel {
		return nil
	}
	ok := false
	switch c {
	case Gzip:
		ok = level == -1 || level >= 1 && level <= 9
	case LZ4:
		ok = level >= 1 && level <= 17
	case Zstd:
		ok = level >= -131072 && level <= 22
	}
	if !ok {
		return fmt.Errorf("%w: %s level %d", ErrLevel, c, level)
	}
	return nil
}

// Encode appends the compressed form of src to dst and returns the extended
// slice, which belongs to the caller. src and the spare capacity of dst must not
// overlap. With None it appends a copy of src. On an error (see CheckLevel) it
// returns dst unchanged. When dst has MaxSize(c, len(src)) spare bytes, dst is
// not reallocated.
func Encode(dst, src []byte, c Codec, level int) ([]byte, error) {
	if err := CheckLevel(c, level); err != nil {
		return dst, err
	}
	switch c {
	case Gzip:
		return encodeGzip(dst, src, level)
	case Snappy:
		return encodeSnappy(dst, src), nil
	case LZ4:
		return encodeLZ4(dst, src, level), nil
	case Zstd:
		return encodeZstd(dst, src, level)
	}
	return append(dst, src...), nil
}

// Decode appends the decompressed form of src to dst and returns the extended
// slice, which belongs to the caller. It appends at most limit bytes: input that
// expands further is an error matching ErrTooLarge, found before memory is taken
// for it: the refusal of a small input takes little memory, whatever it expands to. Input that is
// not a whole stream of the codec, empty input included (except with None), is
// an error matching ErrCorrupt. On an error it returns dst with its old length;
// the bytes past it are undefined. A negative limit counts as zero.
func Decode(dst, src []byte, c Codec, limit int) ([]byte, error) {
	limit = max(limit, 0)
	out, err := decode(dst, src, c, limit)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// MaxSize returns how many bytes Encode appends at most for n bytes of input:
// what data that does not compress costs, framing included.
func MaxSize(c Codec, n int) int {
	switch c {
	case Gzip:
		// Header and trailer, and five bytes for each stored piece; the
		// compressor ends a piece after at least 16 KiB.
		return n + 64 + 5*(n/(16<<10)+1)
	case Snappy:
		// A raw block spends up to n/6+32 on data without matches.
		blocks := n/snappyBlock + 1
		return n + n/6 + xerialHeaderSize + 36*blocks
	case LZ4:
		return n + lz4HeaderSize + 4*(n/lz4Block+2)
	case Zstd:
		return n + 32 + 3*(n/(64<<10)+1)
	}
	return n
}
