package segment

import (
	"hash/crc32"
	"math"

	"github.com/quirelog/quire/log/record"
)

// headerSumBytes is how much of each batch goes into the header sum: everything in front of what the batch's own checksum covers, and that
// checksum. Header sum and batch checksums together cover every byte of the data file, each exactly once.
const headerSumBytes = 21

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// facts is what a segment knows about its batches. In an active segment they are kept up with each append.
type facts struct {
	size, next     int64 // bytes, and the offset after the last batch
	batches        int64
	maxTimestamp   int64 // largest maximum timestamp of a batch, -1 if none has one
	maxOffset      int64 // last offset of the first batch that has it
	firstTimestamp int64 // maximum timestamp of the first batch, -1 if none
	created        int64 // ms since the epoch: when the file was created or, after a recovery, opened
	headerSum      uint32
	reach          int64 // the base of the segment behind this one, once it is sealed; unknownReach
	lastEpoch      int32 // leader epoch of the last batch, -1 if none
	sparse         bool  // offsets may have gaps
	loose          bool  // next may lie behind the end of the last batch
	partial        bool  // batches and headerSum do not count all batches: a scan must complete them before sealing
	loaded         bool  // the other fields are valid; false in a sealed segment that was not used yet
}

func newFacts(base, created int64) facts {
	return facts{next: base, maxTimestamp: -1, maxOffset: base, firstTimestamp: -1, lastEpoch: -1, reach: unknownReach, created: created, loaded: true}
}

// add counts a whole batch that follows the last one.
func (f *facts) add(b record.Batch) {
	if b.BaseOffset() != f.next {
		f.sparse = true
	}
	ts := b.MaxTimestamp()
	if f.size == 0 {
		f.firstTimestamp = ts
	}
	if ts > f.maxTimestamp {
		f.maxTimestamp, f.maxOffset = ts, b.LastOffset()
	}
	f.headerSum = crc32.Update(f.headerSum, castagnoli, b[:headerSumBytes])
	f.lastEpoch = b.LeaderEpoch()
	f.batches++
	f.size += int64(len(b))
	f.next = b.NextOffset()
}

// noteBatch feeds the indexes with a batch that starts at pos, after the facts have counted it. Only the writer calls it.
//
// An entry is due when more than IndexInterval bytes lie between the start of the last indexed batch, it included, and this one.
func (s *Segment) noteBatch(f *facts, b record.Batch, pos int64) {
	if s.unindexed > s.cfg.interval() && pos > 0 && pos <= math.MaxInt32 {
		s.unindexed = 0
		limit := s.cfg.indexBytes()
		// An index that is full loses nothing but density; NeedsRoll asks for a roll before it comes to that.
		if !s.offsets.Full(limit, 0) {
			_ = s.offsets.Add(b.LastOffset(), pos)
		}
		if !s.times.Full(limit, 1) && f.maxTimestamp >= 0 {
			_ = s.times.Add(f.maxTimestamp, f.maxOffset)
		}
	}
	s.unindexed += int64(len(b))
}
