package vfs

import (
	"os"
	"time"
)

// ModTimer is an optional part of an FS that can set a file's time of last change, as
// Apache Kafka does for segments it has cleaned: what is decided by a file's age goes on
// as if the file had not been written anew.
type ModTimer interface {
	// SetModTime changes what Stat gives as ModTime. The change is durable when the file
	// system pleases.
	SetModTime(name string, t time.Time) error
}

// SetModTime sets a file's time of last change where the file system can; elsewhere it
// does nothing.
func SetModTime(fsys FS, name string, t time.Time) error {
	if m, ok := fsys.(ModTimer); ok {
		return m.SetModTime(name, t)
	}
	return nil
}

// SetModTime implements ModTimer.
func (o *osFS) SetModTime(name string, t time.Time) error { return os.Chtimes(name, time.Time{}, t) }

// SetModTime implements ModTimer.
func (m *Mem) SetModTime(name string, t time.Time) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err != nil {
		return pathError("chtimes", name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.modified = t.UnixNano()
	return nil
}

// SetModTime implements ModTimer.
func (c *Crash) SetModTime(name string, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.check("chtimes", name); err != nil {
		return err
	}
	n, err := c.find(name)
	if err != nil {
		return pathError("chtimes", name, err)
	}
	n.modified = t.UnixNano()
	return nil
}

// SetModTime implements ModTimer.
func (l *Limited) SetModTime(name string, t time.Time) error { return SetModTime(l.fs, name, t) }

// SetModTime implements ModTimer; it is never made to fail.
func (f *Fault) SetModTime(name string, t time.Time) error { return SetModTime(f.inner, name, t) }

// SetModTime implements ModTimer.
func (r readOnly) SetModTime(name string, _ time.Time) error { return refuse("chtimes", name) }
