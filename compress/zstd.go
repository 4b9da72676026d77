package compress

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow bounds how far back a match may lie in what is written here. A
	// batch is seldom larger, and idle compressors stay small.
	zstdWindow = 1 << 20
	// zstdMaxWindow is the largest window accepted: that of level 22, which
	// Kafka's client writes when it does not know the size in advance. It costs
	// nothing, since the output itself serves as window.
	zstdMaxWindow = 128 << 20
	// zstdDefault is Kafka's level when none is configured.
	zstdDefault = 3
	// zstdBlock is the most output of one block, which takes at least
	// zstdBlockHeader bytes of input and one of content.
	zstdBlock       = 128 << 10
	zstdBlockHeader = 3
	// zstdMinWindow is the smallest window a frame can name.
	zstdMinWindow = 1 << 10
	// zstdSlack is room behind the output that lets the library decode in place.
	zstdSlack = 64
)

// zstdWriters holds idle compressors by the library's four speeds. Used as a
// stream with concurrency 1 they hold neither channel nor goroutine (I3); their
// EncodeAll would make a channel and is avoided.
var zstdWriters [zstd.SpeedBestCompression + 1]sync.Pool

// zstdWriter is a compressor and the slice it appends to.
type zstdWriter struct {
	w   *zstd.Encoder
	out appender
}

func newZstdWriter(speed zstd.EncoderLevel) (*zstdWriter, error) {
	w, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(speed),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(zstdWindow),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderCRC(false), // the batch has a checksum of its own
		zstd.WithZeroFrames(true),
	)
	if err != nil {
		return nil, err
	}
	return &zstdWriter{w: w}, nil
}

func encodeZstd(dst, src []byte, level int) ([]byte, error) {
	if level == DefaultLevel || level == 0 { // zstd itself reads 0 as its default
		level = zstdDefault
	}
	speed := zstd.EncoderLevelFromZstd(level)
	z, _ := zstdWriters[speed].Get().(*zstdWriter)
	if z == nil {
		var err error
		if z, err = newZstdWriter(speed); err != nil {
			return dst, err
		}
	}
	z.out.b = dst
	z.w.ResetContentSize(&z.out, int64(len(src)))
	_, err := z.w.Write(src)
	if err == nil {
		err = z.w.Close()
	}
	out := z.out.b
	z.out.b = nil
	zstdWriters[speed].Put(z)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// decodeZstd makes a decompressor for each call: the library's decoder hands its
// working memory through a channel, so it cannot be pooled (I3).
func decodeZstd(dst, src []byte, limit int) ([]byte, error) {
	f, err := scanZstd(src)
	if err != nil {
		return dst, err
	}
	if f.known > uint64(limit) {
		return dst, tooLarge(Zstd, limit)
	}
	// The library bounds window and output by one number, so a frame that merely claims a large window would
	// otherwise either be refused or get that much output.
	src, memory := f.narrow(src, uint64(limit))
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdMaxWindow),
		zstd.WithDecoderMaxMemory(memory),
	)
	if err != nil {
		return dst, err
	}
	defer d.Close()
	room := min(firstGuess*len(src), limit)
	if f.complete {
		room = int(f.known)
	}
	// The library decodes into the spare room, as if nothing lay before it.
	dst = reserve(dst, room+zstdSlack)
	out, err := d.DecodeAll(src, dst[len(dst):])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), err == nil && len(out) > limit:
		return dst, tooLarge(Zstd, limit)
	case err != nil:
		return dst, corruptBy(Zstd, err)
	}
	return appendInPlace(dst, out), nil
}

// appendInPlace appends out to dst, where it usually lies already.
func appendInPlace(dst, out []byte) []byte {
	spare := dst[len(dst):cap(dst)]
	if len(out) > 0 && len(spare) >= len(out) && &spare[0] == &out[0] {
		return dst[:len(dst)+len(out)]
	}
	return append(dst, out...)
}
