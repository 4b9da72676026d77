package index

import (
	"sync"
	"sync/atomic"
)

// Kafka's offset index has an entry for every few batches: whoever looks for one record reads headers from the entry on before he knows where
// the record's batch begins and ends. Batch positions remember, for the stretches that were read, what such a reader has found out, so that the
// next one reads exactly one batch with one read.
const (
	pageShift    = 18 // a page has the batch positions of 256 KiB of a file
	patchShift   = 12 // a patch those behind one index entry; entries are further apart than 4 KiB
	patches      = 1 << (pageShift - patchShift)
	perPatch     = 6
	positionStep = 1 << 10 // batch positions this near to each other would spare nothing
	pageBytes    = patches*(perPatch*8+8) + 32
)

// BatchPosition says that a batch begins here: its base offset, or that of the batch behind the last one.
type BatchPosition struct{ Offset, Pos int64 }

// BatchPositions are a cache of where batches begin in many segments, by Mapping. Old ones give way to new ones, so the memory is bounded however
// many segments there are, and none is taken before the first is noted. They are hints: a batch's header tells whether one is true. All
// methods may be called at once; a nil *BatchPositions knows nothing and learns nothing.
type BatchPositions struct {
	limit int64
	ids   atomic.Uint64
	pages atomic.Pointer[[]atomic.Pointer[page]]
}

// Mapping is a segment in the eyes of BatchPositions. A new one is needed when what was noted is not true any more, as after a truncation.
type Mapping uint64

// page is immutable but for its patches.
type page struct {
	of     Mapping
	region int64

	mu      sync.Mutex // held for a few loads and stores
	patches [patches]patch
}

// patch is the batch positions between one entry of an offset index and the end of the batch that the next one names, ascending, relative to the
// segment.
type patch struct {
	entry uint32 // position of the entry's batch
	n     uint32
	marks [perPatch]struct{ offset, pos uint32 }
}

// BatchPositions are those that share the budget's owner; their memory is at most a quarter of the budget, in addition to it.
func (b *Budget) BatchPositions() *BatchPositions {
	if b == nil {
		return nil
	}
	return &b.positions
}

// NewMapping names a segment that has no batch positions yet.
func (m *BatchPositions) NewMapping() Mapping {
	if m == nil {
		return 0
	}
	return Mapping(m.ids.Add(1))
}

// slot is where the page for a position belongs.
func slotOf(table []atomic.Pointer[page], of Mapping, region int64) *atomic.Pointer[page] {
	h := (uint64(of)*0x9e3779b97f4a7c15 + uint64(region)) * 0xbf58476d1ce4e5b9
	return &table[(h>>32)%uint64(len(table))]
}

// Find returns the batch position at or before an offset and the one behind it, both behind the entry at position entry of the segment's offset
// index; ok is false unless both are known. Offsets are relative to the segment.
func (m *BatchPositions) Find(of Mapping, entry, offset int64) (from, to BatchPosition, ok bool) {
	if m == nil || of == 0 {
		return from, to, false
	}
	table := m.pages.Load()
	if table == nil {
		return from, to, false
	}
	p := slotOf(*table, of, entry>>pageShift).Load()
	if p == nil || p.of != of || p.region != entry>>pageShift {
		return from, to, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	patch := &p.patches[entry>>patchShift%patches]
	if int64(patch.entry) != entry {
		return from, to, false
	}
	for i := 1; i < int(patch.n); i++ {
		if a, b := patch.marks[i-1], patch.marks[i]; int64(a.offset) <= offset && offset < int64(b.offset) {
			return BatchPosition{int64(a.offset), int64(a.pos)}, BatchPosition{int64(b.offset), int64(b.pos)}, true
		}
	}
	return from, to, false
}

// Add remembers batch positions that were found behind the entry at position entry: where a batch begins and where it ends.
func (m *BatchPositions) Add(of Mapping, entry int64, list ...BatchPosition) {
	if m == nil || of == 0 {
		return
	}
	p := m.page(of, entry>>pageShift)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	patch := &p.patches[entry>>patchShift%patches]
	if int64(patch.entry) != entry {
		patch.entry, patch.n = uint32(entry), 0
	}
	for _, l := range list {
		patch.insert(l)
	}
}

// page returns the page of a region, which may push another one out.
func (m *BatchPositions) page(of Mapping, region int64) *page {
	table := m.pages.Load()
	if table == nil {
		n := m.limit / pageBytes
		if n == 0 {
			return nil
		}
		fresh := make([]atomic.Pointer[page], n)
		if !m.pages.CompareAndSwap(nil, &fresh) {
			return nil // the next reader will note it
		}
		table = &fresh
	}
	slot := slotOf(*table, of, region)
	p := slot.Load()
	if p == nil || p.of != of || p.region != region {
		p = &page{of: of, region: region}
		slot.Store(p)
	}
	return p
}

// insert keeps the marks ascending and a step apart. A full patch stays as it is.
func (p *patch) insert(l BatchPosition) {
	if p.n == perPatch || uint64(l.Offset) > 1<<32-1 || uint64(l.Pos) > 1<<32-1 {
		return
	}
	i := int(p.n)
	for i > 0 && int64(p.marks[i-1].pos) > l.Pos {
		i--
	}
	if i > 0 && l.Pos-int64(p.marks[i-1].pos) < positionStep || i < int(p.n) && int64(p.marks[i].pos)-l.Pos < positionStep {
		return
	}
	copy(p.marks[i+1:p.n+1], p.marks[i:p.n])
	p.marks[i].offset, p.marks[i].pos = uint32(l.Offset), uint32(l.Pos)
	p.n++
}
