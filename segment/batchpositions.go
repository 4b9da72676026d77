package segment

import "github.com/quirelog/quire/index"

// A reader that had to look for a batch leaves behind where it begins and ends (index.BatchPositions). The next one reads just that batch: one read
// instead of two or three, and none of the batches in front of it.

// mappingID is the segment's name among the batch positions. It is asked for before the reads whose results are noted: a truncation in between
// makes it worthless.
func (s *Segment) mappingID() index.Mapping {
	if id := s.mapping.Load(); id != 0 {
		return index.Mapping(id)
	}
	m := s.cfg.Budget.BatchPositions()
	if m == nil {
		return 0
	}
	s.mapping.CompareAndSwap(0, uint64(m.NewMapping()))
	return index.Mapping(s.mapping.Load())
}

func (s *Segment) cachePositions(of index.Mapping, a index.Around, p *path) {
	if p.n > 0 {
		s.cfg.Budget.BatchPositions().Add(of, a.Pos, p.marks[:p.n]...)
	}
}

// path is the batches that a walk came by, as far as batch positions are worth it.
type path struct {
	marks [8]index.BatchPosition // relative to the segment
	n     int
}

// pass notes a batch; the place behind it gives way to the next batch, which begins there.
func (p *path) pass(h head, base int64) {
	if h.next-base > maxRelative {
		return // farther than a batch position tells
	}
	if n := p.n; n > 0 && p.marks[n-1].Pos == h.pos {
		p.n--
	}
	if p.n+2 <= len(p.marks) {
		p.marks[p.n] = index.BatchPosition{Offset: h.base - base, Pos: h.pos}
		p.marks[p.n+1] = index.BatchPosition{Offset: h.next - base, Pos: h.pos + h.size}
		p.n += 2
	}
}

// walkKnown is walk between the batch positions around target, with one read if it can be. ok is false when there are none or they are not true.
func (r *reader) walkKnown(a index.Around, target, ask int64) (h head, ok bool) {
	if target-r.s.base > maxRelative {
		return head{}, false
	}
	from, to, ok := r.s.cfg.Budget.BatchPositions().Find(index.Mapping(r.s.mapping.Load()), a.Pos, target-r.s.base)
	if !ok || from.Pos >= r.size {
		return head{}, false
	}
	h, err := r.walk(spot{from.Pos, r.s.base + from.Offset, -1}, target, max(ask, to.Pos-from.Pos))
	if err != nil {
		return head{}, false // looked at again with less trust
	}
	return h, true
}
