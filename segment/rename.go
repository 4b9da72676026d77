package segment

import (
	"errors"
	"io/fs"
)

// MarkDeleted renames the segment's files to *.deleted: after a crash they are removed, not read. Open files and pinned readers go on.
// Durable after SyncDir.
func (s *Segment) MarkDeleted() error { return s.Rename(Deleted) }

// Rename gives the segment's files another mark, 0 for none: a segment built as [Cleaned] becomes [Swap] and then takes its place. The data
// file goes last, so that one in its place has its side file and indexes beside it; except for [Deleted], where it goes first. Durable after
// SyncDir. After an error some files may carry the new mark: call it again.
func (s *Segment) Rename(mark Kind) error {
	s.repair.Lock() // whoever makes an index or the side file anew writes it under one name
	defer s.repair.Unlock()
	old, files := s.mark(), family()
	if old == mark {
		return nil
	}
	for i := range files {
		k := files[i]
		if mark != Deleted {
			k = files[len(files)-1-i]
		}
		err := s.fs.Rename(s.path(k, old), s.path(k, mark))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.marked.Store(uint32(mark))
	return nil
}

// Unlink removes the segment's files, the data last, so that what a crash leaves is a segment and not stray derived files. Files that are
// missing are no error. It closes the segment first. Durable after SyncDir.
func (s *Segment) Unlink() error {
	first := s.Close()
	files := family()
	for i := range files {
		err := s.fs.Remove(s.path(files[len(files)-1-i], s.mark()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && first == nil {
			first = err
		}
	}
	return first
}
