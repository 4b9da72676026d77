package main

import (
	"errors"
	"io"

	"github.com/quirelog/quire/log/vfs"
)

// countingFS counts what quire asks of the files. Two atomic additions a call: raw pays the same.
type countingFS struct {
	vfs.FS
	calls atomicCalls
}

func (c *countingFS) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &countingFile{f, &c.calls}, nil
}

func (c *countingFS) Create(name string) (vfs.File, error)   { return c.file(c.FS.Create(name)) }
func (c *countingFS) Open(name string) (vfs.File, error)     { return c.file(c.FS.Open(name)) }
func (c *countingFS) OpenRead(name string) (vfs.File, error) { return c.file(c.FS.OpenRead(name)) }

type countingFile struct {
	vfs.File
	calls *atomicCalls
}

func (f *countingFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.calls.wrote(n)
	return n, err
}

func (f *countingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.calls.read(n)
	return n, err
}

func (f *countingFile) Sync() error {
	f.calls.synced()
	return f.File.Sync()
}

// Witness is the one of the file inside: without it the engine syncs what it closes for want of descriptors.
func (f *countingFile) Witness() (io.Closer, error) {
	if w, ok := f.File.(vfs.Witnesser); ok {
		return w.Witness()
	}
	return nil, errors.ErrUnsupported
}
