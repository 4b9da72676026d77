package vfs_test

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

func TestPreview(t *testing.T) {
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll("d/sub"))
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, vfs.WriteFile(disk, "d/"+name, []byte(name)))
	}
	require.NoError(t, vfs.WriteFile(disk, "e", []byte("e")))
	p := vfs.Preview(disk, "./d/")
	holds := func(name, want string) {
		t.Helper()
		got, err := vfs.ReadFile(p, name, -1)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		info, err := p.Stat(name)
		require.NoError(t, err)
		require.EqualValues(t, len(want), info.Size)
	}
	gone := func(name string) {
		t.Helper()
		_, err := p.OpenRead(name)
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = p.Stat(name)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorIs(t, p.Remove(name), fs.ErrNotExist)
		require.ErrorIs(t, p.Rename(name, "d/z"), fs.ErrNotExist)
	}

	require.NoError(t, p.Remove("d/a"))
	gone("d/a")
	require.NoError(t, p.Rename("d/b", "d/a"))
	gone("d/b")
	holds("d/a", "b")
	require.NoError(t, p.Rename("d/a", "d/x"))
	require.NoError(t, p.Rename("d/c", "d/a"))
	holds("d/x", "b")
	holds("d/a", "c")
	holds("e", "e")
	names, err := p.List("d")
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "sub", "x"}, names)
	require.NoError(t, p.SyncDir("d"))

	for _, err := range []error{
		p.Remove("e"), p.Rename("d/a", "e"), p.Rename("e", "d/a"), p.SyncDir("."), p.Link("d/a", "d/y"), p.MkdirAll("f"), vfs.WriteFile(p, "d/n", nil),
	} {
		require.ErrorIs(t, err, vfs.ErrReadOnly)
	}
	names, err = disk.List("d")
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b", "c", "sub"}, names, "nothing changed on disk")

	// What was done here is done on disk by somebody else.
	require.NoError(t, disk.Rename("d/b", "d/x"))
	holds("d/x", "b")
}
