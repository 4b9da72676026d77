package segment

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/record"
)

// A record in the middle of a large batch should not cost the whole batch each
// time. The first read of such a batch checks it whole and leaves a record index in
// memory: where in it a record begins, every so many bytes. Later reads of this
// open read only from the known place before the record to the one behind it.
const (
	indexedBatchBytes = 16 << 10 // batches from this size on get one
	recordStep        = 2 << 10  // bytes between its entries
	ownIndexBytes     = 4 << 20  // for the record indexes of a segment without a budget
	recordIndexBytes  = 112      // what the record index of a batch takes, beside its entries
)

// recordPosition says that the record with this offset delta begins at this position
// behind the batch's header.
type recordPosition struct{ delta, at int32 }

// recordIndex is where records begin in one batch that was checked whole.
type recordIndex struct {
	head  [record.HeaderSize]byte
	size  int64
	marks []recordPosition // both fields ascending; the last is the end of the batch
}

// recordIndexes is where the segment's record indexes are remembered: in the budget of all, under the name that it has among the batch positions. Without a budget
// the segment has one of its own. It is asked for before the reads whose results are noted: a truncation in between makes it worthless.
func (s *Segment) recordIndexes() (*index.Budget, index.Mapping) {
	if s.cfg.Budget != nil {
		return s.cfg.Budget, s.mappingID()
	}
	if s.own.Load() == nil {
		s.own.CompareAndSwap(nil, index.NewBudget(ownIndexBytes))
	}
	return s.own.Load(), 1
}

// forgetRecordIndexes forgets everything: the file was cut.
func (s *Segment) forgetRecordIndexes() {
	s.own.Store(nil)
	s.recordsIndexed.Store(false)
}

// Finder is the memory of [Segment.Find]: what it returns lies there until the
// next call. The zero value is ready. One goroutine at a time.
type Finder struct {
	// DecodeLimit is the most bytes that the records of a batch may decompress to; 0 means record.DefaultDecodeLimit.
	DecodeLimit int

	buf     []byte
	decoder record.Decoder
	found   record.Record

	// After a find by record index: the decoder stands before the record at next, within the stretch up to end that buf
	// holds. The records behind the one found cost no read then.
	index     *recordIndex
	next, end int32 // offset deltas
}

// Memory is how many bytes the finder holds for its next use.
func (f *Finder) Memory() int { return cap(f.buf) }

// Find reads the record at offset, which must be below bound. ok is false when
// the segment has no such record: a gap, or a control record. The batch's checksum
// is verified at least on its first read since the segment was opened. The record
// borrows the finder's memory. Damage is a *CorruptionError.
func (s *Segment) Find(f *Finder, offset, bound int64) (r *record.Record, ok bool, err error) {
	if r, ok, err = s.findIndexed(f, offset, bound); ok || err != nil {
		return r, ok, err
	}
	budget, of := s.recordIndexes()
	f.index = nil
	run, next, err := s.Read(f.buf[:0], Place{offset, -1}, bound, 1)
	f.buf = run
	if err != nil || len(run) == 0 {
		return nil, false, err
	}
	b := record.Batch(run)
	pos := next.Pos - int64(len(b))
	if err := b.Check(); err != nil {
		return nil, false, s.batchDamage(b, pos, err)
	}
	if offset < b.BaseOffset() || b.Control() {
		return nil, false, nil
	}
	if len(b) >= indexedBatchBytes && !b.Compressed() {
		w, err := f.indexRecords(b)
		if err != nil {
			return nil, false, s.batchDamage(b, pos, err)
		}
		budget.Remember(of, pos, w, recordIndexBytes+8*int64(cap(w.marks)))
		s.recordsIndexed.Store(true)
	}
	if err := f.decoder.Reset(b, f.DecodeLimit); err != nil {
		return nil, false, s.batchDamage(b, pos, err)
	}
	if b.Count() == int(b.LastOffsetDelta())+1 { // without gaps: the records in front can be counted
		f.decoder.Skip(int(offset - b.BaseOffset()))
	}
	if f.pick(offset) {
		return &f.found, true, nil
	}
	if err := f.decoder.Err(); err != nil {
		return nil, false, s.batchDamage(b, pos, err)
	}
	return nil, false, nil
}

// pick advances the decoder to the record at offset.
func (f *Finder) pick(offset int64) bool {
	for f.decoder.Next(&f.found) {
		if f.found.Offset >= offset {
			return f.found.Offset == offset
		}
	}
	return false
}

// indexRecords walks a whole batch and makes its record index.
func (f *Finder) indexRecords(b record.Batch) (*recordIndex, error) {
	w := &recordIndex{size: int64(len(b))}
	copy(w.head[:], b)
	if err := f.decoder.Reset(b, 0); err != nil {
		return nil, err
	}
	last := -recordStep
	for {
		at := f.decoder.Pos()
		if !f.decoder.Next(&f.found) {
			break
		}
		if at-last >= recordStep {
			w.marks = append(w.marks, recordPosition{int32(f.found.Offset - b.BaseOffset()), int32(at)})
			last = at
		}
	}
	w.marks = append(w.marks, recordPosition{b.LastOffsetDelta() + 1, int32(len(b) - record.HeaderSize)})
	w.marks = slices.Clone(w.marks) // without room for more
	return w, f.decoder.Err()
}

// findIndexed is Find for a batch with a record index; ok is false when there is none.
func (s *Segment) findIndexed(f *Finder, offset, bound int64) (r *record.Record, ok bool, err error) {
	w, pos, ok := s.recordIndexOf(offset, bound)
	if !ok {
		return nil, false, nil
	}
	cuts := s.cuts.Load()
	head := record.Batch(w.head[:])
	delta := int32(offset - head.BaseOffset())
	if f.index != w || delta < f.next || delta >= f.end {
		from, to := w.around(delta)
		f.index = nil
		f.buf = grow(f.buf[:0], int(to.at-from.at))
		if err := s.ReadAt(f.buf, pos+record.HeaderSize+int64(from.at)); err != nil {
			if cuts != s.cuts.Load() {
				return nil, false, nil // cut meanwhile: look properly
			}
			return nil, false, err
		}
		f.decoder.Resume(head, f.buf, int(to.delta-from.delta))
		f.next, f.end = from.delta, to.delta
	}
	f.index = nil
	if head.Count() == int(head.LastOffsetDelta())+1 {
		f.decoder.Skip(int(delta - f.next))
	}
	if !f.pick(offset) {
		return nil, false, nil // not there, or the bytes changed: the whole batch tells
	}
	f.index, f.next = w, delta+1
	return &f.found, cuts == s.cuts.Load(), nil
}

// around gives the entries before and behind a record.
func (w *recordIndex) around(delta int32) (from, to recordPosition) {
	i, found := slices.BinarySearchFunc(w.marks[:len(w.marks)-1], delta, func(m recordPosition, d int32) int { return cmp.Compare(m.delta, d) })
	if !found {
		i = max(i-1, 0)
	}
	return w.marks[i], w.marks[i+1]
}

// recordIndexOf finds the record index of the batch that holds offset. A large batch has an
// index entry of its own, so its position is known without a read.
func (s *Segment) recordIndexOf(offset, bound int64) (w *recordIndex, pos int64, ok bool) {
	if s.ready() != nil {
		return nil, 0, false
	}
	if !s.recordsIndexed.Load() {
		return nil, 0, false
	}
	budget, of := s.recordIndexes()
	a, err := s.around(offset)
	if err != nil {
		return nil, 0, false
	}
	for _, pos := range [...]int64{a.After, a.Pos} {
		if pos < 0 {
			continue
		}
		w, known := budget.Recall(of, pos).(*recordIndex)
		if !known {
			continue
		}
		head := record.Batch(w.head[:])
		if head.BaseOffset() <= offset && offset <= head.LastOffset() && head.NextOffset() <= bound {
			return w, pos, true
		}
	}
	return nil, 0, false
}

func (s *Segment) batchDamage(b record.Batch, pos int64, cause error) error {
	if errors.Is(cause, record.ErrTooLarge) {
		return fmt.Errorf("segment: %s: batch at %d: %w", s.Path(), pos, cause) // sound, but not to be looked into
	}
	return &CorruptionError{
		Path: s.Path(), Pos: pos, End: pos + int64(len(b)), FirstOffset: b.BaseOffset(), NextOffset: b.NextOffset(),
		Cause: fmt.Errorf("batch at %d: %w", pos, cause),
	}
}
