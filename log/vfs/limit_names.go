package vfs

import "path/filepath"

// Rename moves a file or directory, and with it the handles that were opened
// through the same Limited; see FS.
func (l *Limited) Rename(oldname, newname string) error {
	from, to := filepath.Clean(oldname), filepath.Clean(newname)
	if from == to {
		return l.fs.Rename(oldname, newname)
	}
	c := l.begin(from, to)
	defer l.end(c)
	moved := l.handlesBelow(from)
	replaced, err := l.keep(to)
	if err != nil {
		return err
	}
	err = l.fs.Rename(oldname, newname)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle(replaced, err == nil)
	if err != nil {
		return err
	}
	for _, h := range moved {
		l.moveHandle(h, to+h.path[len(from):])
	}
	return nil
}

// moveHandle puts a handle on the list of another path, unless Close took it off
// its own already. l.mu is held.
func (l *Limited) moveHandle(h *limitedFile, path string) {
	for at := l.paths[h.path]; at != nil; at = at.same {
		if at == h {
			l.strike(h)
			h.path = path
			l.enroll(h)
			return
		}
	}
}

// Remove deletes a file or empty directory. Handles on it get their descriptor
// back first and keep it; see FS.
func (l *Limited) Remove(name string) error {
	path := filepath.Clean(name)
	c := l.begin(path, path)
	defer l.end(c)
	kept, err := l.keep(path)
	if err != nil {
		return err
	}
	err = l.fs.Remove(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle(kept, err == nil)
	return err
}

// begin announces a change of names and waits for others that overlap it.
func (l *Limited) begin(from, to string) *nameChange {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaitNames(from, to)
	c := &nameChange{names: [2]string{from, to}, done: make(chan struct{})}
	l.announce(c, 1)
	return c
}

func (l *Limited) end(c *nameChange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.announce(c, -1)
	close(c.done)
}

// handlesBelow returns the handles on a path, or in the directory it is, that
// no call is opening or closing. Only a directory with some needs the walk over all.
func (l *Limited) handlesBelow(path string) []*limitedFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	handles := l.at(path)
	if l.under[path] > 0 {
		for name := range l.paths {
			if name != path && below(path, name) {
				handles = append(handles, l.at(name)...)
			}
		}
	}
	for _, h := range handles {
		h.awaitMove()
	}
	return handles
}

func (l *Limited) at(path string) []*limitedFile {
	var handles []*limitedFile
	for h := l.paths[path]; h != nil; h = h.same {
		handles = append(handles, h)
	}
	return handles
}

// keep gives every handle on a path a descriptor that will not be taken, because
// its name is about to go.
func (l *Limited) keep(path string) ([]*limitedFile, error) {
	l.mu.Lock()
	handles := l.at(path)
	kept := handles[:0]
	for _, h := range handles {
		h.awaitMove()
		if h.closed.Load() {
			continue
		}
		l.ring.remove(h)
		kept = append(kept, h)
	}
	l.mu.Unlock()
	for _, h := range kept {
		if err := l.keepOne(h); err != nil {
			l.mu.Lock()
			l.settle(kept, false)
			l.mu.Unlock()
			return nil, err
		}
	}
	return kept, nil
}

func (l *Limited) keepOne(h *limitedFile) error {
	l.mu.Lock()
	h.awaitMove()
	if h.closed.Load() || h.pins.Load() >= 0 {
		l.mu.Unlock()
		return nil
	}
	h.moving = make(chan struct{})
	l.mu.Unlock()
	inner, err := l.descriptor(h.how(), h.path)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		h.install(inner, 0)
	}
	h.endMove()
	return err
}

// settle takes kept handles off the list of their path when that is gone, and makes
// them ordinary ones again when it is not. l.mu is held.
func (l *Limited) settle(kept []*limitedFile, gone bool) {
	for _, h := range kept {
		switch {
		case h.closed.Load():
		case gone:
			l.strike(h)
		case h.pins.Load() >= 0 && h.next == nil:
			l.ring.push(h)
		}
	}
}
