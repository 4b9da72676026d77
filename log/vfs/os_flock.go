//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// nonBlock lets open return where a FIFO or a device would wait; it changes nothing for files.
const nonBlock = unix.O_NONBLOCK

func openLock(name string, flag int, mode os.FileMode) (*os.File, error) {
	return openFile(name, flag, mode)
}

// lockDir locks a directory itself, which cannot be removed while something is in it. Network file systems
// that make a lock for writing of it refuse one on a directory: errors.ErrUnsupported.
func lockDir(name string) (io.Closer, error) {
	f, err := openDir(name)
	if err != nil {
		return nil, err
	}
	err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		return &held{release: func() {
			_ = unlock(f)
			_ = f.Close()
		}}, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = &LockedError{Path: name}
	case errors.Is(err, unix.EBADF), errors.Is(err, unix.EINVAL):
		err = pathError("lock", name, errors.ErrUnsupported)
	default:
		err = pathError("lock", name, err)
	}
	_ = f.Close()
	return nil, err
}

// tryLock takes the flock of f or answers ErrLocked. flock belongs to the open
// file description: unlike fcntl locks it excludes a second opener in the same
// process and is not lost when some other handle on the file is closed.
func tryLock(f *os.File) error {
	err := flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		if err = excludeRecordLocks(f); err != nil {
			_ = unlock(f)
		}
	}
	if err == unix.EWOULDBLOCK {
		return ErrLocked
	}
	return err
}

// unlock frees what tryLock took; closing f alone does not while a process that is being started shares it.
func unlock(f *os.File) error {
	admitRecordLocks(f)
	return flock(f, unix.LOCK_UN)
}

func flock(f *os.File, how int) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var fault error
	err = raw.Control(func(fd uintptr) {
		for {
			fault = unix.Flock(int(fd), how)
			if fault != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return fault
}
