package vfs

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
)

const (
	// holderBytes bounds what is read of a lock file to name its holder.
	holderBytes = 1024
	// copyBytes is the buffer of a SendTo that has to copy.
	copyBytes = 64 << 10
)

// Access says who may read the files and directories that are made. The umask may take more away. What exists
// already keeps its modes; Windows has rules of its own, inherited from the directory above.
type Access int

// Who may read.
const (
	OwnerOnly     Access = iota // 0600, directories 0700
	GroupReadable               // 0640, directories 0750
	UmaskDecides                // 0666, directories 0777, as the umask leaves them
)

// modes are those of files and directories.
func (a Access) modes() (file, dir os.FileMode) {
	switch a {
	case GroupReadable:
		return 0o640, 0o750
	case UmaskDecides:
		return 0o666, 0o777
	}
	return 0o600, 0o700
}

// OS returns the file system of the operating system; what it makes is the owner's only. On Linux Sync is fdatasync,
// Preallocate is fallocate and SendTo is sendfile; on macOS Sync is F_FULLFSYNC.
func OS() FS { return OSFor(OwnerOnly) }

// OSFor is OS with files and directories that others may read too.
func OSFor(a Access) FS {
	o := &osFS{}
	o.fileMode, o.dirMode = a.modes()
	return o
}

type osFS struct {
	fileMode, dirMode os.FileMode
	buffers           sync.Pool // of *[]byte, copyBytes long, for SendTo without sendfile
}

// open waits for nothing and takes regular files only: a FIFO would wait for its other end, a device do what it likes.
func (o *osFS) open(name string, flag int) (File, error) {
	f, err := openFile(name, flag|nonBlock, o.fileMode)
	if err != nil {
		return nil, err
	}
	if err := regular(f); err != nil {
		_ = f.Close()
		return nil, pathError("open", name, err)
	}
	return &osFile{f: f, fs: o}, nil
}

func regular(f *os.File) error {
	st, err := f.Stat()
	switch {
	case err != nil:
		return err
	case st.IsDir():
		return syscall.EISDIR
	case !st.Mode().IsRegular():
		return ErrNotRegular
	}
	return nil
}

func (o *osFS) Create(name string) (File, error) {
	return o.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}
func (o *osFS) Open(name string) (File, error)       { return o.open(name, os.O_RDWR) }
func (o *osFS) OpenRead(name string) (File, error)   { return o.open(name, os.O_RDONLY) }
func (o *osFS) Remove(name string) error             { return remove(name) }
func (o *osFS) Rename(oldname, newname string) error { return rename(oldname, newname) }
func (o *osFS) Link(oldname, newname string) error   { return os.Link(oldname, newname) }
func (o *osFS) MkdirAll(name string) error           { return os.MkdirAll(name, o.dirMode) }
func (o *osFS) SyncDir(dir string) error             { return syncDir(dir) }

func (o *osFS) List(dir string) ([]string, error) {
	f, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

func (o *osFS) Stat(name string) (Info, error) {
	st, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: st.Size(), ModTime: st.ModTime(), IsDir: st.IsDir()}, nil
}

// osFile is one descriptor. os.File continues short and interrupted reads and
// writes, and keeps the descriptor alive while a call uses it.
type osFile struct {
	f  *os.File
	fs *osFS
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error)  { return f.f.ReadAt(p, off) }
func (f *osFile) WriteAt(p []byte, off int64) (int, error) { return f.f.WriteAt(p, off) }
func (f *osFile) Close() error                             { return f.f.Close() }
func (f *osFile) Truncate(size int64) error                { return f.f.Truncate(size) }
func (f *osFile) Sync() error                              { return dataSync(f.f) }
func (f *osFile) Size() (int64, error)                     { return size(f.f) }

// Witness is there on Linux.
func (f *osFile) Witness() (io.Closer, error) { return mapWitness(f.f) }

func (f *osFile) Preallocate(off, n int64) error {
	if n <= 0 {
		return nil
	}
	return preallocate(f.f, off, n)
}

func (f *osFile) SendTo(w io.Writer, off, n int64) (int64, error) {
	if n <= 0 {
		return 0, nil
	}
	sent, err := sendFile(w, f.f, off, n)
	if !errors.Is(err, errCannotSend) {
		return sent, err
	}
	buf, _ := f.fs.buffers.Get().(*[]byte)
	if buf == nil {
		b := make([]byte, copyBytes)
		buf = &b
	}
	defer f.fs.buffers.Put(buf)
	copied, err := copyRange(w, f.f, off+sent, n-sent, *buf)
	return sent + copied, err
}

// Lock uses a lock that belongs to the open file, not to the process, so that a
// second opener is refused inside one process too and through any path.
func (o *osFS) Lock(name, holder string) (io.Closer, error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return lockDir(name)
	}
	for {
		f, err := openLock(name, os.O_RDWR|os.O_CREATE|nonBlock, o.fileMode)
		if err != nil {
			return nil, err
		}
		if err := regular(f); err != nil {
			_ = f.Close()
			return nil, pathError("lock", name, err)
		}
		if err := tryLock(f); err != nil {
			held := readHolder(f)
			_ = f.Close()
			if errors.Is(err, ErrLocked) {
				return nil, &LockedError{Path: name, Holder: held}
			}
			return nil, pathError("lock", name, err)
		}
		// The file may have been removed between open and lock; then this
		// lock guards nothing and the next round takes the file that is there.
		if !sameFile(f, name) {
			_ = f.Close()
			continue
		}
		l := &osLock{f: f}
		if err := l.sign(holder); err != nil {
			_ = l.Close()
			return nil, err
		}
		return l, nil
	}
}

func sameFile(f *os.File, name string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(name)
	return err == nil && os.SameFile(mine, there)
}

func readHolder(f *os.File) string {
	buf := make([]byte, holderBytes)
	n, _ := f.ReadAt(buf, 0)
	return strings.TrimSpace(strings.ToValidUTF8(string(buf[:n]), "?"))
}

type osLock struct {
	f    *os.File
	once sync.Once
	err  error
}

// sign leaves the name of the holder in the file. A full disk is no reason to
// refuse the lock: then the file stays unsigned.
func (l *osLock) sign(holder string) error {
	err := l.f.Truncate(0)
	if err == nil {
		_, err = l.f.WriteAt([]byte(holderLine(holder)+"\n"), 0)
	}
	if IsNoSpace(err) {
		return nil
	}
	return err
}

// Close frees the lock. It unlocks before closing, because a child process that
// was started this very moment may still share the open file.
func (l *osLock) Close() error {
	l.once.Do(func() {
		_ = l.f.Truncate(0)
		l.err = unlock(l.f)
		if err := l.f.Close(); l.err == nil {
			l.err = err
		}
	})
	return l.err
}
