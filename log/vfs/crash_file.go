package vfs

import (
	"io"
	"io/fs"
	"math"
	"sync/atomic"
	"syscall"
)

// crashFile is a handle on a file of a Crash.
type crashFile struct {
	c        *Crash
	n        *crashNode
	name     string
	writable bool
	closed   atomic.Bool
	seen     int // crashNode.lost as of the last Sync that told; guarded by c.mu
}

// handle returns a handle on a node that was counted. c.mu is held.
func (c *Crash) handle(n *crashNode, name string, writable bool) *crashFile {
	f := &crashFile{c: c, n: n, name: name, writable: writable, seen: n.lost}
	if !n.told {
		f.seen = 0
	}
	return f
}

// enter checks a call's arguments. c.mu is held.
func (f *crashFile) enter(off int64, change bool) error {
	switch {
	case f.closed.Load():
		return fs.ErrClosed
	case change && !f.writable:
		return syscall.EBADF
	case off < 0:
		return syscall.EINVAL
	}
	return nil
}

// look is enter for calls that change nothing, with the power looked at first.
func (f *crashFile) look(op string, off int64) error {
	if err := f.c.check(op, f.name); err != nil {
		return err
	}
	if err := f.enter(off, false); err != nil {
		return pathError(op, f.name, err)
	}
	return nil
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.look("read", off); err != nil {
		return 0, err
	}
	return f.n.now.readAt(p, off)
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	n := 0
	err := f.c.mutate(OpWrite, f.name, func() ([]change, error) {
		if err := f.enter(off, true); err != nil {
			return nil, err
		}
		if off > math.MaxInt64-int64(len(p)) {
			return nil, syscall.EFBIG
		}
		grow := max(0, off+int64(len(p))-f.n.now.size)
		n = int(max(0, int64(len(p))-(grow-f.c.room(grow))))
		if n == 0 {
			return nil, nil
		}
		return []change{{kind: changeWrite, node: f.n, off: off, data: append([]byte(nil), p[:n]...)}}, nil
	})
	if err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, pathError("write", f.name, syscall.ENOSPC)
	}
	return n, nil
}

func (f *crashFile) Truncate(size int64) error {
	return f.c.mutate(OpTruncate, f.name, func() ([]change, error) {
		if err := f.enter(size, true); err != nil {
			return nil, err
		}
		if grow := max(0, size-f.n.now.size); f.c.room(grow) < grow {
			return nil, syscall.ENOSPC
		}
		return []change{{kind: changeTruncate, node: f.n, off: size}}, nil
	})
}

func (f *crashFile) Sync() error {
	err := f.c.mutate(OpSync, f.name, func() ([]change, error) {
		if err := f.enter(0, false); err != nil {
			return nil, err
		}
		return []change{{kind: changeSync, node: f.n}}, nil
	})
	if err != nil {
		return err
	}
	return f.tellLost()
}

// tellLost tells, once for each handle, that the disk did not take something.
func (f *crashFile) tellLost() error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if f.seen == f.n.lost {
		return nil
	}
	f.seen, f.n.told = f.n.lost, true
	return pathError("sync", f.name, syscall.EIO)
}

// Witness keeps the node in memory, as a handle does.
func (f *crashFile) Witness() (io.Closer, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.look("witness", 0); err != nil {
		return nil, err
	}
	f.n.opens++
	return &held{release: func() {
		f.c.mu.Lock()
		defer f.c.mu.Unlock()
		f.n.opens--
		f.c.release(f.n)
	}}, nil
}

func (f *crashFile) Size() (int64, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.look("stat", 0); err != nil {
		return 0, err
	}
	return f.n.now.size, nil
}

// Preallocate only looks whether there is room.
func (f *crashFile) Preallocate(off, n int64) error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.look("preallocate", off); err != nil {
		return err
	}
	if !f.writable {
		return pathError("preallocate", f.name, syscall.EBADF)
	}
	if n <= 0 {
		return nil
	}
	if off > math.MaxInt64-n {
		return pathError("preallocate", f.name, syscall.EFBIG)
	}
	if grow := max(0, off+n-f.n.now.size); f.c.room(grow) < grow {
		return pathError("preallocate", f.name, syscall.ENOSPC)
	}
	return nil
}

// Close works without power too: handles must be countable after a crash.
func (f *crashFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.c.closeNode(f.n)
	return f.c.check("close", f.name)
}

// dropDirty loses what was not synced, as a Sync that fails does: it is still
// seen, but nothing will ever write it.
func (f *crashFile) dropDirty() {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.n.pending = nil
	delete(f.c.dirty, f.n)
}
