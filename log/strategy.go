package log

import (
	"encoding/binary"

	"github.com/quirelog/quire/log/record"
)

// Strategy ranks the records of one key: compaction keeps the one with the highest
// version, and of equal versions the one with the highest offset. Without a Strategy the
// highest offset wins, which is Apache Kafka's rule.
//
// A ranked log is always mapped from its start, so the offset map must have room for all
// keys of the log; where it has not, what lies behind the last key mapped is left alone.
type Strategy interface {
	// Version is the rank of a record. It must depend on nothing but the record, which
	// borrows memory that is good during the call only.
	Version(r *record.Record) int64
}

// ByHeader ranks records by a header's value, a big-endian integer of 8 bytes (the
// proposal KIP-280). Of several headers with that name the last one counts; records
// without it, or with another form of it, rank lowest.
func ByHeader(name string) Strategy { return headerVersion(name) }

type headerVersion string

func (h headerVersion) Version(r *record.Record) int64 {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key != string(h) {
			continue
		}
		if v := r.Headers[i].Value; len(v) == 8 {
			return int64(binary.BigEndian.Uint64(v))
		}
		break
	}
	return -1
}

// ByTimestamp ranks records by their timestamp (KIP-280).
func ByTimestamp() Strategy { return timestampVersion{} }

type timestampVersion struct{}

func (timestampVersion) Version(r *record.Record) int64 { return r.Timestamp }
