package segment

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// These tests hold the barriers that only a stale side file would miss: one that came back after a power cut, and fits
// the data file by its size, would be believed without a look at the data.

// exactConfig writes nothing ahead: the size of the data file is that of its batches.
var exactConfig = Config{IndexInterval: 150, PreWrite: -1}

// sealedOn is a disk with a sealed segment of three batches of one size, everything durable.
func sealedOn(t *testing.T) (disk *vfs.Crash, batches []record.Batch) {
	t.Helper()
	disk = vfs.NewCrash()
	newDir(t, disk)
	s := create(t, disk, 0, &exactConfig)
	require.NoError(t, disk.SyncDir(dir))
	for range 3 {
		b := makeBatch(t, s.Next(), 1, 1000, 90)
		require.NoError(t, s.Append(b))
		batches = append(batches, b)
	}
	require.NoError(t, s.Seal(SideFacts{}))
	require.NoError(t, s.Close())
	return disk, batches
}

// requireHolds opens what a power cut left of the directory that does without what is not durable, and compares.
func requireHolds(t *testing.T, disk *vfs.Crash, want []record.Batch) {
	t.Helper()
	after := disk.After(vfs.KeepNone, 0)
	_, err := OpenActive(after, dir, 0, &exactConfig)
	require.ErrorIs(t, err, ErrNoSide, "the side file is gone for good")
	s, done, err := Recover(after, dir, 0, &exactConfig, RecoverOptions{Durable: 3})
	require.NoError(t, err)
	assert.Empty(t, done.Damage)
	assert.Equal(t, want, readAll(t, s, 0, 1000))
	require.NoError(t, s.Seal(SideFacts{}))
	require.NoError(t, s.Verify())
	require.NoError(t, s.Close())
}

// Unseal removes the side file before the data changes: other bytes of the same length must not be taken for those
// that were sealed.
func TestUnsealIsDurableBeforeTheNextAppend(t *testing.T) {
	disk, batches := sealedOn(t)
	s, err := OpenActive(disk, dir, 0, &exactConfig)
	require.NoError(t, err)
	require.NoError(t, s.Truncate(2))
	other := makeBatch(t, 2, 1, 7777, 90)
	require.NoError(t, s.Append(other))
	require.NoError(t, s.Sync())
	requireHolds(t, disk, append(batches[:2:2], other))
	require.NoError(t, s.Close())
}

// Recovery removes a side file that does not fit before the data grows to where it would.
func TestRecoveryRemovesTheSideFileDurably(t *testing.T) {
	disk, batches := sealedOn(t)
	path := dir + "/" + FileName(0, LogSuffix)
	f, err := disk.Open(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(len(batches[0])+len(batches[1]))))
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())

	s, done, err := Recover(disk, dir, 0, &exactConfig, RecoverOptions{Durable: 2})
	require.NoError(t, err)
	assert.Empty(t, done.Damage)
	other := makeBatch(t, 2, 1, 7777, 90)
	require.NoError(t, s.Append(other))
	require.NoError(t, s.Sync())
	requireHolds(t, disk, append(batches[:2:2], other))
	require.NoError(t, s.Close())
}

// What recovery cuts off and holds a whole batch is at every moment of a power cut in one of two files: where it was,
// or where it is saved.
func TestPowerCutWhileSavingAside(t *testing.T) {
	disk, batches := sealedOn(t)
	path := dir + "/" + FileName(0, LogSuffix)
	f, err := disk.Open(path)
	require.NoError(t, err)
	end := int64(len(batches[0]) + len(batches[1]) + len(batches[2]))
	stray := makeBatch(t, 9, 1, 1000, 90)
	_, err = f.WriteAt(append([]byte("a hole"), stray...), end)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())

	recoverOn := func(d *vfs.Crash) error {
		s, _, err := Recover(d, dir, 0, &exactConfig, RecoverOptions{Durable: 3})
		if err == nil {
			err = s.Close()
		}
		return err
	}
	holds := func(d *vfs.Crash) bool {
		names, err := d.List(dir)
		require.NoError(t, err)
		for _, name := range names {
			if data, err := vfs.ReadFile(d, dir+"/"+name, -1); err == nil && bytes.Contains(data, stray) {
				return true
			}
		}
		return false
	}
	whole := disk.After(vfs.KeepAll, 0)
	require.NoError(t, recoverOn(whole))
	for op := 1; op <= whole.Ops(); op++ {
		c := disk.After(vfs.KeepAll, 0)
		c.CrashAt(op)
		require.ErrorIs(t, recoverOn(c), vfs.ErrCrashed)
		for _, policy := range vfs.Policies() {
			for seed := range uint64(4) {
				require.True(t, holds(c.After(policy, seed)), "%v", vfs.Cut{Op: op, Policy: policy, Seed: seed})
			}
		}
	}
	require.True(t, holds(whole.After(vfs.KeepNone, 0)))
}
