//go:build !linux && !windows

package vfs

import (
	"errors"
	"io"
	"os"
	"syscall"
)

func openFile(name string, flag int, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, mode)
}

// openDir opens a directory, or something that its user finds to be none.
func openDir(name string) (*os.File, error) { return os.OpenFile(name, os.O_RDONLY|nonBlock, 0) }

// preallocate does nothing: blocks are taken as data is written.
func preallocate(*os.File, int64, int64) error { return nil }

func sendFile(io.Writer, *os.File, int64, int64) (int64, error) { return 0, errCannotSend }

// syncDir makes the entries of a directory durable where directories can be
// synced at all.
func syncDir(dir string) error {
	f, err := openDir(dir)
	if err != nil {
		return err
	}
	err = dataSync(f)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func isPlatformNoSpace(error) bool { return false }
