package segment

import (
	"io"
	"sync"

	"github.com/quirelog/quire/log/vfs"
)

// copyBytes is the size of the buffers for WriteTo without sendfile and for header walks.
const copyBytes = 64 << 10

// buffers holds plain memory and nothing that belongs to a segment.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, copyBytes); return &b }}

// Range is Read without reading: where in the file the run that Read would return lies, looked up by offset. Only the headers at both ends
// are checked. n is 0 when there is nothing.
func (s *Segment) Range(offset, bound int64, max int) (pos, n int64, err error) {
	pos, n, _, err = s.RangeFrom(Place{offset, -1}, bound, max)
	return pos, n, err
}

// RangeFrom is Range from a place whose position may be known; next is where to go on.
func (s *Segment) RangeFrom(from Place, bound int64, max int) (pos, n int64, next Place, err error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		cuts := s.cuts.Load()
		pos, n, next, err = s.rangeFrom((*buf)[:0], from, bound, int64(max))
		if cuts == s.cuts.Load() {
			return pos, n, next, err
		}
		from.Pos = -1
	}
}

func (s *Segment) rangeFrom(buf []byte, from Place, bound, max int64) (pos, n int64, next Place, err error) {
	r, err := s.newReader(buf)
	if err != nil {
		return 0, 0, from, err
	}
	bound = min(bound, r.next)
	if from.Offset >= bound {
		return 0, 0, from, nil
	}
	h, err := r.seek(from, minRead)
	if err != nil || h.size == 0 || h.next > bound {
		return 0, 0, from, err
	}
	end, err := r.reach(h, bound, max)
	if err != nil {
		return 0, 0, from, err
	}
	return h.pos, end.pos - h.pos, Place{end.want, end.pos}, nil
}

// reach finds the end of the longest run that begins with h: at most max bytes, or h alone, and no record at or above bound.
func (r *reader) reach(h head, bound, max int64) (spot, error) {
	limit := min(h.pos+max, r.size)
	if limit == r.size && bound == r.next {
		return spot{r.size, r.next, -1}, nil
	}
	first := spot{h.pos + h.size, h.next, -1}
	at, err := r.s.lastFitting(bound, limit)
	if err != nil {
		return first, err
	}
	if at.pos > first.pos {
		end, err := r.stride(at, bound, limit)
		if end.want >= 0 || err != nil {
			return end, err
		}
	}
	return r.stride(first, bound, limit)
}

// lastFitting is an indexed batch near the end of a run that ends before limit and bound. It is the entry before the last one, because only
// that one's batch surely ends in front of limit: where the last one starts.
func (s *Segment) lastFitting(bound, limit int64) (spot, error) {
	a, err := s.atPos(limit)
	if err != nil {
		return spot{}, err
	}
	b, err := s.around(bound - 1)
	if err != nil {
		return spot{}, err
	}
	a, err = s.atPos(min(a.Pos, b.Pos) - 1)
	return spot{a.Pos, -1, a.Offset}, err
}

// stride walks on as long as batches fit. Damage ends a run as a bound does.
func (r *reader) stride(at spot, bound, limit int64) (spot, error) {
	for at.pos < limit {
		h, err := r.header(at, copyBytes)
		if err != nil && !isDamage(err) {
			return at, err
		}
		if err != nil || h.next > bound || h.pos+h.size > limit {
			break
		}
		at = spot{h.pos + h.size, h.next, -1}
	}
	return at, nil
}

// WriteTo writes n bytes of the data file from pos on to w: by sendfile where the file can and w is a socket, else through a pooled buffer.
// It returns the number of bytes written.
func (s *Segment) WriteTo(w io.Writer, pos, n int64) (int64, error) {
	f, err := s.data()
	if err != nil {
		return 0, err
	}
	if sender, ok := f.(vfs.Sender); ok {
		return sender.SendTo(w, pos, n)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	return copyTo(w, f, pos, n, (*buf)[:copyBytes])
}

func copyTo(w io.Writer, f vfs.File, pos, n int64, buf []byte) (done int64, err error) {
	for done < n {
		part := buf[:min(int64(len(buf)), n-done)]
		got, err := f.ReadAt(part, pos+done)
		if got < len(part) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
		put, err := w.Write(part)
		done += int64(put)
		if err != nil {
			return done, err
		}
		if put < len(part) {
			return done, io.ErrShortWrite
		}
	}
	return done, nil
}
