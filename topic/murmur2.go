package topic

import "encoding/binary"

// Constants of the 32-bit MurmurHash2, and the seed that Apache Kafka's clients start it with.
const (
	murmurSeed  = 0x9747b28c
	murmurMix   = 0x5bd1e995
	murmurShift = 24
)

// murmur2 is the hash by which Kafka's clients spread keys over partitions, so that a key lands on the same
// partition whichever client wrote it. It reads the key as little-endian words; the rest of up to three
// bytes is folded in at the end.
func murmur2(key []byte) uint32 {
	h := uint32(murmurSeed) ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key) * murmurMix
		k ^= k >> murmurShift
		h = h*murmurMix ^ k*murmurMix
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= murmurMix
	}
	h ^= h >> 13
	h *= murmurMix
	return h ^ h>>15
}
