package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdScan is what the headers of an input's frames and blocks say.
type zstdScan struct {
	known    uint64 // content sizes, summed
	complete bool   // every frame says its content size
	windows  []zstdWindowAt
}

// zstdWindowAt is the place of a frame's window descriptor, and the window that it names.
type zstdWindowAt struct {
	pos  int
	size uint64
}

// scanZstd reads the headers. The content size that a frame claims is compared with what its blocks could hold at
// all (I2).
func scanZstd(src []byte) (f zstdScan, err error) {
	if len(src) == 0 {
		return f, corrupt(Zstd, "empty input")
	}
	f.complete = true
	for pos := 0; pos < len(src); {
		var h zstd.Header
		if err := h.Decode(src[pos:]); err != nil {
			return f, corruptBy(Zstd, err)
		}
		if h.Skippable {
			pos += h.HeaderSize + int(h.SkippableSize)
			continue
		}
		end, most := zstdBlocks(src, pos+h.HeaderSize)
		if end < 0 {
			return f, corrupt(Zstd, "frame cut short")
		}
		if h.HasFCS && h.FrameContentSize > most {
			return f, corrupt(Zstd, "frame cannot hold as much as it claims")
		}
		if !h.HasFCS {
			f.complete = false
		}
		f.known += h.FrameContentSize
		if !h.SingleSegment {
			const descriptor = 5 // after the magic and the frame header's first byte
			f.windows = append(f.windows, zstdWindowAt{pos + descriptor, h.WindowSize})
		}
		if pos = end; h.HasCheckSum {
			pos += 4
		}
	}
	return f, nil
}

// zstdBlocks walks the headers of a frame's blocks: where the last one ends, negative if the input ends before, and
// how much they could hold at most.
func zstdBlocks(src []byte, pos int) (end int, most uint64) {
	const raw, rle = 0, 1
	for {
		if len(src)-pos < zstdBlockHeader {
			return -1, 0
		}
		head := uint32(src[pos]) | uint32(binary.LittleEndian.Uint16(src[pos+1:]))<<8
		last, kind, size := head&1 != 0, head>>1&3, int(head>>3)
		pos += zstdBlockHeader
		switch kind {
		case raw:
			most += uint64(size)
			pos += size
		case rle:
			most += uint64(size)
			pos++
		default:
			most += zstdBlock
			pos += size
		}
		if pos > len(src) {
			return -1, 0
		}
		if last {
			return pos, most
		}
	}
}

// narrow rewrites, in a copy of the input, windows above the wanted size to the next size at or above it, which it
// returns. No match reaches back further than the output is long, so a frame whose content is not above the wanted
// size decodes the same.
func (f *zstdScan) narrow(src []byte, want uint64) ([]byte, uint64) {
	size, code := uint64(zstdMinWindow), byte(0)
	for size < max(want, zstdBlock) { // no block is larger than the window
		code++
		base := uint64(zstdMinWindow) << (code >> 3)
		size = base + base/8*uint64(code&7)
	}
	copied := false
	for _, w := range f.windows {
		if w.size <= size || w.size > zstdMaxWindow {
			continue
		}
		if !copied {
			src, copied = bytes.Clone(src), true
		}
		src[w.pos] = code
	}
	return src, size
}

// zstdSmallWindow is the memory in which the size of an input is measured. Only content that reaches back further
// takes more.
const zstdSmallWindow = 1 << 20

func sizeZstd(src []byte, limit int) (int, error) {
	f, err := scanZstd(src)
	if err != nil {
		return 0, err
	}
	if f.known > uint64(limit) {
		return 0, tooLarge(Zstd, limit)
	}
	if f.complete {
		return int(f.known), nil
	}
	for window := uint64(zstdSmallWindow); ; window *= 8 {
		narrow, size := f.narrow(src, min(window, uint64(limit)))
		n, err := measureZstd(narrow, limit)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, ErrTooLarge):
			return n, tooLarge(Zstd, limit)
		case window >= uint64(limit) || size >= zstdMaxWindow:
			return n, corruptBy(Zstd, err)
		}
	}
}

// measureZstd decodes the input and drops what comes out.
func measureZstd(src []byte, limit int) (int, error) {
	d, err := zstd.NewReader(io.MultiReader(bytes.NewReader(src)),
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdMaxWindow),
	)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	return discard(d, limit)
}
