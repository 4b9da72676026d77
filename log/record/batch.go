package record

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/quirelog/quire/compress"
)

// castagnoli is the polynomial of the batch's checksum, CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sizes of the batch format.
const (
	// HeaderSize is the size of a batch without records.
	HeaderSize = 61
	// LogOverhead is what the length field of a batch does not count: the base
	// offset and the length itself.
	LogOverhead = 12
	// Magic is the only version of the format that this package knows.
	Magic = 2

	// prefixSize is how much of a batch tells its size and version.
	prefixSize = 17
	// minLength is the smallest legal value of the length field.
	minLength = HeaderSize - LogOverhead
	// minRecordSize is the smallest record: null key, null value, no headers.
	minRecordSize = 7
)

// Byte positions of the fields (big-endian).
const (
	posBaseOffset    = 0
	posLength        = 8
	posLeaderEpoch   = 12
	posMagic         = 16
	posCRC           = 17
	posAttributes    = 21 // the checksum covers from here to the end
	posLastDelta     = 23
	posBaseTimestamp = 27
	posMaxTimestamp  = 35
	posProducerID    = 43
	posProducerEpoch = 51
	posBaseSequence  = 53
	posCount         = 57
)

// Attribute bits.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
	attrUnused        = ^0x7f
)

// TimestampType tells whose clock a batch's timestamps are of.
type TimestampType int8

const (
	// CreateTime is the time the producer gave each record.
	CreateTime TimestampType = iota
	// LogAppendTime is the time the leader appended the batch: every record
	// reports the batch's maximum timestamp.
	LogAppendTime
)

// String returns Kafka's name: "CreateTime" or "LogAppendTime".
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

// Batch is a view on the bytes of exactly one whole batch, at least HeaderSize
// of them: what First, Batches and Builder.Seal return. Each accessor reads one
// field and may be called from many goroutines while nobody calls a setter. The
// accessors do not judge what they read: see Check and CheckHeader.
type Batch []byte

// BaseOffset is the offset of the first record the batch ever had.
func (b Batch) BaseOffset() int64 { return be64(b, posBaseOffset) }

// LastOffset is the offset of the last record the batch ever had, even if
// compaction has removed it.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset after the batch.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// LeaderEpoch is the epoch of the leader that appended the batch, or
// NoLeaderEpoch. It lies outside the checksum.
func (b Batch) LeaderEpoch() int32 { return be32(b, posLeaderEpoch) }

// Magic is the version of the format, 2 in a valid batch.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// CRC is the stored checksum: CRC-32C over the bytes from the attributes to the
// end of the batch.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// Attributes are the flag bits as stored; see Codec, TimestampType,
// Transactional, Control and HasDeleteHorizon.
func (b Batch) Attributes() int16 { return be16(b, posAttributes) }

// LastOffsetDelta is LastOffset minus BaseOffset. Compaction keeps it.
func (b Batch) LastOffsetDelta() int32 { return be32(b, posLastDelta) }

// BaseTimestamp is what the records' timestamp deltas count from: the first
// record's timestamp, or the delete horizon when HasDeleteHorizon. Milliseconds
// since the Unix epoch.
func (b Batch) BaseTimestamp() int64 { return be64(b, posBaseTimestamp) }

// MaxTimestamp is the largest timestamp of the batch's records, or the leader's
// time of appending with LogAppendTime; NoTimestamp if no record has one.
func (b Batch) MaxTimestamp() int64 { return be64(b, posMaxTimestamp) }

// ProducerID is the id of the idempotent or transactional producer, or
// NoProducer.
func (b Batch) ProducerID() int64 { return be64(b, posProducerID) }

// ProducerEpoch is the producer's epoch, or NoProducerEpoch.
func (b Batch) ProducerEpoch() int16 { return be16(b, posProducerEpoch) }

// BaseSequence is the sequence number of the first record, or NoSequence.
func (b Batch) BaseSequence() int32 { return be32(b, posBaseSequence) }

// LastSequence is the sequence number of the last record the batch ever had,
// counted with wrap-around (AddSequence), or NoSequence.
func (b Batch) LastSequence() int32 {
	seq := b.BaseSequence()
	if seq == NoSequence {
		return NoSequence
	}
	return AddSequence(seq, max(b.LastOffsetDelta(), 0))
}

// Count is the number of records present. It is not to be trusted for an
// allocation before the records were decoded.
func (b Batch) Count() int { return int(be32(b, posCount)) }

// Codec is how the records are compressed. Ids without a codec are possible in
// a batch that was not checked.
func (b Batch) Codec() compress.Codec { return compress.Codec(b[posAttributes+1] & attrCodec) }

// Compressed tells whether the records are compressed.
func (b Batch) Compressed() bool { return b.Codec() != compress.None }

// TimestampType tells whose clock the timestamps are of.
func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&attrLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// Transactional reports whether the batch is part of a transaction (markers are).
func (b Batch) Transactional() bool { return b.Attributes()&attrTransactional != 0 }

// Control reports whether the batch holds a control record instead of a user's.
func (b Batch) Control() bool { return b.Attributes()&attrControl != 0 }

// HasDeleteHorizon reports whether BaseTimestamp is the time from which
// compaction may drop the batch's tombstones or marker.
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&attrDeleteHorizon != 0 }

// Records returns the bytes after the header, compressed if Codec says so.
func (b Batch) Records() []byte { return b[HeaderSize:] }

// SetBaseOffset changes the base offset in place. The checksum does not cover it.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(offset))
}

// SetLeaderEpoch changes the leader epoch in place. The checksum does not cover it.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(epoch))
}

// SetTimestamps changes the timestamp type and the maximum timestamp in place,
// and the checksum if either changed. The base timestamp stays what the producer
// wrote.
func (b Batch) SetTimestamps(t TimestampType, maxTimestamp int64) {
	attrs := b.Attributes() &^ attrLogAppendTime
	if t == LogAppendTime {
		attrs |= attrLogAppendTime
	}
	if attrs == b.Attributes() && maxTimestamp == b.MaxTimestamp() {
		return
	}
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(attrs))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(maxTimestamp))
	b.updateCRC()
}

// SetProducer changes producer id, producer epoch and base sequence in place,
// and the checksum if any of them changed.
func (b Batch) SetProducer(id int64, epoch int16, seq int32) {
	if id == b.ProducerID() && epoch == b.ProducerEpoch() && seq == b.BaseSequence() {
		return
	}
	b.putProducer(id, epoch, seq)
	b.updateCRC()
}

func (b Batch) putProducer(id int64, epoch int16, seq int32) {
	binary.BigEndian.PutUint64(b[posProducerID:], uint64(id))
	binary.BigEndian.PutUint16(b[posProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(b[posBaseSequence:], uint32(seq))
}

// Emptied returns a new batch of HeaderSize bytes that stands for b after
// compaction has removed all its records: the offsets it covered, producer,
// sequence and maximum timestamp stay, the base timestamp is NoTimestamp.
func (b Batch) Emptied() Batch {
	e := Batch(append([]byte(nil), b[:HeaderSize]...))
	binary.BigEndian.PutUint32(e[posLength:], minLength)
	attrs := e.Attributes() &^ (attrCodec | attrDeleteHorizon)
	binary.BigEndian.PutUint16(e[posAttributes:], uint16(attrs))
	noTime := NoTimestamp
	binary.BigEndian.PutUint64(e[posBaseTimestamp:], uint64(noTime))
	binary.BigEndian.PutUint32(e[posCount:], 0)
	e.updateCRC()
	return e
}

// checksum computes what CRC should hold.
func (b Batch) checksum() uint32 {
	return crc32.Checksum(b[posAttributes:], castagnoli)
}

func (b Batch) updateCRC() { binary.BigEndian.PutUint32(b[posCRC:], b.checksum()) }

func be16(b []byte, pos int) int16 { return int16(binary.BigEndian.Uint16(b[pos:])) }
func be32(b []byte, pos int) int32 { return int32(binary.BigEndian.Uint32(b[pos:])) }
func be64(b []byte, pos int) int64 { return int64(binary.BigEndian.Uint64(b[pos:])) }
