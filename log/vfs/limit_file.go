package vfs

import (
	"io"
	"io/fs"
	"sync/atomic"
)

// closedPins is the number of pins of a handle without a descriptor.
const closedPins = -1

// limitedFile is a handle of Limited. Some hundred and fifty bytes and its path are
// all that an idle one costs.
//
// Invariants: pins < 0 means that inner is not to be touched, except by whoever
// set moving. pins goes from 0 to closedPins only under l.mu, by the one who
// closes the descriptor, and back only by the one who opened it.
type limitedFile struct {
	l        *Limited
	inner    File
	pins     atomic.Int32 // calls that use inner, or closedPins
	used     atomic.Bool  // since the clock's hand last came by
	dirty    atomic.Bool  // written since the last Sync
	closed   atomic.Bool
	readOnly bool

	// Guarded by l.mu.
	soiled     bool          // in the list of the dirty
	path       string        // cleaned
	moving     chan struct{} // not nil while the descriptor is opened or closed; closed then
	failed     error         // of a Sync: sticky
	witness    io.Closer     // something was written by a descriptor that is closed, and not synced
	same       *limitedFile  // next handle on the same path
	prev, next *limitedFile  // list of those that may be evicted; nil outside
}

// install makes a fresh descriptor usable with so many pins on it.
func (h *limitedFile) install(inner File, pins int32) {
	h.inner = inner
	h.pins.Store(pins)
}

// endMove lets those go on who wait for the descriptor. l.mu is held.
func (h *limitedFile) endMove() {
	close(h.moving)
	h.moving = nil
}

// awaitMove waits until nobody opens or closes the descriptor. l.mu is held, and
// released while waiting.
func (h *limitedFile) awaitMove() {
	for h.moving != nil {
		moving := h.moving
		h.l.mu.Unlock()
		<-moving
		h.l.mu.Lock()
	}
}

// shut closes the descriptor, with a witness for what is not synced. The caller owns the move.
func (h *limitedFile) shut() (w io.Closer, err error) {
	if h.unsynced() {
		if w, err = witness(h.inner); err != nil {
			h.dirty.Store(false)
			err = h.inner.Sync()
		}
	}
	if e := h.inner.Close(); err == nil && !h.readOnly {
		err = e
	}
	return w, err
}

// unsynced tells whether something was written by the descriptor that no witness knows of.
func (h *limitedFile) unsynced() bool { return h.dirty.Load() && h.witness == nil }

// costly tells whether the descriptor had better not be taken. l.mu is held.
func (h *limitedFile) costly() bool { return h.l.refused && h.unsynced() }

// Yield makes the descriptor the next that is taken.
func (h *limitedFile) Yield() {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	h.l.ring.yield(h)
}

// pin returns the descriptor, opened again if need be, and keeps it open until
// unpin.
func (h *limitedFile) pin(op string) (File, error) {
	for {
		if h.closed.Load() {
			return nil, h.closedError(op)
		}
		n := h.pins.Load()
		if n < 0 {
			return h.reopen(op)
		}
		if h.pins.CompareAndSwap(n, n+1) {
			if !h.used.Load() {
				h.used.Store(true)
			}
			return h.inner, nil
		}
	}
}

func (h *limitedFile) unpin() { h.pins.Add(-1) }

func (h *limitedFile) closedError(op string) error {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	return pathError(op, h.path, fs.ErrClosed)
}

// reopen returns the descriptor pinned once, opening it if nobody else did.
func (h *limitedFile) reopen(op string) (File, error) {
	l := h.l
	l.mu.Lock()
	for h.moving != nil || l.conflict([]string{h.path}) != nil {
		h.awaitMove()
		l.awaitNames(h.path)
	}
	if h.closed.Load() || h.pins.Load() >= 0 {
		l.mu.Unlock()
		return h.pin(op)
	}
	h.moving = make(chan struct{})
	path := h.path
	l.mu.Unlock()

	inner, err := l.descriptor(h.how(), path)

	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		h.install(inner, 1)
		h.used.Store(true)
		l.ring.push(h)
	}
	h.endMove()
	return inner, err
}

func (h *limitedFile) how() opener {
	if h.readOnly {
		return openerRead
	}
	return openerWrite
}

func (h *limitedFile) ReadAt(p []byte, off int64) (int, error) {
	f, err := h.pin("read")
	if err != nil {
		return 0, err
	}
	defer h.unpin()
	return f.ReadAt(p, off)
}

func (h *limitedFile) WriteAt(p []byte, off int64) (int, error) {
	f, err := h.pin("write")
	if err != nil {
		return 0, err
	}
	defer h.unpin()
	n, err := f.WriteAt(p, off)
	h.soil()
	return n, err
}

// soil notes a change. It comes after the change and before unpin: a Sync that
// started earlier may clear the mark of a write it did not see, but not this one.
func (h *limitedFile) soil() {
	if !h.dirty.Load() {
		h.dirty.Store(true)
	}
}

func (h *limitedFile) Truncate(size int64) error {
	f, err := h.pin("truncate")
	if err != nil {
		return err
	}
	defer h.unpin()
	err = f.Truncate(size)
	h.soil()
	return err
}

func (h *limitedFile) Preallocate(off, n int64) error {
	f, err := h.pin("preallocate")
	if err != nil {
		return err
	}
	defer h.unpin()
	return f.Preallocate(off, n)
}

func (h *limitedFile) Size() (int64, error) {
	f, err := h.pin("stat")
	if err != nil {
		return 0, err
	}
	defer h.unpin()
	return f.Size()
}

// SendTo keeps the descriptor for as long as w takes.
func (h *limitedFile) SendTo(w io.Writer, off, n int64) (int64, error) {
	f, err := h.pin("send")
	if err != nil {
		return 0, err
	}
	defer h.unpin()
	return sendVia(f, w, off, n)
}

// Sync fails for good once any sync of this handle failed, also one that was made
// to free the descriptor. What earlier descriptors have written is this one's too: it
// was opened while the file's witness kept what the disk failed to take.
func (h *limitedFile) Sync() error {
	f, err := h.pin("sync")
	if err != nil {
		return err
	}
	defer h.unpin()
	if err := h.failure(); err != nil {
		return err
	}
	h.dirty.Store(false)
	err = f.Sync()
	h.l.mu.Lock()
	if err != nil {
		h.l.fail(h, err)
		h.l.mu.Unlock()
		return err
	}
	gone := h.witness
	h.witness = nil
	h.l.ring.synced(h)
	h.l.mu.Unlock()
	dismiss(gone)
	return nil
}

func (h *limitedFile) failure() error {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	return h.failed
}

// Close closes the descriptor if there is one. A sync that failed when the
// descriptor was taken away, and that no Sync has told yet, is told here.
func (h *limitedFile) Close() error {
	if h.closed.Swap(true) {
		return h.closedError("close")
	}
	l := h.l
	l.mu.Lock()
	h.awaitMove()
	open := h.pins.Load() >= 0
	l.ring.remove(h)
	l.strike(h)
	err := h.failed
	gone := h.witness
	h.witness = nil
	l.mu.Unlock()
	dismiss(gone)
	if !open {
		return err
	}
	if e := h.inner.Close(); err == nil {
		err = e
	}
	l.mu.Lock()
	l.count--
	l.mu.Unlock()
	return err
}

// dropDirty lets a Fault around a Limited fail a Sync as a disk does.
func (h *limitedFile) dropDirty() {
	f, err := h.pin("sync")
	if err != nil {
		return
	}
	defer h.unpin()
	if d, ok := f.(dirtyDropper); ok {
		d.dropDirty()
	}
}
