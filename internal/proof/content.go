package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/quirelog/quire/log/record"
)

// firstTime is the timestamp of record 0, ms since the epoch.
const firstTime int64 = 1_700_000_000_000

// recordOf builds record number id. All of it follows from the number, so that
// whoever reads a record can tell whether each byte of it is right.
func recordOf(id int) record.Record {
	if id >= keyedIDs {
		return keyedRecordOf(id)
	}
	return record.Record{
		Timestamp: timeOf(id),
		Key:       keyOf(id),
		Value:     valueOf(id),
		Headers:   headersOf(id),
	}
}

// timeOf goes up and down a little: logs must not rely on ordered times.
func timeOf(id int) int64 { return firstTime + int64(id)*100 + int64(id*7919%13)*90 }

func keyOf(id int) []byte {
	switch id % 5 {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	return fmt.Appendf(nil, "key-%d", id%17)
}

func valueOf(id int) []byte {
	v := binary.BigEndian.AppendUint64(nil, uint64(id))
	x := uint64(id)*0x9E3779B97F4A7C15 + 1
	for range (x >> 32) % 90 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v = append(v, byte('a'+x%20))
	}
	return v
}

func headersOf(id int) []record.Header {
	if id%4 != 0 {
		return nil
	}
	return []record.Header{{Key: "id", Value: fmt.Append(nil, id)}, {Key: "none", Value: nil}}
}

// identify tells which record this is, or that it is none that was ever written.
func identify(r *record.Record) (got, error) {
	id, redacted, err := idOf(r)
	if err != nil {
		return got{}, err
	}
	want := recordOf(id)
	if redacted {
		want.Value = redactedValueOf(id)
	}
	same := sameBytes(want.Value, r.Value) && sameBytes(want.Key, r.Key) && want.Timestamp == r.Timestamp &&
		slices.EqualFunc(want.Headers, r.Headers, func(a, b record.Header) bool {
			return a.Key == b.Key && sameBytes(a.Value, b.Value)
		})
	if !same {
		return got{}, faultf(wrong, "offset %d: record %d has changed", r.Offset, id)
	}
	return got{offset: r.Offset, id: id, time: r.Timestamp, redacted: redacted}, nil
}

// idOf reads the number of a record.
func idOf(r *record.Record) (id int, redacted bool, err error) {
	text := r.Value
	switch {
	case r.Value == nil && len(r.Headers) == 1:
		text = r.Headers[0].Value // a tombstone
	case bytes.HasPrefix(r.Value, []byte(redactedMark)):
		redacted, text = true, r.Value[len(redactedMark):]
	}
	if len(text) < 8 {
		return 0, false, faultf(wrong, "offset %d holds a value of %d bytes that was never written", r.Offset, len(r.Value))
	}
	id = int(binary.BigEndian.Uint64(text))
	if id < 0 || id > 1<<40 {
		return 0, false, faultf(wrong, "offset %d holds a record that was never written", r.Offset)
	}
	return id, redacted, nil
}

// sameBytes tells null from empty.
func sameBytes(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// batchOf seals records [first, first+n).
func batchOf(cfg record.BuilderConfig, first, n int) record.Batch {
	b := record.NewBuilder(cfg)
	for i := range n {
		r := recordOf(first + i)
		if err := b.Add(&r); err != nil {
			panic(err)
		}
	}
	batch, err := b.Seal()
	if err != nil {
		panic(err)
	}
	return batch
}
