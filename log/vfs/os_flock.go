//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes the flock of f or answers ErrLocked. flock belongs to the open
// file description: unlike fcntl locks it excludes a second opener in the same
// process and is not lost when some other handle on the file is closed.
func tryLock(f *os.File) error {
	err := flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return ErrLocked
	}
	return err
}

func unlock(f *os.File) error { return flock(f, unix.LOCK_UN) }

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
