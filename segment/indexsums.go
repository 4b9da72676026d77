package segment

import (
	"errors"
	"hash/crc32"
	"io/fs"

	"github.com/quirelog/quire/log/vfs"
)

// IndexSums describes the contents of an active segment's index files: lengths in
// bytes and CRC-32C. The files are not synced with the data, so after a power cut
// they may hold anything; whoever kept these sums can tell.
type IndexSums struct {
	OffsetsLen, TimesLen int64
	OffsetsCRC, TimesCRC uint32
}

// match tells whether the files begin with what the sums describe.
func (w *IndexSums) match(offsets, times []byte) bool {
	return w != nil && begins(offsets, w.OffsetsLen, w.OffsetsCRC) && begins(times, w.TimesLen, w.TimesCRC)
}

func begins(data []byte, n int64, crc uint32) bool {
	return n >= 0 && n <= int64(len(data)) && crc32.Checksum(data[:n], castagnoli) == crc
}

// IndexSums returns what the index files hold, nil when that is not known. It may
// be called beside appends; the answer is never changed.
func (s *Segment) IndexSums() *IndexSums { return s.indexed.Load() }

// noteIndexes publishes what the index files hold after a flush.
func (s *Segment) noteIndexes() {
	offsets, ok := s.offsets.Flushed()
	times, ok2 := s.times.Flushed()
	if !ok || !ok2 {
		s.indexed.Store(nil)
		return
	}
	s.indexed.Store(&IndexSums{offsets.Len, times.Len, offsets.CRC, times.CRC})
}

// SyncIndex makes what FlushIndex has written durable, so that a power cut does
// not cost a scan of the whole segment. It may be called beside appends and reads
// of a pinned segment.
func (s *Segment) SyncIndex() error {
	if s.indexed.Load() == nil {
		return nil
	}
	for _, kind := range []Kind{KindIndex, KindTimeIndex} {
		if err := syncFile(s.fs, s.path(kind, s.mark())); err != nil {
			return err
		}
	}
	return nil
}

// syncFile syncs a file that may be missing.
func syncFile(fsys vfs.FS, path string) error {
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
