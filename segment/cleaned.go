package segment

import (
	"errors"
	"time"

	"github.com/quirelog/quire/log/vfs"
)

// A segment that takes the place of others is built aside: CreateMarked with [Cleaned], Append, Complete; then Rename([Swap]), which is
// durable after SyncDir and from then on is finished by Tidy after a crash, and Rename(0) once the replaced ones are out of the way.

// Complete seals a segment that was built aside, and makes all its files durable, the indexes too: nothing of them need be made again after
// a crash. It counts as created at the given time, which its data file gets as time of its last change. The caller has appended through
// this Segment only, so its headers need no second look.
func (s *Segment) Complete(m SideFacts, created time.Time) error {
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
	if err := vfs.SetModTime(s.fs, s.Path(), created); err != nil && !errors.Is(err, vfs.ErrReadOnly) {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// parting reports whether the segment's files are on their way out: then nothing derived is written for it any more, since its names may
// belong to the segment that took its place. The caller holds repair, as Rename does.
func (s *Segment) parting() bool { return s.Retired() || s.mark() == Deleted }
