package topic_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// everyFile makes a closed data directory that has a file of each kind, and lists them.
func everyFile(t *testing.T, dir string) (files []string) {
	t.Helper()
	eng, err := topic.Open(dir, topic.DiskReserve(4096))
	require.NoError(t, err)
	orders, err := eng.Topic(t.Context(), "orders", topic.SegmentBytes(1024))
	require.NoError(t, err)
	for range 3 {
		_, err := orders.Append(t.Context(), topic.Record{Value: make([]byte, 700)})
		require.NoError(t, err)
	}
	require.NoError(t, eng.Close())
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			name, _ := filepath.Rel(dir, path)
			files = append(files, name)
		}
		return err
	}))
	return files
}

// TestStrangeFilesHangNothing puts a FIFO and a device where each file of a data directory is, in turn. Verify, Open and all
// that follows come back, and what is not served is told by an error that names the file and says what it is not.
func TestStrangeFilesHangNothing(t *testing.T) {
	model := t.TempDir()
	files := everyFile(t, model)
	require.Greater(t, len(files), 15, "%q", files)
	for kind, place := range map[string]func(path string) error{
		"FIFO":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"device": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		for _, name := range files {
			dir := filepath.Join(t.TempDir(), "data")
			require.NoError(t, os.CopyFS(dir, os.DirFS(model)))
			path := filepath.Join(dir, name)
			require.NoError(t, os.Remove(path))
			require.NoError(t, place(path))
			came := make(chan error, 1)
			go func() { came <- useAll(t.Context(), dir) }()
			select {
			case err := <-came:
				if err != nil {
					require.ErrorIs(t, err, vfs.ErrNotRegular, "%s as a %s", name, kind)
					assert.ErrorContains(t, err, path)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s as a %s: the engine hangs", name, kind)
			}
		}
	}
}

// useAll verifies, opens, reads, appends and closes.
func useAll(ctx context.Context, dir string) error {
	_, fault := topic.VerifyDirectory(ctx, nil, dir, topic.VerifyOptions{})
	eng, err := topic.Open(dir)
	if err != nil {
		return errors.Join(fault, err)
	}
	orders, err := eng.Topic(ctx, "orders")
	if err != nil {
		return errors.Join(fault, err, eng.Close())
	}
	for _, err := range orders.Read(ctx, topic.UntilEnd()) {
		if err != nil {
			fault = errors.Join(fault, err)
			break
		}
	}
	_, err = orders.Append(ctx, topic.Record{Value: []byte("x")})
	return errors.Join(fault, err, eng.Close())
}

func TestReadableBy(t *testing.T) {
	old := syscall.Umask(0o022)
	defer syscall.Umask(old)
	for _, c := range []struct {
		opts      []topic.Option
		file, dir fs.FileMode
	}{
		{nil, 0o600, 0o700},
		{[]topic.Option{topic.ReadableBy(vfs.OwnerOnly)}, 0o600, 0o700},
		{[]topic.Option{topic.ReadableBy(vfs.GroupReadable)}, 0o640, 0o750},
		{[]topic.Option{topic.ReadableBy(vfs.UmaskDecides)}, 0o644, 0o755},
	} {
		dir := filepath.Join(t.TempDir(), "up", "data")
		eng, err := topic.Open(dir, append(c.opts, topic.DiskReserve(4096))...)
		require.NoError(t, err)
		orders, err := eng.Topic(t.Context(), "orders", topic.SegmentBytes(1024), topic.CleanupWith(topic.CleanupCompact))
		require.NoError(t, err)
		for range 3 {
			_, err := orders.Append(t.Context(), topic.Record{Key: []byte("k"), Value: make([]byte, 700)})
			require.NoError(t, err)
		}
		require.NoError(t, eng.Compact(t.Context()))
		_, err = eng.Backup(t.Context(), filepath.Join(dir, "..", "backup"), topic.BackupOptions{Copy: true})
		require.NoError(t, err)
		require.NoError(t, eng.Close())
		require.NoError(t, filepath.WalkDir(filepath.Dir(dir), func(path string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := d.Info()
			require.NoError(t, err)
			want := c.file
			if d.IsDir() {
				want = c.dir
			}
			assert.Equal(t, want, info.Mode().Perm(), path)
			return nil
		}))
	}
}

func TestReadableByThatCannotBe(t *testing.T) {
	for name, opts := range map[string][]topic.Option{
		"another disk": {topic.On(vfs.NewMem()), topic.ReadableBy(vfs.GroupReadable)},
		"in memory":    {topic.InMemory(), topic.ReadableBy(vfs.OwnerOnly)},
		"unknown":      {topic.ReadableBy(3)},
		"negative":     {topic.ReadableBy(-1)},
	} {
		_, err := topic.Open(t.TempDir(), opts...)
		require.ErrorIs(t, err, topic.ErrInvalid, name)
	}
}
