package record

import "math"

// Values that mean "none" in a batch or record.
const (
	// NoTimestamp is the timestamp of a record that has none.
	NoTimestamp int64 = -1
	// NoProducer is the producer id of a batch that no idempotent or
	// transactional producer wrote; its epoch and sequence are
	// NoProducerEpoch and NoSequence.
	NoProducer      int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	// NoLeaderEpoch is the epoch of a batch that no leader has stamped yet.
	NoLeaderEpoch int32 = -1
)

// Header is one name and value beside a record's key and value. Names may repeat
// and keep their order. A nil Value is null, which differs from an empty one.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record as it lies in a batch.
//
// Written: a Builder reads Timestamp, Key, Value and Headers and keeps none of
// them; Offset is ignored. Read: a Decoder sets all fields; Key, Value and the
// header values are borrowed (see Decoder).
type Record struct {
	// Offset is the record's place in its partition.
	Offset int64
	// Timestamp is in milliseconds since the Unix epoch, or NoTimestamp.
	Timestamp int64
	// Key and Value are nil when null, which differs from empty.
	Key, Value []byte
	Headers    []Header
}

// maxRecordOverhead bounds what a record takes beside key, value and headers:
// length 5, attributes 1, timestamp 10, offset 5; then 5 each for the lengths of
// key and value and for the number of headers.
const maxRecordOverhead = 21 + 3*maxVarintLen

// RecordSizeBound returns an upper bound of the bytes that r takes in a batch,
// whatever its timestamp and place; a batch of r alone is at most HeaderSize
// larger (uncompressed). Sums that pass the int range give math.MaxInt.
func RecordSizeBound(r *Record) int {
	n := int64(maxRecordOverhead) + int64(len(r.Key)) + int64(len(r.Value))
	for i := range r.Headers {
		h := &r.Headers[i]
		n += 2*maxVarintLen + int64(len(h.Key)) + int64(len(h.Value))
	}
	if n > math.MaxInt {
		return math.MaxInt
	}
	return int(n)
}

// bytesLen is the encoded size of a key or value with its length; nil is null.
func bytesLen(p []byte) int64 {
	if p == nil {
		return 1
	}
	return int64(uvarintLen(uint64(len(p))<<1)) + int64(len(p))
}

// headersLen is the encoded size of all headers with their number.
func headersLen(hs []Header) int64 {
	n := int64(uvarintLen(uint64(len(hs)) << 1))
	for i := range hs {
		key := len(hs[i].Key)
		n += int64(uvarintLen(uint64(key)<<1)) + int64(key) + bytesLen(hs[i].Value)
	}
	return n
}
