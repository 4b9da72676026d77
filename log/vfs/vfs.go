package vfs

import (
	"io"
	"time"
)

// FS is the disk as the log needs it: a tree of directories that hold files.
// Paths are operating system paths built with [path/filepath.Join]. All methods
// may be called at once from any number of goroutines.
//
// Changes to a directory (Create, Remove, Rename, Link, MkdirAll) are visible to
// everybody at return but survive a power cut only after SyncDir on every
// directory whose entries changed. They survive a killed process at once.
//
// Errors match what the os package gives: errors.Is(err, fs.ErrNotExist),
// fs.ErrExist, syscall.ENOSPC and so on work on any implementation.
type FS interface {
	// Create makes a new empty file, open for reading and writing. It fails with
	// fs.ErrExist when the name is taken. The entry is durable after SyncDir.
	Create(name string) (File, error)

	// Open opens an existing file for reading and writing. It waits for nothing: a
	// FIFO or a device gives ErrNotRegular.
	Open(name string) (File, error)

	// OpenRead opens an existing file for reading, and otherwise like Open; its changing methods fail.
	OpenRead(name string) (File, error)

	// Remove deletes a file or an empty directory. Files that are open stay
	// readable and writable through their handles until those are closed.
	// Durable after SyncDir.
	Remove(name string) error

	// Rename moves a file or a directory in one step: at no moment, also after
	// a power cut, does newname hold anything but the old or the new file. A
	// file at newname is replaced. Open handles follow the file. Durable after
	// SyncDir of the directory of newname, and of oldname's when they differ.
	// The new name may become durable before the data of the file does: Sync
	// the file first.
	Rename(oldname, newname string) error

	// Link gives a file a second name. It fails with fs.ErrExist when newname
	// is taken. Durable after SyncDir.
	Link(oldname, newname string) error

	// MkdirAll makes a directory and the missing ones above it, and succeeds
	// when it exists already. Each new directory is durable after SyncDir of
	// the one that holds it.
	MkdirAll(name string) error

	// List returns the base names of all entries of a directory, sorted.
	List(dir string) ([]string, error)

	// Stat tells about a file or directory.
	Stat(name string) (Info, error)

	// SyncDir makes creations, renames and removals in dir durable, but not the
	// data of the files they name, nor anything in directories below.
	SyncDir(dir string) error

	// Lock takes the exclusive lock of the file name, which is created when it
	// does not exist, and holds it until the result is closed or the process
	// ends. holder is a word to the one who is refused. When another has it already,
	// in this process or in another, by whatever path, the error is a
	// *LockedError and comes at once. The lock file is left behind unlocked.
	//
	// The name of a directory that exists locks the directory itself, whatever is
	// locked in it: a lock that survives the removal of a lock file. A system that
	// has none gives errors.ErrUnsupported.
	Lock(name, holder string) (io.Closer, error)
}

// File is an open file. ReadAt, WriteAt, Size, Sync and Preallocate may be called
// at once from any number of goroutines; overlapping writes at once leave either
// data. Truncate must not run together with WriteAt. Close waits for nothing:
// calls still running may fail with fs.ErrClosed, and all later ones do.
type File interface {
	// ReadAt reads len(p) bytes from off, or fewer with io.EOF where the file
	// ends. It may run together with everything.
	io.ReaderAt

	// WriteAt writes all of p at off, or returns an error and the number of
	// bytes that reached the file; interrupted and short writes are continued
	// inside. Writing past the end leaves a gap of zero bytes. The data is in
	// the page cache at return: it survives a killed process, and a power cut
	// after Sync. p is not kept.
	io.WriterAt

	// Close releases the handle. It makes nothing durable.
	io.Closer

	// Size returns the length of the file in bytes.
	Size() (int64, error)

	// Truncate sets the length; new bytes are zero. Durable after Sync.
	Truncate(size int64) error

	// Sync makes all data written before the call, and the length, durable
	// (fdatasync). It does NOT make the entry in the directory durable. After
	// an error the state on the disk is unknown for good: a second Sync that
	// succeeds proves nothing.
	Sync() error

	// Preallocate asks for room for n bytes from off without changing the
	// length or any byte. It may do nothing. Without enough room it fails with
	// syscall.ENOSPC.
	Preallocate(off, n int64) error
}

// Sender is an optional part of a File that can pass a range of itself to w
// without bringing the bytes through user space.
type Sender interface {
	// SendTo writes n bytes from off to w and returns how many w took. The
	// kernel does it (sendfile with an explicit offset) when w is a socket;
	// otherwise the bytes are copied. A file that ends too early gives
	// io.ErrUnexpectedEOF.
	SendTo(w io.Writer, off, n int64) (int64, error)
}

// Witnesser is an optional part of a File that may be closed before what was
// written to it is on disk, as if its descriptor had stayed open.
type Witnesser interface {
	// Witness remembers, until it is closed, that the disk could not take something
	// that was written: the next Sync of the file fails then, also of a handle that
	// was opened later. It takes no descriptor. An error says that there is no
	// witness: Sync before Close.
	Witness() (io.Closer, error)
}

// Yielder is an optional part of a File whose descriptor may be needed elsewhere.
type Yielder interface {
	// Yield lets it be the next that is taken: the file is used now and then only.
	Yield()
}

// Yield calls the method of that name if f has it.
func Yield(f File) {
	if y, ok := f.(Yielder); ok {
		y.Yield()
	}
}

// Info is what Stat tells.
type Info struct {
	Size    int64     // bytes; without meaning for a directory
	ModTime time.Time // of the last change of content
	IsDir   bool
}
