package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// lockOffset is where the lock byte lies: far behind the text of the lock file,
// because Windows refuses reads of a locked range.
const lockOffset = 0x7fff0000

const (
	nonBlock  = 0
	shareAll  = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	shareKeep = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE
)

// openFile opens with every kind of sharing, so that an open file can be renamed
// and removed as on other systems.
func openFile(name string, flag int, _ os.FileMode) (*os.File, error) {
	return openShared(name, flag, shareAll)
}

// openLock opens a file that cannot be removed or renamed meanwhile.
func openLock(name string, flag int, _ os.FileMode) (*os.File, error) {
	return openShared(name, flag, shareKeep)
}

// lockDir: the lock file cannot go while it is open, so there is no need of another.
func lockDir(name string) (io.Closer, error) {
	return nil, pathError("lock", name, errors.ErrUnsupported)
}

func openDir(name string) (*os.File, error) { return os.Open(name) }

func openShared(name string, flag int, share uint32) (*os.File, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	access := uint32(windows.GENERIC_READ)
	if flag&os.O_RDWR != 0 {
		access |= windows.GENERIC_WRITE
	}
	disposition := uint32(windows.OPEN_EXISTING)
	switch {
	case flag&os.O_EXCL != 0:
		disposition = windows.CREATE_NEW
	case flag&os.O_CREATE != 0:
		disposition = windows.OPEN_ALWAYS
	}
	h, err := windows.CreateFile(path, access, share, nil, disposition, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return os.NewFile(uintptr(h), name), nil
}

// remove and rename go by the directory: os.Root alone asks for the POSIX way, which frees the name of an open file at once.
func remove(name string) error {
	return within("remove", name, func(dir *os.Root, base string) error { return dir.Remove(base) })
}

// rename refuses what Windows does and others do not: a directory in the place of a file.
func rename(oldname, newname string) error {
	if from, err := os.Lstat(oldname); err == nil {
		if to, err := os.Lstat(newname); err == nil && from.IsDir() != to.IsDir() {
			return pathError("rename", newname, fs.ErrExist)
		}
	}
	if filepath.Dir(oldname) != filepath.Dir(newname) {
		return os.Rename(oldname, newname)
	}
	return within("rename", oldname, func(dir *os.Root, base string) error { return dir.Rename(base, filepath.Base(newname)) })
}

func within(call, name string, do func(dir *os.Root, base string) error) error {
	dir, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := do(dir, filepath.Base(name)); err != nil {
		return pathError(call, name, err)
	}
	return nil
}

// size does not ask as Stat does, which looks at the handle of a file that was closed.
func size(f *os.File) (int64, error) { return f.Seek(0, io.SeekEnd) }

// dataSync is FlushFileBuffers.
func dataSync(f *os.File) error { return f.Sync() }

// preallocate does nothing: blocks are taken as data is written.
func preallocate(*os.File, int64, int64) error { return nil }

func sendFile(io.Writer, *os.File, int64, int64) (int64, error) { return 0, errCannotSend }

// syncDir flushes the directory's handle. File systems that refuse keep their
// entries in a journal of their own, written in order.
func syncDir(dir string) error {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return pathError("syncdir", dir, err)
	}
	h, err := windows.CreateFile(path, windows.GENERIC_READ|windows.GENERIC_WRITE, shareAll, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return pathError("syncdir", dir, err)
	}
	err = windows.FlushFileBuffers(h)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		err = nil
	}
	if e := windows.CloseHandle(h); err == nil {
		err = e
	}
	if err != nil {
		return pathError("syncdir", dir, err)
	}
	return nil
}

// tryLock locks one byte for this handle or answers ErrLocked.
func tryLock(f *os.File) error {
	at := windows.Overlapped{Offset: lockOffset}
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	return err
}

func unlock(f *os.File) error {
	at := windows.Overlapped{Offset: lockOffset}
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &at)
}

func isPlatformNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
