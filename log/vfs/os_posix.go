//go:build !windows

package vfs

import "os"

func remove(name string) error             { return os.Remove(name) }
func rename(oldname, newname string) error { return os.Rename(oldname, newname) }

func size(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
