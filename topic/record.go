package topic

import (
	"math"
	"time"

	"github.com/quirelog/quire/log/record"
)

// Header is one named value that travels with a record. A record may hold several headers of the same
// key; their order is kept. A nil Value is a null, an empty one is not.
type Header = record.Header

// Record is what a topic stores, the same type on the way in and on the way out.
//
// On append, Topic and Offset are ignored (the log assigns the offset), Partition is looked at only by
// callers that choose partitions themselves, and a zero Time means now. A nil Key means "no key" (the
// partitioner spreads such records); a nil Value is a tombstone in a compacted topic, an empty one is not.
// The bytes of Key, Value and Headers are read during the call and not kept after it returned, unless the
// call says otherwise.
//
// On read, a Record is a copy that belongs to the caller, unless the call says otherwise.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time // millisecond precision on disk; the zero time when the record carries none
	Key       []byte
	Value     []byte
	Headers   []Header
}

// timestamp gives the milliseconds since the epoch a record is stored with. A time that they cannot express
// becomes a number that no log accepts: -1 would say that there is none, and far ahead they wrap around.
func (r *Record) timestamp(now time.Time) int64 {
	if r.Time.IsZero() {
		return now.UnixMilli()
	}
	if s := r.Time.Unix(); s < 0 || s > math.MaxInt64/1000 {
		return record.NoTimestamp - 1
	}
	return r.Time.UnixMilli()
}

// timeOf is the inverse: the time of a stored timestamp, the zero time for a record without one.
func timeOf(ms int64) time.Time {
	if ms == record.NoTimestamp {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// stored fills to with the stored form of a caller's record; the bytes are borrowed.
func (r *Record) stored(to *record.Record, now time.Time) {
	to.Timestamp = r.timestamp(now)
	to.Key, to.Value, to.Headers = r.Key, r.Value, r.Headers
}
