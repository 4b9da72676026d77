package segment

import (
	"fmt"
	"io"

	"github.com/quirelog/quire/log/record"
)

// Sweeper is the memory of [Segment.Sweep], to be used again and again by one goroutine at a time. The zero value is ready.
type Sweeper struct{ buf []byte }

// Trim gives memory above limit bytes back, which an unusually large batch made a sweep take.
func (w *Sweeper) Trim(limit int) {
	if cap(w.buf) > limit {
		w.buf = nil
	}
}

// Sweep reads a sealed segment in large reads and calls visit with every batch that ends behind from, in order, each checked in full. A
// sweep of the whole segment (from at or below the base) also compares the headers with the side file's sum, after the last call: only when
// it returns nil is every byte that was shown known to be what was written. The batch is good during the call. The error is a
// *CorruptionError for damage, the disk's, or what visit returned. Pin the segment.
func (s *Segment) Sweep(w *Sweeper, from int64, visit func(b record.Batch) error) error {
	if err := s.Load(); err != nil {
		return err
	}
	f, err := s.data()
	if err != nil {
		return s.ioError(0, err)
	}
	known, seen := s.look(), newFacts(s.base, 0)
	c := &scanner{f: f, size: known.size, buf: w.buf[:0]}
	defer func() { w.buf = c.buf }()
	if from > s.base {
		a, err := s.around(from)
		if err != nil {
			return err
		}
		c.pos, seen.size = a.Pos, a.Pos
	}
	whole := c.pos == 0
	for {
		b, err := c.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = s.plausible(b, seen.next, everything)
		}
		if err != nil {
			return s.sweepFault(c, &seen, err)
		}
		seen.add(b)
		if b.NextOffset() > from {
			if err := visit(b); err != nil {
				return err
			}
		}
		c.skip(len(b))
	}
	if whole && !known.partial && (seen.headerSum != known.headerSum || seen.batches != known.batches || seen.next != known.next) {
		return s.headersDiffer(&known)
	}
	return nil
}

// sweepFault dresses what stopped a sweep.
func (s *Segment) sweepFault(c *scanner, seen *facts, err error) error {
	if !isDamage(err) {
		return s.ioError(c.pos, err)
	}
	return &CorruptionError{Path: s.Path(), Pos: c.pos, End: -1, FirstOffset: seen.next, NextOffset: -1,
		Cause: fmt.Errorf("found by a sweep: %w", err)}
}

// IndexBytes is the sizes of offset and time index. It may read the side file.
func (s *Segment) IndexBytes() (offsets, times int64) {
	_ = s.Load()
	return s.offsets.Sum().Len, s.times.Sum().Len
}
