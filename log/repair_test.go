package log

import (
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
	"github.com/quirelog/quire/segment"
	"github.com/stretchr/testify/require"
)

// verified is what Verify says of the test's log.
func verified(t testing.TB, disk vfs.FS, cfg *Config) *Verified {
	t.Helper()
	v, err := Verify(disk, testDir, cfg, VerifyOptions{TopicID: cfg.TopicID})
	require.NoError(t, err)
	return v
}

// sound fails the test unless neither Verify nor Open finds anything; it gives the offsets that can be read.
func sound(t testing.TB, disk vfs.FS, cfg *Config, hint string) map[int64]string {
	t.Helper()
	v := verified(t, disk, cfg)
	require.Empty(t, v.Faults, hint)
	l, done, err := Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err, hint)
	require.Empty(t, done.Damage, hint)
	got := allRecords(t, l)
	require.NoError(t, l.Close())
	return got
}

func allRecords(t testing.TB, l *Log) map[int64]string {
	t.Helper()
	got := map[int64]string{}
	var dec record.Decoder
	require.NoError(t, l.replay(l.Start(), l.End(), func(b record.Batch) {
		require.NoError(t, dec.Reset(b, 0))
		for r := (record.Record{}); dec.Next(&r); {
			got[r.Offset] = string(r.Value)
		}
		require.NoError(t, dec.Err())
	}))
	return got
}

func snapshotOf(t testing.TB, disk vfs.FS) map[string]string {
	t.Helper()
	names, err := disk.List(testDir)
	require.NoError(t, err)
	all := map[string]string{}
	for _, name := range names {
		data, err := vfs.ReadFile(disk, filepath.Join(testDir, name), -1)
		require.NoError(t, err)
		all[name] = string(data)
	}
	return all
}

// stock writes a log of several segments with producers, epochs and an aborted transaction.
func stock(t testing.TB, disk vfs.FS, cfg *Config, closed bool) {
	t.Helper()
	l, _, err := Open(disk, testDir, cfg, OpenState{Epoch: 1})
	require.NoError(t, err)
	if cfg.TopicID != [16]byte{} {
		require.NoError(t, WritePartitionMetadata(disk, filepath.Join(testDir, PartitionMetadataFile), cfg.TopicID))
	}
	for i := range 12 {
		if i == 6 {
			require.NoError(t, l.SetLeaderEpoch(4))
		}
		_, err := l.Append(t.Context(), sent{9, 0, int32(2 * i), 2, 0, false}.batch(t), AppendOptions{})
		require.NoError(t, err)
		put(t, l, fmt.Sprintf("v%d", i))
	}
	require.Greater(t, len(l.Segments()), 3)
	if closed {
		require.NoError(t, l.Close())
	}
}

var identified = &Config{SegmentBytes: 420, IndexInterval: 100, PreWrite: -1, TopicID: [16]byte{1, 2, 3, 4, 5, 6, 0x40, 8, 0x80}}

func TestVerifySoundLog(t *testing.T) {
	for _, closed := range []bool{true, false} {
		disk := vfs.NewMem()
		stock(t, disk, identified, closed)
		before := snapshotOf(t, disk)
		v := verified(t, disk, identified)
		require.Empty(t, v.Faults)
		require.EqualValues(t, 36, v.Records)
		require.EqualValues(t, 36, v.End)
		require.Equal(t, closed, v.Clean)
		require.True(t, maps.Equal(before, snapshotOf(t, disk)))
	}
}

// One bit of a header, which no checksum covers, costs nothing: repair puts it right, byte for byte.
func TestRepairMendsHeaders(t *testing.T) {
	whole := vfs.NewMem()
	stock(t, whole, identified, true)
	want := snapshotOf(t, whole)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		size, err := record.Size([]byte(want[name]))
		require.NoError(t, err)
		for _, start := range []int{0, size} {
			for at := 0; at < 17; at += thin.Raced(1, 4) {
				for bit := at % 4; bit < 8; bit += 4 {
					hint := fmt.Sprintf("%s byte %d bit %d", name, start+at, bit)
					disk := copyOf(t, want)
					edit(t, disk, filepath.Join(testDir, name), func(b []byte) []byte { b[start+at] ^= 1 << bit; return b })
					done, err := Repair(disk, testDir, identified, RepairOptions{})
					require.NoError(t, err, hint)
					require.Empty(t, done.Lost, hint)
					require.NotEmpty(t, done.Mended, hint)
					got := snapshotOf(t, disk)
					require.True(t, want[name] == got[name], hint)
					require.Len(t, sound(t, disk, identified, hint), 36, hint)
				}
			}
		}
	}
}

func copyOf(t testing.TB, files map[string]string) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll(testDir))
	for name, data := range files {
		require.NoError(t, vfs.WriteFile(disk, filepath.Join(testDir, name), []byte(data)))
	}
	return disk
}

// harm damages a file at random and says how.
func harm(t testing.TB, disk vfs.FS, rng *rand.Rand) string {
	t.Helper()
	names, err := disk.List(testDir)
	require.NoError(t, err)
	names = slices.DeleteFunc(names, func(n string) bool { return n == PartitionMetadataFile && rng.IntN(3) > 0 })
	name := names[rng.IntN(len(names))]
	path := filepath.Join(testDir, name)
	data, err := vfs.ReadFile(disk, path, -1)
	require.NoError(t, err)
	kind := rng.IntN(6)
	switch {
	case kind == 0:
		require.NoError(t, disk.Remove(path))
		return "no " + name
	case len(data) == 0:
		return ""
	case kind == 1:
		n := rng.IntN(len(data))
		edit(t, disk, path, func(b []byte) []byte { return b[:n] })
		return fmt.Sprintf("%s cut to %d", name, n)
	case kind == 2:
		from := rng.IntN(len(data))
		to := from + rng.IntN(len(data)-from)
		edit(t, disk, path, func(b []byte) []byte { clear(b[from:to]); return b })
		return fmt.Sprintf("%s zeros [%d, %d)", name, from, to)
	}
	at, bit := rng.IntN(len(data)), rng.IntN(8)
	edit(t, disk, path, func(b []byte) []byte { b[at] ^= 1 << bit; return b })
	return fmt.Sprintf("%s byte %d bit %d", name, at, bit)
}

// intact is the offsets whose batches have all their bytes.
func intact(t testing.TB, before, after map[string]string) map[int64]bool {
	t.Helper()
	whole := map[int64]bool{}
	for name, data := range before {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		pos := 0
		for b, err := range record.Batches([]byte(data)) {
			require.NoError(t, err)
			end := pos + len(b)
			if len(after[name]) >= end && after[name][pos:end] == data[pos:end] {
				for o := b.BaseOffset(); o < b.NextOffset(); o++ {
					whole[o] = true
				}
			}
			pos = end
		}
	}
	return whole
}

// Whatever is damaged: after a repair the log opens, nothing is wrong with it, everything that could be read before is there, and the report
// names exactly what is not.
func TestRepairOfRandomDamage(t *testing.T) {
	eachHarmed(t, thin.Raced(240, 40), 3, harm, func(hint string, disk *vfs.Mem, want map[int64]bool) {
		damaged := snapshotOf(t, disk)
		dry, dryErr := Repair(disk, testDir, identified, RepairOptions{DryRun: true, AcceptLoss: true})
		require.True(t, maps.Equal(damaged, snapshotOf(t, disk)), hint)
		require.NoError(t, dryErr, hint)
		if len(dry.Lost) > 0 {
			_, err := Repair(disk, testDir, identified, RepairOptions{})
			require.ErrorIs(t, err, ErrDataLoss, hint)
			require.True(t, maps.Equal(damaged, snapshotOf(t, disk)), hint)
		}
		done, err := Repair(disk, testDir, identified, RepairOptions{AcceptLoss: true})
		require.NoError(t, err, hint)
		require.Equal(t, dry.Lost, done.Lost, hint)
		if len(done.Found) > 0 {
			require.True(t, verified(t, disk, identified).Clean, hint)
		}
		got := sound(t, disk, identified, hint)
		lost := map[int64]bool{}
		for _, f := range done.Lost {
			for o := f.FirstOffset; o < f.NextOffset && f.Kind != segment.FaultHeaders; o++ {
				lost[o] = true
			}
		}
		for o := range want {
			require.Contains(t, got, o, "%s: offset %d was whole", hint, o)
		}
		for o := range int64(36) {
			_, there := got[o]
			if !there && !want[o] && strings.Contains(hint, SlotFile) {
				continue // without the watermark a torn tail cannot be told from a loss
			}
			require.NotEqual(t, there, lost[o], "%s: offset %d: there %v, reported lost %v", hint, o, there, lost[o])
		}
		again, err := Repair(disk, testDir, identified, RepairOptions{})
		require.NoError(t, err, hint)
		require.Empty(t, again.Found, hint)
	})
}

// eachHarmed damages copies of a log, stopped in order and killed by turns, in up to most places each, and gives f the offsets whose batches
// have all their bytes still.
func eachHarmed(t testing.TB, seeds, most int, harm func(testing.TB, vfs.FS, *rand.Rand) string, f func(hint string, disk *vfs.Mem, whole map[int64]bool)) {
	t.Helper()
	var states [2]map[string]string
	for i := range states {
		disk := vfs.NewMem()
		stock(t, disk, identified, i == 0)
		states[i] = snapshotOf(t, disk)
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 11))
		before := states[seed%2]
		disk := copyOf(t, before)
		var what []string
		for range 1 + rng.IntN(most) {
			what = append(what, harm(t, disk, rng))
		}
		f(fmt.Sprintf("seed %d: %s", seed, strings.Join(what, ", ")), disk, intact(t, before, snapshotOf(t, disk)))
	}
}
