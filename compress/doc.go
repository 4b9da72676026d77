// Package compress turns bytes into fewer bytes and back, in the four formats
// that Apache Kafka stores inside a record batch. It knows nothing of records:
// bytes go in, bytes come out, and a limit guards what may come out.
//
// # Formats
//
//	id  codec   what is written                               what is read besides
//	0   none    the bytes themselves
//	1   gzip    one RFC 1952 member                           several members in a row
//	2   snappy  xerial framing, blocks of at most 32 KiB      a bare raw snappy block
//	3   lz4     one LZ4 frame, independent 64 KiB blocks      blocks up to 4 MiB, checksums, a content size
//	4   zstd    one zstd frame (RFC 8878), no checksum        several frames, checksums, skippable frames
//
// The ids are those of the low three bits of a batch's attributes. The framings
// are the ones Kafka's Java client writes:
//
//	snappy  82 53 4e 41 50 50 59 00 | 00 00 00 01 | 00 00 00 01 | { int32 BE length | raw snappy block }*
//	lz4     04 22 4d 18 | 60 | 40 | 82 | { uint32 LE length, top bit set = stored | block }* | 00 00 00 00
//
// # Invariants
//
//	I1  Decode never returns more than limit bytes beyond dst. Before it allocates more for
//	    them than a small multiple of the input, it measures that they are within the limit.
//	I2  A length read from the input is compared with what the input could
//	    possibly expand to before memory is taken for it.
//	I3  Nothing pooled here holds a goroutine, a channel or a timer, so an object
//	    that was used in one testing/synctest bubble may be used in the next.
//	I4  Encode followed by Decode with a sufficient limit gives the same bytes,
//	    for every codec and every legal level.
//
// # Concurrency
//
// All functions may be called from any number of goroutines at once. The only
// state is a set of pools of working memory.
//
// # Errors
//
// ErrCorrupt (the input is not in the format), ErrTooLarge (it expands past the
// limit), ErrLevel (the level is outside the codec's range), ErrCodec (no such
// codec). Errors of the codecs below are wrapped beneath ErrCorrupt.
//
// # Files
//
//	compress.go  Codec, Encode, Decode, levels
//	errors.go    the sentinels
//	size.go      what input expands to, measured in little memory
//	grow.go      memory for output of unknown length, within a limit
//	gzip.go      gzip and its pools
//	lz4.go       writing LZ4 frames; lz4frame.go reading them
//	snappy.go    snappy in xerial framing
//	xxhash.go    the 32-bit xxHash that LZ4 frames use as checksum
//	zstd.go      zstd and its pools
//
// Stability: firm. Names and behaviour change only with a major version.
package compress
