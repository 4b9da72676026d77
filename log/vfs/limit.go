package vfs

import (
	"io"
	"path/filepath"
	"sync"
)

// Limited is a file system on which any number of Files can be open while about
// limit descriptors are. A File whose descriptor was needed elsewhere opens its
// path again when it is next used. Make it with Limit.
//
// What a caller may rely on is the same as without it:
//
//   - a descriptor that is in use by a call is not closed under it;
//   - a File that was written since its last Sync is closed without one where a
//     Witness takes its place, else when no other choice is left and after a Sync;
//   - the next Sync tells a failure to write what was written through any of its
//     descriptors, and every later one of this File does too;
//   - a File follows a rename that is made through the same Limited, and stays
//     readable and writable after its name is removed or replaced through it.
//
// Changes to names behind its back, two paths to one file or directory, and a failure
// that another program was told of a File without descriptor are not noticed. Descriptors may exceed the limit while all are in use or
// belong to removed files; locks and directories are not counted.
//
// No lock is held during I/O: a slow disk delays those who use the same file.
type Limited struct {
	fs    FS
	limit int

	mu    sync.Mutex // guards all below, and the fields of limitedFile that say so
	count int        // descriptors open, being opened or being closed
	ring  limitedRing
	paths map[string]*limitedFile // chained by same
	under map[string]int          // how many handles lie below a directory
	busy  map[string]*nameChange  // by each of its names; none is below another
	above map[string]int          // how many busy names lie below a directory
	// refused says that there was no witness when last asked for: dirty descriptors go last.
	refused bool
}

// nameChange is a rename or removal under way: paths below its names cannot be
// opened until done is closed.
type nameChange struct {
	names [2]string
	done  chan struct{}
}

// Limit returns a Limited around fs that keeps at most about n descriptors open,
// at least 1.
func Limit(fs FS, n int) *Limited {
	l := &Limited{fs: fs, limit: max(n, 1), paths: make(map[string]*limitedFile),
		busy: make(map[string]*nameChange), above: make(map[string]int), under: make(map[string]int)}
	l.ring.init()
	return l
}

// OpenFiles returns how many descriptors are open at the moment.
func (l *Limited) OpenFiles() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// opener is how a handle gets its descriptor.
type opener uint8

const (
	openerCreate opener = iota
	openerWrite
	openerRead
)

func (l *Limited) openInner(how opener, path string) (File, error) {
	switch how {
	case openerCreate:
		return l.fs.Create(path)
	case openerRead:
		return l.fs.OpenRead(path)
	default:
		return l.fs.Open(path)
	}
}

// Create makes a new file; see FS.
func (l *Limited) Create(name string) (File, error) { return l.open(openerCreate, name) }

// Open opens a file for reading and writing; see FS.
func (l *Limited) Open(name string) (File, error) { return l.open(openerWrite, name) }

// OpenRead opens a file for reading; see FS.
func (l *Limited) OpenRead(name string) (File, error) { return l.open(openerRead, name) }

func (l *Limited) open(how opener, name string) (File, error) {
	h := &limitedFile{l: l, path: filepath.Clean(name), readOnly: how == openerRead, moving: make(chan struct{})}
	h.pins.Store(closedPins)
	l.mu.Lock()
	l.awaitNames(h.path)
	l.enroll(h)
	l.mu.Unlock()

	inner, err := l.descriptor(how, h.path)

	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		h.closed.Store(true) // a removal may have seen it and be waiting
		l.strike(h)
		h.endMove()
		return nil, err
	}
	h.install(inner, 0)
	l.ring.push(h)
	h.endMove()
	return h, nil
}

// descriptor opens a path after making room for one more.
func (l *Limited) descriptor(how opener, path string) (File, error) {
	l.mu.Lock()
	l.count++
	for l.count > l.limit && l.evictOne() {
	}
	l.mu.Unlock()
	for {
		inner, err := l.openInner(how, path)
		if err == nil {
			return inner, nil
		}
		l.mu.Lock()
		// The process may be allowed fewer descriptors than our limit says.
		if IsTooManyFiles(err) && l.evictOne() {
			l.mu.Unlock()
			continue
		}
		l.count--
		l.mu.Unlock()
		return nil, err
	}
}

// evictOne closes the descriptor of one handle that nobody uses and reports
// whether there was one. l.mu is held, and released meanwhile.
func (l *Limited) evictOne() bool {
	h := l.ring.victim()
	if h == nil {
		return false
	}
	h.moving = make(chan struct{})
	asked := h.unsynced()
	l.mu.Unlock()
	w, err := h.shut()
	l.mu.Lock()
	if asked {
		h.witness, l.refused = w, w == nil
	}
	l.count--
	h.inner = nil
	if err != nil {
		l.fail(h, err)
	}
	h.endMove()
	return true
}

// fail notes that the disk did not take what was written to h. It tells one descriptor
// only of those that are opened later: other handles whose descriptor may be one learn it
// here. l.mu is held.
func (l *Limited) fail(h *limitedFile, err error) {
	if h.failed == nil {
		h.failed = err
	}
	for at := l.paths[h.path]; at != nil; at = at.same {
		if at.failed == nil && at.dirty.Load() {
			at.failed = err
		}
	}
}

// awaitNames waits until no rename or removal concerns any of the paths. l.mu is
// held, and released while waiting.
func (l *Limited) awaitNames(paths ...string) {
	for {
		c := l.conflict(paths)
		if c == nil {
			return
		}
		l.mu.Unlock()
		<-c.done
		l.mu.Lock()
	}
}

func (l *Limited) conflict(paths []string) *nameChange {
	if len(l.busy) == 0 {
		return nil
	}
	for _, path := range paths {
		if c := l.busyAt(path); c != nil {
			return c
		}
	}
	return nil
}

// busyAt returns a change of the path, of a directory above it, or of a name
// below it. Only a directory that has such names costs a look at all of them.
func (l *Limited) busyAt(path string) *nameChange {
	for at := path; ; {
		if c := l.busy[at]; c != nil {
			return c
		}
		parent := filepath.Dir(at)
		if parent == at {
			break
		}
		at = parent
	}
	if l.above[path] > 0 {
		for name, c := range l.busy {
			if below(path, name) {
				return c
			}
		}
	}
	return nil
}

// announce makes a change known under its names, or takes it back.
func (l *Limited) announce(c *nameChange, by int) {
	for _, name := range c.names {
		if by > 0 {
			l.busy[name] = c
		} else {
			delete(l.busy, name)
		}
		countAbove(l.above, name, by)
	}
}

// countAbove adds to the counts of all directories above a path.
func countAbove(counts map[string]int, path string, by int) {
	for at, parent := path, filepath.Dir(path); parent != at; at, parent = parent, filepath.Dir(parent) {
		if counts[parent] += by; counts[parent] == 0 {
			delete(counts, parent)
		}
	}
}

func (l *Limited) enroll(h *limitedFile) {
	h.same = l.paths[h.path]
	l.paths[h.path] = h
	countAbove(l.under, h.path, 1)
}

// strike takes a handle off the list of its path.
func (l *Limited) strike(h *limitedFile) {
	first := l.paths[h.path]
	if first == h {
		if h.same == nil {
			delete(l.paths, h.path)
		} else {
			l.paths[h.path] = h.same
		}
		h.same = nil
		countAbove(l.under, h.path, -1)
		return
	}
	for at := first; at != nil; at = at.same {
		if at.same == h {
			at.same, h.same = h.same, nil
			countAbove(l.under, h.path, -1)
			return
		}
	}
}

// MkdirAll makes directories; see FS.
func (l *Limited) MkdirAll(name string) error { return l.fs.MkdirAll(name) }

// Link gives a file a second name; see FS.
func (l *Limited) Link(oldname, newname string) error { return l.fs.Link(oldname, newname) }

// List returns the names in a directory; see FS.
func (l *Limited) List(dir string) (names []string, err error) {
	err = l.roomy(func() error { names, err = l.fs.List(dir); return err })
	return names, err
}

// Stat tells about a file or directory; see FS.
func (l *Limited) Stat(name string) (Info, error) { return l.fs.Stat(name) }

// SyncDir makes the entries of a directory durable; see FS.
func (l *Limited) SyncDir(dir string) error {
	return l.roomy(func() error { return l.fs.SyncDir(dir) })
}

// Lock takes the lock of a file; see FS.
func (l *Limited) Lock(name, holder string) (lock io.Closer, err error) {
	err = l.roomy(func() error { lock, err = l.fs.Lock(name, holder); return err })
	return lock, err
}

// roomy calls f again while the process has too few descriptors for it and a
// handle can give one back.
func (l *Limited) roomy(f func() error) error {
	for {
		err := f()
		if err == nil || !IsTooManyFiles(err) {
			return err
		}
		l.mu.Lock()
		gave := l.evictOne()
		l.mu.Unlock()
		if !gave {
			return err
		}
	}
}
