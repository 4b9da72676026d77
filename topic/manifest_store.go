package topic

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/quirelog/quire/log/vfs"
)

// loadManifest reads the newest valid generation. found is false when there is none of either file. With
// both damaged, or the only one, the error matches ErrCorrupt; a newer format is always ErrNewerFormat. A
// damaged newest generation is told in degraded.
func loadManifest(fsys vfs.FS, dir string) (m *Manifest, found bool, degraded, err error) {
	var faults []error
	for _, name := range []string{manifestFile, manifestPrev} {
		got, err := readManifest(fsys, filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, ErrCorrupt):
			found = true
			faults = append(faults, err)
			continue
		case err != nil:
			return nil, true, nil, err
		}
		found = true
		if m == nil || got.Generation > m.Generation {
			m = got
		}
	}
	if m == nil {
		return nil, found, nil, errors.Join(faults...)
	}
	return m, true, errors.Join(faults...), nil
}

func readManifest(fsys vfs.FS, path string) (*Manifest, error) {
	data, err := vfs.ReadFile(fsys, path, maxManifest)
	if errors.Is(err, vfs.ErrTooLarge) {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	m, err := DecodeManifest(data)
	if err != nil {
		return nil, fmt.Errorf("topic: %s: %w", path, err)
	}
	return m, nil
}

// stageManifest writes m aside, synced. Until placeManifest nothing else has changed: a failure is definite.
func stageManifest(fsys vfs.FS, dir string, m *Manifest) error {
	data, err := m.encode()
	if err != nil {
		return err
	}
	return writeSynced(fsys, filepath.Join(dir, manifestTemp), data)
}

// placeManifest makes what stageManifest wrote the newest generation, durably: the present file becomes the
// previous one and the new file takes its place. A crash at any point, with the two renames in any order,
// leaves at least one of the two generations, and never an older one than the previous.
func placeManifest(fsys vfs.FS, dir string) error {
	current := filepath.Join(dir, manifestFile)
	err := fsys.Rename(current, filepath.Join(dir, manifestPrev))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.Rename(filepath.Join(dir, manifestTemp), current); err != nil {
		// Back to how it was, if the disk still does that much: the failure is a definite one then.
		return errors.Join(err, fsys.Rename(filepath.Join(dir, manifestPrev), current))
	}
	return fsys.SyncDir(dir)
}

// writeSynced replaces the content of a file and fsyncs it, but not its directory.
func writeSynced(fsys vfs.FS, path string, data []byte) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// setAsideDamaged moves a damaged newest generation out of the way, durably, before anything is stored: else
// it would become the previous one, in the place of the good one. Its bytes are kept for whoever looks.
func setAsideDamaged(fsys vfs.FS, dir string) error {
	current := filepath.Join(dir, manifestFile)
	if _, err := readManifest(fsys, current); !errors.Is(err, ErrCorrupt) {
		return nil
	}
	if err := fsys.Rename(current, filepath.Join(dir, manifestDamaged)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
