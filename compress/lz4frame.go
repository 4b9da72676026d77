package compress

import (
	"encoding/binary"

	"github.com/pierrec/lz4/v4"
)

const (
	lz4Magic = 0x184d2204
	// Bits of the FLG byte.
	lz4Version         = 0xc0 // the two version bits; must be 01
	lz4VersionOne      = 0x40
	lz4Independent     = 0x20
	lz4BlockChecksum   = 0x10
	lz4ContentSize     = 0x08
	lz4ContentChecksum = 0x04
	lz4FlagReserved    = 0x03 // reserved, and a dictionary, which Kafka has none of
	// lz4Expansion bounds output per byte of block: one byte of match length
	// adds at most 255 bytes.
	lz4Expansion = 255
)

// lz4Frame is a reader over one frame in memory.
type lz4Frame struct {
	rest     []byte
	flags    byte
	maxBlock int
}

func decodeLZ4(dst, src []byte, limit int) ([]byte, error) {
	f := lz4Frame{rest: src}
	if err := f.readHeader(); err != nil {
		return dst, err
	}
	start := len(dst)
	for {
		block, stored, err := f.nextBlock()
		if err != nil {
			return dst, err
		}
		if block == nil {
			break
		}
		if dst, err = f.appendBlock(dst, block, stored, limit-(len(dst)-start)); err != nil {
			if err == ErrTooLarge {
				err = tooLarge(LZ4, limit)
			}
			return dst, err
		}
	}
	return dst, f.readEnd(dst[start:])
}

func sizeLZ4(src []byte, limit int) (int, error) {
	f := lz4Frame{rest: src}
	if err := f.readHeader(); err != nil {
		return 0, err
	}
	for total := 0; ; {
		block, stored, err := f.nextBlock()
		if err != nil || block == nil {
			return total, err
		}
		n := len(block)
		if !stored {
			n = lz4BlockSize(block)
		}
		if total += n; total > limit {
			return total, tooLarge(LZ4, limit)
		}
	}
}

// lz4BlockSize is how many bytes a block expands to, without a look at what they are. A block that is cut short
// counts as far as it goes.
func lz4BlockSize(block []byte) (size int) {
	const least = 4 // of a match
	length := func(n int) int {
		if n != 15 {
			return n
		}
		for len(block) > 0 {
			more := block[0]
			block = block[1:]
			if n += int(more); more != 255 {
				break
			}
		}
		return n
	}
	for len(block) > 0 {
		token := block[0]
		block = block[1:]
		literals := min(length(int(token>>4)), len(block))
		size += literals
		if block = block[literals:]; len(block) < 2 {
			break // the last sequence has no match
		}
		block = block[2:]
		size += length(int(token&15)) + least
	}
	return size
}

// take returns the next n bytes of the frame, or nil if it is shorter.
func (f *lz4Frame) take(n int) []byte {
	if n > len(f.rest) {
		return nil
	}
	p := f.rest[:n:n]
	f.rest = f.rest[n:]
	return p
}

func (f *lz4Frame) readHeader() error {
	p := f.take(6)
	if p == nil || binary.LittleEndian.Uint32(p) != lz4Magic {
		return corrupt(LZ4, "no frame magic")
	}
	flags, bd := p[4], p[5]
	switch {
	case flags&lz4Version != lz4VersionOne:
		return corrupt(LZ4, "unknown frame version")
	case flags&lz4Independent == 0:
		return corrupt(LZ4, "blocks depend on each other")
	case flags&lz4FlagReserved != 0 || bd&0x8f != 0:
		return corrupt(LZ4, "reserved bits set")
	case bd>>4 < 4:
		return corrupt(LZ4, "unknown block size")
	}
	var descriptor [10]byte
	n := copy(descriptor[:], p[4:6])
	if flags&lz4ContentSize != 0 {
		size := f.take(8)
		if size == nil {
			return corrupt(LZ4, "header cut short")
		}
		n += copy(descriptor[n:], size)
	}
	sum := f.take(1)
	if sum == nil || sum[0] != byte(xxh32(descriptor[:n])>>8) {
		return corrupt(LZ4, "bad header checksum")
	}
	f.flags = flags
	f.maxBlock = 1 << (8 + 2*(bd>>4)) // 4 is 64 KiB, 7 is 4 MiB
	return nil
}

// nextBlock returns the bytes of the next block and whether they are stored as
// they are; a nil block is the end mark.
func (f *lz4Frame) nextBlock() (block []byte, stored bool, err error) {
	head := f.take(4)
	if head == nil {
		return nil, false, corrupt(LZ4, "no end mark")
	}
	size := binary.LittleEndian.Uint32(head)
	if size == 0 {
		return nil, false, nil
	}
	stored = size&lz4Stored != 0
	size &^= lz4Stored
	if uint64(size) > uint64(f.maxBlock) {
		return nil, false, corrupt(LZ4, "block larger than the frame allows")
	}
	if block = f.take(int(size)); block == nil {
		return nil, false, corrupt(LZ4, "block longer than the input")
	}
	if f.flags&lz4BlockChecksum != 0 {
		sum := f.take(4)
		if sum == nil || binary.LittleEndian.Uint32(sum) != xxh32(block) {
			return nil, false, corrupt(LZ4, "bad block checksum")
		}
	}
	return block, stored, nil
}

// appendBlock appends a block's content, at most maxBlock bytes; more than left is ErrTooLarge.
func (f *lz4Frame) appendBlock(dst, block []byte, stored bool, left int) ([]byte, error) {
	if stored {
		if len(block) > left {
			return dst, ErrTooLarge
		}
		return append(dst, block...), nil
	}
	room := min(f.maxBlock, lz4Expansion*len(block))
	if room > left {
		if room = min(room, lz4BlockSize(block)); room > left {
			return dst, ErrTooLarge
		}
	}
	dst = reserve(dst, room)
	n, err := lz4.UncompressBlock(block, dst[len(dst):len(dst)+room])
	if err != nil {
		return dst, corruptBy(LZ4, err)
	}
	return dst[:len(dst)+n], nil
}

// readEnd checks what follows the end mark.
func (f *lz4Frame) readEnd(content []byte) error {
	if f.flags&lz4ContentChecksum != 0 {
		sum := f.take(4)
		if sum == nil || binary.LittleEndian.Uint32(sum) != xxh32(content) {
			return corrupt(LZ4, "bad content checksum")
		}
	}
	if len(f.rest) > 0 {
		return corrupt(LZ4, "bytes after the frame")
	}
	return nil
}
