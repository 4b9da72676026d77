package compress

import (
	"encoding/binary"
	"sync"

	"github.com/pierrec/lz4/v4"
)

const (
	// lz4Header is the start of every frame written here: magic, FLG (version 1,
	// independent blocks, nothing optional), BD (blocks of 64 KiB) and the second
	// byte of the xxHash of the two.
	lz4Header     = "\x04\x22\x4d\x18\x60\x40\x82"
	lz4HeaderSize = len(lz4Header)
	lz4Block      = 64 << 10
	// lz4Stored marks, in a block's length, a block that is not compressed.
	lz4Stored = 1 << 31
	// lz4Fast is the level for which Kafka takes the fast compressor instead of
	// the thorough one.
	lz4Fast = 9
)

// Idle compressors. They hold hash tables only (I3).
var (
	lz4Compressors     sync.Pool // *lz4.Compressor
	lz4HighCompressors sync.Pool // *lz4.CompressorHC
)

// lz4BlockEncoder is the common face of both compressors.
type lz4BlockEncoder interface {
	CompressBlock(src, dst []byte) (int, error)
}

func encodeLZ4(dst, src []byte, level int) []byte {
	if level == DefaultLevel || level == lz4Fast {
		c, _ := lz4Compressors.Get().(*lz4.Compressor)
		if c == nil {
			c = new(lz4.Compressor)
		}
		defer lz4Compressors.Put(c)
		return appendLZ4Frame(dst, src, c)
	}
	c, _ := lz4HighCompressors.Get().(*lz4.CompressorHC)
	if c == nil {
		c = new(lz4.CompressorHC)
	}
	defer lz4HighCompressors.Put(c)
	c.Level = lz4Depth(level)
	return appendLZ4Frame(dst, src, c)
}

// lz4Depth maps Kafka's levels to the library's search depths. Kafka counts to
// 17 where the library counts to 9: what lies above 9 is the deepest.
func lz4Depth(level int) lz4.CompressionLevel {
	depths := [...]lz4.CompressionLevel{
		lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5,
		lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9,
	}
	return depths[min(level, len(depths))-1]
}

func appendLZ4Frame(dst, src []byte, c lz4BlockEncoder) []byte {
	dst = append(dst, lz4Header...)
	for len(src) > 0 {
		n := min(len(src), lz4Block)
		dst = appendLZ4Block(dst, src[:n], c)
		src = src[n:]
	}
	return append(dst, 0, 0, 0, 0)
}

// appendLZ4Block compresses straight into dst's spare capacity. It offers the
// compressor no more room than the input takes, so that it gives up on data that
// does not shrink, which is then stored.
func appendLZ4Block(dst, src []byte, c lz4BlockEncoder) []byte {
	dst = reserve(dst, 4+len(src))
	head := len(dst)
	body := dst[head+4 : head+4+len(src)]
	n, err := c.CompressBlock(src, body)
	size := uint32(n)
	if err != nil || n <= 0 || n >= len(src) {
		n = copy(body, src)
		size = uint32(n) | lz4Stored
	}
	dst = dst[:head+4+n]
	binary.LittleEndian.PutUint32(dst[head:], size)
	return dst
}
