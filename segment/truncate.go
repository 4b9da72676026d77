package segment

import (
	"fmt"

	"github.com/quirelog/quire/log/record"
)

// Truncate cuts the segment at the start of the first batch with a record at or above offset; a batch that straddles offset is removed whole.
// The cut is durable at return, the indexes follow it. A sealed segment becomes active. Readers that are inside the part that goes try again
// or find nothing. After an error the segment is as it was, or the error is final as a failed Sync's is.
func (s *Segment) Truncate(offset int64) error {
	if err := s.Unseal(); err != nil {
		return err
	}
	r, err := s.newReader(nil)
	if err != nil {
		return err
	}
	if offset >= r.next {
		return nil
	}
	cut, err := r.boundary(offset)
	if err != nil {
		return err
	}
	facts, err := s.factsBefore(&r, cut)
	if err != nil {
		return err
	}
	// Readers first learn of the new end, then that something was cut: whoever saw the old end looks again (Read).
	s.mu.Lock()
	before := s.facts
	s.facts = facts
	s.mu.Unlock()
	s.cuts.Add(1)
	s.forgetRecordIndexes()
	s.recent.forget()
	s.mapping.Store(0)
	s.indexed.Store(nil)
	if err := r.f.Truncate(cut.pos); err != nil {
		s.mu.Lock()
		s.facts = before
		s.mu.Unlock()
		return fmt.Errorf("segment: truncate %s to %d: %w", s.Path(), cut.pos, err)
	}
	s.ahead, s.torn = cut.pos, nil
	s.offsets.Truncate(cut.want)
	s.times.Truncate(cut.want)
	s.aborted.Truncate(cut.want)
	s.countUnindexed(cut.pos)
	if err := s.Sync(); err != nil {
		return err
	}
	return s.FlushIndex()
}

// boundary finds the end of the last batch that lies wholly below offset.
func (r *reader) boundary(offset int64) (spot, error) {
	if offset <= r.s.base {
		return spot{0, r.s.base, -1}, nil
	}
	a, err := r.s.around(offset - 1)
	if err != nil {
		return spot{}, err
	}
	at := spot{a.Pos, -1, a.Offset}
	if a.Offset < 0 {
		at.want = r.s.base
	}
	for at.pos < r.size {
		h, err := r.header(at, copyBytes)
		if err != nil {
			return spot{}, r.damaged(head{pos: at.pos, size: r.size - at.pos, base: at.want, next: r.next}, err)
		}
		if h.next > offset {
			break
		}
		at = spot{h.pos + h.size, h.next, -1}
	}
	return at, nil
}

// factsBefore is what will be known of the batches in front of a cut. The largest timestamp comes from the last time index entry in front of
// it and the batches since. Count and header sum are left to be completed when the segment is sealed.
func (s *Segment) factsBefore(r *reader, cut spot) (facts, error) {
	old := s.look()
	f := newFacts(s.base, old.created)
	if cut.pos == 0 {
		f.sparse = false
		return f, nil
	}
	at := spot{0, s.base, -1}
	if ts, offset, err := s.times.FloorOffset(cut.want - 1); err == nil && ts >= 0 {
		f.maxTimestamp, f.maxOffset = ts, offset
		if a, err := s.around(offset); err == nil && a.Offset >= 0 {
			at = spot{a.Pos, -1, a.Offset}
		}
	}
	f.size = at.pos
	for at.pos < cut.pos {
		h, err := r.header(at, scanBytes)
		if err != nil {
			return f, r.damaged(head{pos: at.pos, size: r.size - at.pos, base: at.want, next: r.next}, err)
		}
		f.add(record.Batch(r.buf[h.pos-r.start:][:record.HeaderSize]))
		f.size = h.pos + h.size
		at = spot{f.size, h.next, -1}
	}
	f.firstTimestamp, f.sparse, f.partial = old.firstTimestamp, old.sparse, true
	f.size, f.next = cut.pos, cut.want
	return f, nil
}

// countUnindexed sets the counter of the index density after the end has moved to size.
func (s *Segment) countUnindexed(size int64) {
	s.unindexed = size
	if _, pos, ok, err := s.offsets.Last(); err == nil && ok {
		s.unindexed = size - pos
	}
}
