package segment

import "math"

// retiredBit makes pins negative.
const retiredBit = math.MinInt64

// Pin keeps the segment's files from being closed or unlinked until Unpin; false once the segment is retired. One atomic step.
func (s *Segment) Pin() bool {
	for {
		n := s.pins.Load()
		if n < 0 {
			return false
		}
		if s.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Unpin takes back one Pin. The last one of a retired segment calls what Retire was given.
func (s *Segment) Unpin() {
	if s.pins.Add(-1) == retiredBit {
		s.finish()
	}
}

// Retire lets nobody pin the segment any more and calls then, once, when the last pin is gone: maybe at once, maybe on the goroutine of a
// reader. A second Retire does nothing.
func (s *Segment) Retire(then func()) {
	for {
		n := s.pins.Load()
		if n < 0 {
			return
		}
		// A pin of our own keeps a reader's Unpin from finishing before then is set.
		if !s.pins.CompareAndSwap(n, retiredBit+n+1) {
			continue
		}
		s.then = then
		s.Unpin()
		return
	}
}

// KeepOpen opens the data file of a pinned segment now, so that its readers need its name no more: the names are about to be taken over.
func (s *Segment) KeepOpen() error {
	_, err := s.data()
	return err
}

// Retired reports whether Retire was called.
func (s *Segment) Retired() bool { return s.pins.Load() < 0 }

func (s *Segment) finish() {
	if s.then != nil {
		s.then()
	}
}
