package vfs_test

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

func TestFaultKthMatch(t *testing.T) {
	for name, c := range map[string]struct {
		rule vfs.Rule
		want string // per write: . fine, ! failed
	}{
		"first":        {vfs.Rule{Op: vfs.OpWrite}, "!....."},
		"third":        {vfs.Rule{Op: vfs.OpWrite, K: 3}, "..!..."},
		"third of two": {vfs.Rule{Op: vfs.OpWrite, K: 3, Count: 2}, "..!!.."},
		"from fourth":  {vfs.Rule{Op: vfs.OpWrite, K: 4, Count: vfs.Forever}, "...!!!"},
		"glob":         {vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever}, "!.!.!."},
		"whole glob":   {vfs.Rule{Op: vfs.OpWrite, Path: "/*.log", Count: vfs.Forever}, "!.!.!."},
		"part":         {vfs.Rule{Op: vfs.OpWrite, Path: "b.ind", K: 2}, "...!.."},
		"other path":   {vfs.Rule{Op: vfs.OpWrite, Path: "c"}, "......"},
		"other kind":   {vfs.Rule{Op: vfs.OpSync}, "......"},
		"any kind":     {vfs.Rule{K: 4}, "...!.."},
	} {
		t.Run(name, func(t *testing.T) {
			faulty := vfs.NewFault(vfs.NewMem())
			a, b := must(faulty.Create("/a.log")), must(faulty.Create("/b.index"))
			faulty.Add(c.rule)
			got := ""
			for i := range 6 {
				f := []vfs.File{a, b}[i%2]
				if _, err := f.WriteAt([]byte("x"), 0); err != nil {
					require.ErrorIs(t, err, syscall.EIO)
					got += "!"
				} else {
					got += "."
				}
			}
			assert.Equal(t, c.want, got)
		})
	}
}

// TestFaultEveryCall lets each kind of call fail once, with nothing done.
func TestFaultEveryCall(t *testing.T) {
	calls := map[vfs.Op]func(fsys vfs.FS, f vfs.File) error{
		vfs.OpCreate:      func(fsys vfs.FS, _ vfs.File) error { return second(fsys.Create("/new")) },
		vfs.OpOpen:        func(fsys vfs.FS, _ vfs.File) error { return second(fsys.Open("/a")) },
		vfs.OpOpenRead:    func(fsys vfs.FS, _ vfs.File) error { return second(fsys.OpenRead("/a")) },
		vfs.OpRemove:      func(fsys vfs.FS, _ vfs.File) error { return fsys.Remove("/b") },
		vfs.OpRename:      func(fsys vfs.FS, _ vfs.File) error { return fsys.Rename("/b", "/c") },
		vfs.OpLink:        func(fsys vfs.FS, _ vfs.File) error { return fsys.Link("/b", "/c") },
		vfs.OpMkdirAll:    func(fsys vfs.FS, _ vfs.File) error { return fsys.MkdirAll("/d") },
		vfs.OpList:        func(fsys vfs.FS, _ vfs.File) error { return second(fsys.List("/")) },
		vfs.OpStat:        func(fsys vfs.FS, _ vfs.File) error { return second(fsys.Stat("/a")) },
		vfs.OpSyncDir:     func(fsys vfs.FS, _ vfs.File) error { return fsys.SyncDir("/") },
		vfs.OpLock:        func(fsys vfs.FS, _ vfs.File) error { return second(fsys.Lock("/lock", "")) },
		vfs.OpRead:        func(_ vfs.FS, f vfs.File) error { return second(f.ReadAt(make([]byte, 1), 0)) },
		vfs.OpWrite:       func(_ vfs.FS, f vfs.File) error { return second(f.WriteAt([]byte("y"), 0)) },
		vfs.OpTruncate:    func(_ vfs.FS, f vfs.File) error { return f.Truncate(0) },
		vfs.OpSync:        func(_ vfs.FS, f vfs.File) error { return f.Sync() },
		vfs.OpPreallocate: func(_ vfs.FS, f vfs.File) error { return f.Preallocate(0, 9) },
		vfs.OpSize:        func(_ vfs.FS, f vfs.File) error { return second(f.Size()) },
		vfs.OpSend:        func(_ vfs.FS, f vfs.File) error { return second(f.(vfs.Sender).SendTo(io.Discard, 0, 1)) },
	}
	for op, call := range calls {
		t.Run(op.String(), func(t *testing.T) {
			mem := vfs.NewMem()
			require.NoError(t, vfs.WriteFile(mem, "/a", []byte("x")))
			require.NoError(t, vfs.WriteFile(mem, "/b", nil))
			faulty := vfs.NewFault(mem)
			f := must(faulty.Open("/a"))
			handles := mem.OpenFiles()
			before, total := faulty.Count(op), faulty.Count(vfs.OpAny)
			faulty.Add(vfs.Rule{Op: op, Err: syscall.ENOSPC})
			err := call(faulty, f)
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.True(t, vfs.IsNoSpace(err))
			assert.Equal(t, before+1, faulty.Count(op))
			assert.Equal(t, total+1, faulty.Count(vfs.OpAny))
			assert.Equal(t, []string{"a", "b"}, must(mem.List("/")), "nothing was done")
			assert.Equal(t, "x", content(t, mem, "/a"))
			assert.Equal(t, handles, mem.OpenFiles())
			require.NoError(t, call(faulty, f), "the rule is spent")
		})
	}
}

func TestFaultShort(t *testing.T) {
	mem := vfs.NewMem()
	faulty := vfs.NewFault(mem,
		vfs.Rule{Op: vfs.OpWrite, Short: 3, Err: syscall.ENOSPC},
		vfs.Rule{Op: vfs.OpRead, Short: 2},
		vfs.Rule{Op: vfs.OpSend, Short: 1},
	)
	f := must(faulty.Create("/a"))
	n, err := f.WriteAt([]byte("hello"), 0)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 3, n)
	assert.Equal(t, "hel", content(t, mem, "/a"))
	buf := make([]byte, 5)
	n, err = f.ReadAt(buf, 0)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, 2, n)
	var sent strings.Builder
	m, err := f.(vfs.Sender).SendTo(&sent, 0, 3)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, int64(1), m)
	require.Equal(t, "h", sent.String())
}

func TestFaultDoneAndLie(t *testing.T) {
	mem := vfs.NewMem()
	faulty := vfs.NewFault(mem,
		vfs.Rule{Op: vfs.OpWrite, Done: true},
		vfs.Rule{Op: vfs.OpWrite, K: 2, Lie: true},
		vfs.Rule{Op: vfs.OpRename, Done: true},
		vfs.Rule{Op: vfs.OpTruncate, Lie: true},
		vfs.Rule{Op: vfs.OpRemove, Lie: true},
		vfs.Rule{Op: vfs.OpCreate, K: 2, Done: true},
	)
	f := must(faulty.Create("/a"))
	n, err := f.WriteAt([]byte("done"), 0)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, 4, n)
	_, err = f.WriteAt([]byte("lost"), 0)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(0))
	assert.Equal(t, "done", content(t, mem, "/a"))
	require.Error(t, faulty.Rename("/a", "/b"))
	assert.Equal(t, "done", content(t, mem, "/b"))
	_, err = faulty.Create("/c")
	require.Error(t, err)
	assert.Equal(t, "", content(t, mem, "/c"))
	require.NoError(t, faulty.Remove("/c"), "a lie about a removal is none")
	assert.Equal(t, "?", content(t, mem, "/c"))
	require.NoError(t, f.Close())
	require.Zero(t, mem.OpenFiles())
}

func TestFaultHook(t *testing.T) {
	var seen []string
	faulty := vfs.NewFault(vfs.NewMem(), vfs.Rule{Count: vfs.Forever, Hook: func(op vfs.Op, path string) {
		seen = append(seen, fmt.Sprint(op, " ", filepath.ToSlash(path)))
	}})
	require.NoError(t, vfs.WriteFile(faulty, "/a", []byte("x")))
	assert.Equal(t, []string{
		"create /a.tmp", "write /a.tmp", "sync /a.tmp", "close /a.tmp", "rename /a.tmp", "syncdir /",
	}, seen)
	faulty.Clear()
	require.NoError(t, faulty.Remove("/a"))
	assert.Len(t, seen, 6)
	assert.Equal(t, "op(99)", vfs.Op(99).String())
}

// TestWriteFileFailsCleanly fails each call of WriteFile once: no temporary file
// stays, no handle leaks, the name holds the old or the new content.
func TestWriteFileFailsCleanly(t *testing.T) {
	count := vfs.NewFault(vfs.NewMem())
	require.NoError(t, vfs.WriteFile(count, "/a", []byte("new")))
	require.Equal(t, int64(6), count.Count(vfs.OpAny))
	for k := 1; k <= 6; k++ {
		mem := vfs.NewMem()
		require.NoError(t, vfs.WriteFile(mem, "/a", []byte("old")))
		err := vfs.WriteFile(vfs.NewFault(mem, vfs.Rule{K: k, Short: 1}), "/a", []byte("new"))
		require.ErrorIs(t, err, syscall.EIO)
		assert.Equal(t, []string{"a"}, must(mem.List("/")), "k=%d", k)
		want := "old"
		if k == 6 { // only the directory's sync failed
			want = "new"
		}
		assert.Equal(t, want, content(t, mem, "/a"), "k=%d", k)
		assert.Zero(t, mem.OpenFiles(), "k=%d", k)
	}
}

// What another call removes meanwhile is gone: both succeed.
func TestRemoveAllBesideAnother(t *testing.T) {
	for _, before := range []vfs.Rule{{Op: vfs.OpRemove}, {Op: vfs.OpList}, {Op: vfs.OpRemove, K: 2}, {Op: vfs.OpRemove, K: 3}} {
		mem := vfs.NewMem()
		require.NoError(t, mem.MkdirAll("/d"))
		require.NoError(t, vfs.WriteFile(mem, "/d/a", nil))
		before.Hook = func(vfs.Op, string) { require.NoError(t, vfs.RemoveAll(mem, "/d")) }
		require.NoError(t, vfs.RemoveAll(vfs.NewFault(mem, before), "/d"), "%v %d", before.Op, before.K)
		assert.Empty(t, must(mem.List("/")))
	}
}

func TestRemoveAllGoesOn(t *testing.T) {
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("/d/e"))
	for _, name := range []string{"/d/a", "/d/b", "/d/e/c"} {
		require.NoError(t, vfs.WriteFile(mem, name, nil))
	}
	faulty := vfs.NewFault(mem, vfs.Rule{Op: vfs.OpRemove, Path: "/d/a"})
	require.ErrorIs(t, vfs.RemoveAll(faulty, "/d"), syscall.EIO)
	assert.Equal(t, []string{"a"}, must(mem.List("/d")))
	require.NoError(t, vfs.RemoveAll(faulty, "/d"))
	assert.Empty(t, must(mem.List("/")))
}
