package compress

import (
	"encoding/binary"
	"math/bits"
)

// Primes of the 32-bit xxHash.
const (
	xxPrime1 uint32 = 2654435761
	xxPrime2 uint32 = 2246822519
	xxPrime3 uint32 = 3266489917
	xxPrime4 uint32 = 668265263
	xxPrime5 uint32 = 374761393
)

// xxh32 is the 32-bit xxHash with seed zero, the checksum of LZ4 frames.
func xxh32(p []byte) uint32 {
	n := uint32(len(p))
	h := xxPrime5
	if len(p) >= 16 {
		h, p = xxh32Lanes(p)
	}
	h += n
	for ; len(p) >= 4; p = p[4:] {
		h += binary.LittleEndian.Uint32(p) * xxPrime3
		h = bits.RotateLeft32(h, 17) * xxPrime4
	}
	for _, b := range p {
		h += uint32(b) * xxPrime5
		h = bits.RotateLeft32(h, 11) * xxPrime1
	}
	h ^= h >> 15
	h *= xxPrime2
	h ^= h >> 13
	h *= xxPrime3
	return h ^ h>>16
}

// xxh32Lanes consumes all whole 16-byte stripes and returns the rest.
func xxh32Lanes(p []byte) (uint32, []byte) {
	var zero uint32
	a, b, c, d := zero+xxPrime1, xxPrime2, zero, zero-xxPrime1
	a += xxPrime2
	for ; len(p) >= 16; p = p[16:] {
		a = bits.RotateLeft32(a+binary.LittleEndian.Uint32(p)*xxPrime2, 13) * xxPrime1
		b = bits.RotateLeft32(b+binary.LittleEndian.Uint32(p[4:])*xxPrime2, 13) * xxPrime1
		c = bits.RotateLeft32(c+binary.LittleEndian.Uint32(p[8:])*xxPrime2, 13) * xxPrime1
		d = bits.RotateLeft32(d+binary.LittleEndian.Uint32(p[12:])*xxPrime2, 13) * xxPrime1
	}
	h := bits.RotateLeft32(a, 1) + bits.RotateLeft32(b, 7) + bits.RotateLeft32(c, 12) + bits.RotateLeft32(d, 18)
	return h, p
}
