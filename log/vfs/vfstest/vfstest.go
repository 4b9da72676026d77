package vfstest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/quirelog/quire/log/vfs"
)

// NewFS returns a file system and an empty directory on it, both for the caller
// alone. What must be undone it leaves to t.Cleanup.
type NewFS func(t *testing.T) (fsys vfs.FS, dir string)

// Test runs the exam. Each subtest gets a fresh file system.
func Test(t *testing.T, newFS func(t *testing.T) (fsys vfs.FS, dir string)) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(*exam)
	}{
		{"Create", (*exam).create},
		{"Missing", (*exam).missing},
		{"ReadWrite", (*exam).readWrite},
		{"Large", (*exam).large},
		{"Truncate", (*exam).truncate},
		{"Preallocate", (*exam).preallocate},
		{"ReadOnlyHandle", (*exam).readOnlyHandle},
		{"ClosedHandle", (*exam).closedHandle},
		{"RemoveOpen", (*exam).removeOpen},
		{"Rename", (*exam).rename},
		{"RenameOpen", (*exam).renameOpen},
		{"RenameDirectory", (*exam).renameDirectory},
		{"Link", (*exam).link},
		{"Directories", (*exam).directories},
		{"Lock", (*exam).lock},
		{"LockDirectory", (*exam).lockDirectory},
		{"Whole", (*exam).whole},
		{"SendTo", (*exam).sendTo},
		{"ManyOpen", (*exam).manyOpen},
		{"Concurrent", (*exam).concurrent},
		{"ConcurrentNames", (*exam).concurrentNames},
		{"Model", (*exam).model},
	} {
		t.Run(part.name, func(t *testing.T) {
			fsys, dir := newFS(t)
			part.run(&exam{T: t, fs: fsys, dir: dir})
		})
	}
}

// exam is one subtest with its disk.
type exam struct {
	*testing.T
	fs  vfs.FS
	dir string
}

func (x *exam) path(elem ...string) string {
	return filepath.Join(append([]string{x.dir}, elem...)...)
}

// ok ends the subtest on an error.
func (x *exam) ok(err error) {
	x.Helper()
	if err != nil {
		x.Fatalf("unexpected error: %v", err)
	}
}

// is ends the subtest unless err matches target.
func (x *exam) is(err, target error) {
	x.Helper()
	if !errors.Is(err, target) {
		x.Fatalf("got error %v, want one that matches %v", err, target)
	}
}

// fails ends the subtest unless there is an error.
func (x *exam) fails(err error) {
	x.Helper()
	if err == nil {
		x.Fatal("got no error")
	}
}

func (x *exam) check(ok bool, format string, args ...any) {
	x.Helper()
	if !ok {
		x.Fatalf(format, args...)
	}
}

// file makes a file with some content and returns it open.
func (x *exam) file(name, content string) vfs.File {
	x.Helper()
	f, err := x.fs.Create(x.path(name))
	x.ok(err)
	_, err = f.WriteAt([]byte(content), 0)
	x.ok(err)
	return f
}

// put makes a file with some content.
func (x *exam) put(name, content string) {
	x.Helper()
	x.ok(x.file(name, content).Close())
}

// holds checks the content of an open file.
func (x *exam) holds(f vfs.File, want string) {
	x.Helper()
	size, err := f.Size()
	x.ok(err)
	got := make([]byte, size)
	if n, err := f.ReadAt(got, 0); err != io.EOF || n < len(got) {
		x.ok(err)
	}
	x.check(string(got) == want, "content is %q, want %q", got, want)
}

// has checks the content under a name.
func (x *exam) has(name, want string) {
	x.Helper()
	f, err := x.fs.OpenRead(x.path(name))
	x.ok(err)
	x.holds(f, want)
	x.ok(f.Close())
}

// lists checks the entries of a directory.
func (x *exam) lists(dir string, want ...string) {
	x.Helper()
	got, err := x.fs.List(dir)
	x.ok(err)
	x.check(slices.Equal(got, want), "directory holds %q, want %q", got, want)
}

func (x *exam) create() {
	f := x.file("a", "")
	x.holds(f, "")
	_, err := x.fs.Create(x.path("a"))
	x.is(err, fs.ErrExist)
	_, err = x.fs.Create(x.path("no", "a"))
	x.is(err, fs.ErrNotExist)
	_, err = x.fs.Create(x.path("a", "b"))
	x.fails(err)
	_, err = x.fs.Create(x.path("nul\x00byte"))
	x.fails(err)
	_, err = x.fs.Create(x.path(string(bytes.Repeat([]byte{'n'}, 300))))
	x.fails(err)
	x.ok(f.Close())
	x.lists(x.dir, "a")
}

func (x *exam) missing() {
	name := x.path("none")
	_, err := x.fs.Open(name)
	x.is(err, fs.ErrNotExist)
	_, err = x.fs.OpenRead(name)
	x.is(err, fs.ErrNotExist)
	_, err = x.fs.Stat(name)
	x.is(err, fs.ErrNotExist)
	_, err = x.fs.List(name)
	x.is(err, fs.ErrNotExist)
	_, err = x.fs.Lock(x.path("none", "lock"), "me")
	x.is(err, fs.ErrNotExist)
	x.is(x.fs.Remove(name), fs.ErrNotExist)
	x.is(x.fs.Rename(name, x.path("other")), fs.ErrNotExist)
	x.is(x.fs.Link(name, x.path("other")), fs.ErrNotExist)
	x.is(x.fs.SyncDir(name), fs.ErrNotExist)
	x.put("a", "x")
	x.is(x.fs.Rename(x.path("a"), x.path("none", "a")), fs.ErrNotExist)
	x.has("a", "x")
}

func (x *exam) readWrite() {
	f := x.file("a", "hello")
	n, err := f.WriteAt([]byte("world"), 10)
	x.check(n == 5 && err == nil, "write of 5 gave %d, %v", n, err)
	x.holds(f, "hello\x00\x00\x00\x00\x00world")
	_, err = f.WriteAt([]byte("p, "), 3)
	x.ok(err)
	x.holds(f, "help, \x00\x00\x00\x00world")
	buf := make([]byte, 8)
	n, err = f.ReadAt(buf, 10)
	x.check(n == 5 && err == io.EOF && string(buf[:n]) == "world", "read at the end gave %d, %v, %q", n, err, buf[:n])
	n, err = f.ReadAt(buf, 15)
	x.check(n == 0 && err == io.EOF, "read at the end gave %d, %v", n, err)
	n, err = f.ReadAt(buf, 1<<40)
	x.check(n == 0 && err == io.EOF, "read far past the end gave %d, %v", n, err)
	n, err = f.ReadAt(buf[:5], 10)
	x.check(n == 5 && (err == nil || err == io.EOF), "full read gave %d, %v", n, err)
	n, err = f.ReadAt(nil, 3)
	x.check(n == 0 && err == nil, "empty read gave %d, %v", n, err)
	_, err = f.ReadAt(buf, -1)
	x.fails(err)
	_, err = f.WriteAt(buf, -1)
	x.fails(err)
	_, err = f.WriteAt(nil, 100)
	x.ok(err)
	x.ok(f.Sync())
	x.ok(x.fs.SyncDir(x.dir))
	info, err := x.fs.Stat(x.path("a"))
	x.ok(err)
	x.check(info.Size == 15 && !info.IsDir && !info.ModTime.IsZero(), "stat gave %+v", info)
	x.ok(f.Close())
	x.has("a", "help, \x00\x00\x00\x00world")
}

// large crosses every unit of memory an implementation may have.
func (x *exam) large() {
	f := x.file("a", "")
	want := make([]byte, 0, 1<<20)
	for i := 0; len(want) < 1<<20; i++ {
		part := bytes.Repeat([]byte{byte(i), byte(i >> 8), 7}, 1+i*37%9000)
		_, err := f.WriteAt(part, int64(len(want)))
		x.ok(err)
		want = append(want, part...)
	}
	for _, off := range []int{0, 1, 511, 4095, 4096, 65535, 65536, 200_000} {
		for _, n := range []int{1, 4096, 65536, 300_000} {
			got := make([]byte, n)
			_, err := f.ReadAt(got, int64(off))
			x.ok(err)
			x.check(bytes.Equal(got, want[off:off+n]), "%d bytes at %d differ", n, off)
		}
	}
	x.holds(f, string(want))
	x.ok(f.Close())
}

func (x *exam) truncate() {
	f := x.file("a", "0123456789")
	x.ok(f.Truncate(4))
	x.holds(f, "0123")
	x.ok(f.Truncate(8))
	x.holds(f, "0123\x00\x00\x00\x00")
	x.ok(f.Truncate(0))
	x.holds(f, "")
	x.fails(f.Truncate(-1))
	_, err := f.WriteAt(bytes.Repeat([]byte{'x'}, 200_000), 0)
	x.ok(err)
	x.ok(f.Truncate(70_000))
	x.ok(f.Truncate(150_000))
	x.holds(f, string(bytes.Repeat([]byte{'x'}, 70_000))+string(make([]byte, 80_000)))
	x.ok(f.Close())
}

func (x *exam) preallocate() {
	f := x.file("a", "abc")
	x.ok(f.Preallocate(0, 100_000))
	x.holds(f, "abc")
	_, err := f.WriteAt([]byte("def"), 50_000)
	x.ok(err)
	x.holds(f, "abc"+string(make([]byte, 49_997))+"def")
	x.ok(f.Truncate(3))
	x.holds(f, "abc")
	x.ok(f.Close())
}

func (x *exam) readOnlyHandle() {
	x.put("a", "abc")
	f, err := x.fs.OpenRead(x.path("a"))
	x.ok(err)
	_, err = f.WriteAt([]byte("x"), 0)
	x.fails(err)
	x.fails(f.Truncate(0))
	x.holds(f, "abc")
	x.ok(f.Close())
}

func (x *exam) closedHandle() {
	f := x.file("a", "abc")
	x.ok(f.Close())
	_, err := f.ReadAt(make([]byte, 1), 0)
	x.is(err, fs.ErrClosed)
	_, err = f.WriteAt(make([]byte, 1), 0)
	x.is(err, fs.ErrClosed)
	_, err = f.Size()
	x.is(err, fs.ErrClosed)
	x.is(f.Truncate(0), fs.ErrClosed)
	x.is(f.Sync(), fs.ErrClosed)
	x.is(f.Close(), fs.ErrClosed)
	x.has("a", "abc")
}

func (x *exam) sendTo() {
	f := x.file("a", string(bytes.Repeat([]byte("0123456789"), 20_000)))
	s, ok := f.(vfs.Sender)
	if ok {
		var got bytes.Buffer
		n, err := s.SendTo(&got, 5, 150_000)
		x.check(n == 150_000 && err == nil, "sent %d, %v", n, err)
		x.check(bytes.Equal(got.Bytes()[:10], []byte("5678901234")), "sent %q...", got.Bytes()[:10])
		n, err = s.SendTo(&got, 199_990, 100)
		x.check(n == 10 && err == io.ErrUnexpectedEOF, "sending past the end gave %d, %v", n, err)
		n, err = s.SendTo(&got, 0, 0)
		x.check(n == 0 && err == nil, "sending nothing gave %d, %v", n, err)
	}
	x.ok(f.Close())
}

func (x *exam) whole() {
	name := x.path("a")
	x.ok(vfs.WriteFile(x.fs, name, []byte("one")))
	x.ok(vfs.WriteFile(x.fs, name, []byte("two!")))
	x.put("b.tmp", "left by a crash")
	x.ok(vfs.WriteFile(x.fs, x.path("b"), nil))
	x.lists(x.dir, "a", "b")
	got, err := vfs.ReadFile(x.fs, name, 4)
	x.ok(err)
	x.check(string(got) == "two!", "read %q", got)
	_, err = vfs.ReadFile(x.fs, name, 3)
	x.is(err, vfs.ErrTooLarge)
	_, err = vfs.ReadFile(x.fs, x.path("none"), 3)
	x.is(err, fs.ErrNotExist)
	x.ok(x.fs.MkdirAll(x.path("d", "e", "f")))
	x.ok(vfs.WriteFile(x.fs, x.path("d", "e", "x"), nil))
	x.ok(vfs.RemoveAll(x.fs, x.path("d")))
	x.ok(vfs.RemoveAll(x.fs, x.path("d")))
	x.lists(x.dir, "a", "b")
}
