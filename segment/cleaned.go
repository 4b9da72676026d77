package segment

import (
	"errors"
	"io/fs"
	"time"

	"github.com/quirelog/quire/log/vfs"
)

// A segment that takes the place of others is built aside: CreateMarked with [Cleaned], Append, Complete; then Rename([Swap]), which is
// durable after SyncDir and from then on is finished by FinishSwap after a crash, and Rename(0) once the replaced ones are out of the way.

// Complete seals a segment that was built aside, and makes all its files durable, the indexes too: nothing of them need be made again after
// a crash. created and modified are the times of what it takes the place of: those of the segment and of its data file's last change. The
// caller has appended through this Segment only, so its headers need no second look.
func (s *Segment) Complete(m SideFacts, created, modified time.Time) error {
	s.mu.Lock()
	s.facts.created = created.UnixMilli()
	s.mu.Unlock()
	if err := s.Seal(m); err != nil {
		return err
	}
	for _, k := range [...]Kind{KindIndex, KindTimeIndex, KindTxnIndex} {
		if err := syncFile(s.fs, s.path(k, s.mark())); err != nil {
			return err
		}
	}
	s.checked.Store(true)
	if err := vfs.SetModTime(s.fs, s.Path(), modified); err != nil && !errors.Is(err, vfs.ErrReadOnly) {
		return err
	}
	return nil // Seal has made all names durable
}

// parting reports whether the segment's files are on their way out: then nothing derived is written for it any more, since its names may
// belong to the segment that took its place. The caller holds repair, as Rename does.
func (s *Segment) parting() bool { return s.Retired() || s.mark() == Deleted }

// Vanish removes the files of a segment that is to be retired, where there is no room to rename them. Readers that hold it go on with what
// is open; the data file is.
func (s *Segment) Vanish() error {
	if err := s.KeepOpen(); err != nil {
		return err
	}
	s.repair.Lock()
	defer s.repair.Unlock()
	old := s.mark()
	s.marked.Store(uint32(Deleted)) // nothing is written for it any more
	var first error
	for _, mark := range [...]Kind{Deleted, old} {
		for _, k := range family() {
			err := s.fs.Remove(s.path(k, mark))
			if err != nil && !errors.Is(err, fs.ErrNotExist) && first == nil {
				first = err
			}
		}
	}
	return first
}
