package topic

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/vfs"
)

// reserve is a file that takes room on the disk so that it can be given up: when the disk is full, the engine
// removes it to write what it must, checkpoints above all, and makes it anew when there is space again. Removing
// segments and topics needs no room of its own.
type reserve struct {
	size int64 // 0: none

	mu   bounded.Mutex // held while the file is written or goes
	held bool
}

const (
	reserveFile = "quire.reserve"
	// defaultReserve is what an engine with a disk budget keeps back, unless told otherwise.
	defaultReserve = 1 << 20
)

// holdReserve makes the file unless it is there. That it cannot is no fault: the disk may be full.
func (e *Engine) holdReserve() {
	r := &e.reserve
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size <= 0 || r.held {
		return
	}
	path := filepath.Join(e.dir, reserveFile)
	if info, err := e.fs.Stat(path); err == nil && info.Size == r.size {
		r.held = true
		return
	}
	if err := e.fill(path, r.size); err != nil {
		e.logger.Warn("no room for the reserve", "dir", e.dir, "err", err)
		_ = e.fs.Remove(path)
		return
	}
	r.held = true
}

// dropReserve removes what an engine that was to have a reserve has left. That it cannot is no fault: the next may.
func (e *Engine) dropReserve() {
	if err := e.fs.Remove(filepath.Join(e.dir, reserveFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.logger.Warn("the reserve of an earlier engine could not be removed", "dir", e.dir, "err", err)
	}
}

// fill writes a file of zeros: no hole, which would take no room.
func (e *Engine) fill(path string, size int64) error {
	if err := e.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := e.fs.Create(path)
	if err != nil {
		return err
	}
	zeros := make([]byte, min(size, 64<<10))
	for at := int64(0); at < size && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(size-at, int64(len(zeros)))], at)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// releaseReserve gives the room back to the disk; false if there was none.
func (e *Engine) releaseReserve() bool {
	r := &e.reserve
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.held {
		return false
	}
	r.held = false
	if err := e.fs.Remove(filepath.Join(e.dir, reserveFile)); err != nil {
		e.logger.Warn("the reserve could not be given up", "dir", e.dir, "err", err)
		return false
	}
	e.logger.Warn("the disk is full: the reserve is in use", "dir", e.dir)
	return true
}

// withReserve calls f again with the reserve's room if the disk has none.
func (e *Engine) withReserve(f func() error) error {
	err := f()
	if err != nil && vfs.IsNoSpace(err) && e.releaseReserve() {
		return f()
	}
	return err
}
