package log

import (
	"io"
	"sync/atomic"

	"github.com/quirelog/quire/segment"
)

// Slice is a range of a segment file that holds whole batches. It keeps the file
// from being deleted until Release. It is not safe for concurrent use.
type Slice struct {
	segment  *segment.Segment
	pos, n   int64
	released atomic.Bool
}

// Slice finds the batches that Read would return, as a file range and without
// reading them, so that [Slice.WriteTo] can hand them to a socket in the kernel.
// Checksums are not verified. An empty slice (Len 0) means that there is nothing
// below the bound yet. Release it.
func (l *Log) Slice(offset int64, o ReadOptions) (*Slice, error) {
	for {
		cuts := l.syncer.cuts()
		s, err := l.sliceOnce(offset, o)
		if l.syncer.cuts() == cuts {
			return s, err
		}
		if s != nil { // as in Read
			s.Release()
		}
	}
}

func (l *Log) sliceOnce(offset int64, o ReadOptions) (*Slice, error) {
	limit, err := l.readable(offset, o.Bound)
	if err != nil || offset >= limit {
		return &Slice{}, err
	}
	s, err := l.sliceBelow(offset, limit, o.maxBytes())
	if gone := l.deleted(offset); gone != nil {
		if s != nil {
			s.Release()
		}
		return &Slice{}, gone
	}
	return s, err
}

// sliceBelow is Slice without a look at the log's offsets.
func (l *Log) sliceBelow(offset, limit int64, maxBytes int) (*Slice, error) {
	s, last, err := l.pinned(offset)
	if err != nil {
		return nil, err
	}
	for {
		pos, n, err := s.Range(offset, limit, maxBytes)
		if err != nil {
			s.Unpin()
			return nil, l.located(err)
		}
		if n > 0 {
			return &Slice{segment: s, pos: pos, n: n}, nil
		}
		follower := (*segment.Segment)(nil)
		if !last {
			follower, last, err = l.onward(s, offset, limit)
		}
		s.Unpin()
		if follower == nil {
			return &Slice{}, err
		}
		s = follower
		if s.Base() >= limit {
			s.Unpin()
			return &Slice{}, nil
		}
		offset = max(offset, s.Base())
	}
}

// Len is the number of bytes.
func (s *Slice) Len() int64 { return s.n }

// WriteTo writes the bytes to w; a socket is fed by the kernel where the system can.
func (s *Slice) WriteTo(w io.Writer) (int64, error) {
	if s.n == 0 {
		return 0, nil
	}
	if s.released.Load() {
		return 0, ErrClosed
	}
	return s.segment.WriteTo(w, s.pos, s.n)
}

// AppendTo reads the bytes and appends them to dst.
func (s *Slice) AppendTo(dst []byte) ([]byte, error) {
	if s.n == 0 {
		return dst, nil
	}
	if s.released.Load() {
		return dst, ErrClosed
	}
	old := len(dst)
	if cap(dst)-old < int(s.n) {
		grown := make([]byte, old, old+int(s.n))
		copy(grown, dst)
		dst = grown
	}
	dst = dst[:old+int(s.n)]
	if err := s.segment.ReadAt(dst[old:], s.pos); err != nil {
		return dst[:old], err
	}
	return dst, nil
}

// Release lets the segment go. It may be called more than once.
func (s *Slice) Release() {
	if s.segment != nil && !s.released.Swap(true) {
		s.segment.Unpin()
	}
}
