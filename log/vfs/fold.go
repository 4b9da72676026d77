package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// FoldsCase asks the disk whether it takes names in dir for equal that differ in case only, as those of Windows and macOS
// do by default: name, which must be there and hold letters, is looked for in the other case.
func FoldsCase(fsys FS, dir, name string) (bool, error) {
	other := strings.ToUpper(name)
	if other == name {
		other = strings.ToLower(name)
	}
	if _, err := fsys.Stat(filepath.Join(dir, other)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	names, err := fsys.List(dir)
	return err == nil && !slices.Contains(names, other), err
}

// Fold is inner as a disk that folds names: those that differ in case only are one, called as it was created. It is for
// tests of what Windows and macOS do by default.
func Fold(inner FS) FS { return folding{inner} }

type folding struct{ inner FS }

// real is a path as its elements are called on the disk, as far as they exist.
func (f folding) real(name string) string {
	dir, base := filepath.Dir(name), filepath.Base(name)
	if dir == name || base == "." || base == ".." {
		return name
	}
	dir = f.real(dir)
	names, _ := f.inner.List(dir)
	for _, there := range names {
		if strings.EqualFold(there, base) {
			return filepath.Join(dir, there)
		}
	}
	return filepath.Join(dir, base)
}

func (f folding) Create(name string) (File, error)   { return f.inner.Create(f.real(name)) }
func (f folding) Open(name string) (File, error)     { return f.inner.Open(f.real(name)) }
func (f folding) OpenRead(name string) (File, error) { return f.inner.OpenRead(f.real(name)) }
func (f folding) Remove(name string) error           { return f.inner.Remove(f.real(name)) }
func (f folding) MkdirAll(name string) error         { return f.inner.MkdirAll(f.real(name)) }
func (f folding) List(dir string) ([]string, error)  { return f.inner.List(f.real(dir)) }
func (f folding) Stat(name string) (Info, error)     { return f.inner.Stat(f.real(name)) }
func (f folding) SyncDir(dir string) error           { return f.inner.SyncDir(f.real(dir)) }

func (f folding) Link(oldname, newname string) error {
	return f.inner.Link(f.real(oldname), f.real(newname))
}

func (f folding) Lock(name, holder string) (io.Closer, error) {
	return f.inner.Lock(f.real(name), holder)
}

// Rename of a name to another case of it changes what it is called.
func (f folding) Rename(oldname, newname string) error {
	from, to := f.real(oldname), f.real(newname)
	if from == to {
		to = filepath.Join(filepath.Dir(to), filepath.Base(newname))
	}
	return f.inner.Rename(from, to)
}
