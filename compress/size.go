package compress

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// quickRoom is what an input may expand to, beyond firstGuess times its length, before its size is measured.
const quickRoom = 64 << 10

// decode decodes in one go what expands as usual, or fits into dst. The size of other input is measured first, in memory that does not
// grow with it, so that input above the limit is refused before memory is taken for its content, and the rest gets
// exactly what it needs (I1).
func decode(dst, src []byte, c Codec, limit int) ([]byte, error) {
	if c == None || !c.Valid() {
		return decodeWithin(dst, src, c, limit)
	}
	quick := cap(dst) - len(dst)
	if c != Snappy && c != LZ4 { // of which a look at the headers tells the size
		quick = max(quick, firstGuess*len(src)+quickRoom)
	}
	if quick = min(quick, limit); quick > 0 {
		out, err := decodeWithin(dst, src, c, quick)
		if err == nil || quick == limit || !unmeasured(c, err) {
			return out, err
		}
	}
	n, err := size(src, c, limit)
	if err != nil {
		return dst, err
	}
	return decodeWithin(reserve(dst, n+sizeSlack(c)), src, c, n)
}

// unmeasured tells an error that more room may cure. Within little room zstd's matches may reach back too far.
func unmeasured(c Codec, err error) bool { return errors.Is(err, ErrTooLarge) || c == Zstd }

// sizeSlack is room behind the output that a codec wants.
func sizeSlack(c Codec) int {
	if c == Zstd {
		return zstdSlack
	}
	return 0
}

func decodeWithin(dst, src []byte, c Codec, limit int) ([]byte, error) {
	switch c {
	case None:
		if len(src) > limit {
			return dst, tooLarge(c, limit)
		}
		return append(dst, src...), nil
	case Gzip:
		return decodeGzip(dst, src, limit)
	case Snappy:
		return decodeSnappy(dst, src, limit)
	case LZ4:
		return decodeLZ4(dst, src, limit)
	case Zstd:
		return decodeZstd(dst, src, limit)
	}
	return dst, fmt.Errorf("%w: id %d", ErrCodec, int8(c))
}

// size is how many bytes the input expands to, at most limit: more is an error that matches ErrTooLarge. Not all
// that is wrong with the input is found.
func size(src []byte, c Codec, limit int) (int, error) {
	switch c {
	case Gzip:
		return sizeGzip(src, limit)
	case Snappy:
		return sizeSnappy(src, limit)
	case LZ4:
		return sizeLZ4(src, limit)
	case Zstd:
		return sizeZstd(src, limit)
	}
	return 0, tooLarge(c, limit)
}

// discard counts what r gives, at most limit bytes.
func discard(r io.Reader, limit int) (int, error) {
	buf, _ := discards.Get().(*[discardSize]byte)
	if buf == nil {
		buf = new([discardSize]byte)
	}
	defer discards.Put(buf)
	for total := 0; ; {
		n, err := r.Read(buf[:])
		switch total += n; {
		case total > limit:
			return total, ErrTooLarge
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil:
			return total, err
		}
	}
}

const discardSize = 32 << 10

var discards sync.Pool // of *[discardSize]byte
