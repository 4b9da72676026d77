package segment

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
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
	names, err = FinishSwap(fsys, dir, names)
	require.NoError(t, err)
	var logs []string
	for _, name := range names {
		if _, kind, ok := ParseName(name); !ok || kind.File() == KindLog {
			logs = append(logs, name)
		}
	}
	return logs
}

func TestFinishSwap(t *testing.T) {
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

// Whatever call of a FinishSwap the power is cut at, the next one ends with the new segment whole or, where a process killed right after it
// had decided on the swap left names that are not on disk, with the old ones: never with neither.
func TestPowerCutInFinishSwap(t *testing.T) {
	batches := someBatches(t, 0, 20)
	half := batches[10].BaseOffset()
	clean := append(append([]record.Batch{}, batches[:5]...), batches[15:]...)
	for name, c := range map[string]struct {
		durable bool // the decision
		policy  vfs.Policy
		seeds   uint64
	}{"a power cut before": {true, vfs.KeepRandom, 20}, "a kill before": {false, vfs.RandomEntries, 40}} {
		for step := 1; ; step++ {
			disk := vfs.NewCrash()
			newDir(t, disk)
			build(t, disk, 0, 0, batches[:10])
			build(t, disk, half, 0, batches[10:])
			require.NoError(t, disk.SyncDir(dir))
			build(t, disk, 0, Swap, clean)
			if c.durable {
				require.NoError(t, disk.SyncDir(dir))
			}
			disk.CrashAt(disk.Ops() + step)
			names, err := disk.List(dir)
			if err == nil {
				_, err = FinishSwap(disk, dir, names)
			}
			if err == nil {
				break
			}
			require.ErrorIs(t, err, vfs.ErrCrashed)
			for seed := range c.seeds {
				hint := fmt.Sprintf("%s, step %d seed %d", name, step, seed)
				requireSwapped(t, disk.After(c.policy, seed), hint, c.durable, clean, batches[:10], batches[10:])
			}
		}
	}
}

// requireSwapped tidies and fails unless the new segment is there alone or, if it need not be, the two old ones.
func requireSwapped(t testing.TB, disk vfs.FS, hint string, must bool, clean, first, second []record.Batch) {
	t.Helper()
	logs := tidy(t, disk)
	require.Equal(t, FileName(0, LogSuffix), logs[0], hint)
	holds := func(base, next int64, want []record.Batch) {
		s := OpenSealed(disk, dir, base, next, &Config{})
		require.Equal(t, want, readAll(t, s, base, 1000), hint)
		require.NoError(t, s.Close())
	}
	half, end := second[0].BaseOffset(), second[len(second)-1].NextOffset()
	if len(logs) == 1 {
		holds(0, end, clean)
		return
	}
	require.False(t, must, "%s: %v", hint, logs)
	require.Len(t, logs, 2, hint)
	holds(0, half, first)
	holds(half, end, second)
}

// The files of a replaced segment that still wait for their removal do not make those of its successor look like theirs: when
// its data file is missing the others stay, and tell of it.
func TestFinishSwapKeepsWhatTellsOfAMissingFile(t *testing.T) {
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

// replacing is a call that puts other files in the place of the segment at 0.
type replacing struct {
	old, want []record.Batch // what the data files hold before and after
	damaged   []int          // batches of old
	do        func(disk vfs.FS) error
}

func replacings(t testing.TB) map[string]replacing {
	dense := someBatches(t, 0, 9)
	var far []record.Batch
	for _, base := range []int64{0, 1, maxRelative + 100, maxRelative + 101, 3 * maxRelative} {
		far = append(far, makeBatch(t, base, 1, 1000+base, 50))
	}
	salvage := func(disk vfs.FS) error {
		_, err := Salvage(disk, dir, 0, &Config{IndexInterval: 100}, SalvageOptions{})
		return err
	}
	return map[string]replacing{
		"split": {far, far, nil, func(disk vfs.FS) error {
			return OpenSealed(disk, dir, 0, far[4].NextOffset(), &Config{}).Split()
		}},
		"salvage":      {dense, slices.Concat(dense[:4], dense[5:6], dense[7:]), []int{4, 6}, salvage},
		"nothing left": {dense[:1], nil, []int{0}, salvage},
	}
}

// set puts the old file on a disk, durably.
func (r *replacing) set(t testing.TB) *vfs.Crash {
	t.Helper()
	disk := vfs.NewCrash()
	newDir(t, disk)
	var data []byte
	for i, b := range r.old {
		if slices.Contains(r.damaged, i) {
			b = r.harmed(i)
		}
		data = append(data, b...)
	}
	require.NoError(t, vfs.WriteFile(disk, dir+"/"+FileName(0, LogSuffix), data))
	return disk
}

func (r *replacing) harmed(i int) []byte {
	b := slices.Clone(r.old[i])
	b[len(b)-1] ^= 1
	return b
}

// requireReplaced finishes what a power cut left, goes on if that was nothing, and fails unless the result is what it should be, and stays.
func (r *replacing) requireReplaced(t testing.TB, disk *vfs.Crash, hint string) {
	t.Helper()
	logs := tidy(t, disk)
	requireDurable(t, disk, hint)
	if len(logs) > 0 && logs[0] == FileName(0, LogSuffix) && (r.damaged != nil || len(logs) == 1) {
		require.NoError(t, r.do(disk), hint)
		requireDurable(t, disk, hint)
	}
	var data []byte
	var aside []string
	names, err := disk.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		part, err := vfs.ReadFile(disk, dir+"/"+name, -1)
		require.NoError(t, err)
		if _, kind, ok := ParseName(name); ok && kind == KindLog {
			data = append(data, part...)
		} else if strings.Contains(name, ".cut-") {
			aside = append(aside, string(part))
		}
	}
	require.True(t, bytes.Equal(join(r.want), data), "%s: %v", hint, names)
	for _, i := range r.damaged {
		require.Contains(t, aside, string(r.harmed(i)), hint)
	}
}

// requireDurable fails unless a power cut leaves every data file and side file, and the name of every other file, and brings none back.
func requireDurable(t testing.TB, disk *vfs.Crash, hint string) {
	t.Helper()
	after := disk.After(vfs.KeepNone, 0)
	names, err := disk.List(dir)
	require.NoError(t, err)
	left, err := after.List(dir)
	require.NoError(t, err)
	require.Equal(t, names, left, hint)
	for _, name := range names {
		if _, kind, ok := ParseName(name); !ok || kind != KindLog && kind != KindSums {
			continue
		}
		want, err := vfs.ReadFile(disk, dir+"/"+name, -1)
		require.NoError(t, err)
		got, err := vfs.ReadFile(after, dir+"/"+name, -1)
		require.NoError(t, err)
		require.Equal(t, want, got, "%s: %s", hint, name)
	}
}

// Whatever call of a Split or a Salvage the power is cut at, and whatever it takes of names and bytes, the segment is there as it was or as
// it should be, once; and what they and FinishSwap have done is on disk when they return.
func TestPowerCutWhileFilesAreReplaced(t *testing.T) {
	seeds := uint64(8)
	if raceBuild {
		seeds = 1
	}
	for name, r := range replacings(t) {
		t.Run(name, func(t *testing.T) {
			whole := r.set(t)
			from := whole.Ops()
			require.NoError(t, r.do(whole))
			requireDurable(t, whole, "whole")
			for n := from + 1; n <= whole.Ops(); n++ {
				disk := r.set(t)
				disk.CrashAt(n)
				require.ErrorIs(t, r.do(disk), vfs.ErrCrashed)
				for _, policy := range vfs.Policies() {
					for seed := range seeds {
						r.requireReplaced(t, disk.After(policy, seed), vfs.Cut{Op: n, Policy: policy, Seed: seed}.String())
					}
				}
			}
		})
	}
}
