package segment

import (
	"errors"
	"fmt"
	"math"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// minAhead is the least that is written ahead at once.
const minAhead = 16 << 10

// zeros is what is written ahead of the end. It is never changed.
var zeros [64 << 10]byte

// Append writes run, one or more whole batches with ascending offsets at or behind Next, with one write at the end of the file and feeds the
// indexes. The CRC is the caller's business. At return without error the bytes are in the operating system, not on disk: Sync.
//
// On an error nothing was appended: what a failed write left is cut off at once. If that cut fails too the error matches [ErrTorn], and so
// does every later append: the end of the file is unknown until the segment is recovered.
func (s *Segment) Append(run []byte) error {
	f, err := s.writable()
	if err != nil {
		return err
	}
	if err := s.admit(run); err != nil {
		return err
	}
	size := s.facts.size // only the writer changes it
	if end := size + int64(len(run)); end > s.ahead && s.cfg.PreWrite > 0 {
		s.writeAhead(f, end, int64(len(run)))
	}
	if n, err := f.WriteAt(run, size); err != nil || n != len(run) {
		return s.cutBack(f, size, err)
	}
	s.ahead = max(s.ahead, size+int64(len(run)))
	s.recent.add(run, size, s.cfg.Budget)
	s.publish(run, size)
	return nil
}

// writable returns the data file of a segment that may be appended to.
func (s *Segment) writable() (vfs.File, error) {
	switch {
	case s.torn != nil:
		return nil, s.torn
	case s.pins.Load() < 0:
		return nil, ErrRetired
	}
	if failure := s.failed.Load(); failure != nil {
		return nil, failure.err
	}
	if s.sealed.Load() {
		if err := s.Unseal(); err != nil {
			return nil, err
		}
	}
	return s.data()
}

// admit checks what the segment relies on later.
func (s *Segment) admit(run []byte) error {
	next := s.facts.next
	if s.facts.size > math.MaxInt32 {
		return fmt.Errorf("%w: %d bytes", ErrFull, s.facts.size)
	}
	for rest := run; len(rest) > 0; {
		b, err := record.First(rest)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		base, delta := b.BaseOffset(), b.LastOffsetDelta()
		if base < next || delta < 0 || base > math.MaxInt64-1-int64(delta) {
			return fmt.Errorf("%w: batch at offset %d with last delta %d, the segment ends at %d", ErrInvalid, base, delta, next)
		}
		if b.LastOffset()-s.base > math.MaxInt32 {
			return fmt.Errorf("%w: offset %d in the segment at %d", ErrFull, b.LastOffset(), s.base)
		}
		next = b.NextOffset()
		rest = rest[len(b):]
	}
	return nil
}

// publish makes what was just written at pos visible: first the facts, by which readers know the end, then the index entries. A reader that
// comes between finds its way without the new entry.
func (s *Segment) publish(run []byte, pos int64) {
	if b, _ := record.First(run); len(b) == len(run) { // one batch: the usual case
		s.mu.Lock()
		s.facts.add(b)
		s.mu.Unlock()
		s.noteBatch(&s.facts, b, pos)
		return
	}
	s.mu.Lock()
	for rest := run; len(rest) > 0; {
		b, _ := record.First(rest)
		s.facts.add(b)
		rest = rest[len(b):]
	}
	s.mu.Unlock()
	// The writer alone changes the facts, so it may read them without the mutex. The maximum timestamp that goes into the time index may
	// already be that of a later batch of the run; then its offset is too, and the entry holds as well.
	for rest := run; len(rest) > 0; {
		b, _ := record.First(rest)
		s.noteBatch(&s.facts, b, pos)
		pos += int64(len(b))
		rest = rest[len(b):]
	}
}

// cutBack removes what a failed write at size may have left.
func (s *Segment) cutBack(f vfs.File, size int64, cause error) error {
	if cause == nil {
		cause = errors.New("short write")
	}
	cause = fmt.Errorf("segment: write %s at %d: %w", s.Path(), size, cause)
	s.ahead = size
	if err := f.Truncate(size); err != nil {
		s.torn = errors.Join(ErrTorn, cause, err)
		return s.torn
	}
	return cause
}

// writeAhead puts zeros behind end, where the write of n bytes that comes next will end. How many grows with the file, so that ten thousand
// small logs do not take PreWrite bytes each; and it is enough for some more writes like this one, or the zeros would cost more than they
// save. A failure costs speed only: the file's size and blocks are then settled by the appends themselves.
func (s *Segment) writeAhead(f vfs.File, end, n int64) {
	room := max(min(s.cfg.PreWrite, max(end, minAhead)), 4*n)
	stop := (end + room + 4095) / 4096 * 4096
	s.ahead = stop
	for at := end; at < stop; {
		n := min(stop-at, int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:n], at); err != nil {
			return
		}
		at += n
	}
}

// Sync makes everything appended before the call durable, the data file only. It may run at once with appends and reads. A failure is
// final: every later Sync and Append returns the same error, because nobody knows what the disk has.
func (s *Segment) Sync() error {
	if failure := s.failed.Load(); failure != nil {
		return failure.err
	}
	h := s.file.Load()
	if h == nil {
		return nil // never opened, so never written
	}
	err := h.Sync()
	if err == nil {
		if failure := s.failed.Load(); failure != nil {
			// Another Sync failed meanwhile; the disk may have told only that one.
			return failure.err
		}
		return nil
	}
	s.failed.CompareAndSwap(nil, &syncFailure{fmt.Errorf("segment: sync %s: %w", s.Path(), err)})
	return s.failed.Load().err
}

// FlushIndex writes the index entries the files do not have yet. Nothing is synced.
func (s *Segment) FlushIndex() error { return s.flushIndex(false) }

func (s *Segment) flushIndex(create bool) error {
	if s.sealed.Load() {
		return nil
	}
	if err := s.offsets.Flush(create); err != nil {
		return err
	}
	if err := s.times.Flush(create); err != nil {
		return err
	}
	s.noteIndexes()
	return s.aborted.Flush(false)
}
