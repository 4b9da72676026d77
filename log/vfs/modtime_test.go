package vfs

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSetModTime(t *testing.T) {
	then := time.Unix(1_000_000_000, 0)
	disks := map[string]FS{"os": OS(), "mem": NewMem(), "crash": NewCrash(), "limit": Limit(NewMem(), 16), "fault": NewFault(NewMem())}
	for name, fsys := range disks {
		t.Run(name, func(t *testing.T) {
			dir := "."
			if name == "os" {
				dir = t.TempDir()
			}
			path := filepath.Join(dir, "file")
			require.NoError(t, WriteFile(fsys, path, []byte("x")))
			require.NoError(t, SetModTime(fsys, path, then))
			info, err := fsys.Stat(path)
			require.NoError(t, err)
			require.True(t, info.ModTime.Equal(then), "%v", info.ModTime)
			require.ErrorIs(t, SetModTime(ReadOnly(fsys), path, then), ErrReadOnly)
			require.Error(t, SetModTime(fsys, path+"-absent", then))
		})
	}
}
