package main

import (
	"encoding/binary"
	"fmt"

	"github.com/quirelog/quire/log/record"
)

// Logs that are compacted hold records of their own kind, which their numbers tell:
// every one has one of a few keys, and one in five is a tombstone.

// keyedIDs is the first number of such records.
const keyedIDs = 1 << 33

// keys is how many keys there are.
const keys = 6

// keyedRecordOf builds record number id of a compacted log.
func keyedRecordOf(id int) record.Record {
	n := id - keyedIDs
	r := record.Record{Timestamp: timeOf(n), Key: fmt.Appendf(nil, "k%d", keyNumber(id))}
	if isTombstone(id) {
		r.Headers = []record.Header{{Key: "id", Value: binary.BigEndian.AppendUint64(nil, uint64(id))}}
		return r
	}
	r.Value = valueOf(id)
	return r
}

func keyNumber(id int) int { return (id - keyedIDs) * 7919 % 97 % keys }

func isTombstone(id int) bool { return id >= keyedIDs && (id-keyedIDs)%5 == 3 }

// redactedMark begins the values that take the place of others.
const redactedMark = "redacted"

// redactedValueOf is what record id holds after it was redacted.
func redactedValueOf(id int) []byte {
	return binary.BigEndian.AppendUint64([]byte(redactedMark), uint64(id))
}

// markerOf ends a transaction; its number is in the coordinator's epoch.
func markerOf(id int, producer int64, kind record.ControlType) record.Batch {
	return record.EndTxnMarker(kind, producer, 0, int32(id-keyedIDs), record.NoTimestamp)
}

// identifyMarker tells which marker a control batch holds, if it holds any.
func identifyMarker(b record.Batch) (g got, there bool, err error) {
	if b.Count() == 0 {
		return got{}, false, nil
	}
	kind, number, err := record.ParseControl(b)
	if err != nil {
		return got{}, false, err
	}
	return got{offset: b.LastOffset(), id: keyedIDs + int(number), time: record.NoTimestamp, control: true, kind: kind}, true, nil
}
