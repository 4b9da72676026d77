package vfstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/quirelog/quire/log/vfs"
)

// together runs n functions at once and ends the subtest on the first error.
func (x *exam) together(n int, do func(i int) error) {
	x.Helper()
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	x.ok(errors.Join(errs...))
}

// manyOpen has more files open than a limit on descriptors would allow.
func (x *exam) manyOpen() {
	const n = 60
	var files []vfs.File
	for i := range n {
		files = append(files, x.file(fmt.Sprintf("f%02d", i), fmt.Sprintf("content %d", i)))
	}
	for round := range 3 {
		for i, f := range files {
			_, err := f.WriteAt([]byte{byte('0' + round)}, 20)
			x.ok(err)
			if i%7 == round {
				x.ok(f.Sync())
			}
		}
	}
	for i, f := range files {
		got := make([]byte, 21)
		_, err := f.ReadAt(got, 0)
		x.ok(err)
		want := append(make([]byte, 0, 21), fmt.Sprintf("content %d", i)...)
		want = append(want[:len(want):len(want)], make([]byte, 20-len(want))...)
		want = append(want, '2')
		x.check(bytes.Equal(got, want), "file %d holds %q, want %q", i, got, want)
		x.ok(f.Sync())
		x.ok(f.Close())
	}
}

// concurrent reads and writes many files from many goroutines, each its own range.
func (x *exam) concurrent() {
	const files, workers, rounds, size = 12, 6, 20, 3000
	var open []vfs.File
	for i := range files {
		open = append(open, x.file(fmt.Sprint("f", i), ""))
	}
	x.together(workers, func(w int) error {
		part, got := make([]byte, size), make([]byte, size)
		for r := range rounds {
			for i, f := range open {
				for k := range part {
					part[k] = byte(w*31 + r*7 + i + k)
				}
				if _, err := f.WriteAt(part, int64(w*size)); err != nil {
					return err
				}
				if _, err := f.ReadAt(got, int64(w*size)); err != nil && err != io.EOF {
					return err
				}
				if !bytes.Equal(got, part) {
					return fmt.Errorf("worker %d read something else than it wrote to file %d", w, i)
				}
				if r%10 == w {
					if err := f.Sync(); err != nil {
						return err
					}
				}
				if _, err := f.Size(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, f := range open {
		x.ok(f.Close())
	}
}

// concurrentNames changes names while handles are used.
func (x *exam) concurrentNames() {
	const workers, rounds = 4, 15
	shared := x.file("shared", "always there")
	x.together(workers, func(w int) error {
		at := func(r int) string { return x.path(fmt.Sprintf("w%d-%d", w, r)) }
		for r := range rounds {
			if err := x.life(at(r), at(r)+"-moved", byte(w)); err != nil {
				return err
			}
			got := make([]byte, 12)
			if _, err := shared.ReadAt(got, 0); err != nil {
				return fmt.Errorf("shared file: %w", err)
			}
			if string(got) != "always there" {
				return fmt.Errorf("shared file gave %q", got)
			}
			if _, err := x.fs.List(x.dir); err != nil {
				return err
			}
			if _, err := x.fs.Open(at(r)); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("a file that was moved is still there (%w)", err)
			}
		}
		return nil
	})
	x.ok(shared.Close())
	x.lists(x.dir, "shared")
}

// life is a short one of a file, from creation to the end of its last handle.
func (x *exam) life(name, moved string, content byte) error {
	f, err := x.fs.Create(name)
	if err != nil {
		return err
	}
	_, errWrite := f.WriteAt([]byte{content}, 0)
	errMove := x.fs.Rename(name, moved)
	got := []byte{0}
	_, errRead := f.ReadAt(got, 0)
	errRemove := x.fs.Remove(moved)
	_, errAgain := f.ReadAt(got, 0)
	if got[0] != content {
		errAgain = fmt.Errorf("removed file gave %d, want %d", got[0], content)
	}
	return errors.Join(errWrite, errMove, errRead, errRemove, errAgain, f.Close())
}
