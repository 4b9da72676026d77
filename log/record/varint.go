package record

import "math/bits"

// Longest encodings: five groups of seven bits hold 32 bits, ten hold 64.
const (
	maxVarintLen  = 5
	maxVarlongLen = 10
)

// AppendVarint appends v in the variable-length form of the record format:
// zig-zag, then base-128 groups, least significant first (protobuf's sint32).
func AppendVarint(dst []byte, v int32) []byte {
	return AppendVarlong(dst, int64(v))
}

// AppendVarlong is AppendVarint for 64 bits (protobuf's sint64). Small numbers
// have the same form in both.
func AppendVarlong(dst []byte, v int64) []byte {
	u := zigzag(v)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

// Varint reads a 32-bit number from the start of p and returns it with the
// number of bytes it took. n is 0 when p ends inside the number and negative
// when it is malformed: longer than five bytes, or wider than 32 bits.
func Varint(p []byte) (v int32, n int) {
	var u uint64
	for i := 0; i < maxVarintLen; i++ {
		if i >= len(p) {
			return 0, 0
		}
		u |= uint64(p[i]&0x7f) << (7 * i)
		if p[i] < 0x80 {
			if u > 1<<32-1 {
				return 0, -1
			}
			return int32(unzigzag(u)), i + 1
		}
	}
	return 0, -1
}

// Varlong reads a 64-bit number like Varint; it takes at most ten bytes.
func Varlong(p []byte) (v int64, n int) {
	var u uint64
	for i := 0; i < maxVarlongLen; i++ {
		if i >= len(p) {
			return 0, 0
		}
		b := p[i]
		if i == maxVarlongLen-1 && b > 1 {
			return 0, -1
		}
		u |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return unzigzag(u), i + 1
		}
	}
	return 0, -1
}

// VarintLen returns how many bytes AppendVarint writes for v.
func VarintLen(v int32) int { return uvarintLen(zigzag(int64(v))) }

// VarlongLen returns how many bytes AppendVarlong writes for v.
func VarlongLen(v int64) int { return uvarintLen(zigzag(v)) }

// zigzag folds the sign into the lowest bit, so that small negative numbers stay
// short.
func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

// unzigzag undoes zigzag.
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// uvarintLen is the number of seven-bit groups of u, at least one:
// ceil(bits/7) by multiplication.
func uvarintLen(u uint64) int { return (9*bits.Len64(u|1) + 64) / 64 }
