package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
	"github.com/stretchr/testify/require"
)

// keeper runs a story of a compacted log and remembers what was written.
type keeper struct {
	t       testing.TB
	l       *Log
	cfg     *Config
	written []kv  // by offset
	acked   int64 // offsets below are acknowledged
	err     error
}

func (k *keeper) step(f func() error) {
	if k.err == nil {
		k.err = f()
	}
}

func (k *keeper) open(disk vfs.FS) {
	k.step(func() (err error) {
		if err := disk.MkdirAll(testDir); err != nil {
			return err
		}
		if err := disk.SyncDir("."); err != nil {
			return err
		}
		k.l, _, err = Open(disk, testDir, k.cfg, OpenState{})
		return err
	})
}

func (k *keeper) put(words ...string) {
	k.step(func() error {
		list := kvs(words...)
		k.written = append(k.written, list...)
		a, err := k.l.Append(context.Background(), kvBatch(k.t, record.BuilderConfig{Codec: compress.LZ4}, list...), AppendOptions{})
		if err == nil {
			k.acked = a.Last + 1
		}
		return err
	})
}

func (k *keeper) roll() {
	k.step(func() error {
		k.l.mu.Lock()
		defer k.l.mu.Unlock()
		if err := k.l.beginWritingLocked(); err != nil {
			return err
		}
		_, err := k.l.rollLocked(k.l.cfg.Load(), k.l.end.Load())
		return err
	})
}

func (k *keeper) compact(now time.Time) {
	k.step(func() error {
		_, err := k.l.Compact(context.Background(), CompactOptions{Now: now, Memory: 1 << 12})
		return err
	})
}

// story has groups of several segments, tombstones through both phases, and an output that is empty.
func (k *keeper) story(disk vfs.FS) {
	k.open(disk)
	for i := range 9 {
		k.put(fmt.Sprintf("a%d=x", i%2), fmt.Sprintf("b%d=y", i%3))
	}
	k.roll()
	k.compact(cleanTime)
	k.put("a0=-", "a1=-", "b0=-", "b1=-", "b2=-")
	k.put("c=1")
	k.roll()
	k.compact(cleanTime)
	k.put("c=2")
	k.roll()
	k.compact(cleanTime.Add(2 * time.Hour))
	k.put("b0=again", "d=1")
	k.roll()
	k.put("d=2")
	k.compact(cleanTime.Add(3 * time.Hour))
	k.step(func() error { return k.l.Close() })
}

// holds tells what is wrong with a log after a crash: what it holds must have been
// written, in order, and the newest record of each key must be among it, or be gone as a
// deletion may be.
func (k *keeper) holds(l *Log) error {
	list, err := keyed(l, End)
	if err != nil {
		return err
	}
	if l.End() < k.acked || l.Start() != 0 {
		return fmt.Errorf("offsets [%d, %d), %d acknowledged", l.Start(), l.End(), k.acked)
	}
	found, last := map[string]int64{}, int64(-1)
	for _, text := range list {
		var offset int64
		var rest string
		if _, err := fmt.Sscanf(text, "%d:%s", &offset, &rest); err != nil {
			return err
		}
		if offset <= last || offset >= int64(len(k.written)) || k.written[offset].String() != rest {
			return fmt.Errorf("found %s behind offset %d", text, last)
		}
		found[k.written[offset].key], last = offset, offset
	}
	newest := map[string]int64{}
	for offset, r := range k.written[:l.End()] {
		newest[r.key] = int64(offset)
	}
	for key, offset := range newest {
		got, there := found[key]
		if !there && k.written[offset].value == "-" || there && got == offset {
			continue
		}
		return fmt.Errorf("key %s: the newest record is at %d, found %d (%v) in %v", key, offset, got, there, list)
	}
	return nil
}

// look opens what a crash left for reading, which changes nothing, and gives what it holds; nil where there is no log yet.
func (k *keeper) look(disk vfs.FS) ([]string, error) {
	before := snapshotOf(k.t, disk)
	l, _, err := Open(disk, testDir, k.cfg, OpenState{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := keyed(l, End)
	if err := errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	if !maps.Equal(before, snapshotOf(k.t, disk)) {
		return nil, errors.New("files have changed")
	}
	return append([]string{}, found...), nil
}

// verify opens what a crash left, compares, compacts, and opens again.
func (k *keeper) verify(disk *vfs.Crash) error {
	if err := errors.Join(disk.MkdirAll(testDir), disk.SyncDir(".")); err != nil {
		return err
	}
	looked, err := k.look(disk)
	if err != nil {
		return fmt.Errorf("opened for reading: %w", err)
	}
	l, rep, err := Open(disk, testDir, k.cfg, OpenState{})
	if err != nil || len(rep.Damage) > 0 {
		return fmt.Errorf("open: %w, damage %v", err, rep.Damage)
	}
	if err := k.holds(l); err != nil {
		return err
	}
	if found, err := keyed(l, End); err != nil || looked != nil && !slices.Equal(found, looked) {
		return fmt.Errorf("opened for reading it held %v, now %v: %w", looked, found, err)
	}
	list, err := disk.List(testDir)
	if err != nil {
		return err
	}
	for _, name := range list {
		if _, kind, ok := segment.ParseName(name); ok && kind.Mark() != 0 {
			return fmt.Errorf("%s was left behind", name)
		}
	}
	for _, s := range l.view.Load().segments {
		if err := s.Verify(); err != nil {
			return err
		}
	}
	if _, err := l.Compact(context.Background(), CompactOptions{Now: cleanTime}); err != nil {
		return fmt.Errorf("compaction after the crash: %w", err)
	}
	if err := k.holds(l); err != nil {
		return fmt.Errorf("after one more pass: %w", err)
	}
	if err := l.Close(); err != nil {
		return err
	}
	if l, _, err = Open(disk, testDir, k.cfg, OpenState{}); err != nil {
		return err
	}
	return errors.Join(k.holds(l), l.Close())
}

func playStory(t testing.TB, disk *vfs.Crash, n int) *keeper {
	k := &keeper{t: t, cfg: &Config{Compacted: true, SegmentBytes: 400, DeleteRetention: time.Hour, IndexInterval: 64, FileDeleteDelay: -1}}
	disk.CrashAt(n)
	k.story(disk)
	if n == 0 {
		require.NoError(t, k.err)
	} else {
		require.ErrorIs(t, k.err, vfs.ErrCrashed)
	}
	if k.l != nil {
		_ = k.l.Close()
	}
	return k
}

func TestCrashDuringCompaction(t *testing.T) {
	t.Parallel()
	whole := vfs.NewCrash()
	k := playStory(t, whole, 0)
	require.NoError(t, k.verify(whole.After(vfs.KeepNone, 0)))
	for n := 1; n <= whole.Ops(); n += every(7) { // internal/proof tries them all
		disk := vfs.NewCrash()
		k := playStory(t, disk, n)
		eachCut(n, func(policy vfs.Policy, seed uint64) {
			require.NoError(t, k.verify(disk.After(policy, seed)), "cut %v", vfs.Cut{Op: n, Policy: policy, Seed: seed})
		})
		require.NoError(t, k.verify(disk.Kill(uint64(n))), "kill at %d", n)
	}
}

// A second crash, inside the recovery from the first, at each of its operations.
func TestCrashWhileASwapIsFinished(t *testing.T) {
	t.Parallel()
	whole := vfs.NewCrash()
	playStory(t, whole, 0)
	checked := 0
	for n := 2; n <= whole.Ops(); n += every(13) {
		first := vfs.NewCrash()
		k := playStory(t, first, n)
		for _, policy := range []vfs.Policy{vfs.KeepAll, vfs.RandomEntries, vfs.KeepRandom} {
			probe := first.After(policy, uint64(n))
			names, err := probe.List(testDir)
			if err != nil || !strings.Contains(strings.Join(names, " "), ".swap") {
				continue
			}
			l, _, err := Open(probe, testDir, k.cfg, OpenState{})
			require.NoError(t, err)
			require.NoError(t, l.Close())
			for m := 1 + n%2; m <= probe.Ops(); m += 2 {
				second := first.After(policy, uint64(n))
				second.CrashAt(m)
				if l, _, err := Open(second, testDir, k.cfg, OpenState{}); err == nil {
					_ = l.Close()
				}
				checked++
				for _, again := range []vfs.Policy{vfs.RandomEntries, vfs.KeepNone} {
					require.NoError(t, k.verify(second.After(again, uint64(m))), "cut %d %v, then %d %v", n, policy, m, again)
				}
			}
		}
	}
	require.True(t, invariant.Enabled || checked > 0)
}

// Whatever operation fails, nothing is lost and nothing untrue is shown, now or after the next open.
func TestFaultsDuringCompaction(t *testing.T) {
	t.Parallel()
	prepare := func() (*keeper, *vfs.Fault, *vfs.Crash) {
		inner := vfs.NewCrash()
		disk := vfs.NewFault(inner)
		k := &keeper{t: t, cfg: &Config{Compacted: true, SegmentBytes: 400, DeleteRetention: time.Hour, IndexInterval: 64, FileDeleteDelay: -1}}
		k.open(disk)
		for i := range 9 {
			k.put(fmt.Sprintf("a%d=x", i%2), fmt.Sprintf("b%d=y", i%3))
		}
		k.put("a0=-")
		k.roll()
		require.NoError(t, k.err)
		return k, disk, inner
	}
	calls := func(disk *vfs.Fault) (n int64) {
		for op := vfs.OpCreate; op <= vfs.OpClose; op++ {
			n += disk.Count(op)
		}
		return n
	}
	k, disk, _ := prepare()
	before := calls(disk)
	k.compact(cleanTime)
	require.NoError(t, k.err)
	all := int(calls(disk) - before)
	require.Greater(t, all, 30)
	require.NoError(t, k.l.Close())
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE} {
		for i := 1; i <= all; i += every(3) {
			for _, count := range []int{0, vfs.Forever}[i%2:][:1] {
				k, disk, inner := prepare()
				disk.Add(vfs.Rule{Op: vfs.OpAny, K: i, Count: count, Err: fault})
				_, err := k.l.Compact(t.Context(), CompactOptions{Now: cleanTime})
				disk.Clear()
				require.NoError(t, k.holds(k.l), "%v at %d", fault, i)
				if err != nil && k.l.Fenced() == nil {
					_, err = k.l.Compact(t.Context(), CompactOptions{Now: cleanTime})
					require.NoError(t, err, "%v at %d: the next pass", fault, i)
					require.NoError(t, k.holds(k.l))
				}
				_ = k.l.Close()
				require.NoError(t, k.verify(inner.After(vfs.KeepNone, 0)), "%v at %d", fault, i)
			}
		}
	}
}

// Wherever a swap stands still, what has been decided is not missing.
func TestVerifyDuringASwap(t *testing.T) {
	stood := 0
	for k := range 12 {
		disk := vfs.NewFault(vfs.NewMem())
		l := openLog(t, disk, &Config{Compacted: true, SegmentBytes: 400})
		for i := range 9 {
			putKV(t, l, fmt.Sprintf("a=%d", i))
		}
		roll(t, l)
		disk.Add(vfs.Rule{Op: vfs.OpRename, K: k + 1, Count: vfs.Forever, Err: syscall.EIO})
		_, _ = l.Compact(t.Context(), CompactOptions{Now: cleanTime})
		disk.Clear()
		found, err := Verify(disk, testDir, &Config{}, VerifyOptions{})
		require.NoError(t, err)
		require.Empty(t, found.Faults, "rename %d: %v", k, names(t, disk))
		if slices.ContainsFunc(found.Notes, func(f segment.Fault) bool { return f.Kind == NoteSwap }) {
			stood++
		}
		_ = l.Close()
	}
	require.NotZero(t, stood)
}

// A copy of a log whose swap stands still, made by links where they can be, is what a reader sees.
func TestBackupDuringASwap(t *testing.T) {
	for k := range 12 {
		mem := vfs.NewMem()
		disk := vfs.NewFault(mem)
		l := openLog(t, disk, &Config{Compacted: true, SegmentBytes: 400})
		for i := range 9 {
			putKV(t, l, fmt.Sprintf("a=%d", i))
		}
		roll(t, l)
		disk.Add(vfs.Rule{Op: vfs.OpRename, K: k + 1, Count: vfs.Forever, Err: syscall.EIO})
		_, _ = l.Compact(t.Context(), CompactOptions{Now: cleanTime})
		disk.Clear()
		_ = l.Close()
		r, _, err := Open(mem, testDir, &Config{Compacted: true}, OpenState{ReadOnly: true})
		require.NoError(t, err)
		want, err := keyed(r, End)
		require.NoError(t, err)
		require.NoError(t, mem.MkdirAll("copy"))
		_, err = r.Backup(BackupOptions{FS: mem, Dir: "copy", Until: -1, Link: mem.Link})
		require.NoError(t, err, "rename %d", k)
		require.NoError(t, r.Close())
		c, _, err := Open(mem, "copy", &Config{Compacted: true}, OpenState{})
		require.NoError(t, err)
		got, err := keyed(c, End)
		require.NoError(t, err)
		require.Equal(t, want, got, "rename %d", k)
		require.NoError(t, c.Close())
	}
}
