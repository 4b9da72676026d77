package vfs

import (
	"io"
	"io/fs"
	"math"
	"sync/atomic"
	"syscall"
	"time"
)

// memFile is a handle on a node.
type memFile struct {
	m        *Mem
	n        *memNode
	name     string
	writable bool
	closed   atomic.Bool
}

// enter checks a call's arguments. It is called with n.mu held: a node is freed
// under that lock after its last handle was marked closed, so what passes here
// stays there until the lock is let go.
func (f *memFile) enter(op string, off int64, change bool) error {
	switch {
	case f.closed.Load():
		return pathError(op, f.name, fs.ErrClosed)
	case change && !f.writable:
		return pathError(op, f.name, syscall.EBADF)
	case off < 0:
		return pathError(op, f.name, syscall.EINVAL)
	}
	return nil
}

// Witness has nothing to tell: memory takes everything.
func (f *memFile) Witness() (io.Closer, error) { return &held{release: func() {}}, nil }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.n.mu.RLock()
	defer f.n.mu.RUnlock()
	if err := f.enter("read", off, false); err != nil {
		return 0, err
	}
	return f.n.data.readAt(p, off)
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	if err := f.enter("write", off, true); err != nil {
		return 0, err
	}
	if off > math.MaxInt64-int64(len(p)) {
		return 0, pathError("write", f.name, syscall.EFBIG)
	}
	room := f.reserve(off+int64(len(p))) - off
	n := int(max(0, min(int64(len(p)), room)))
	if n > 0 {
		f.n.data.writeAt(p[:n], off)
		f.n.modified = time.Now().UnixNano()
	}
	if n < len(p) {
		return n, pathError("write", f.name, syscall.ENOSPC)
	}
	return n, nil
}

// reserve charges the disk for a file of size bytes and returns for how many it
// has room. n.mu is held.
func (f *memFile) reserve(size int64) int64 {
	if size > f.n.reserved {
		f.n.reserved += f.m.charge(size - f.n.reserved)
	}
	return f.n.reserved
}

// reserveAll charges the disk for all of size or for nothing. n.mu is held.
func (f *memFile) reserveAll(size int64) bool {
	before := f.n.reserved
	if f.reserve(size) >= size {
		return true
	}
	f.m.used.Add(before - f.n.reserved)
	f.n.reserved = before
	return false
}

func (f *memFile) Size() (int64, error) {
	f.n.mu.RLock()
	defer f.n.mu.RUnlock()
	return f.n.data.size, f.enter("stat", 0, false)
}

func (f *memFile) Truncate(size int64) error {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	if err := f.enter("truncate", size, true); err != nil {
		return err
	}
	if !f.reserveAll(size) {
		return pathError("truncate", f.name, syscall.ENOSPC)
	}
	f.m.used.Add(size - f.n.reserved)
	f.n.reserved = size
	f.n.data.truncate(size)
	f.n.modified = time.Now().UnixNano()
	return nil
}

func (f *memFile) Preallocate(off, n int64) error {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	if err := f.enter("preallocate", off, true); err != nil {
		return err
	}
	if n <= 0 {
		return nil
	}
	if off > math.MaxInt64-n {
		return pathError("preallocate", f.name, syscall.EFBIG)
	}
	if !f.reserveAll(off + n) {
		return pathError("preallocate", f.name, syscall.ENOSPC)
	}
	return nil
}

func (f *memFile) Sync() error {
	f.n.mu.RLock()
	defer f.n.mu.RUnlock()
	return f.enter("sync", 0, false)
}

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.m.closeNode(f.n)
	return nil
}
