package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/quirelog/quire/log/vfs"
)

// maxOffset bounds offsets nobody knows anything about.
const maxOffset = math.MaxInt64

// ceiling is the offset behind the last one that the segment could hold: the base of the one behind it, where that is known. Before Apache
// Kafka 1.0 compaction could make segments whose offsets lie farther from the base than the entries of an index tell.
func (s *Segment) ceiling() int64 {
	if limit := s.limit.Load(); limit > 0 {
		return limit
	}
	if s.base > maxOffset-maxRelative-1 {
		return maxOffset
	}
	return s.base + maxRelative + 1
}

// saveAside copies what is about to be cut off at pos to a file of its own, durably, if a whole batch is among it: it may hold data that was
// written behind a hole. The name is <base>.log.cut-<pos>, with -1, -2 and so on behind it if another recovery has saved other bytes there.
func (r *recovery) saveAside(pos int64) error {
	_, _, err := r.s.resync(r.f, pos, r.edge, 0, maxOffset, r.edge)
	if err == io.EOF || err == errLimit {
		return nil
	}
	if err != nil {
		return err
	}
	return r.keep(pos)
}

// keep copies the bytes [pos, edge) to a file of their own, durably.
func (r *recovery) keep(pos int64) error {
	for n := 0; ; n++ {
		path := r.cutPath(pos, n)
		f, err := r.s.fs.Create(path)
		if errors.Is(err, fs.ErrExist) {
			same, err := r.sameBytes(path, pos)
			if err != nil {
				return err
			}
			if !same {
				continue
			}
			f, err = r.s.fs.Open(path)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		r.out.SavedAs, r.synced = path, true
		return r.copyOut(f, pos)
	}
}

func (r *recovery) cutPath(pos int64, n int) string {
	path := r.s.path(KindLog, 0) + fmt.Sprintf(".cut-%d", pos)
	if n > 0 {
		path += fmt.Sprintf("-%d", n)
	}
	return path
}

// copyOut writes bytes [pos, edge) to f, syncs and closes it.
func (r *recovery) copyOut(f vfs.File, pos int64) error {
	err := r.copyBytes(f, pos)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = r.s.fs.SyncDir(r.s.dir)
	}
	return err
}

func (r *recovery) copyBytes(f vfs.File, pos int64) error {
	buf := make([]byte, min(scanBytes, r.edge-pos))
	for at := pos; at < r.edge; {
		part := buf[:min(int64(len(buf)), r.edge-at)]
		if n, err := r.f.ReadAt(part, at); n < len(part) {
			return err
		}
		if _, err := f.WriteAt(part, at-pos); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}

// sameBytes tells whether a file holds a beginning of what is to be saved, as a crash in the middle of saving leaves it.
func (r *recovery) sameBytes(path string, pos int64) (bool, error) {
	f, err := r.s.fs.OpenRead(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size > r.edge-pos {
		return false, err
	}
	have, want := make([]byte, min(size, scanBytes)), make([]byte, min(size, scanBytes))
	for at := int64(0); at < size; at += int64(len(have)) {
		n := min(int64(len(have)), size-at)
		if k, err := f.ReadAt(have[:n], at); int64(k) < n {
			return false, err
		}
		if k, err := r.f.ReadAt(want[:n], pos+at); int64(k) < n {
			return false, err
		}
		// A power cut may leave zeros where the data of the copy was not written yet.
		if !bytes.Equal(have[:n], want[:n]) && !allZero(have[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// lastNonZero is the position behind the last byte that is not zero.
func lastNonZero(f vfs.File, size int64) (int64, error) {
	buf := make([]byte, min(size, 64<<10))
	for end := size; end > 0; {
		part := buf[:min(int64(len(buf)), end)]
		start := end - int64(len(part))
		if n, err := f.ReadAt(part, start); n < len(part) {
			return 0, err
		}
		for i := len(part) - 1; i >= 0; i-- {
			if part[i] != 0 {
				return start + int64(i) + 1, nil
			}
		}
		end = start
		if len(buf) < scanBytes {
			buf = make([]byte, min(end, scanBytes))
		}
	}
	return 0, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
