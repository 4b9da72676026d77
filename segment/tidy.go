package segment

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/log/vfs"
)

// Tidy finishes what a crash interrupted among the segment files of a directory, given its names: files marked .deleted and .tmp go;
// .cleaned files go, and with them .swap files at or above the smallest of them (their set was not complete); what is left of .swap is
// complete and takes the place of the segment files in its range of offsets. It returns the names that remain. Names that are not ours are
// not touched, nor are directories of whatever name. The directory is synced between the steps and at the end if anything changed; Tidy is idempotent.
func Tidy(fsys vfs.FS, dir string, names []string) ([]string, error) {
	untidy := slices.ContainsFunc(names, func(name string) bool {
		_, kind, ok := ParseName(name)
		return ok && kind.Mark() != 0
	})
	if !untidy {
		return names, nil
	}
	t := &tidier{fs: fsys, dir: dir}
	for _, name := range names {
		if base, kind, ok := ParseName(name); ok && !t.isDir(name) {
			t.files = append(t.files, tidyFile{name, base, kind})
		}
	}
	if err := t.run(); err != nil {
		return nil, err
	}
	return fsys.List(dir)
}

type tidyFile struct {
	name string
	base int64
	kind Kind
}

type tidier struct {
	fs    vfs.FS
	dir   string
	files []tidyFile
}

func (t *tidier) isDir(name string) bool {
	info, err := t.fs.Stat(filepath.Join(t.dir, name))
	return err == nil && info.IsDir
}

func (t *tidier) run() error {
	cleaned := int64(math.MaxInt64)
	for _, f := range t.files {
		if f.kind.Mark() == Cleaned {
			cleaned = min(cleaned, f.base)
		}
	}
	steps := []func(f tidyFile) bool{
		func(f tidyFile) bool { return f.kind.Mark() == Deleted || f.kind.Mark() == Temp },
		func(f tidyFile) bool { return f.kind.Mark() == Swap && f.base >= cleaned },
		func(f tidyFile) bool { return f.kind.Mark() == Cleaned },
	}
	for _, goes := range steps {
		if err := t.remove(goes); err != nil {
			return err
		}
	}
	low, high, err := t.swapRange()
	if err != nil {
		return err
	}
	replaced := func(f tidyFile) bool {
		return f.kind.Mark() == 0 && f.kind != KindSnapshot && f.base >= low && f.base < high
	}
	if err := t.remove(replaced); err != nil {
		return err
	}
	return t.swapIn()
}

// remove removes the files for which goes holds and syncs the directory if there were any.
func (t *tidier) remove(goes func(f tidyFile) bool) error {
	kept := t.files[:0:0]
	for _, f := range t.files {
		if !goes(f) {
			kept = append(kept, f)
			continue
		}
		if err := t.fs.Remove(filepath.Join(t.dir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(kept) == len(t.files) {
		return nil
	}
	t.files = kept
	return t.fs.SyncDir(t.dir)
}

// swapRange is the range of offsets that the complete new segments cover.
func (t *tidier) swapRange() (low, high int64, err error) {
	low = math.MaxInt64
	for _, f := range t.files {
		if f.kind != KindLog|Swap {
			continue
		}
		s := OpenSealed(t.fs, t.dir, f.base, f.base, &Config{})
		s.marked.Store(uint32(Swap))
		err := s.Load()
		next := s.Next()
		_ = s.Close()
		if err != nil {
			return 0, 0, err
		}
		low, high = min(low, f.base), max(high, next)
	}
	return low, high, nil
}

// swapIn gives .swap files their final names, data last: as long as a data file is marked, its segment is found again.
func (t *tidier) swapIn() error {
	changed := false
	for _, data := range [...]bool{false, true} {
		for _, f := range t.files {
			if f.kind.Mark() != Swap || (f.kind.File() == KindLog) != data {
				continue
			}
			final := filepath.Join(t.dir, FileName(f.base, f.kind.File().Suffix()))
			if err := t.fs.Rename(filepath.Join(t.dir, f.name), final); err != nil {
				return err
			}
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return t.fs.SyncDir(t.dir)
}
