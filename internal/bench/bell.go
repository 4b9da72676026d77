package main

import "context"

// A bell wakes the one tail of a store that has no way to wait for records.
type bell struct{ c chan struct{} }

func newBell() *bell { return &bell{make(chan struct{}, 1)} }

func (b *bell) ring() {
	select {
	case b.c <- struct{}{}:
	default:
	}
}

func (b *bell) wait(ctx context.Context, ready func() bool) error {
	for !ready() {
		select {
		case <-b.c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// A slab gives records to keep, many in one allocation, as a careful caller of a borrowing library would.
type slab struct{ free []byte }

func (s *slab) keep(v []byte) []byte {
	if len(v) > len(s.free) {
		s.free = make([]byte, max(256<<10, len(v)))
	}
	n := copy(s.free, v)
	v, s.free = s.free[:n:n], s.free[n:]
	return v
}
