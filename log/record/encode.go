package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Bounds of the records that quick writes. Together they keep every number within
// two bytes, and all that stands before the key within one eight-byte store.
const (
	quickDelta    = 1 << 14 // of a zig-zag coded delta
	quickKeyLen   = 1 << 7  // of a coded length
	quickValueLen = 1 << 13 // of a coded length
	quickSlack    = 8       // what the stores may touch behind the record
)

// quick appends r to buf if it has the usual shape: no headers, a short key, a
// value below 4 KiB, small deltas; and if it surely fits. Otherwise it returns false
// and changes nothing. Numbers are put together in a register and stored at once.
func (b *Builder) quick(tsDelta, offDelta uint64, r *Record) bool {
	keyLen, valueLen := codedLen(r.Key), codedLen(r.Value)
	if len(r.Headers) > 0 || tsDelta|offDelta >= quickDelta || keyLen >= quickKeyLen || valueLen >= quickValueLen {
		return false
	}
	ts, tsN := spread(tsDelta)
	off, offN := spread(offDelta)
	value, valueN := spread(valueLen)
	body := 1 + tsN + offN + 1 + uint(len(r.Key)) + valueN + uint(len(r.Value)) + 1
	head, at := spread(uint64(body) << 1)
	start, size := len(b.buf), int(at+body)
	if start+size > b.maxBuf {
		return false
	}
	at++ // the attributes byte is zero
	head |= ts << (8 * at & 63)
	at += tsN
	head |= off << (8 * at & 63)
	at += offN
	head |= keyLen << (8 * at & 63)
	at++

	b.buf = slices.Grow(b.buf, size+quickSlack)
	p := b.buf[start : start+size+quickSlack]
	binary.LittleEndian.PutUint64(p, head)
	i := int(at)
	i += copy(p[i:], r.Key)
	binary.LittleEndian.PutUint16(p[i:], uint16(value))
	i += int(valueN)
	i += copy(p[i:], r.Value)
	p[i] = 0 // no headers
	b.buf = b.buf[:start+size]
	return true
}

// spread gives the bytes of a number below quickDelta, the first lowest, and how
// many they are.
func spread(u uint64) (w uint64, n uint) {
	if u < 0x80 {
		return u, 1
	}
	return u&0x7f | 0x80 | u>>7<<8, 2
}

// codedLen is the zig-zag coded length of a key or value; nil counts as -1.
func codedLen(p []byte) uint64 {
	if p == nil {
		return 1
	}
	return uint64(len(p)) << 1
}

// careful appends r to buf whatever its shape, or tells why it may not.
func (b *Builder) careful(tsDelta, offDelta uint64, r *Record) error {
	body := 1 + int64(uvarintLen(tsDelta)) + int64(uvarintLen(offDelta)) + bytesLen(r.Key) + bytesLen(r.Value)
	body += headersLen(r.Headers)
	size := int64(uvarintLen(uint64(body)<<1)) + body
	start := len(b.buf)
	total := int64(start) + size
	if total > math.MaxInt32 || offDelta > zigzag(math.MaxInt32) {
		return fmt.Errorf("%w: batch of %d bytes", ErrTooLarge, total)
	}
	if total > int64(b.maxBuf) && b.count > 0 {
		return ErrFull
	}
	b.buf = slices.Grow(b.buf, int(size))[:total]
	putRecord(b.buf[start:], uint64(body)<<1, tsDelta, offDelta, r)
	return nil
}

// putRecord writes r to p, which has exactly its size. The numbers are in their
// unsigned form already.
func putRecord(p []byte, body, tsDelta, offDelta uint64, r *Record) {
	i := putUvarint(p, 0, body)
	p[i] = 0 // attributes
	i = putUvarint(p, i+1, tsDelta)
	i = putUvarint(p, i, offDelta)
	i = putBytes(p, i, r.Key)
	i = putBytes(p, i, r.Value)
	i = putUvarint(p, i, uint64(len(r.Headers))<<1)
	for h := range r.Headers {
		key := r.Headers[h].Key
		i = putUvarint(p, i, uint64(len(key))<<1)
		i += copy(p[i:], key)
		i = putBytes(p, i, r.Headers[h].Value)
	}
}

func putBytes(p []byte, i int, b []byte) int {
	if b == nil {
		p[i] = 1 // -1
		return i + 1
	}
	i = putUvarint(p, i, uint64(len(b))<<1)
	return i + copy(p[i:], b)
}

func putUvarint(p []byte, i int, u uint64) int {
	for u >= 0x80 {
		p[i] = byte(u) | 0x80
		u >>= 7
		i++
	}
	p[i] = byte(u)
	return i + 1
}
