package segment

import (
	"errors"
	"io/fs"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/vfs"
)

// Seal ends the life of an active segment as one: the final time index entry is made, the indexes are written out, zeros behind the end are
// cut off, the data is synced, and the side file, which names the sums of all of it, is put in place durably. After an error the segment
// is still active; if the error is a failed sync that is final (see Sync). The caller syncs the directory if the data file's own entry is
// not durable yet, before Seal. Of a sealed segment only what m says anew is written.
func (s *Segment) Seal(m SideFacts) error { return s.seal(m, vfs.WriteFile) }

func (s *Segment) seal(m SideFacts, put func(fsys vfs.FS, name string, data []byte) error) error {
	if s.sealed.Load() {
		return s.reseal(m)
	}
	if s.torn != nil {
		return s.torn
	}
	s.recent.forget() // what follows is written elsewhere
	if err := s.completeFacts(m.Sparse); err != nil {
		return err
	}
	f := s.look()
	if f.maxTimestamp >= 0 {
		_ = s.times.Add(f.maxTimestamp, f.maxOffset) // skipped when the last entry says it already
	}
	if err := s.flushIndex(f.size > 0); err != nil {
		return err
	}
	if err := s.trim(f.size); err != nil {
		return err
	}
	if err := s.Sync(); err != nil {
		return err
	}
	s.setReach(m.Reach)
	if err := s.putSide(m.TopicID, put); err != nil {
		s.setReach(unknownReach)
		return err
	}
	s.offsets.Seal()
	s.times.Seal()
	s.aborted.Seal()
	s.sealed.Store(true)
	return nil
}

// setReach notes what lies behind the segment.
func (s *Segment) setReach(reach int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.facts.reach = unknownReach; reach >= 0 {
		s.facts.reach = max(reach, s.facts.next)
	}
}

// reseal writes the side file of a sealed segment anew if it does not say what it should.
func (s *Segment) reseal(m SideFacts) error {
	if err := s.Load(); err != nil {
		return err
	}
	f := s.look()
	if (m.Sparse && !f.sparse) || m.Reach > max(f.reach, f.next) {
		return s.Reseal(m)
	}
	return nil
}

// Reseal writes the side file of a sealed segment anew, durably, for it to say what is missing behind it.
func (s *Segment) Reseal(m SideFacts) error {
	if err := s.Load(); err != nil {
		return err
	}
	if m.Sparse {
		s.MarkSparse()
	}
	s.setReach(m.Reach)
	return s.writeSide(m.TopicID)
}

// Freeze is Seal for the last segment of a log at a clean stop: OpenActive finds it as it was, and Unseal makes it active again. The data is
// synced, the side file is not: where a power cut takes it, Recover makes it of the data.
func (s *Segment) Freeze(m SideFacts) error { return s.seal(m, vfs.PutFile) }

// trim cuts off what was written ahead.
func (s *Segment) trim(size int64) error {
	if s.ahead <= size {
		return nil
	}
	f, err := s.data()
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	s.ahead = size
	return nil
}

// completeFacts makes facts and indexes whole again where recovery or truncation left them partial.
func (s *Segment) completeFacts(sparse bool) error {
	if sparse {
		s.MarkSparse()
	}
	f := s.look()
	if !f.partial && !s.stray.Load() {
		return nil
	}
	found, err := s.scan(f.size, headersOnly)
	if err != nil {
		return err
	}
	if found.damage != nil || found.facts.next > f.next {
		// Reported when it was found, and again to whoever reads there. The side file says that its sums are not whole.
		s.mu.Lock()
		s.facts.partial, s.facts.sparse = true, true
		s.mu.Unlock()
		return nil
	}
	s.mu.Lock()
	s.facts.batches, s.facts.headerSum, s.facts.partial = found.facts.batches, found.facts.headerSum, false
	s.facts.next, s.facts.loose = found.facts.next, false // not what it was where bytes are missing at the end
	s.facts.sparse = found.facts.sparse || sparse
	s.mu.Unlock()
	if s.stray.Swap(false) {
		_ = s.offsets.Replace(found.offsets, false)
		_ = s.times.Replace(found.times, false)
	}
	return nil
}

// Unseal makes a sealed segment, or one that OpenActive opened, ready for Append: the side file, which would soon be wrong, is removed
// durably and the indexes are read into memory. It does nothing on an active segment.
func (s *Segment) Unseal() error {
	if !s.sealed.Load() {
		return nil
	}
	if err := s.Load(); err != nil {
		return err
	}
	if err := s.activate(); err != nil {
		return err
	}
	if h := s.file.Load(); h == nil || !h.writable {
		fresh, err := s.openData(true)
		if err != nil {
			return err
		}
		// Readers may be inside the old handle; it is kept until Close.
		s.spare = s.file.Swap(fresh)
	}
	if err := s.fs.Remove(s.path(KindSums, s.mark())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	s.setReach(unknownReach)
	s.limit.Store(0)
	f := s.look()
	s.ahead = f.size
	s.countUnindexed(f.size)
	s.sealed.Store(false)
	s.noteIndexes()
	return nil
}

// activate reads the indexes into memory, making them again if they are damaged; that of aborted transactions when it is asked for.
func (s *Segment) activate() error {
	err := s.offsets.Activate()
	if err == nil {
		err = s.times.Activate()
	}
	if err != nil {
		if err = s.reindex(err); err == nil {
			err = errors.Join(s.offsets.Activate(), s.times.Activate())
		}
	}
	if err != nil {
		return err
	}
	if err = s.aborted.Activate(); !errors.Is(err, index.ErrCorrupt) {
		return err
	}
	s.InvalidateAborted()
	_ = s.aborted.Replace(nil, false)
	return s.aborted.Activate()
}
