package vfs_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// lockEnv makes the test binary a process that holds a lock until its input ends.
const lockEnv = "VFS_TEST_LOCK"

func TestMain(m *testing.M) {
	if name := os.Getenv(lockEnv); name != "" {
		os.Exit(holdLock(name))
	}
	os.Exit(m.Run())
}

func holdLock(name string) int {
	lock, err := vfs.OS().Lock(name, "the child")
	if err != nil {
		fmt.Println("refused:", err)
		return 1
	}
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = lock.Close()
	return 0
}

// child starts another process that takes the lock, and waits until it says how
// that went.
func child(t *testing.T, name string) (cmd *exec.Cmd, stdin io.Closer, said string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockEnv+"="+name)
	in := must(cmd.StdinPipe())
	out := must(cmd.StdoutPipe())
	require.NoError(t, cmd.Start())
	said, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd, in, strings.TrimSpace(said)
}

func TestOSLockAmongProcesses(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "lock")
	cmd, stdin, said := child(t, name)
	require.Equal(t, "locked", said)

	_, err := vfs.OS().Lock(name, "me")
	var locked *vfs.LockedError
	require.ErrorAs(t, err, &locked)
	assert.Contains(t, locked.Holder, "pid "+strconv.Itoa(cmd.Process.Pid))
	assert.Contains(t, locked.Holder, "the child")
	assert.Contains(t, locked.Holder, must(os.Hostname()))
	assert.Contains(t, locked.Holder, time.Now().UTC().Format("2006-01-02"))

	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())
	mine := must(vfs.OS().Lock(name, "me"))
	cmd, _, said = child(t, name)
	assert.Contains(t, said, "refused: ")
	assert.Contains(t, said, "pid "+strconv.Itoa(os.Getpid()))
	require.Error(t, cmd.Wait())
	require.NoError(t, mine.Close())

	// A killed process leaves its words in the file, but no lock.
	cmd, _, said = child(t, name)
	require.Equal(t, "locked", said)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.NoError(t, must(vfs.OS().Lock(name, "me")).Close())
}

func TestOSLockThroughSymlink(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	require.NoError(t, os.Symlink("real", filepath.Join(dir, "link")))
	if _, err := os.Stat(filepath.Join(dir, "link")); err != nil {
		t.Skip("this system does not follow symbolic links:", err)
	}
	lock := must(vfs.OS().Lock(filepath.Join(dir, "real", "lock"), "first"))
	_, err := vfs.OS().Lock(filepath.Join(dir, "link", "lock"), "second")
	require.ErrorIs(t, err, vfs.ErrLocked)
	require.NoError(t, lock.Close())
}

// TestOSLockIsNotInherited starts a process while the lock is held and frees the
// lock while that lives.
func TestOSLockIsNotInherited(t *testing.T) {
	dir := t.TempDir()
	mine := must(vfs.OS().Lock(filepath.Join(dir, "mine"), "parent"))
	cmd, stdin, said := child(t, filepath.Join(dir, "other"))
	require.Equal(t, "locked", said)
	require.NoError(t, mine.Close())
	require.NoError(t, must(vfs.OS().Lock(filepath.Join(dir, "mine"), "again")).Close())
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())
}

func TestRemoveAllFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "keep"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keep", "a"), nil, 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "drop", "sub"), 0o755))
	require.NoError(t, os.Symlink("../../keep", filepath.Join(dir, "drop", "sub", "link")))
	require.NoError(t, vfs.RemoveAll(vfs.OS(), filepath.Join(dir, "drop")))
	assert.Equal(t, []string{"keep"}, must(vfs.OS().List(dir)))
	assert.Equal(t, []string{"a"}, must(vfs.OS().List(filepath.Join(dir, "keep"))))
}

// pipe returns both ends of a TCP connection over loopback.
func pipe(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	near = must(net.Dial("tcp", l.Addr().String()))
	far = must(l.Accept())
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return near, far
}

func sample(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*i>>7 + i)
	}
	return data
}

func TestSendToSocket(t *testing.T) {
	data := sample(5 << 20) // more than socket buffers hold
	for name, fsys := range map[string]vfs.FS{
		"OS": vfs.OS(), "Limit": vfs.Limit(vfs.OS(), 1), "Fault": vfs.NewFault(vfs.OS()),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a")
			require.NoError(t, vfs.WriteFile(fsys, path, data))
			f := must(fsys.OpenRead(path))
			near, far := pipe(t)
			got := make(chan [32]byte)
			go func() {
				all, _ := io.ReadAll(far)
				got <- sha256.Sum256(all)
			}()
			n, err := f.(vfs.Sender).SendTo(near, 1000, 4<<20)
			require.NoError(t, err)
			require.Equal(t, int64(4<<20), n)
			n, err = f.(vfs.Sender).SendTo(near, 5<<20-10, 100)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, int64(10), n)
			require.NoError(t, near.Close())
			want := append(append([]byte(nil), data[1000:1000+4<<20]...), data[5<<20-10:]...)
			require.Equal(t, sha256.Sum256(want), <-got)
			require.NoError(t, f.Close())
			_, err = f.(vfs.Sender).SendTo(near, 0, 10)
			require.ErrorIs(t, err, os.ErrClosed)
		})
	}
}

// TestSendToTwice sends two ranges of one handle at once: no shared position.
func TestSendToTwice(t *testing.T) {
	data := sample(2 << 20)
	path := filepath.Join(t.TempDir(), "a")
	require.NoError(t, vfs.WriteFile(vfs.OS(), path, data))
	f := must(vfs.OS().OpenRead(path))
	type part struct {
		off int64
		all []byte
	}
	parts := make(chan part)
	for i := range 4 {
		near, far := pipe(t)
		off := int64(i * 100_000)
		go func() {
			_, err := f.(vfs.Sender).SendTo(near, off, 1<<20)
			assert.NoError(t, err)
			_ = near.Close()
		}()
		go func() {
			all, _ := io.ReadAll(far)
			parts <- part{off, all}
		}()
	}
	for range 4 {
		p := <-parts
		require.True(t, bytes.Equal(data[p.off:p.off+1<<20], p.all), "range from %d", p.off)
	}
	require.NoError(t, f.Close())
}

func TestSendToDeadline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	require.NoError(t, vfs.WriteFile(vfs.OS(), path, sample(16<<20)))
	f := must(vfs.OS().OpenRead(path))
	near, _ := pipe(t) // nobody reads the far end
	require.NoError(t, near.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
	n, err := f.(vfs.Sender).SendTo(near, 0, 16<<20)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Less(t, n, int64(16<<20))
	require.NoError(t, f.Close())
}

// failing takes some bytes and then fails.
type failing struct{ left int }

func (w *failing) Write(p []byte) (int, error) {
	n := min(w.left, len(p))
	w.left -= n
	if n < len(p) {
		return n, errors.New("full")
	}
	return n, nil
}

func TestSendToWriterFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	require.NoError(t, vfs.WriteFile(vfs.OS(), path, sample(200_000)))
	f := must(vfs.OS().OpenRead(path))
	n, err := f.(vfs.Sender).SendTo(&failing{left: 100_000}, 0, 200_000)
	require.EqualError(t, err, "full")
	require.Equal(t, int64(100_000), n)
	require.NoError(t, f.Close())
}

func TestErrorKinds(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		assert.True(t, vfs.IsNoSpace(fmt.Errorf("x: %w", err)))
		assert.False(t, vfs.IsTooManyFiles(err))
	}
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE} {
		assert.True(t, vfs.IsTooManyFiles(&os.PathError{Err: err}))
		assert.False(t, vfs.IsNoSpace(err))
	}
	assert.False(t, vfs.IsNoSpace(nil))
	assert.Equal(t, "vfs: /x is locked", (&vfs.LockedError{Path: "/x"}).Error())
	assert.Equal(t, "vfs: /x is locked by me", (&vfs.LockedError{Path: "/x", Holder: "me"}).Error())
}
