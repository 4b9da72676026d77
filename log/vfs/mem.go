package vfs

import (
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Mem is a file system in memory with the semantics of a POSIX one: removed files
// stay readable through open handles, a rename replaces, locks exclude. Sync and
// SyncDir succeed and do nothing. Make it with NewMem.
//
// It counts what is in use and can pretend to be small: SetByteLimit gives ENOSPC,
// SetHandleLimit gives EMFILE.
type Mem struct {
	mu    sync.RWMutex // guards the tree, links, opens, locks; taken before memNode.mu
	root  *memNode
	locks map[*memNode]string

	handles     atomic.Int64
	handleLimit atomic.Int64 // 0: none
	used        atomic.Int64
	byteLimit   atomic.Int64 // 0: none
}

// memNode is one file or directory, whatever its names are.
type memNode struct {
	dir   map[string]*memNode // nil for a file
	links int
	opens int

	mu       sync.RWMutex // guards what is below; held for copying bytes only
	data     extent
	reserved int64 // bytes charged to the disk: the largest of size and preallocation
	modified int64 // ns since the epoch
}

// NewMem returns an empty disk: a root directory and nothing else.
func NewMem() *Mem {
	return &Mem{root: newMemDir(), locks: make(map[*memNode]string)}
}

func newMemDir() *memNode {
	return &memNode{dir: make(map[string]*memNode), modified: time.Now().UnixNano()}
}

// OpenFiles returns how many handles and locks are open: a test finds leaks by it.
func (m *Mem) OpenFiles() int { return int(m.handles.Load()) }

// Used returns how many bytes files take, sparse gaps and preallocated room included.
func (m *Mem) Used() int64 { return m.used.Load() }

// SetByteLimit makes writes that need more than n bytes in all fail with ENOSPC,
// after taking what still fits, as a full disk does. 0 lifts the limit.
func (m *Mem) SetByteLimit(n int64) { m.byteLimit.Store(n) }

// SetHandleLimit makes opening more than n handles at once fail with EMFILE. 0
// lifts the limit.
func (m *Mem) SetHandleLimit(n int) { m.handleLimit.Store(int64(n)) }

// takeHandle counts one more open handle.
func (m *Mem) takeHandle() error {
	n := m.handles.Add(1)
	if limit := m.handleLimit.Load(); limit > 0 && n > limit {
		m.handles.Add(-1)
		return syscall.EMFILE
	}
	return nil
}

// charge takes up to want bytes of room and returns how many it got.
func (m *Mem) charge(want int64) int64 {
	for {
		used, limit := m.used.Load(), m.byteLimit.Load()
		got := want
		if limit > 0 {
			got = max(0, min(want, limit-used))
		}
		if m.used.CompareAndSwap(used, used+got) {
			return got
		}
	}
}

// find returns the node at a path. m.mu is held.
func (m *Mem) find(name string) (*memNode, error) {
	parts, err := splitPath(name)
	if err != nil {
		return nil, err
	}
	n := m.root
	for _, part := range parts {
		if n.dir == nil {
			return nil, syscall.ENOTDIR
		}
		if n = n.dir[part]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// parent returns the directory that holds, or would hold, the last element of a
// path. m.mu is held.
func (m *Mem) parent(name string) (*memNode, string, error) {
	parts, err := splitPath(name)
	if err != nil {
		return nil, "", err
	}
	if len(parts) == 0 {
		return nil, "", syscall.EBUSY
	}
	n := m.root
	for _, part := range parts[:len(parts)-1] {
		if n.dir == nil {
			return nil, "", syscall.ENOTDIR
		}
		if n = n.dir[part]; n == nil {
			return nil, "", syscall.ENOENT
		}
	}
	if n.dir == nil {
		return nil, "", syscall.ENOTDIR
	}
	return n, parts[len(parts)-1], nil
}

// Create makes a new empty file; see FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.create(name)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	return &memFile{m: m, n: n, name: name, writable: true}, nil
}

// create adds a file with one handle on it. m.mu is held.
func (m *Mem) create(name string) (*memNode, error) {
	dir, base, err := m.parent(name)
	if err != nil {
		return nil, err
	}
	if dir.dir[base] != nil {
		return nil, syscall.EEXIST
	}
	if err := m.takeHandle(); err != nil {
		return nil, err
	}
	n := &memNode{links: 1, opens: 1, modified: time.Now().UnixNano()}
	dir.dir[base] = n
	return n, nil
}

// Open opens an existing file for reading and writing; see FS.
func (m *Mem) Open(name string) (File, error) { return m.open(name, true) }

// OpenRead opens an existing file for reading; see FS.
func (m *Mem) OpenRead(name string) (File, error) { return m.open(name, false) }

func (m *Mem) open(name string, writable bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if err == nil && n.dir != nil {
		err = syscall.EISDIR
	}
	if err == nil {
		err = m.takeHandle()
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n.opens++
	return &memFile{m: m, n: n, name: name, writable: writable}, nil
}

// Remove deletes a file or an empty directory; see FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	n := dir.dir[base]
	switch {
	case n == nil:
		return pathError("remove", name, syscall.ENOENT)
	case len(n.dir) > 0:
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	delete(dir.dir, base)
	m.unlink(n)
	return nil
}

// unlink takes one name from a node and frees it when it was the last thing that
// kept it. m.mu is held.
func (m *Mem) unlink(n *memNode) {
	n.links--
	m.release(n)
}

func (m *Mem) release(n *memNode) {
	if n.dir != nil || n.links > 0 || n.opens > 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	m.used.Add(-n.reserved)
	n.reserved, n.data = 0, extent{}
}

// Rename moves a file or directory and replaces a file; see FS.
func (m *Mem) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(oldname, newname); err != nil {
		return pathError("rename", oldname, err)
	}
	return nil
}

func (m *Mem) rename(oldname, newname string) error {
	from, oldbase, err := m.parent(oldname)
	if err != nil {
		return err
	}
	to, newbase, err := m.parent(newname)
	if err != nil {
		return err
	}
	n, there := from.dir[oldbase], to.dir[newbase]
	if err := checkRename(oldname, newname, n != nil, n != nil && n.dir != nil, there != nil, there != nil && there.dir != nil); err != nil {
		return err
	}
	if n == there {
		return nil
	}
	delete(from.dir, oldbase)
	to.dir[newbase] = n
	if there != nil {
		m.unlink(there)
	}
	return nil
}

// checkRename holds the rules of rename for the file systems in memory.
func checkRename(oldname, newname string, exists, isDir, taken, takenByDir bool) error {
	switch {
	case !exists:
		return syscall.ENOENT
	case isDir && filepath.Clean(oldname) != filepath.Clean(newname) && below(filepath.Clean(oldname), filepath.Clean(newname)):
		return syscall.EINVAL
	case takenByDir:
		return syscall.EEXIST
	case isDir && taken:
		return syscall.ENOTDIR
	}
	return nil
}

// Link gives a file a second name; see FS.
func (m *Mem) Link(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(oldname)
	if err == nil && n.dir != nil {
		err = syscall.EPERM
	}
	if err != nil {
		return pathError("link", oldname, err)
	}
	dir, base, err := m.parent(newname)
	if err == nil && dir.dir[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError("link", newname, err)
	}
	n.links++
	dir.dir[base] = n
	return nil
}

// MkdirAll makes a directory and those above it; see FS.
func (m *Mem) MkdirAll(name string) error {
	parts, err := splitPath(name)
	if err != nil {
		return pathError("mkdir", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for _, part := range parts {
		next := n.dir[part]
		if next == nil {
			next = newMemDir()
			n.dir[part] = next
		}
		if next.dir == nil {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// List returns the names in a directory, sorted; see FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(dir)
	if err == nil && n.dir == nil {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	names := make([]string, 0, len(n.dir))
	for name := range n.dir {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Stat tells about a file or directory; see FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return Info{Size: n.data.size, ModTime: time.Unix(0, n.modified), IsDir: n.dir != nil}, nil
}

// SyncDir succeeds for a directory that exists; see FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(dir)
	if err == nil && n.dir == nil {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError("syncdir", dir, err)
	}
	return nil
}

// Lock takes the exclusive lock of a file or directory; see FS.
func (m *Mem) Lock(name, holder string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	switch err {
	case syscall.ENOENT:
		n, err = m.create(name)
	case nil:
		if held, taken := m.locks[n]; taken {
			return nil, &LockedError{Path: name, Holder: held}
		}
		if err = m.takeHandle(); err == nil {
			n.opens++
		}
	}
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	m.locks[n] = holderLine(holder)
	return &held{release: func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, n)
		m.closeNode(n)
	}}, nil
}

// closeNode takes one handle from a node. m.mu is held.
func (m *Mem) closeNode(n *memNode) {
	m.handles.Add(-1)
	n.opens--
	m.release(n)
}
