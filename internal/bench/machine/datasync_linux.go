package machine

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Datasync is fdatasync: the data, and the size where it changed.
func Datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}

// DiskSync is syncfs: everything that was written to the file system of f, by other programs too.
func DiskSync(f *os.File) error {
	for {
		err := unix.Syncfs(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}
