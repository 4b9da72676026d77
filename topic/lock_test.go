package topic_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// TestLockSurvivesItsFile removes the lock file under a live engine, and renames another over it: on a disk whose
// directories can be locked no second engine gets in.
func TestLockSurvivesItsFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the lock file cannot be removed there")
	}
	for name, fsys := range map[string]vfs.FS{"os": vfs.OS(), "memory": vfs.NewMem(), "crash": vfs.NewCrash()} {
		dir := filepath.Join(t.TempDir(), "data")
		first, err := topic.Open(dir, topic.On(fsys))
		require.NoError(t, err, name)
		lock := filepath.Join(dir, ".lock")
		for _, replace := range []bool{false, true} {
			require.NoError(t, fsys.Remove(lock))
			if replace {
				require.NoError(t, vfs.WriteFile(fsys, lock, nil))
			}
			_, err = topic.Open(dir, topic.On(fsys))
			require.ErrorIs(t, err, topic.ErrLocked, name)
			var locked *topic.LockedError
			require.True(t, errors.As(err, &locked), name)
			_, err = topic.Repair(t.Context(), dir, topic.RepairOptions{FS: fsys})
			require.ErrorIs(t, err, topic.ErrLocked, name)
		}
		require.NoError(t, first.Close())
		second, err := topic.Open(dir, topic.On(fsys))
		require.NoError(t, err, name)
		require.NoError(t, second.Close())
	}
}
