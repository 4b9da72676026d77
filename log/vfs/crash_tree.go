package vfs

import (
	"io"
	"slices"
	"syscall"
	"time"
)

// find returns the node at a path. c.mu is held.
func (c *Crash) find(name string) (*crashNode, error) {
	parts, err := splitPath(name)
	if err != nil {
		return nil, err
	}
	return c.descend(parts)
}

func (c *Crash) descend(parts []string) (*crashNode, error) {
	n := c.root
	for _, part := range parts {
		if !n.isDir {
			return nil, syscall.ENOTDIR
		}
		if n = n.live[part]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// place returns the entry a path names and the node there, if any. c.mu is held.
func (c *Crash) place(name string) (place, *crashNode, error) {
	parts, err := splitPath(name)
	if err != nil {
		return place{}, nil, err
	}
	if len(parts) == 0 {
		return place{}, nil, syscall.EBUSY
	}
	dir, err := c.descend(parts[:len(parts)-1])
	if err == nil && !dir.isDir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return place{}, nil, err
	}
	base := parts[len(parts)-1]
	return place{dir, base}, dir.live[base], nil
}

// Create makes a new file; see FS.
func (c *Crash) Create(name string) (File, error) {
	var n *crashNode
	err := c.mutate(OpCreate, name, func() (changes []change, err error) {
		n, changes, err = c.planCreate(name)
		return changes, err
	})
	if err != nil {
		c.abandon(n)
		return nil, err
	}
	return &crashFile{c: c, n: n, name: name, writable: true}, nil // nothing of a new file was lost
}

// planCreate gives a new file with a handle on it. c.mu is held.
func (c *Crash) planCreate(name string) (*crashNode, []change, error) {
	at, there, err := c.place(name)
	if err != nil {
		return nil, nil, err
	}
	if there != nil {
		return nil, nil, syscall.EEXIST
	}
	n := c.newNode(false)
	if err := c.takeHandle(n); err != nil {
		return nil, nil, err
	}
	return n, []change{{node: n, to: at}}, nil
}

// abandon takes back the handle of a creation that the power cut came in.
func (c *Crash) abandon(n *crashNode) {
	if n == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeNode(n)
}

// Open opens a file for reading and writing; see FS.
func (c *Crash) Open(name string) (File, error) { return c.open(name, true) }

// OpenRead opens a file for reading; see FS.
func (c *Crash) OpenRead(name string) (File, error) { return c.open(name, false) }

func (c *Crash) open(name string, writable bool) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.check("open", name); err != nil {
		return nil, err
	}
	n, err := c.find(name)
	if err == nil && n.isDir {
		err = syscall.EISDIR
	}
	if err == nil {
		err = c.takeHandle(n)
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return c.handle(n, name, writable), nil
}

// Remove deletes a file or an empty directory; see FS.
func (c *Crash) Remove(name string) error {
	return c.mutate(OpRemove, name, func() ([]change, error) {
		at, n, err := c.place(name)
		switch {
		case err != nil:
			return nil, err
		case n == nil:
			return nil, syscall.ENOENT
		case len(n.live) > 0:
			return nil, syscall.ENOTEMPTY
		}
		return []change{{node: n, from: at}}, nil
	})
}

// Rename moves a file or directory and replaces a file; see FS.
func (c *Crash) Rename(oldname, newname string) error {
	return c.mutate(OpRename, oldname, func() ([]change, error) {
		from, n, err := c.place(oldname)
		if err != nil {
			return nil, err
		}
		to, there, err := c.place(newname)
		if err != nil {
			return nil, err
		}
		err = checkRename(oldname, newname, n != nil, n != nil && n.isDir, there != nil, there != nil && there.isDir)
		if err != nil || n == there {
			return nil, err
		}
		return []change{{node: n, from: from, to: to}}, nil
	})
}

// Link gives a file a second name; see FS.
func (c *Crash) Link(oldname, newname string) error {
	return c.mutate(OpLink, oldname, func() ([]change, error) {
		n, err := c.find(oldname)
		if err != nil {
			return nil, err
		}
		if n.isDir {
			return nil, syscall.EPERM
		}
		to, there, err := c.place(newname)
		if err == nil && there != nil {
			err = syscall.EEXIST
		}
		if err != nil {
			return nil, err
		}
		return []change{{node: n, to: to}}, nil
	})
}

// MkdirAll makes a directory and those above it, in one operation whose parts a
// crash may separate; see FS.
func (c *Crash) MkdirAll(name string) error {
	return c.mutate(OpMkdirAll, name, func() ([]change, error) {
		parts, err := splitPath(name)
		if err != nil {
			return nil, err
		}
		var changes []change
		n := c.root
		for _, part := range parts {
			next := n.live[part]
			if next == nil {
				next = c.newNode(true)
				changes = append(changes, change{node: next, to: place{n, part}})
			}
			if !next.isDir {
				return nil, syscall.ENOTDIR
			}
			n = next
		}
		return changes, nil
	})
}

// SyncDir makes the entries of a directory durable; see FS.
func (c *Crash) SyncDir(dir string) error {
	return c.mutate(OpSyncDir, dir, func() ([]change, error) {
		n, err := c.find(dir)
		if err == nil && !n.isDir {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return nil, err
		}
		return []change{{kind: changeSyncDir, node: n}}, nil
	})
}

// List returns the names in a directory, sorted; see FS.
func (c *Crash) List(dir string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.check("list", dir); err != nil {
		return nil, err
	}
	n, err := c.find(dir)
	if err == nil && !n.isDir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	names := make([]string, 0, len(n.live))
	for name := range n.live {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Stat tells about a file or directory; see FS.
func (c *Crash) Stat(name string) (Info, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.check("stat", name); err != nil {
		return Info{}, err
	}
	n, err := c.find(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	return Info{Size: n.now.size, ModTime: time.Unix(0, n.modified), IsDir: n.isDir}, nil
}

// Lock takes the exclusive lock of a file or directory; see FS. It dies with a crash.
func (c *Crash) Lock(name, holder string) (io.Closer, error) {
	c.mu.Lock()
	n, err := c.find(name)
	c.mu.Unlock()
	if err == syscall.ENOENT {
		return c.lockNew(name, holder)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.check("lock", name); err != nil {
		return nil, err
	}
	if err == nil {
		if held, taken := c.locks[n]; taken {
			return nil, &LockedError{Path: name, Holder: held}
		}
		err = c.takeHandle(n)
	}
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	return c.grant(n, holder), nil
}

// lockNew takes the lock of a file that it creates. Whoever loses a race for the
// creation finds the file taken.
func (c *Crash) lockNew(name, holder string) (io.Closer, error) {
	var n *crashNode
	err := c.mutate(OpLock, name, func() (changes []change, err error) {
		n, changes, err = c.planCreate(name)
		return changes, err
	})
	if err != nil {
		c.abandon(n)
		c.mu.Lock()
		defer c.mu.Unlock()
		if there, e := c.find(name); e == nil && !c.dead {
			if held, taken := c.locks[there]; taken {
				return nil, &LockedError{Path: name, Holder: held}
			}
		}
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.grant(n, holder), nil
}

// grant notes who holds a lock. c.mu is held.
func (c *Crash) grant(n *crashNode, holder string) io.Closer {
	c.locks[n] = holderLine(holder)
	return &held{release: func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.locks, n)
		c.closeNode(n)
	}}
}

// closeNode takes one handle from a node. c.mu is held.
func (c *Crash) closeNode(n *crashNode) {
	c.handles--
	n.opens--
	c.release(n)
}
