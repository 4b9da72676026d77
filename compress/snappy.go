package compress

import (
	"bytes"
	"encoding/binary"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

const (
	// xerialMagic opens the framing of the snappy-java library, followed by its
	// version and the oldest version that can read it, both 1.
	xerialMagic      = "\x82SNAPPY\x00"
	xerialVersions   = "\x00\x00\x00\x01\x00\x00\x00\x01"
	xerialHeaderSize = len(xerialMagic) + len(xerialVersions)
	// snappyBlock is the most input one block holds.
	snappyBlock = 32 << 10
	// snappyExpansion bounds output per byte of input: the densest element is
	// three bytes that copy 64.
	snappyExpansion = 22
)

func encodeSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = append(dst, xerialVersions...)
	for len(src) > 0 {
		n := min(len(src), snappyBlock)
		dst = appendSnappyBlock(dst, src[:n])
		src = src[n:]
	}
	return dst
}

// appendSnappyBlock compresses straight into dst's spare capacity, with the
// faster of the library's two encoders: speed is what snappy is chosen for.
func appendSnappyBlock(dst, src []byte) []byte {
	dst = reserve(dst, 4+snappy.MaxEncodedLen(len(src)))
	head := len(dst)
	block := s2.EncodeSnappy(dst[head+4:cap(dst)], src)
	dst = dst[:head+4+len(block)]
	binary.BigEndian.PutUint32(dst[head:], uint32(len(block)))
	return dst
}

func decodeSnappy(dst, src []byte, limit int) ([]byte, error) {
	left := limit
	err := eachSnappyBlock(src, func(block []byte) (err error) {
		before := len(dst)
		dst, err = appendSnappyDecoded(dst, block, left, limit)
		left -= len(dst) - before
		return err
	})
	return dst, err
}

func sizeSnappy(src []byte, limit int) (total int, err error) {
	err = eachSnappyBlock(src, func(block []byte) error {
		n, err := snappyBlockSize(block, limit-total, limit)
		total += n
		return err
	})
	return total, err
}

// eachSnappyBlock calls f for each raw block: the one that the input is, or those of xerial's framing.
func eachSnappyBlock(src []byte, f func(block []byte) error) error {
	if !bytes.HasPrefix(src, []byte(xerialMagic)) {
		return f(src)
	}
	if len(src) < xerialHeaderSize {
		return corrupt(Snappy, "header cut short")
	}
	if v := binary.BigEndian.Uint32(src[12:]); v != 1 {
		return corrupt(Snappy, "needs a newer framing version")
	}
	src = src[xerialHeaderSize:]
	for len(src) > 0 {
		if len(src) < 4 {
			return corrupt(Snappy, "block length cut short")
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if uint64(n) > uint64(len(src)) {
			return corrupt(Snappy, "block longer than the input")
		}
		if err := f(src[:n]); err != nil {
			return err
		}
		src = src[n:]
	}
	return nil
}

// snappyBlockSize is what a raw block says that it holds; left is what the limit still allows.
func snappyBlockSize(block []byte, left, limit int) (int, error) {
	n, err := snappy.DecodedLen(block)
	switch {
	case err != nil:
		return 0, corruptBy(Snappy, err)
	case n/snappyExpansion > len(block):
		return 0, corrupt(Snappy, "block cannot hold as much as it claims")
	case n > left:
		return 0, tooLarge(Snappy, limit)
	}
	return n, nil
}

// appendSnappyDecoded appends one raw block; left is what the limit still allows.
func appendSnappyDecoded(dst, block []byte, left, limit int) ([]byte, error) {
	n, err := snappyBlockSize(block, left, limit)
	if err != nil {
		return dst, err
	}
	dst = reserve(dst, n)
	// Strict: the library's other decoder also reads an extension of snappy that
	// Kafka's readers do not know.
	got, err := snappy.DecodeStrict(dst[len(dst):len(dst)+n], block)
	if err != nil {
		return dst, corruptBy(Snappy, err)
	}
	if len(got) != n {
		return dst, corrupt(Snappy, "block shorter than it claims")
	}
	return dst[:len(dst)+n], nil
}
