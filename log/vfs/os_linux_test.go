package vfs_test

import (
	"bytes"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/quirelog/quire/log/vfs"
)

func TestOSPreallocateTakesBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	f := must(vfs.OS().Create(path))
	if err := unix.Fallocate(probe(t), unix.FALLOC_FL_KEEP_SIZE, 0, 4096); err != nil {
		t.Skipf("this file system cannot preallocate: %v", err)
	}
	require.NoError(t, f.Preallocate(0, 1<<20))
	st := must(os.Stat(path))
	assert.Zero(t, st.Size())
	assert.GreaterOrEqual(t, st.Sys().(*syscall.Stat_t).Blocks*512, int64(1<<20))
	require.NoError(t, f.Close())
}

// probe returns the descriptor of a scratch file.
func probe(t *testing.T) int {
	f := must(os.Create(filepath.Join(t.TempDir(), "probe")))
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}

// TestOSDescriptors counts them: none may be left after what was closed or failed.
func TestOSDescriptors(t *testing.T) {
	count := func() int { return len(must(os.ReadDir("/proc/self/fd"))) }
	dir := t.TempDir()
	fsys := vfs.OS()
	lock := must(fsys.Lock(filepath.Join(dir, "lock"), "me"))
	before := count()
	for range 20 {
		require.NoError(t, vfs.WriteFile(fsys, filepath.Join(dir, "a"), []byte("x")))
		require.Error(t, second(fsys.Lock(filepath.Join(dir, "lock"), "other")))
		require.Error(t, second(fsys.Create(filepath.Join(dir, "a"))))
		must(fsys.List(dir))
	}
	assert.Equal(t, before, count())
	require.NoError(t, lock.Close())
}

func TestLimitHoldsDescriptors(t *testing.T) {
	count := func() int { return len(must(os.ReadDir("/proc/self/fd"))) }
	dir := t.TempDir()
	l := vfs.Limit(vfs.OS(), 5)
	before := count()
	var files []vfs.File
	for i := range 100 {
		f := must(l.Create(filepath.Join(dir, string(rune('a'+i/26))+string(rune('a'+i%26)))))
		write(t, f, 0, "x")
		files = append(files, f)
		require.LessOrEqual(t, count(), before+5)
	}
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	assert.Equal(t, before, count())
}

// A witness keeps the inode by a mapping, not by a descriptor; there are so many of them that the process can live with.
func TestWitnessMapsTheFile(t *testing.T) {
	maps := func(path string) int { return strings.Count(string(must(os.ReadFile("/proc/self/maps"))), path) }
	path := filepath.Join(t.TempDir(), "witnessed")
	l := vfs.Limit(vfs.OS(), 1)
	f, other := must(l.Create(path)), must(l.Create(path+"-other"))
	write(t, f, 0, "data")
	get(t, f)
	require.Zero(t, maps(path))
	for range 2 {
		write(t, other, 0, "data")
		require.Equal(t, 1, strings.Count(string(must(os.ReadFile("/proc/self/maps"))), path+"\n"))
		write(t, f, 0, "DATA")
	}
	require.NoError(t, f.Sync())
	require.Equal(t, 1, maps(path), "the other's")
	require.NoError(t, other.Close())
	write(t, f, 0, "data")
	require.NoError(t, f.Close())
	require.Zero(t, maps(path))

	g := must(vfs.OS().Open(path)).(vfs.Witnesser)
	var all []io.Closer
	w, err := g.Witness()
	for ; err == nil && len(all) < 40_000; w, err = g.Witness() {
		all = append(all, w)
	}
	require.ErrorIs(t, err, syscall.ENOMEM)
	require.NoError(t, all[0].Close())
	require.NoError(t, all[0].Close())
	all[0] = must(g.Witness())
	_, err = g.Witness()
	require.Error(t, err, "one was given back once")
	for _, w := range all {
		require.NoError(t, w.Close())
	}
	require.Zero(t, maps(path))
	require.NoError(t, g.(vfs.File).Close())
	_, err = g.Witness()
	require.ErrorIs(t, err, fs.ErrClosed)
}

// mute is a socket that cannot be written to through Write: what reaches the other end went by the descriptor, file to
// socket in the kernel, and not through this process.
type mute struct {
	syscall.Conn
	t *testing.T
}

func (m mute) Write(p []byte) (int, error) {
	m.t.Errorf("%d bytes were copied", len(p))
	return 0, syscall.EPIPE
}

func TestSendToLeavesTheBytesInTheKernel(t *testing.T) {
	data := sample(3 << 20)
	for name, fsys := range map[string]vfs.FS{
		"OS": vfs.OS(), "Limit": vfs.Limit(vfs.OS(), 1), "Fault": vfs.NewFault(vfs.OS()), "ReadOnly": vfs.ReadOnly(vfs.OS()),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a")
			require.NoError(t, vfs.WriteFile(vfs.OS(), path, data))
			f := must(fsys.OpenRead(path))
			near, far := pipe(t)
			got := make(chan []byte)
			go func() {
				all, _ := io.ReadAll(far)
				got <- all
			}()
			n, err := f.(vfs.Sender).SendTo(mute{near.(syscall.Conn), t}, 1000, 2<<20)
			require.NoError(t, err)
			require.EqualValues(t, 2<<20, n)
			require.NoError(t, near.Close())
			require.True(t, bytes.Equal(data[1000:1000+2<<20], <-got))
			require.NoError(t, f.Close())
		})
	}
}

// TestOSLockExcludesRecordLocks holds the lock that Java's FileChannel takes against ours, in both orders.
func TestOSLockExcludesRecordLocks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	f := must(os.Create(name))
	defer f.Close()
	take := func(kind int16) error {
		return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: kind})
	}
	require.NoError(t, take(unix.F_WRLCK))
	require.ErrorIs(t, second(vfs.OS().Lock(name, "me")), vfs.ErrLocked)
	require.NoError(t, take(unix.F_UNLCK))
	lock := must(vfs.OS().Lock(name, "me"))
	require.ErrorIs(t, take(unix.F_WRLCK), unix.EAGAIN)
	require.NoError(t, lock.Close())
	require.NoError(t, take(unix.F_WRLCK))
}

// TestOSLockIsFreeBesideAProcessThatStarts: what is being started shares all open files until it is another program.
func TestOSLockIsFreeBesideAProcessThatStarts(t *testing.T) {
	name := filepath.Join(must(filepath.EvalSymlinks(t.TempDir())), "lock")
	lock := must(vfs.OS().Lock(name, "first"))
	shared := -1
	for _, e := range must(os.ReadDir("/proc/self/fd")) {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to == name {
			shared = must(unix.Dup(must(strconv.Atoi(e.Name()))))
		}
	}
	require.NotEqual(t, -1, shared)
	defer unix.Close(shared)
	require.NoError(t, lock.Close())
	require.NoError(t, must(vfs.OS().Lock(name, "second")).Close())
}

// TestOSOpensRegularFilesOnly asks for what would wait or is no file, by each way in.
func TestOSOpensRegularFilesOnly(t *testing.T) {
	dir, fsys := t.TempDir(), vfs.OS()
	fifo, socket, link, sub := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket"), filepath.Join(dir, "link"), filepath.Join(dir, "sub")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	l := must(net.Listen("unix", socket))
	defer l.Close()
	require.NoError(t, os.Symlink("fifo", link))
	require.NoError(t, os.Mkdir(sub, 0o700))
	for _, name := range []string{fifo, link, "/dev/zero", "/dev/null"} {
		require.ErrorIs(t, second(fsys.Open(name)), vfs.ErrNotRegular, name)
		require.ErrorIs(t, second(fsys.OpenRead(name)), vfs.ErrNotRegular, name)
		require.ErrorIs(t, second(fsys.Lock(name, "me")), vfs.ErrNotRegular, name)
		require.ErrorIs(t, second(vfs.ReadFile(fsys, name, 100)), vfs.ErrNotRegular, name)
		require.Error(t, second(fsys.List(name)), name)
		require.Error(t, fsys.SyncDir(name), name)
	}
	require.Error(t, second(fsys.OpenRead(socket)))
	require.ErrorIs(t, second(fsys.OpenRead(sub)), syscall.EISDIR)
	require.NoError(t, vfs.WriteFile(fsys, fifo, []byte("new")))
	require.Equal(t, "new", string(must(vfs.ReadFile(fsys, fifo, 100))))
}
