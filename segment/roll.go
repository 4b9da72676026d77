package segment

import "math"

// NeedsRoll reports whether a batch of n bytes with this last offset and maximum timestamp (ms) should go into a new segment: size, age by
// record time, a full index, or offsets and positions that do not fit 32 bits. An empty segment needs none, except for an offset too far.
func (s *Segment) NeedsRoll(n int, lastOffset, maxTimestamp int64, r RollRules) bool {
	if lastOffset-s.base > math.MaxInt32 {
		return true
	}
	f := &s.facts // only the writer changes them, and only the writer asks
	if f.size == 0 {
		return false
	}
	limit := s.cfg.indexBytes()
	switch {
	case r.Bytes > 0 && f.size > r.Bytes-int64(n):
		return true
	case f.size > math.MaxInt32-int64(n):
		return true
	case s.offsets.Full(limit, 0) || s.times.Full(limit, 1):
		return true
	}
	return r.Age > 0 && f.age(maxTimestamp, r.Now) > (r.Age-r.Jitter).Milliseconds()
}

// age is how much later than its first batch the segment has become, by the records' own time if they have any.
func (f *facts) age(maxTimestamp, now int64) int64 {
	if f.firstTimestamp >= 0 {
		return maxTimestamp - f.firstTimestamp
	}
	return now - f.created
}
