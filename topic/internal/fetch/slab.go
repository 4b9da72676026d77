package fetch

import "github.com/quirelog/quire/log/record"

// Slab hands out copies of small byte slices from large pieces of memory, so that a thousand records cost
// one allocation. All copies of a piece live as long as any of them is used.
type Slab struct {
	size int    // of the next piece
	free []byte // what is left of the last one
	hdrs []record.Header
}

// NewSlab makes a slab with room for so many bytes and headers in one piece each.
func NewSlab(bytes, headers int) Slab {
	return Slab{size: bytes, hdrs: make([]record.Header, headers)}
}

// slabPiece is the smallest piece after the first, whose size the caller knows best.
const slabPiece = 4 << 10

// Copy returns a copy of b with no capacity beyond its length; nil stays nil.
func (s *Slab) Copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	if len(b) == 0 {
		return []byte{} // not b[:0], which would keep all of the memory that b lies in
	}
	if len(b) > len(s.free) {
		s.free = make([]byte, max(s.size, len(b)))
		s.size = max(len(s.free)/2, slabPiece)
	}
	n := copy(s.free, b)
	out := s.free[:n:n]
	s.free = s.free[n:]
	return out
}

// CopyHeaders returns a copy of hs with its values.
func (s *Slab) CopyHeaders(hs []record.Header) []record.Header {
	if len(hs) > len(s.hdrs) {
		s.hdrs = make([]record.Header, max(len(hs), min(2*cap(s.hdrs), 1024), 64))
	}
	out := s.hdrs[:len(hs):len(hs)]
	s.hdrs = s.hdrs[len(hs):]
	for i := range hs {
		out[i] = record.Header{Key: hs[i].Key, Value: s.Copy(hs[i].Value)}
	}
	return out
}
