//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd && !windows

package vfs

import (
	"errors"
	"io"
	"os"
)

const nonBlock = 0

func openLock(name string, flag int, mode os.FileMode) (*os.File, error) {
	return openFile(name, flag, mode)
}

func lockDir(name string) (io.Closer, error) {
	return nil, pathError("lock", name, errors.ErrUnsupported)
}

// tryLock refuses: this system has no lock that excludes a second opener in the
// same process, and a lock that does not hold is worse than none.
func tryLock(*os.File) error { return errors.ErrUnsupported }

func unlock(*os.File) error { return errors.ErrUnsupported }
