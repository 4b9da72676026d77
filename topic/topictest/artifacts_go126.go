//go:build go1.26

package topictest

import (
	"path/filepath"

	"github.com/quirelog/quire/log/vfs"
)

// keep copies the engine's directory to where go test -artifacts keeps files; without that flag they go with the test.
func (e *Engine) keep() {
	to := filepath.Join(e.t.ArtifactDir(), dir)
	if err := copyTree(vfs.OS(), to, e.disk, dir); err != nil {
		e.t.Logf("topictest: the disk could not be kept: %v", err)
		return
	}
	e.t.Logf("topictest: the disk is in %s as long as go test -artifacts keeps it", to)
}

func copyTree(dst vfs.FS, to string, src vfs.FS, from string) error {
	info, err := src.Stat(from)
	if err != nil {
		return err
	}
	if !info.IsDir {
		return copyFile(dst, to, src, from)
	}
	if err := dst.MkdirAll(to); err != nil {
		return err
	}
	names, err := src.List(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyTree(dst, filepath.Join(to, name), src, filepath.Join(from, name)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(dst vfs.FS, to string, src vfs.FS, from string) error {
	data, err := vfs.ReadFile(src, from, -1)
	if err != nil {
		return err
	}
	f, err := dst.Create(to)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
