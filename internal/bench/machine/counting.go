package machine

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/quirelog/quire/log/vfs"
)

// CountingFS counts what quire asks of the files. Two atomic additions a call: raw pays the same.
type CountingFS struct {
	vfs.FS
	Calls Counter
}

func (c *CountingFS) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	c.Calls.opens.Add(1)
	return &countingFile{f, &c.Calls}, nil
}

// Create counts.
func (c *CountingFS) Create(name string) (vfs.File, error) { return c.file(c.FS.Create(name)) }

// Open counts.
func (c *CountingFS) Open(name string) (vfs.File, error) { return c.file(c.FS.Open(name)) }

// OpenRead counts.
func (c *CountingFS) OpenRead(name string) (vfs.File, error) { return c.file(c.FS.OpenRead(name)) }

// SyncDir counts.
func (c *CountingFS) SyncDir(name string) error {
	c.Calls.dirSyncs.Add(1)
	return c.FS.SyncDir(name)
}

type countingFile struct {
	vfs.File
	calls *Counter
}

func (f *countingFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.calls.Wrote(n)
	return n, err
}

func (f *countingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.calls.Read(n)
	return n, err
}

func (f *countingFile) Sync() error {
	f.calls.Synced()
	return f.File.Sync()
}

// Witness is the one of the file inside: without it the engine syncs what it closes for want of descriptors.
func (f *countingFile) Witness() (io.Closer, error) {
	if w, ok := f.File.(vfs.Witnesser); ok {
		return w.Witness()
	}
	return nil, errors.ErrUnsupported
}

// Calls are system calls on files and the bytes they moved.
type Calls struct {
	Writes, WriteBytes, Reads, ReadBytes, Syncs, DirSyncs, Opens int64
}

// Minus is what came after o.
func (c Calls) Minus(o Calls) Calls {
	return Calls{c.Writes - o.Writes, c.WriteBytes - o.WriteBytes, c.Reads - o.Reads, c.ReadBytes - o.ReadBytes, c.Syncs - o.Syncs, c.DirSyncs - o.DirSyncs, c.Opens - o.Opens}
}

// Counter counts for stores that make their own system calls.
type Counter struct {
	writes, writeBytes, reads, readBytes, syncs, dirSyncs, opens atomic.Int64
}

// Wrote counts a write of n bytes.
func (c *Counter) Wrote(n int) {
	c.writes.Add(1)
	c.writeBytes.Add(int64(n))
}

// Read counts a read of n bytes.
func (c *Counter) Read(n int) {
	c.reads.Add(1)
	c.readBytes.Add(int64(n))
}

// Synced counts a sync.
func (c *Counter) Synced() { c.syncs.Add(1) }

// Load is the counts so far.
func (c *Counter) Load() Calls {
	return Calls{c.writes.Load(), c.writeBytes.Load(), c.reads.Load(), c.readBytes.Load(), c.syncs.Load(), c.dirSyncs.Load(), c.opens.Load()}
}
