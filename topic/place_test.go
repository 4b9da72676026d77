package topic

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// used is a disk with an engine's closed directory, a topic of one record in it.
func used(t *testing.T) *vfs.Mem {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	_, err := openTopic(t, e, "orders").Append(t.Context(), Record{Value: []byte("v")})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	return disk
}

// What is no data directory is made none, by none of the ways in, and nothing is written there.
func TestWrongDirectoriesAreRefused(t *testing.T) {
	ways := map[string]func(disk vfs.FS, dir string) error{
		"open": func(disk vfs.FS, dir string) error { _, err := Open(dir, On(disk)); return err },
		"must exist": func(disk vfs.FS, dir string) error {
			_, err := Open(dir, On(disk), MustExist())
			return err
		},
		"rebuild":   func(disk vfs.FS, dir string) error { _, err := Open(dir, On(disk), RebuildManifest()); return err },
		"read-only": func(disk vfs.FS, dir string) error { _, err := Open(dir, On(disk), ReadOnlyMode()); return err },
		"verify": func(disk vfs.FS, dir string) error {
			_, err := VerifyDirectory(t.Context(), disk, dir, VerifyOptions{})
			return err
		},
		"repair": func(disk vfs.FS, dir string) error {
			_, err := Repair(t.Context(), dir, RepairOptions{FS: disk})
			return err
		},
		"restore": func(disk vfs.FS, dir string) error {
			_, err := Restore(t.Context(), dir, "copy", RestoreOptions{FS: disk})
			return err
		},
		"restore to": func(disk vfs.FS, dir string) error {
			_, err := Restore(t.Context(), "data", dir, RestoreOptions{FS: disk})
			return err
		},
	}
	create := []string{"open", "rebuild", "restore to"} // may make a new directory out of an empty or missing one
	places := map[string][]string{                      // and the ways that may be taken there
		"missing": create, "empty": create, "foreign": nil, "data/new": nil,
		"data/orders-0": {"verify", "repair"}, // a partition alone may be verified and repaired
	}
	for dir, allowed := range places {
		for way, enter := range ways {
			disk := used(t)
			for _, d := range []string{"empty/lost+found", "foreign/src"} {
				require.NoError(t, disk.MkdirAll(d))
			}
			require.NoError(t, vfs.WriteFile(disk, "foreign/notes.txt", []byte("x")))
			before, _ := disk.List(dir)
			err := enter(disk, dir)
			if slices.Contains(allowed, way) {
				assert.NoError(t, err, "%s by %s", dir, way)
				continue
			}
			if dir == "missing" || dir == "data/new" {
				require.Error(t, err, "%s by %s", dir, way)
				assert.True(t, errors.Is(err, ErrNotData) || errors.Is(err, fs.ErrNotExist), "%s by %s: %v", dir, way, err)
			} else {
				assert.ErrorIs(t, err, ErrNotData, "%s by %s", dir, way)
			}
			after, _ := disk.List(dir)
			assert.Equal(t, before, after, "%s by %s", dir, way)
		}
	}
	e := openOn(t, used(t), MustExist())
	assert.NotNil(t, e)
}

// A directory is the engine's by any of what tells it, however much else lies in it.
func TestDirectoriesOfTheirOwn(t *testing.T) {
	disk := used(t)
	require.NoError(t, vfs.WriteFile(disk, "data/notes.txt", []byte("x")))
	require.NoError(t, openOn(t, disk, MustExist()).Close())
	loseManifest(t, disk)
	require.NoError(t, openOn(t, disk, MustExist()).Close())
	loseManifest(t, disk)
	for _, name := range filesIn(t, disk, "data") {
		if name != "orders-0" && name != "notes.txt" {
			require.NoError(t, vfs.RemoveAll(disk, "data/"+name))
		}
	}
	e := openOn(t, disk, MustExist())
	assert.Len(t, stored(t, partitionOf(t, openTopic(t, e, "orders"), 0)), 1)
}

// A backup throws away nothing that it was not told to by name.
func TestBackupThrowsNothingAway(t *testing.T) {
	disk := used(t)
	e := openOn(t, disk)
	_, err := openTopic(t, e, "users").Append(t.Context(), Record{})
	require.NoError(t, err)
	backup := func(e *Engine, opts BackupOptions) error {
		_, err := e.Backup(t.Context(), "backup", opts)
		return err
	}
	held := func() (names []string) {
		r, err := Open("backup", On(disk), ReadOnlyMode())
		require.NoError(t, err)
		defer r.Close()
		for _, tp := range r.allTopics() {
			names = append(names, tp.name)
		}
		return names
	}
	require.NoError(t, backup(e, BackupOptions{}))

	// The engine of a volume that is not mounted, or of another program.
	for _, topics := range [][]string{nil, {"orders", "users"}} {
		other, err := Open("other", On(disk))
		require.NoError(t, err)
		for _, name := range topics {
			openTopic(t, other, name)
		}
		require.ErrorIs(t, backup(other, BackupOptions{Remove: []string{"orders", "users"}}), ErrInvalid)
		require.NoError(t, other.Close())
		assert.Len(t, held(), 2)
	}
	refused := func(err error, topics ...string) {
		t.Helper()
		var discard *DiscardError
		require.ErrorAs(t, err, &discard)
		assert.ErrorIs(t, err, ErrInvalid)
		assert.Equal(t, topics, discard.Topics)
		assert.Len(t, held(), 2)
	}
	refused(backup(e, BackupOptions{Topics: []string{"users"}}), "orders")
	require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
	refused(backup(e, BackupOptions{}), "orders")
	openTopic(t, e, "orders")
	refused(backup(e, BackupOptions{}), "orders")
	refused(backup(e, BackupOptions{Remove: []string{"users"}}), "orders")
	require.NoError(t, backup(e, BackupOptions{Remove: []string{"orders"}}))
	require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
	require.NoError(t, backup(e, BackupOptions{Remove: []string{"orders"}}))
	assert.Equal(t, []string{"users"}, held())
	require.NoError(t, backup(e, BackupOptions{}))

	// A restoration takes no interrupted backup for its own, and the other way round.
	require.NoError(t, vfs.WriteFile(disk, "backup/"+backupFile, []byte(backupRunning)))
	_, err = Restore(t.Context(), "data", "backup", RestoreOptions{FS: disk})
	require.ErrorIs(t, err, ErrInvalid)
	require.NoError(t, backup(e, BackupOptions{}))
	require.NoError(t, vfs.WriteFile(disk, "backup/"+backupFile, []byte(backupRestoring)))
	require.ErrorIs(t, backup(e, BackupOptions{}), ErrInvalid)
}
