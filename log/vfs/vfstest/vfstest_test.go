package vfstest_test

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/log/vfs/vfstest"
)

func TestMem(t *testing.T) {
	vfstest.Test(t, func(*testing.T) (vfs.FS, string) { return vfs.NewMem(), "/" })
}

// sabotageEnv makes the test binary take the exam with a broken file system.
const sabotageEnv = "VFSTEST_SABOTAGE"

// sabotages are file systems with one fault each, and a part of the exam that must
// notice it.
func sabotages() map[string]struct {
	fs   vfs.FS
	part string
} {
	return map[string]struct {
		fs   vfs.FS
		part string
	}{
		"creates over files":  {overwriting{vfs.NewMem()}, "Create"},
		"unsorted":            {unsorted{vfs.NewMem()}, "Directories"},
		"locks for everybody": {unlocked{vfs.NewMem()}, "Lock"},
		"no end":              {wrapping{vfs.NewMem(), func(f vfs.File) vfs.File { return endless{f} }}, "ReadWrite"},
		"short writes":        {wrapping{vfs.NewMem(), func(f vfs.File) vfs.File { return short{f} }}, "Large"},
		"keeps cut bytes":     {wrapping{vfs.NewMem(), func(f vfs.File) vfs.File { return uncut{f} }}, "Truncate"},
		"closes twice":        {wrapping{vfs.NewMem(), func(f vfs.File) vfs.File { return lenient{f} }}, "ClosedHandle"},
		"forgets on removal":  {vfs.NewFault(vfs.NewMem(), vfs.Rule{Op: vfs.OpRead, K: 3}), "RemoveOpen"},
	}
}

func TestSabotaged(t *testing.T) {
	s, ok := sabotages()[os.Getenv(sabotageEnv)]
	if !ok {
		return // only in the child process of the test below
	}
	t.Run(s.part, func(t *testing.T) {
		vfstest.Test(t, func(*testing.T) (vfs.FS, string) { return s.fs, "/" })
	})
}

func TestExamCatches(t *testing.T) {
	for name, s := range sabotages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run", "^TestSabotaged$/^"+s.part+"$/^"+s.part+"$")
			cmd.Env = append(os.Environ(), sabotageEnv+"="+name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "the exam was passed: %s", out)
			assert.Contains(t, string(out), "--- FAIL: TestSabotaged/"+s.part+"/"+s.part)
		})
	}
}

type overwriting struct{ *vfs.Mem }

func (o overwriting) Create(name string) (vfs.File, error) {
	if f, err := o.Open(name); err == nil {
		return f, nil
	}
	return o.Mem.Create(name)
}

type unsorted struct{ *vfs.Mem }

func (u unsorted) List(dir string) ([]string, error) {
	names, err := u.Mem.List(dir)
	slices.Reverse(names)
	return names, err
}

type unlocked struct{ *vfs.Mem }

func (u unlocked) Lock(name, _ string) (io.Closer, error) {
	if f, err := u.Open(name); err == nil {
		return f, nil
	}
	return u.Create(name)
}

// wrapping puts something around every file.
type wrapping struct {
	*vfs.Mem
	wrap func(vfs.File) vfs.File
}

func (w wrapping) Create(name string) (vfs.File, error) {
	f, err := w.Mem.Create(name)
	if err != nil {
		return nil, err
	}
	return w.wrap(f), nil
}

type endless struct{ vfs.File }

func (f endless) ReadAt(p []byte, off int64) (int, error) {
	n, _ := f.File.ReadAt(p, off)
	return n, nil
}

type short struct{ vfs.File }

func (f short) WriteAt(p []byte, off int64) (int, error) {
	return f.File.WriteAt(p[:min(len(p), 5000)], off)
}

type uncut struct{ vfs.File }

func (f uncut) Truncate(size int64) error {
	if have, err := f.Size(); err != nil || size >= have {
		return err
	}
	return f.File.Truncate(size)
}

type lenient struct{ vfs.File }

func (f lenient) Close() error {
	_ = f.File.Close()
	return nil
}
