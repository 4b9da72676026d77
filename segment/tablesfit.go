package segment

import (
	"errors"
	"io/fs"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/vfs"
)

// TablesFit tells whether the index files of a sealed segment are what its side file names. They are not synced with the data, so that after a
// power cut they may hold anything; a look-up makes them anew then.
func (s *Segment) TablesFit() (bool, error) {
	if err := s.Load(); err != nil {
		return false, err
	}
	for k, want := range [...]index.Sum{index.OffsetKind: s.offsets.Sum(), index.TimeKind: s.times.Sum(), index.AbortedKind: s.aborted.Sum()} {
		data, err := readTable(s.fs, s.path(tableFile(index.Kind(k)), s.mark()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, vfs.ErrTooLarge) {
			return false, err
		}
		if index.SumOf(data) != want {
			return false, nil
		}
	}
	return true, nil
}
