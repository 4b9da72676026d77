package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// datasync is fdatasync: the data, and the size where it changed.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}

// diskSync is syncfs: everything that was written to the file system of f, by other programs too.
func diskSync(f *os.File) error {
	for {
		err := unix.Syncfs(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}
