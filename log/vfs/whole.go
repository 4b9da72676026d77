package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
)

// tempSuffix marks the file WriteFile fills before it takes the real name. Whoever
// finds one after a crash may remove it.
const tempSuffix = ".tmp"

// ReadFile returns the content of a file. When it is longer than limit bytes the
// error matches ErrTooLarge and nothing was allocated for it; a limit below zero
// means none.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, err
	}
	data, err := readWhole(f, name, limit)
	if e := f.Close(); err == nil && e != nil {
		return nil, e
	}
	return data, err
}

func readWhole(f File, name string, limit int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if limit < 0 {
		limit = math.MaxInt
	}
	if size > limit || size > math.MaxInt {
		return nil, pathError("read", name, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, size, limit))
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err == io.EOF {
		err = nil
		if n < len(data) { // it shrank meanwhile
			data = data[:n]
		}
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// WriteFile puts data under name in one durable step: at return, and after a
// power cut at any moment, name holds either what it held before or all of data,
// and at return without error it is data. It writes name+".tmp", syncs it, renames
// it and syncs the directory. A temporary file left by a crash is replaced; after
// a failure it is removed. An error after the rename (of the directory's sync)
// leaves open which of the two a power cut would leave.
func WriteFile(fsys FS, name string, data []byte) error {
	if err := ReplaceFile(fsys, name, data); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// ReplaceFile is WriteFile without the last step: what name holds is all of data or what it held before, also after a
// power cut, and it is data for good once the caller has synced the directory, with whatever else is new there.
func ReplaceFile(fsys FS, name string, data []byte) error {
	return replaceFile(fsys, name, data, File.Sync)
}

// PutFile is ReplaceFile without a sync: a killed process leaves what name held before or all of data, but a power cut may leave
// anything until the system has written it by itself. It is for what has a checksum and can be made again.
func PutFile(fsys FS, name string, data []byte) error {
	return replaceFile(fsys, name, data, func(File) error { return nil })
}

func replaceFile(fsys FS, name string, data []byte, settle func(File) error) error {
	temp := name + tempSuffix
	f, err := fsys.Create(temp)
	if errors.Is(err, fs.ErrExist) {
		if err = fsys.Remove(temp); err == nil {
			f, err = fsys.Create(temp)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = settle(f)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = fsys.Rename(temp, name)
	}
	if err != nil {
		_ = fsys.Remove(temp)
	}
	return err
}

// RemoveAll removes dir and everything in it, or a file. It succeeds when nothing
// is there. It follows no symbolic link, goes on after a failure as far as it can
// and returns the first error. Nothing is durable until SyncDir of the directory
// that held dir.
func RemoveAll(fsys FS, dir string) error {
	err := fsys.Remove(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// Only a directory with something in it fails this way; a link to one is
	// removed itself, so nothing outside dir can be reached.
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	names, first := fsys.List(dir)
	for _, name := range names {
		if err := RemoveAll(fsys, filepath.Join(dir, name)); first == nil {
			first = err
		}
	}
	if first == nil {
		first = fsys.Remove(dir)
	}
	if errors.Is(first, fs.ErrNotExist) { // another call has removed it meanwhile
		return nil
	}
	return first
}
