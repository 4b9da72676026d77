package catalog

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/quirelog/quire/log/vfs"
)

// A new snapshot takes its place in this order: its journal, empty; the snapshot aside; both durable; the present snapshot becomes the
// previous one; the new one takes its place; journals of neither are removed. A crash at any point, with the renames in any order, leaves a
// snapshot and all changes since.

// putSnapshot makes data, the snapshot of a generation, the newest one, durably, with an empty journal.
func putSnapshot(fsys vfs.FS, dir string, generation uint64, data []byte) error {
	if err := stage(fsys, dir, generation, data); err != nil {
		return err
	}
	return place(fsys, dir)
}

// stage writes a snapshot aside, and its journal. Until place nothing else has changed: a failure is definite.
func stage(fsys vfs.FS, dir string, generation uint64, data []byte) error {
	if err := writeSynced(fsys, filepath.Join(dir, tempFile), data); err != nil {
		return err
	}
	path := filepath.Join(dir, JournalFile(generation))
	j, err := createAnew(fsys, path)
	if err != nil {
		return err
	}
	if err = j.Sync(); err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		return errors.Join(err, j.Close(), fsys.Remove(path))
	}
	return j.Close()
}

// place makes what stage wrote the newest snapshot, durably.
func place(fsys vfs.FS, dir string) error {
	current, prev := filepath.Join(dir, File), filepath.Join(dir, PrevFile)
	err := fsys.Rename(current, prev)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.Rename(filepath.Join(dir, tempFile), current); err != nil {
		// Back to how it was, if the disk still does that much: the failure is a definite one then.
		return errors.Join(err, fsys.Rename(prev, current))
	}
	return fsys.SyncDir(dir)
}

// sweep removes the journals of snapshots that are neither of the two. What cannot be removed stays for the next time.
func sweep(fsys vfs.FS, dir string, keep ...uint64) {
	names, err := fsys.List(dir)
	if err != nil {
		return
	}
	for _, name := range names {
		base, ok := ParseJournalFile(name)
		for _, g := range keep {
			ok = ok && base != g
		}
		if ok {
			_ = fsys.Remove(filepath.Join(dir, name))
		}
	}
}

// Write makes m the catalog of a directory in which no engine runs, whatever was there: the two snapshots and an empty journal.
func Write(fsys vfs.FS, dir string, m *Manifest) error {
	_, err := write(fsys, dir, m, nil)
	return err
}

// write is Write; size is that of the snapshot. Damaged journals keep their names until what could be read of them is in it.
func write(fsys vfs.FS, dir string, m *Manifest, damaged []string) (size int64, err error) {
	data, err := m.encode()
	if err == nil {
		err = putSnapshot(fsys, dir, m.Generation, data)
	}
	if err == nil { // the previous one says the same
		err = vfs.WriteFile(fsys, filepath.Join(dir, PrevFile), data)
	}
	if err == nil {
		err = setAside(fsys, dir, damaged)
	}
	if err != nil {
		return 0, err
	}
	sweep(fsys, dir, m.Generation)
	return int64(len(data)), nil
}

// SetAside renames a damaged file and returns its new name. It is durable once the directory is synced; until then a power cut may bring the old
// name back, and it is set aside again.
func SetAside(fsys vfs.FS, path string) (string, error) {
	aside, err := AsideName(fsys, path)
	if err == nil {
		err = fsys.Rename(path, aside)
	}
	if err != nil {
		return "", err
	}
	return aside, nil
}

// setAside renames damaged files of a directory.
func setAside(fsys vfs.FS, dir string, names []string) error {
	for _, name := range names {
		if _, err := SetAside(fsys, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// AsideName is the name that a damaged file gets: <name>.damaged, with -1, -2 and so on behind it when there are more.
func AsideName(fsys vfs.FS, path string) (string, error) {
	for n := 0; ; n++ {
		aside := path + damagedSuffix
		if n > 0 {
			aside += "-" + strconv.Itoa(n)
		}
		switch _, err := fsys.Stat(aside); {
		case errors.Is(err, fs.ErrNotExist):
			return aside, nil
		case err != nil:
			return "", err
		}
	}
}

// writeSynced replaces the content of a file and fsyncs it, but not its directory.
func writeSynced(fsys vfs.FS, path string, data []byte) error {
	f, err := createAnew(fsys, path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// createAnew makes an empty file in the place of one that may be there.
func createAnew(fsys vfs.FS, path string) (vfs.File, error) {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return fsys.Create(path)
}
