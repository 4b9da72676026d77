package segment

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

const (
	// maxRelative is the largest offset or position relative to a segment that its indexes can hold.
	maxRelative = math.MaxInt32
	// minRead is the least that is asked of the disk at once; smaller reads cost the same.
	minRead = 2 << 10
	// leapBytes is from how many bytes to skip on a header is read alone instead of everything up to the batch wanted.
	leapBytes = 32 << 10
	// resyncBytes is how far a reader looks for the next good batch behind damage.
	resyncBytes = 64 << 20
)

// Read returns whole batches as they lie in the file, from the one that holds from.Offset, or the first one behind it, on: at most max bytes
// but at least one batch, none with a record at or above bound. An empty run means that there is nothing there. dst gives the memory if it
// has room; run may be a part of it and belongs to the caller. next is where to go on: its position spares the look-up.
//
// Lengths, versions and the order of offsets are checked; checksums are the caller's business. Damage is a *CorruptionError; good batches in
// front of it are returned first, and a from.Offset behind the damaged offsets reads on there.
//
// A position in from that does not fit is looked up instead. Any number of Reads may run at once with appends and with each other.
func (s *Segment) Read(dst []byte, from Place, bound int64, max int) (run []byte, next Place, err error) {
	for {
		cuts := s.cuts.Load()
		run, next, err = s.read(dst, from, bound, max)
		if cuts == s.cuts.Load() {
			return run, next, err
		}
		from.Pos = -1 // the file was cut meanwhile: what was read may be of two minds
	}
}

func (s *Segment) read(dst []byte, from Place, bound int64, max int) ([]byte, Place, error) {
	r, err := s.newReader(dst[:0])
	if err != nil {
		return dst[:0], from, err
	}
	bound = min(bound, r.next)
	if from.Offset >= bound {
		return dst[:0], from, nil
	}
	h, err := r.seek(from, max)
	if err != nil || h.size == 0 || h.next > bound {
		return r.buf[:0], from, err
	}
	if err := r.whole(h); err != nil {
		return r.buf[:0], from, err
	}
	end := r.extend(h, bound, max)
	run := r.buf[:end.pos-r.start]
	if h.pos > r.start {
		run = r.buf[:copy(r.buf, run[h.pos-r.start:])]
	}
	return run, Place{end.want, end.pos}, nil
}

// reader is one look into the data file: the end as it was when it began, and a stretch of bytes.
type reader struct {
	s      *Segment
	f      vfs.File
	size   int64 // the file's end, and
	next   int64 // the offset there
	sparse bool
	loose  bool   // next may lie behind the end of the last batch
	buf    []byte // the bytes of the file from start on
	start  int64
	path   path // where walks have found batches
}

// spot is a place between two batches. want is the base offset of the batch behind it, or the least it may be in a sparse segment; last is
// its last offset. -1 means not known.
type spot struct{ pos, want, last int64 }

// head is what a reader needs of a batch's header. size 0 means no batch.
type head struct{ pos, size, base, next int64 }

func (s *Segment) newReader(buf []byte) (reader, error) {
	if err := s.ready(); err != nil {
		return reader{}, err
	}
	f, err := s.data()
	if err != nil {
		return reader{}, s.ioError(0, err)
	}
	s.mu.Lock()
	r := reader{s: s, f: f, size: s.facts.size, next: s.facts.next, sparse: s.facts.sparse, loose: s.facts.loose, buf: buf}
	s.mu.Unlock()
	return r, nil
}

// seek finds the batch that holds from.Offset, or the first one behind it. It tries the place the caller knows, then the one the index
// knows, then the file from its start: what is wrong is found out by going on with less trust.
func (r *reader) seek(from Place, max int) (head, error) {
	target := from.Offset
	if target < r.s.base {
		target = r.s.base
	}
	ask := int64(max)
	// Where offsets have gaps a position of the file that this one replaced might lead to a later batch unnoticed.
	if from.Pos >= 0 && from.Pos < r.size && !(r.sparse && r.s.sealed.Load()) {
		h, err := r.walk(spot{from.Pos, target, -1}, target, ask)
		if err == nil || !isDamage(err) {
			return h, err
		}
	}
	a, err := r.s.around(target)
	if err != nil {
		return head{}, err
	}
	if h, ok := r.walkKnown(a, target, ask); ok {
		return h, nil
	}
	at := spot{a.Pos, -1, a.Offset}
	if a.Offset < 0 {
		at.want = r.s.base
	}
	mapping := r.s.mappingID()
	h, err := r.walkFrom(at, target, r.span(a, target, ask), a.After)
	if err == nil {
		r.s.cachePositions(mapping, a, &r.path)
		return h, nil
	}
	if !isDamage(err) {
		return h, err
	}
	h, err = r.scanFromStart(target, ask)
	if err == nil && a.Offset >= 0 {
		r.s.strayed()
	}
	return h, err
}

// span is how many bytes from the floor entry on to read at once: up to where target should lie if offsets were spread evenly between two
// entries, and what was asked for behind that. If the guess falls short the rest is read by itself.
func (r *reader) span(a index.Around, target, ask int64) int64 {
	after, reach, offsets := a.After, int64(0), a.AfterOffset-max(a.Offset, r.s.base-1)
	if after < 0 {
		after, offsets = r.size, r.next-1-max(a.Offset, r.s.base-1)
	}
	if gap := min(after-a.Pos, leapBytes); offsets > 0 {
		reach = int64(float64(target-max(a.Offset, r.s.base-1)) / float64(offsets) * float64(gap))
		ask = max(ask, min(gap/2, minRead))
	}
	return min(reach+ask, r.size-a.Pos)
}

// walkFrom is walk, but steps over a long first batch by its header alone.
func (r *reader) walkFrom(at spot, target, ask, after int64) (head, error) {
	if after-at.pos <= leapBytes || at.last >= target {
		return r.walk(at, target, ask)
	}
	return r.walk(at, target, record.HeaderSize)
}

// walk steps over headers from at on until a batch ends behind target. Bytes are read ask at a time, where the buffer has none.
func (r *reader) walk(at spot, target, ask int64) (head, error) {
	for at.pos < r.size {
		h, err := r.header(at, ask)
		if err != nil {
			return head{}, err
		}
		r.path.pass(h, r.s.base)
		if h.next > target {
			return h, nil
		}
		at = spot{h.pos + h.size, h.next, -1}
	}
	return head{}, nil
}

// scanFromStart is walk from the start of the file and over damage. The error is a *CorruptionError if target lies in the damage.
func (r *reader) scanFromStart(target, ask int64) (head, error) {
	at := spot{0, r.s.base, -1}
	var before spot // where the batch in front of at begins
	for {
		if at.pos >= r.size {
			return head{}, nil
		}
		h, err := r.header(at, max(ask, scanBytes/4))
		if err == nil {
			if h.next > target {
				return h, nil
			}
			before, at = at, spot{h.pos + h.size, h.next, -1}
			continue
		}
		if isDamage(err) && before.pos < at.pos {
			at, err = r.astray(before, at, err)
		}
		if !isDamage(err) {
			return head{}, err
		}
		damage := &CorruptionError{Path: r.s.Path(), Pos: at.pos, End: r.size, FirstOffset: at.want, NextOffset: r.next, Cause: err}
		end, b, lost := r.s.resync(r.f, at.pos+1, r.size, at.want, r.next, resyncBytes)
		switch {
		case lost == errLimit:
			damage.End, damage.NextOffset = -1, -1
			return head{}, damage
		case lost == io.EOF:
			return head{}, damage
		case lost != nil:
			return head{}, r.s.ioError(at.pos, lost)
		}
		damage.End, damage.NextOffset = end, b.BaseOffset()
		if target < b.BaseOffset() {
			return head{}, damage
		}
		at = spot{end, b.BaseOffset(), -1}
		before = at
	}
}

// astray tells where damage begins that shows at a place behind a batch: with that batch if its checksum does not fit, since its length may be
// what is wrong.
func (r *reader) astray(before, at spot, cause error) (spot, error) {
	if at.pos-before.pos > repairBytes {
		return at, cause
	}
	data := make([]byte, at.pos-before.pos)
	if n, err := r.f.ReadAt(data, before.pos); n < len(data) {
		return at, r.s.ioError(before.pos, err)
	}
	if record.Batch(data).Check() == nil {
		return at, cause
	}
	return before, cause
}

// header returns the checked header at the spot, reading ask bytes if the buffer does not have it.
func (r *reader) header(at spot, ask int64) (head, error) {
	if at.pos < r.start || at.pos+record.HeaderSize > r.start+int64(len(r.buf)) {
		if err := r.load(at.pos, ask); err != nil {
			return head{}, err
		}
	}
	return r.checkHeader(at)
}

// checkHeader checks what the checksum of a batch does not cover, against all that is known of the place.
func (r *reader) checkHeader(at spot) (head, error) {
	raw := r.buf[at.pos-r.start:]
	if len(raw) < record.HeaderSize {
		return head{}, record.ErrIncomplete
	}
	n, err := record.Size(raw)
	if err != nil {
		return head{}, err
	}
	b := record.Batch(raw)
	h := head{pos: at.pos, size: int64(n), base: b.BaseOffset(), next: b.NextOffset()}
	switch {
	case h.size > r.size-at.pos:
		return head{}, record.ErrIncomplete
	case h.base < r.s.base || b.LastOffsetDelta() < 0 || h.next > r.next || h.next <= h.base,
		at.want >= 0 && h.base < at.want,
		at.want >= 0 && !r.sparse && h.base != at.want,
		at.last >= 0 && h.next != at.last+1:
		return head{}, fmt.Errorf("%w: offsets [%d, %d) at %d", errOutOfOrder, h.base, h.next, at.pos)
	}
	if r.sparse && at.want >= 0 && h.base > at.want && at.last < 0 && r.bogusGap(h, at.want) {
		return head{}, fmt.Errorf("%w: offset %d at %d should be %d", errOutOfOrder, h.base, at.pos, at.want)
	}
	return h, nil
}

// bogusGap tells a gap that is none: the batch behind continues as if this one had the offset wanted, or this one is the last and ends elsewhere
// than the segment is known to. Checksums do not cover base offsets. Any other gap may be what compaction took away.
func (r *reader) bogusGap(h head, want int64) bool {
	end, next := h.pos+h.size, want+h.next-h.base
	if end == r.size {
		return !r.loose && h.next != r.next
	}
	peek := reader{s: r.s, f: r.f, size: r.size, next: r.next}
	_, err := peek.header(spot{end, next, -1}, record.HeaderSize)
	return err == nil
}

// load fills the buffer with n bytes at pos, or somewhat more.
func (r *reader) load(pos, n int64) error {
	if n = max(n, record.HeaderSize); n > record.HeaderSize {
		n = max(n, minRead)
	}
	n = min(n, r.size-pos)
	r.buf, r.start = grow(r.buf[:0], int(n)), pos
	return r.pull(0)
}

// pull reads the bytes of the buffer from have on.
func (r *reader) pull(have int) error {
	if r.s.recent.read(r.buf[have:], r.start+int64(have)) {
		return nil
	}
	if r.start+int64(len(r.buf)) == r.size {
		r.s.recent.want()
	}
	n, err := r.f.ReadAt(r.buf[have:], r.start+int64(have))
	if n == len(r.buf)-have {
		return nil
	}
	r.buf = r.buf[:have+n]
	if err == nil || err == io.EOF {
		// The file is shorter than the segment. What was read is judged first.
		if have+n >= record.HeaderSize {
			return nil
		}
		return io.ErrUnexpectedEOF
	}
	r.buf = r.buf[:0]
	return r.s.ioError(r.start, err)
}

// whole sees to it that all of the batch is in the buffer.
func (r *reader) whole(h head) error {
	skip := int(h.pos - r.start)
	if int64(len(r.buf)-skip) >= h.size {
		return nil
	}
	if err := r.checkLength(h); err != nil {
		return err
	}
	have := copy(r.buf, r.buf[skip:])
	r.buf, r.start = grow(r.buf[:have], int(h.size)), h.pos
	if err := r.pull(have); err != nil {
		return r.damaged(h, err)
	}
	if int64(len(r.buf)) < h.size {
		return r.damaged(h, io.ErrUnexpectedEOF)
	}
	return nil
}

// checkLength checks the length of an unusually large batch against what follows it before memory is taken for it.
func (r *reader) checkLength(h head) error {
	if h.size <= 2*r.s.cfg.maxBatch()+scanBytes {
		return nil
	}
	end := h.pos + h.size
	if end == r.size {
		return nil
	}
	peek := reader{s: r.s, f: r.f, size: r.size, next: r.next, sparse: r.sparse, loose: r.loose}
	if _, err := peek.header(spot{end, h.next, -1}, record.HeaderSize); err != nil {
		return r.damaged(h, err)
	}
	return nil
}

// damaged dresses a fault in a batch that was found by its header.
func (r *reader) damaged(h head, err error) error {
	if !isDamage(err) {
		return err
	}
	return &CorruptionError{Path: r.s.Path(), Pos: h.pos, End: h.pos + h.size, FirstOffset: h.base, NextOffset: h.next, Cause: err}
}

// extend goes on behind a whole batch as long as whole batches are in the buffer and allowed, and returns where it stopped.
func (r *reader) extend(h head, bound int64, max int) spot {
	at, room := spot{h.pos + h.size, h.next, -1}, int64(max)-h.size
	have := r.start + int64(len(r.buf))
	for at.pos+record.HeaderSize <= have {
		h, err := r.checkHeader(at)
		if err != nil || h.size > room || h.pos+h.size > have || h.next > bound {
			break
		}
		room -= h.size
		at = spot{h.pos + h.size, h.next, -1}
	}
	return at
}

// grow returns buf with length n and its contents kept, in new memory if it has no room. Memory grows at least by half.
func grow(buf []byte, n int) []byte {
	if n <= cap(buf) {
		return buf[:n]
	}
	return slices.Grow(buf, max(n-len(buf), cap(buf)/2))[:n]
}

// ready makes a sealed segment usable.
func (s *Segment) ready() error {
	s.mu.Lock()
	loaded, sparse := s.facts.loaded, s.facts.sparse
	s.mu.Unlock()
	if !loaded {
		if err := s.Load(); err != nil {
			return err
		}
		sparse = s.look().sparse
	}
	if sparse && s.sealed.Load() {
		return s.checkSparse()
	}
	return nil
}

// ioError says where the disk did not answer.
func (s *Segment) ioError(pos int64, err error) error {
	return fmt.Errorf("segment: read %s at %d: %w", s.Path(), pos, err)
}

// ReadAt fills p with the bytes of the data file at pos, as they are; for tools and for callers that know where a batch lies.
func (s *Segment) ReadAt(p []byte, pos int64) error {
	if s.recent.read(p, pos) {
		return nil
	}
	f, err := s.data()
	if err != nil {
		return err
	}
	if n, err := f.ReadAt(p, pos); n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return s.ioError(pos+int64(n), err)
	}
	return nil
}
