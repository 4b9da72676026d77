package vfstest

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/quirelog/quire/log/vfs"
)

func (x *exam) removeOpen() {
	f := x.file("a", "old")
	x.ok(x.fs.Remove(x.path("a")))
	x.is(x.fs.Remove(x.path("a")), fs.ErrNotExist)
	x.lists(x.dir)
	x.holds(f, "old")
	x.put("a", "new")
	_, err := f.WriteAt([]byte("er"), 3)
	x.ok(err)
	x.ok(f.Sync())
	x.holds(f, "older")
	x.has("a", "new")
	x.ok(f.Close())
	x.has("a", "new")
}

func (x *exam) rename() {
	x.put("a", "A")
	x.put("b", "B")
	x.ok(x.fs.Rename(x.path("a"), x.path("b")))
	x.lists(x.dir, "b")
	x.has("b", "A")
	x.ok(x.fs.Rename(x.path("b"), x.path("b")))
	x.has("b", "A")
	x.ok(x.fs.MkdirAll(x.path("d")))
	x.fails(x.fs.Rename(x.path("b"), x.path("d")))
	x.fails(x.fs.Rename(x.path("d"), x.path("b")))
	x.ok(x.fs.Rename(x.path("b"), x.path("d", "c")))
	x.lists(x.dir, "d")
	x.lists(x.path("d"), "c")
	x.has("d/c", "A")
}

func (x *exam) renameOpen() {
	moved, replaced := x.file("a", "moved"), x.file("b", "replaced")
	x.ok(x.fs.Rename(x.path("a"), x.path("b")))
	x.put("a", "newcomer")
	x.holds(moved, "moved")
	x.holds(replaced, "replaced")
	_, err := moved.WriteAt([]byte("M"), 0)
	x.ok(err)
	_, err = replaced.WriteAt([]byte("R"), 0)
	x.ok(err)
	x.has("a", "newcomer")
	x.has("b", "Moved")
	x.holds(replaced, "Replaced")
	x.ok(moved.Close())
	x.ok(replaced.Close())
}

func (x *exam) renameDirectory() {
	x.ok(x.fs.MkdirAll(x.path("d", "e")))
	f := x.file("d/e/a", "content")
	x.fails(x.fs.Rename(x.path("d"), x.path("d", "e", "inside")))
	x.ok(x.fs.Rename(x.path("d"), x.path("z")))
	x.is(x.fs.SyncDir(x.path("d")), fs.ErrNotExist)
	x.holds(f, "content")
	x.has("z/e/a", "content")
	x.ok(x.fs.Remove(x.path("z", "e", "a")))
	x.holds(f, "content")
	x.ok(f.Close())
	x.lists(x.path("z", "e"))
}

func (x *exam) link() {
	f := x.file("a", "one")
	x.ok(x.fs.Link(x.path("a"), x.path("b")))
	x.is(x.fs.Link(x.path("a"), x.path("b")), fs.ErrExist)
	_, err := f.WriteAt([]byte("two"), 0)
	x.ok(err)
	x.has("b", "two")
	x.ok(x.fs.Remove(x.path("a")))
	x.has("b", "two")
	x.holds(f, "two")
	x.ok(f.Close())
	x.lists(x.dir, "b")
}

func (x *exam) directories() {
	x.ok(x.fs.MkdirAll(x.path("b", "c")))
	x.ok(x.fs.MkdirAll(x.path("b", "c")))
	upper := x.path("B")
	if folds, err := vfs.FoldsCase(x.fs, x.dir, "b"); err != nil || folds {
		x.ok(err)
		upper = x.path("A0") // sorted the same
	}
	x.ok(x.fs.MkdirAll(upper))
	x.put("b/file", "")
	x.put("a", "")
	x.fails(x.fs.MkdirAll(x.path("a")))
	x.fails(x.fs.MkdirAll(x.path("a", "x")))
	x.lists(x.dir, filepath.Base(upper), "a", "b")
	x.lists(x.path("b"), "c", "file")
	x.lists(x.path("b", "c"))
	info, err := x.fs.Stat(x.path("b"))
	x.ok(err)
	x.check(info.IsDir, "stat of a directory gave %+v", info)
	_, err = x.fs.List(x.path("a"))
	x.fails(err)
	_, err = x.fs.Open(x.path("b"))
	x.fails(err)
	// RemoveAll knows a directory that is not empty by this.
	x.is(x.fs.Remove(x.path("b")), fs.ErrExist)
	x.ok(x.fs.Remove(x.path("b", "c")))
	x.ok(x.fs.SyncDir(x.path("b")))
	x.ok(x.fs.Remove(x.path("b", "file")))
	x.ok(x.fs.Remove(x.path("b")))
	x.lists(x.dir, filepath.Base(upper), "a")
}

func (x *exam) lock() {
	name := x.path("lock")
	first, err := x.fs.Lock(name, "the first")
	x.ok(err)
	_, err = x.fs.Lock(name, "the second")
	x.is(err, vfs.ErrLocked)
	var locked *vfs.LockedError
	x.check(errors.As(err, &locked), "error is a %T", err)
	x.check(locked.Path == name && strings.Contains(locked.Holder, "the first"), "error tells %+v", locked)
	other, err := x.fs.Lock(x.path("other"), "me")
	x.ok(err)
	x.ok(other.Close())
	x.ok(first.Close())
	again, err := x.fs.Lock(name, "the third")
	x.ok(err)
	// Closing a lock twice must not free what somebody else took since.
	_ = first.Close()
	_, err = x.fs.Lock(name, "the fourth")
	x.is(err, vfs.ErrLocked)
	x.ok(again.Close())
	x.lists(x.dir, "lock", "other")
}

// lockDirectory locks a directory itself: what lies in it may go, or be locked apart.
func (x *exam) lockDirectory() {
	first, err := x.fs.Lock(x.dir, "the first")
	if errors.Is(err, errors.ErrUnsupported) {
		x.Skip("no locks of directories here")
	}
	x.ok(err)
	_, err = x.fs.Lock(x.dir, "the second")
	x.is(err, vfs.ErrLocked)
	inside, err := x.fs.Lock(x.path("lock"), "me")
	x.ok(err)
	x.ok(x.fs.Remove(x.path("lock")))
	_, err = x.fs.Lock(x.dir, "the third")
	x.is(err, vfs.ErrLocked)
	x.ok(inside.Close())
	x.ok(first.Close())
	again, err := x.fs.Lock(x.dir, "the fourth")
	x.ok(err)
	_ = first.Close()
	_, err = x.fs.Lock(x.dir, "the fifth")
	x.is(err, vfs.ErrLocked)
	x.ok(again.Close())
	x.lists(x.dir)
}
