package segment

import (
	"github.com/quirelog/quire/log/record"
)

// timeReadBytes is how much FindTime reads at once.
const timeReadBytes = 64 << 10

// FindTime finds the first record, by offset, with a timestamp at or after ts (ms since the epoch) and an offset at or after from. ok is false
// when the segment has none. Records need not be in the order of their timestamps.
func (s *Segment) FindTime(ts, from int64) (offset, timestamp int64, ok bool, err error) {
	if err := s.ready(); err != nil {
		return 0, 0, false, err
	}
	if f := s.look(); f.maxTimestamp < ts || from >= f.next {
		return 0, 0, false, nil
	}
	// No record up to the entry's offset is later than its timestamp, which is at most ts; the record that has it may be in the entry's batch.
	floor, err := s.timeFloor(ts)
	if err != nil {
		return 0, 0, false, err
	}
	place := Place{max(floor, from), -1}
	var buf []byte
	var decoder record.Decoder
	for {
		buf, place, err = s.Read(buf, place, s.Next(), timeReadBytes)
		if err != nil || len(buf) == 0 {
			return 0, 0, false, err
		}
		pos := place.Pos - int64(len(buf))
		for b, err := range record.Batches(buf) {
			if err != nil {
				return 0, 0, false, err
			}
			if b.MaxTimestamp() >= ts && b.LastOffset() >= from {
				offset, timestamp, ok, err = s.findInBatch(&decoder, b, pos, ts, from)
				if ok || err != nil {
					return offset, timestamp, ok, err
				}
			}
			pos += int64(len(b))
		}
	}
}

// findInBatch looks into one batch, after checking it.
func (s *Segment) findInBatch(d *record.Decoder, b record.Batch, pos, ts, from int64) (offset, timestamp int64, ok bool, err error) {
	err = b.Check()
	if err == nil {
		err = d.Reset(b, 0)
	}
	var r record.Record
	for err == nil && d.Next(&r) {
		if r.Timestamp >= ts && r.Offset >= from {
			return r.Offset, r.Timestamp, true, nil
		}
	}
	if err == nil {
		err = d.Err()
	}
	if err != nil {
		err = &CorruptionError{
			Path: s.Path(), Pos: pos, End: pos + int64(len(b)), FirstOffset: b.BaseOffset(), NextOffset: b.NextOffset(), Cause: err,
		}
	}
	return 0, 0, false, err
}
