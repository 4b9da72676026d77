package segment

import (
	"sync"

	"github.com/quirelog/quire/log/record"
)

// FindTime reads little at first, because the time index leads close to the
// record, and more with each step, because the record may still be far.
const (
	firstTimeRead = 8 << 10
	lastTimeRead  = 256 << 10
)

// timeScratch is the memory of one FindTime.
type timeScratch struct {
	decodeLimit int
	buf         []byte
	decoder     record.Decoder
}

var timeScratches = sync.Pool{New: func() any { return new(timeScratch) }}

// FindTime finds the first record, by offset, with a timestamp at or after ts (ms since the epoch) and an offset at or after from. ok is false
// when the segment has none. Records need not be in the order of their timestamps. Batches may decompress to decodeLimit bytes; 0 means
// record.DefaultDecodeLimit.
func (s *Segment) FindTime(ts, from int64, decodeLimit int) (offset, timestamp int64, ok bool, err error) {
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
	t := timeScratches.Get().(*timeScratch)
	t.decodeLimit = decodeLimit
	defer timeScratches.Put(t)
	for n := firstTimeRead; ; n = min(n*4, lastTimeRead) {
		t.buf, place, err = s.Read(t.buf, place, s.Next(), n)
		if err != nil || len(t.buf) == 0 {
			return 0, 0, false, err
		}
		offset, timestamp, ok, err = s.findInRun(t, place.Pos-int64(len(t.buf)), ts, from)
		if ok || err != nil {
			return offset, timestamp, ok, err
		}
	}
}

// findInRun looks into the batches just read, which start at pos.
func (s *Segment) findInRun(t *timeScratch, pos, ts, from int64) (offset, timestamp int64, ok bool, err error) {
	for b, err := range record.Batches(t.buf) {
		if err != nil {
			return 0, 0, false, err
		}
		if b.MaxTimestamp() >= ts && b.LastOffset() >= from {
			offset, timestamp, ok, err = s.findInBatch(t, b, pos, ts, from)
			if ok || err != nil {
				return offset, timestamp, ok, err
			}
		}
		pos += int64(len(b))
	}
	return 0, 0, false, nil
}

// findInBatch looks into one batch, after checking it.
func (s *Segment) findInBatch(t *timeScratch, b record.Batch, pos, ts, from int64) (offset, timestamp int64, ok bool, err error) {
	err = b.Check()
	if err == nil {
		err = t.decoder.Reset(b, t.decodeLimit)
	}
	var r record.Record
	for err == nil && t.decoder.Next(&r) {
		if r.Timestamp >= ts && r.Offset >= from {
			return r.Offset, r.Timestamp, true, nil
		}
	}
	if err == nil {
		err = t.decoder.Err()
	}
	if err != nil {
		err = s.batchDamage(b, pos, err)
	}
	return 0, 0, false, err
}
