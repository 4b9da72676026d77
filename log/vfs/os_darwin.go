package vfs

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// dataSync empties the drive's own cache too, which fsync on macOS does not. File
// systems without F_FULLFSYNC (network shares) get fsync.
func dataSync(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var fault error
	err = raw.Control(func(fd uintptr) {
		for {
			_, fault = unix.FcntlInt(fd, unix.F_FULLFSYNC, 0)
			if fault != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return pathError("fullfsync", f.Name(), fs.ErrClosed)
	}
	if errors.Is(fault, unix.ENOTSUP) || errors.Is(fault, unix.ENOTTY) || errors.Is(fault, unix.EINVAL) {
		return f.Sync()
	}
	if fault != nil {
		return pathError("fullfsync", f.Name(), fault)
	}
	return nil
}
