package log

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// derivedSuffixes are the files that can be made again from the data.
var derivedSuffixes = []string{".index", ".timeindex", ".txnindex", ".sums", ".snapshot", LeaderEpochFile}

// loseDerived does with every derived file of a log what a power cut may: it is gone, empty, or full of zeros.
func loseDerived(t *testing.T, disk vfs.FS, suffix, how string) (lost int) {
	t.Helper()
	for _, name := range names(t, disk) {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		lost++
		path := filepath.Join(testDir, name)
		if how == "gone" {
			require.NoError(t, disk.Remove(path))
			continue
		}
		edit(t, disk, path, func(b []byte) []byte {
			if how == "empty" {
				return nil
			}
			return make([]byte, len(b))
		})
	}
	return lost
}

// stockAborted is stock with a transaction that was aborted, in segments of which none is the last.
func stockAborted(t *testing.T, disk vfs.FS) {
	t.Helper()
	stock(t, disk, identified, true)
	l, _, err := Open(disk, testDir, identified, OpenState{})
	require.NoError(t, err)
	for _, b := range []record.Batch{sent{7, 0, 0, 2, 0, true}.batch(t), marker(record.Abort, 7, 0, 1, 0)} {
		_, err := l.Append(t.Context(), b, AppendOptions{Coordinator: b.Control()})
		require.NoError(t, err)
	}
	for range 6 {
		put(t, l, "behind")
	}
	require.NoError(t, l.Close())
}

func requireAborted(t *testing.T, l *Log) {
	t.Helper()
	list, err := l.AbortedIn(0, l.End())
	require.NoError(t, err)
	require.Equal(t, []Aborted{{ProducerID: 7, First: 36, Last: 38, Stable: 39}}, list)
}

// Derived files that a crash took are notes, are made again, and keep neither reads nor a backup from anything.
func TestDerivedFilesAreNoDamage(t *testing.T) {
	for _, suffix := range derivedSuffixes {
		for _, how := range []string{"gone", "empty", "zeros"} {
			t.Run(suffix+"/"+how, func(t *testing.T) {
				disk := vfs.NewMem()
				stockAborted(t, disk)
				whole := sound(t, disk, identified, "as it was")
				require.NotZero(t, loseDerived(t, disk, suffix, how))
				v := verified(t, disk, identified)
				require.Empty(t, v.Faults)
				if how != "gone" && how+suffix != "empty.timeindex" {
					require.NotEmpty(t, v.Notes, "told")
				}
				l, done, err := Open(disk, testDir, identified, OpenState{})
				require.NoError(t, err)
				require.Empty(t, done.Damage)
				copied := vfs.NewMem()
				require.NoError(t, copied.MkdirAll(testDir))
				out, err := l.Backup(BackupOptions{FS: copied, Dir: testDir, Until: -1})
				require.NoError(t, err)
				if strings.HasSuffix(suffix, "index") {
					require.NotEmpty(t, out.Rebuilt)
				}
				requireAborted(t, l)
				copy := verified(t, copied, identified)
				require.Empty(t, copy.Faults)
				require.Empty(t, copy.Notes, "the copy is as if nothing had happened")
				require.Equal(t, whole, sound(t, copied, identified, "the copy"))
				require.NoError(t, l.Close())
				c, _, err := Open(copied, testDir, identified, OpenState{})
				require.NoError(t, err)
				requireAborted(t, c)
				require.NoError(t, c.Close())
				require.Equal(t, whole, sound(t, disk, identified, "opened again"))
			})
		}
	}
}
