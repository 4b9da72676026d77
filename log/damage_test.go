package log

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// However many batches are damaged, first or last, sealed or not: each read tells exactly which offsets, and everything else is read.
func TestDamageIsToldAndTheRestIsRead(t *testing.T) {
	eachHarmed(t, thin.Raced(300, 50), 4, harmBatch, func(hint string, disk *vfs.Mem, want map[int64]bool) {
		v := verified(t, disk, identified)
		told := map[int64]bool{}
		for _, f := range v.Faults {
			for o := f.FirstOffset; o < f.NextOffset; o++ {
				told[o] = true
			}
		}
		l, _, err := Open(disk, testDir, identified, OpenState{})
		require.NoError(t, err, hint)
		read, lost := readAround(t, l, hint)
		require.NoError(t, l.Close(), hint)
		for o := range int64(36) {
			require.Equal(t, want[o], read[o], "%s: offset %d", hint, o)
			require.Equal(t, !want[o], lost[o], "%s: offset %d told by a read", hint, o)
			require.Equal(t, !want[o], told[o], "%s: offset %d told by Verify", hint, o)
		}
	})
}

// harmBatch changes a byte that a batch's checksum covers.
func harmBatch(t testing.TB, disk vfs.FS, rng *rand.Rand) string {
	t.Helper()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(snapshotOf(t, disk))), func(n string) bool { return !strings.HasSuffix(n, ".log") })
	name := names[rng.IntN(len(names))]
	var at int
	edit(t, disk, filepath.Join(testDir, name), func(b []byte) []byte {
		var starts []int
		for pos := 0; pos < len(b); {
			n, err := record.Size(b[pos:])
			require.NoError(t, err)
			starts = append(starts, pos)
			pos += n
		}
		at = starts[[]int{0, len(starts) - 1, rng.IntN(len(starts))}[rng.IntN(3)]] + 61 + rng.IntN(8)
		b[at] ^= 0x55
		return b
	})
	return fmt.Sprintf("%s byte %d", name, at)
}

// readAround reads the log from start to end and steps over what is told to be damaged.
func readAround(t testing.TB, l *Log, hint string) (read, lost map[int64]bool) {
	t.Helper()
	read, lost = map[int64]bool{}, map[int64]bool{}
	for at := At(l.Start()); at.Offset < l.End(); {
		run, next, err := l.Read(nil, at, ReadOptions{Check: true, MaxBytes: 200})
		var damage *CorruptionError
		if errors.As(err, &damage) {
			require.Greater(t, damage.NextOffset, at.Offset, hint)
			for o := max(damage.FirstOffset, at.Offset); o < damage.NextOffset; o++ {
				lost[o] = true
			}
			at = At(damage.NextOffset)
			continue
		}
		require.NoError(t, err, hint)
		require.NotEmpty(t, run, hint)
		for b, err := range record.Batches(run) {
			require.NoError(t, err, hint)
			for o := b.BaseOffset(); o < b.NextOffset(); o++ {
				read[o] = true
			}
		}
		at = next
	}
	return read, lost
}

// The last data file of a log that was stopped in order gives way to a longer one of the same base, whole in itself: it is
// not what was sealed, though nothing in it is damaged.
func TestLastSegmentThatIsAnotherFile(t *testing.T) {
	disk, other := vfs.NewMem(), vfs.NewMem()
	for fs, values := range map[vfs.FS][]string{disk: {"a", "b"}, other: {"a", "longer than b", "c"}} {
		l := openLog(t, fs, &Config{})
		for _, v := range values {
			put(t, l, v)
		}
		require.NoError(t, l.Close())
	}
	foreign, err := vfs.ReadFile(other, logFile(0), 1<<20)
	require.NoError(t, err)
	edit(t, disk, logFile(0), func([]byte) []byte { return foreign })
	for _, readOnly := range []bool{true, false, false} {
		_, _, err := Open(disk, testDir, &Config{}, OpenState{ReadOnly: readOnly})
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorAs(t, err, new(*ForeignError))
	}
	found, err := Verify(disk, testDir, &Config{}, VerifyOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, found.Faults)
	after, err := vfs.ReadFile(disk, logFile(0), 1<<20)
	require.NoError(t, err)
	require.Equal(t, foreign, after)
}

// A slot of another partition's directory is told, though all segments are this one's.
func TestSlotOfAnotherPartition(t *testing.T) {
	disk := vfs.NewMem()
	for _, dir := range []string{"t-0", "t-1"} {
		l, _, err := Open(disk, dir, &Config{}, OpenState{})
		require.NoError(t, err)
		put(t, l, "v")
		require.NoError(t, l.Close())
	}
	require.NoError(t, disk.Rename("t-1/"+SlotFile, "t-0/"+SlotFile))
	_, _, err := Open(disk, "t-0", &Config{}, OpenState{})
	require.ErrorAs(t, err, new(*ForeignError))
	require.ErrorIs(t, err, ErrCorrupt)
}

// The first segment is gone with all its files: that is told, and the log goes on behind it when that is accepted.
func TestFirstSegmentIsMissing(t *testing.T) {
	for _, closed := range []bool{true, false} {
		disk := tenRecords(t, small, closed)
		for _, name := range names(t, disk) {
			if strings.HasPrefix(name, "00000000000000000000.") {
				require.NoError(t, disk.Remove(testDir+"/"+name))
			}
		}
		_, _, err := Open(disk, testDir, small, OpenState{})
		var lost *LossError
		require.ErrorAs(t, err, &lost)
		require.Equal(t, []int64{0, 4}, []int64{lost.First, lost.Next})
		l, _, err := Open(disk, testDir, small, OpenState{AcceptLoss: true})
		require.NoError(t, err)
		require.EqualValues(t, 4, l.Start())
		requireContents(t, l, tenWant(10)[4:]...)
		require.NoError(t, l.Close())
	}
}
