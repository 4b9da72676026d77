package vfs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

func Example() {
	disk := vfs.NewMem()
	if err := disk.MkdirAll("data"); err != nil {
		fmt.Println(err)
	}
	if err := vfs.WriteFile(disk, "data/greeting", []byte("hello")); err != nil {
		fmt.Println(err)
	}
	names, err := disk.List("data")
	fmt.Println(names, err)
	// Output: [greeting] <nil>
}

func TestMemBudgets(t *testing.T) {
	m := vfs.NewMem()
	m.SetByteLimit(1000)
	f := must(m.Create("/a"))
	n, err := f.WriteAt(make([]byte, 1500), 0)
	require.Equal(t, 1000, n, "a full disk takes what fits")
	require.True(t, vfs.IsNoSpace(err), "%v", err)
	require.Equal(t, int64(1000), m.Used())
	n, err = f.WriteAt([]byte("over"), 10)
	require.NoError(t, err, "what is there can be written again")
	require.Equal(t, 4, n)
	require.NoError(t, f.Truncate(400))
	require.Equal(t, int64(400), m.Used())
	require.True(t, vfs.IsNoSpace(f.Truncate(1001)))
	require.True(t, vfs.IsNoSpace(f.Preallocate(0, 1001)))
	require.Equal(t, int64(400), m.Used(), "a refused reservation takes nothing")
	require.NoError(t, f.Preallocate(0, 900))
	g := must(m.Create("/b"))
	n, err = g.WriteAt(make([]byte, 200), 0)
	require.Equal(t, 100, n)
	require.Error(t, err)
	write(t, f, 400, strings.Repeat("x", 500))
	require.NoError(t, m.Remove("/a"))
	require.Equal(t, int64(1000), m.Used(), "open files keep their room")
	require.NoError(t, f.Close())
	require.Equal(t, int64(100), m.Used())
	require.NoError(t, g.Close())
	require.NoError(t, m.Remove("/b"))
	require.Zero(t, m.Used())
}

func TestMemHandleLimit(t *testing.T) {
	m := vfs.NewMem()
	m.SetHandleLimit(2)
	f, lock := must(m.Create("/a")), must(m.Lock("/lock", "x"))
	for _, err := range []error{
		second(m.Open("/a")), second(m.Create("/b")), second(m.Lock("/lock2", "")), second(m.OpenRead("/a")),
	} {
		require.ErrorIs(t, err, syscall.EMFILE)
		require.True(t, vfs.IsTooManyFiles(err))
	}
	require.Equal(t, []string{"a", "lock"}, must(m.List("/")), "nothing was created")
	require.NoError(t, lock.Close())
	require.NoError(t, must(m.Open("/a")).Close())
	require.NoError(t, f.Close())
	require.Zero(t, m.OpenFiles())
}

func TestMemHugeOffsets(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"mem": vfs.NewMem(), "crash": vfs.NewCrash()} {
		f := must(fsys.Create("/a"))
		_, err := f.WriteAt(make([]byte, 10), 1<<63-5)
		require.ErrorIs(t, err, syscall.EFBIG, name)
		require.True(t, vfs.IsNoSpace(err))
		require.ErrorIs(t, f.Preallocate(1<<63-5, 10), syscall.EFBIG)
		require.NoError(t, f.Truncate(1<<40), "gaps cost nothing")
		got := make([]byte, 10)
		n, err := f.ReadAt(got, 1<<40-10)
		require.NoError(t, err)
		require.Equal(t, 10, n)
	}
}

// TestMemConcurrent reads what is written and shrinks all the while.
func TestMemConcurrent(t *testing.T) {
	m := vfs.NewMem()
	f := must(m.Create("/a"))
	write(t, f, 0, strings.Repeat("x", 100_000))
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			dice, buf := rand.New(rand.NewPCG(1, uint64(i))), make([]byte, 5000)
			for range 300 {
				n, err := f.ReadAt(buf, dice.Int64N(95_000))
				if assert.NoError(t, err) {
					assert.Equal(t, 5000, n)
				}
				assert.Empty(t, strings.Trim(string(buf), "xy"))
			}
		})
		all.Go(func() {
			dice, buf := rand.New(rand.NewPCG(2, uint64(i))), bytes.Repeat([]byte("y"), 3000)
			for range 300 {
				_, err := f.WriteAt(buf, dice.Int64N(97_000))
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	for range 4 {
		g := must(m.Open("/a"))
		all.Go(func() {
			for {
				if _, err := g.ReadAt(make([]byte, 10), 0); err != nil {
					assert.ErrorIs(t, err, fs.ErrClosed, "closing under a reader is an error, never an empty file")
					return
				}
			}
		})
		all.Go(func() { assert.NoError(t, g.Close()) })
	}
	require.NoError(t, m.Remove("/a"))
	require.NoError(t, f.Close())
	all.Wait()
	require.Zero(t, m.OpenFiles())
	require.Zero(t, m.Used())
}

func TestReadOnly(t *testing.T) {
	m := vfs.NewMem()
	require.NoError(t, vfs.WriteFile(m, "/a", []byte("abc")))
	ro := vfs.ReadOnly(m)
	f := must(ro.OpenRead("/a"))
	for name, err := range map[string]error{
		"create": second(ro.Create("/b")), "open": second(ro.Open("/a")), "remove": ro.Remove("/a"),
		"rename": ro.Rename("/a", "/b"), "link": ro.Link("/a", "/b"), "mkdir": ro.MkdirAll("/d"), "syncdir": ro.SyncDir("/"),
		"lock": second(ro.Lock("/l", "")), "write": second(f.WriteAt([]byte("x"), 0)), "truncate": f.Truncate(0),
		"sync": f.Sync(), "preallocate": f.Preallocate(0, 1), "writefile": vfs.WriteFile(ro, "/a", nil),
	} {
		assert.ErrorIs(t, err, vfs.ErrReadOnly, name)
	}
	assert.Equal(t, "abc", content(t, ro, "/a"))
	assert.Equal(t, []string{"a"}, must(ro.List("/")))
	assert.Equal(t, int64(3), must(ro.Stat("/a")).Size)
	var sent strings.Builder
	n, err := f.(vfs.Sender).SendTo(&sent, 1, 2)
	require.NoError(t, err)
	require.Equal(t, int64(2), n)
	require.Equal(t, "bc", sent.String())
	require.NoError(t, f.Close())
}

func BenchmarkMemAppend(b *testing.B) {
	f, part := must(vfs.NewMem().Create("/a")), make([]byte, 1000)
	b.SetBytes(1000)
	off := int64(0)
	for b.Loop() {
		if _, err := f.WriteAt(part, off%(256<<20)); err != nil {
			b.Fatal(err)
		}
		off += 1000
	}
}
