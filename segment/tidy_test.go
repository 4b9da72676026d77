package segment

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// build makes a sealed segment of the given batches whose files carry mark.
func build(t testing.TB, fsys vfs.FS, base int64, mark Kind, list []record.Batch) {
	t.Helper()
	s, err := CreateMarked(fsys, dir, base, Cleaned, &Config{})
	require.NoError(t, err)
	for _, b := range list {
		require.NoError(t, s.Append(b))
	}
	require.NoError(t, s.Seal(SideFacts{}))
	require.NoError(t, s.Rename(mark))
	require.NoError(t, s.Close())
}

func tidy(t testing.TB, fsys vfs.FS) []string {
	t.Helper()
	names, err := fsys.List(dir)
	require.NoError(t, err)
	names, err = Tidy(fsys, dir, names)
	require.NoError(t, err)
	var logs []string
	for _, name := range names {
		if _, kind, ok := ParseName(name); !ok || kind.File() == KindLog {
			logs = append(logs, name)
		}
	}
	return logs
}

func TestTidy(t *testing.T) {
	batches := someBatches(t, 0, 30) // offsets 0 to 59, two a batch on average
	at := func(i int) int64 { return batches[i].BaseOffset() }
	fsys := vfs.NewMem()
	newDir(t, fsys)
	build(t, fsys, 0, 0, batches[:10])
	build(t, fsys, at(10), 0, batches[10:20])
	build(t, fsys, at(20), 0, batches[20:])
	require.NoError(t, vfs.WriteFile(fsys, dir+"/notes.deleted", []byte("alien")))
	assert.Equal(t, []string{FileName(0, LogSuffix), FileName(at(10), LogSuffix), FileName(at(20), LogSuffix), "notes.deleted"}, tidy(t, fsys))

	// An unfinished set: the smallest .cleaned takes the .swap files above with it.
	build(t, fsys, 0, Cleaned, batches[:3])
	build(t, fsys, at(10), Swap, batches[10:12])
	build(t, fsys, 900, Deleted, nil)
	assert.Equal(t, []string{FileName(0, LogSuffix), FileName(at(10), LogSuffix), FileName(at(20), LogSuffix), "notes.deleted"}, tidy(t, fsys))
	require.NoError(t, verifyAnew(fsys, at(10), &Config{}))

	// A complete one takes the place of two segments.
	clean := append(append([]record.Batch{}, batches[:5]...), batches[15:20]...)
	build(t, fsys, 0, Swap, clean)
	assert.Equal(t, []string{FileName(0, LogSuffix), FileName(at(20), LogSuffix), "notes.deleted"}, tidy(t, fsys))
	s := OpenSealed(fsys, dir, 0, at(20), &Config{})
	assert.Equal(t, clean, readAll(t, s, 0, 1000))
	assert.True(t, s.Sparse())
	require.NoError(t, s.Close())
}

// Whatever call the power is cut at, the next Tidy ends with the new segment whole or the old ones.
func TestPowerCutInTidy(t *testing.T) {
	batches := someBatches(t, 0, 20)
	half := batches[10].BaseOffset()
	clean := append(append([]record.Batch{}, batches[:5]...), batches[15:]...)
	for step := 1; ; step++ {
		c := vfs.NewCrash()
		newDir(t, c)
		build(t, c, 0, 0, batches[:10])
		build(t, c, half, 0, batches[10:])
		build(t, c, 0, Swap, clean)
		require.NoError(t, c.SyncDir(dir))
		c.CrashAt(c.Ops() + step)
		names, err := c.List(dir)
		if err == nil {
			_, err = Tidy(c, dir, names)
		}
		if err == nil {
			break
		}
		require.ErrorIs(t, err, vfs.ErrCrashed)
		for seed := range uint64(20) {
			disk := c.After(vfs.KeepRandom, seed)
			logs := tidy(t, disk)
			require.Equal(t, []string{FileName(0, LogSuffix)}, logs, "step %d seed %d", step, seed)
			s := OpenSealed(disk, dir, 0, batches[19].NextOffset(), &Config{})
			require.Equal(t, clean, readAll(t, s, 0, 1000), "step %d seed %d", step, seed)
			require.NoError(t, s.Close())
		}
	}
}

// A process killed right after it decided on a swap leaves names that are not on disk. A power cut in the next Tidy may take
// them back, but never the old segments as well.
func TestPowerCutInTidyAfterAKill(t *testing.T) {
	batches := someBatches(t, 0, 20)
	half := batches[10].BaseOffset()
	clean := append(append([]record.Batch{}, batches[:5]...), batches[15:]...)
	for step := 1; ; step++ {
		c := vfs.NewCrash()
		newDir(t, c)
		build(t, c, 0, 0, batches[:10])
		build(t, c, half, 0, batches[10:])
		require.NoError(t, c.SyncDir(dir))
		build(t, c, 0, Swap, clean) // complete under .cleaned; the renames are not synced
		c.CrashAt(c.Ops() + step)
		names, err := c.List(dir)
		if err == nil {
			_, err = Tidy(c, dir, names)
		}
		if err == nil {
			break
		}
		require.ErrorIs(t, err, vfs.ErrCrashed)
		for seed := range uint64(40) {
			disk := c.After(vfs.RandomEntries, seed)
			want := clean
			logs := tidy(t, disk)
			if len(logs) == 2 {
				want = batches[:10]
				s := OpenSealed(disk, dir, half, batches[19].NextOffset(), &Config{})
				require.Equal(t, batches[10:], readAll(t, s, half, 1000), "step %d seed %d", step, seed)
				require.NoError(t, s.Close())
			}
			require.Equal(t, FileName(0, LogSuffix), logs[0], "step %d seed %d: %v", step, seed, logs)
			s := OpenSealed(disk, dir, 0, half, &Config{})
			require.Equal(t, want, readAll(t, s, 0, 1000), "step %d seed %d", step, seed)
			require.NoError(t, s.Close())
		}
	}
}

// The files of a replaced segment that still wait for their removal do not make those of its successor look like theirs: when
// its data file is missing the others stay, and tell of it.
func TestTidyKeepsWhatTellsOfAMissingFile(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	batches := someBatches(t, 0, 10)
	build(t, fsys, 0, Deleted, batches)
	build(t, fsys, 0, 0, batches[:4])
	require.NoError(t, fsys.Remove(dir+"/"+FileName(0, LogSuffix)))
	tidy(t, fsys)
	names, err := fsys.List(dir)
	require.NoError(t, err)
	assert.Contains(t, names, FileName(0, SumsSuffix))
}
