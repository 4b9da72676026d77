package index

import "encoding/binary"

// The Check functions tell how many leading bytes of a file's contents are a sound table of a segment: whole entries that rise as they must
// (I1) and lie below the segment's end. What follows, zeros that Kafka preallocated or a torn tail, is to be cut off. They take any bytes.

// CheckOffsets checks an offset index against a segment with offsets in [base, next) and size bytes.
func CheckOffsets(data []byte, base, next, size int64) int {
	lastRel, lastPos := int64(-1), int64(0)
	n := 0
	for ; n+OffsetEntrySize <= len(data); n += OffsetEntrySize {
		rel, pos := offsetKey(data[n:]), positionKey(data[n:])
		if rel <= lastRel || pos <= lastPos || rel >= next-base || pos >= size {
			break
		}
		lastRel, lastPos = rel, pos
	}
	return n
}

// CheckTimes checks a time index against a segment with offsets in [base, next).
func CheckTimes(data []byte, base, next int64) int {
	lastTime, lastRel := int64(-1), int64(0)
	n := 0
	for ; n+TimeEntrySize <= len(data); n += TimeEntrySize {
		ts, rel := timeKey(data[n:]), timeOffsetKey(data[n:])
		if ts <= lastTime || rel < lastRel || rel >= next-base {
			break
		}
		// A preallocated tail reads as (0, 0). As a first entry that is sound only in front of others.
		if ts == 0 && rel == 0 && allZero(data[n:]) && len(data) > TimeEntrySize {
			break
		}
		lastTime, lastRel = ts, rel
	}
	return n
}

// CheckAborted checks an aborted-transaction index against a segment with offsets in [base, next).
func CheckAborted(data []byte, base, next int64) int {
	last := base - 1
	n := 0
	for ; n+AbortedEntrySize <= len(data); n += AbortedEntrySize {
		txn := ParseAborted(data[n:])
		if binary.BigEndian.Uint16(data[n:]) != 0 || txn.LastOffset <= last || txn.LastOffset >= next ||
			txn.FirstOffset > txn.LastOffset || txn.FirstOffset < 0 || txn.ProducerID < 0 || txn.LastStable < 0 {
			break
		}
		last = txn.LastOffset
	}
	return n
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
