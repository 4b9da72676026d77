package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

var (
	// ErrLocked is matched by a *LockedError: another holds the lock.
	ErrLocked = errors.New("vfs: locked")
	// ErrReadOnly answers every change through ReadOnly or a handle of OpenRead.
	ErrReadOnly = errors.New("vfs: read-only")
	// ErrNotRegular answers the opening of what is neither a file nor a directory: a FIFO, a device, a socket.
	ErrNotRegular = errors.New("vfs: not a regular file")
	// ErrTooLarge answers ReadFile when the file is longer than the limit.
	ErrTooLarge = errors.New("vfs: file larger than the limit")
	// ErrCrashed answers every call to a Crash after its power cut.
	ErrCrashed = errors.New("vfs: crashed")
)

// LockedError says that the lock file at Path is taken, and by whom.
type LockedError struct {
	Path   string
	Holder string // one line: pid, host, time and the holder's own words; may be empty
}

func (e *LockedError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("vfs: %s is locked", e.Path)
	}
	return fmt.Sprintf("vfs: %s is locked by %s", e.Path, e.Holder)
}

// Is reports that every LockedError matches ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// IsNoSpace reports whether err means that the disk, a quota or a limit on file
// sizes is full: the write can be tried again when there is room.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, syscall.EFBIG) || isPlatformNoSpace(err)
}

// IsTooManyFiles reports whether err means that the process or the machine has no
// free file descriptor: the call can be tried again when some were closed.
func IsTooManyFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// pathError dresses err as the os package does, so that errors.Is sees through it.
func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}
