package log

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// harmed is a log with damage of every sort that a repair handles: a batch in the middle, a missing segment, a header, an index, the slot.
func harmed(t testing.TB) map[string]string {
	t.Helper()
	disk := vfs.NewMem()
	stock(t, disk, identified, true)
	edit(t, disk, logFile(0), flip(100))
	edit(t, disk, logFile(23), flip(2))
	require.NoError(t, disk.Remove(logFile(15)))
	edit(t, disk, filepath.Join(testDir, "00000000000000000008.index"), flip(3))
	edit(t, disk, filepath.Join(testDir, SlotFile), func(b []byte) []byte { b[20] ^= 1; b[532] ^= 1; return b })
	return snapshotOf(t, disk)
}

func settledLog(t testing.TB, files map[string]string) *vfs.Crash {
	t.Helper()
	disk := vfs.NewCrash()
	require.NoError(t, errors.Join(disk.MkdirAll(testDir), disk.SyncDir(".")))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		require.NoError(t, vfs.WriteFile(disk, filepath.Join(testDir, name), []byte(files[name])))
	}
	return disk
}

// repaired repairs a log to the end and gives what it holds.
func repaired(t testing.TB, disk vfs.FS, hint string) map[int64]string {
	t.Helper()
	_, err := Repair(disk, testDir, identified, RepairOptions{AcceptLoss: true})
	require.NoError(t, err, hint)
	return sound(t, disk, identified, hint)
}

// A repair that loses power in any operation, also in the repair after that, ends as one that did not; nothing that it saved aside is lost.
func TestRepairCrash(t *testing.T) {
	files := harmed(t)
	whole := settledLog(t, files)
	from := whole.Ops()
	want := repaired(t, whole, "")
	require.Len(t, want, 36-1-8, "%v", want)
	// Opening and verifying come behind the repair: stop where it stopped.
	again := settledLog(t, files)
	_, err := Repair(again, testDir, identified, RepairOptions{AcceptLoss: true})
	require.NoError(t, err)
	ops := again.Ops()
	for n := from + 1; n <= ops; n += every(5) {
		disk := settledLog(t, files)
		disk.CrashAt(n)
		_, err := Repair(disk, testDir, identified, RepairOptions{AcceptLoss: true})
		require.ErrorIs(t, err, vfs.ErrCrashed)
		killed := disk.Kill(uint64(n))
		require.Equal(t, want, repaired(t, killed, "kill"), "kill at operation %d", n)
		require.True(t, savedAside(t, killed, files[SlotFile]), "kill at operation %d", n)
		for i, policy := range vfs.Policies() {
			hint := fmt.Sprintf("operation %d, %v", n, policy)
			after := disk.After(policy, uint64(n))
			if i%2 == 0 { // once more, somewhere in the second repair
				after.CrashAt(after.Ops() + 1 + (n*7+i)%(ops-from))
				if _, err := Repair(after, testDir, identified, RepairOptions{AcceptLoss: true}); errors.Is(err, vfs.ErrCrashed) {
					after = after.After(policy, uint64(n+1))
				} else {
					require.NoError(t, err, hint)
					after.CrashAt(0)
				}
			}
			require.Equal(t, want, repaired(t, after, hint), hint)
			require.True(t, savedAside(t, after, files[SlotFile]), hint)
		}
	}
}

// savedAside tells whether the bytes of the batch that was cut out are kept, and the slot that was replaced.
func savedAside(t testing.TB, disk vfs.FS, slot string) bool {
	t.Helper()
	batch, kept := false, false
	for name, data := range snapshotOf(t, disk) {
		batch = batch || name == "00000000000000000000.log.cut-77" && len(data) > 0
		kept = kept || strings.HasPrefix(name, SlotFile+damagedSuffix) && data == slot
	}
	return batch && kept
}

// Whatever operation fails, once or from then on, the repair says so and a further one completes it. A full disk among them.
func TestRepairFaults(t *testing.T) {
	files := harmed(t)
	want := repaired(t, copyOf(t, files), "")
	for i, way := range []vfs.Rule{{Err: syscall.EIO}, {Err: syscall.ENOSPC}, {Err: syscall.ENOSPC, Count: vfs.Forever}, {Err: syscall.EMFILE}} {
		for k := 1 + 3*i; ; k += every(29) {
			mem := copyOf(t, files)
			hit := false
			rule := way
			rule.K, rule.Hook = k, func(vfs.Op, string) { hit = true }
			done, err := Repair(vfs.NewFault(mem, rule), testDir, identified, RepairOptions{AcceptLoss: true})
			hint := fmt.Sprintf("call %d, %v, count %d", k, way.Err, way.Count)
			require.NotNil(t, done, hint)
			require.Zero(t, mem.OpenFiles(), hint)
			if !hit {
				require.NoError(t, err, hint)
				break
			}
			require.Equal(t, want, repaired(t, mem, hint), hint)
			require.True(t, savedAside(t, mem, files[SlotFile]), hint)
		}
	}
}

// What names the topic is damaged: whatever call of the repair the power is cut at, the damaged bytes are kept, as they were or aside.
func TestRepairKeepsADamagedName(t *testing.T) {
	disk := vfs.NewMem()
	stock(t, disk, identified, true)
	const damaged = "version: 0\ntopic_id: ?"
	require.NoError(t, vfs.WriteFile(disk, filepath.Join(testDir, PartitionMetadataFile), []byte(damaged)))
	files := snapshotOf(t, disk)
	whole := settledLog(t, files)
	from := whole.Ops()
	done, err := Repair(whole, testDir, identified, RepairOptions{})
	require.NoError(t, err)
	require.Len(t, done.SavedAs, 1)
	for n := from + 1; n <= whole.Ops(); n++ {
		disk := settledLog(t, files)
		disk.CrashAt(n)
		_, err := Repair(disk, testDir, identified, RepairOptions{})
		require.ErrorIs(t, err, vfs.ErrCrashed)
		for seed := range uint64(16) {
			kept := slices.Collect(maps.Values(snapshotOf(t, disk.After(vfs.RandomEntries, seed))))
			require.Contains(t, kept, damaged, "operation %d, seed %d", n, seed)
		}
	}
}
