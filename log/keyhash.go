package log

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// keyHash tells keys apart without keeping them. Two keys that it took for one would cost a record, so how likely that is
// must be known, not hoped: it is a pair of polynomials over the prime field of 2^61-1, whose coefficients are the bytes
// of the key, seven at a time, behind its length, each taken at a random point of its own. Two different keys of at most
// 7k bytes have the same hash for at most k of those points (Carter and Wegman 1979), so with probability below
// (k / 2^61)^2: for a thousand million keys of 70 bytes, any two of them, below 2^-56 in a pass. The points are drawn
// anew for each map and never shown, so nobody can choose keys that collide.
type keyHash struct{ first, second uint64 }

const (
	fieldPrime = 1<<61 - 1
	wordBytes  = 7
	wordMask   = 1<<(8*wordBytes) - 1
)

func newKeyHash() keyHash {
	return keyHash{1 + rand.Uint64N(fieldPrime-1), 1 + rand.Uint64N(fieldPrime-1)}
}

// of is the hash of a key.
func (k keyHash) of(key []byte) (first, second uint64) {
	whole := key
	first = uint64(len(key))
	second = first
	for len(key) > wordBytes {
		word := binary.LittleEndian.Uint64(key) & wordMask
		first, second = times(first, k.first)+word, times(second, k.second)+word
		key = key[wordBytes:]
	}
	word := uint64(0)
	if n := len(whole) - 8; n >= 0 {
		word = binary.LittleEndian.Uint64(whole[n:]) >> (8 * (8 - len(key)))
	} else {
		for i, c := range key {
			word |= uint64(c) << (8 * i)
		}
	}
	return reduced(times(first, k.first) + word), reduced(times(second, k.second) + word)
}

// times multiplies in the field, a below 2^62 with b below 2^61; the result is below 2^61 + 8.
func times(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	sum := low&fieldPrime + (high<<3 | low>>61)
	return sum&fieldPrime + sum>>61
}

// reduced is the one number below the prime that equals a.
func reduced(a uint64) uint64 {
	a = a&fieldPrime + a>>61
	if a >= fieldPrime {
		a -= fieldPrime
	}
	return a
}

// spread makes of a hash a number that is even over all of 64 bits, also where keys are numbers in a row.
func spread(first, second uint64) uint64 {
	x := (first ^ second<<32) * 0x9e3779b97f4a7c15
	return (x ^ x>>32) * 0xd6e8feb86659fd93
}
