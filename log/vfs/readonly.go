package vfs

import "io"

// ReadOnly returns inner with every change refused with ErrReadOnly, Lock and
// SyncDir included: it is a window on a disk that somebody else may be writing.
func ReadOnly(inner FS) FS { return readOnly{inner} }

type readOnly struct{ inner FS }

func refuse(op, name string) error { return pathError(op, name, ErrReadOnly) }

func (r readOnly) Create(name string) (File, error) { return nil, refuse("create", name) }
func (r readOnly) Open(name string) (File, error)   { return nil, refuse("open", name) }
func (r readOnly) Remove(name string) error         { return refuse("remove", name) }
func (r readOnly) Rename(oldname, _ string) error   { return refuse("rename", oldname) }
func (r readOnly) Link(oldname, _ string) error     { return refuse("link", oldname) }
func (r readOnly) MkdirAll(name string) error       { return refuse("mkdir", name) }
func (r readOnly) SyncDir(dir string) error         { return refuse("syncdir", dir) }

func (r readOnly) Lock(name, _ string) (io.Closer, error) { return nil, refuse("lock", name) }

func (r readOnly) List(dir string) ([]string, error) { return r.inner.List(dir) }
func (r readOnly) Stat(name string) (Info, error)    { return r.inner.Stat(name) }

func (r readOnly) OpenRead(name string) (File, error) {
	f, err := r.inner.OpenRead(name)
	if err != nil {
		return nil, err
	}
	return &readOnlyFile{File: f, name: name}, nil
}

// readOnlyFile refuses changes itself, whatever the handle inside would allow.
type readOnlyFile struct {
	File
	name string
}

func (f *readOnlyFile) WriteAt([]byte, int64) (int, error) { return 0, refuse("write", f.name) }
func (f *readOnlyFile) Truncate(int64) error               { return refuse("truncate", f.name) }
func (f *readOnlyFile) Preallocate(int64, int64) error     { return refuse("preallocate", f.name) }
func (f *readOnlyFile) Sync() error                        { return refuse("sync", f.name) }

func (f *readOnlyFile) SendTo(w io.Writer, off, n int64) (int64, error) {
	return sendVia(f.File, w, off, n)
}
