package log

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
	"github.com/stretchr/testify/require"
)

// What an open goes by, and what it makes in the place of something lost, has its name on disk before a record is acknowledged in it:
// a power cut after the open, and after an append, takes nothing of it back.
func TestWhatAnOpenMakesIsNamed(t *testing.T) {
	lost := OpenState{AcceptLoss: true}
	for name, tc := range map[string]struct {
		harm func(disk vfs.FS)
		st   OpenState
	}{
		"the last segment is gone": {func(disk vfs.FS) { require.NoError(t, disk.Remove(logFile(8))) }, lost},
		"all data files are gone": {func(disk vfs.FS) {
			for _, base := range []int64{0, 4, 8} {
				require.NoError(t, disk.Remove(logFile(base)))
			}
		}, lost},
		"all but the slot is gone": {func(disk vfs.FS) { removeAllBut(t, disk, SlotFile) }, lost},
		"a broker led meanwhile":   {func(disk vfs.FS) { underBroker(t, disk) }, OpenState{}},
		"a broker compacted meanwhile": {func(disk vfs.FS) {
			underBroker(t, disk)
			edit(t, disk, logFile(4), func([]byte) []byte { return nil })
			edit(t, disk, logFile(0), func(b []byte) []byte { return b[len(batchOf(t, "v")):] })
		}, OpenState{}},
		"it was deleted under a broker":  {func(disk vfs.FS) { underBroker(t, disk); removeSegment(t, disk, 0) }, OpenState{Kafka: KafkaState{Start: 4}}},
		"all was deleted under a broker": {func(disk vfs.FS) { underBroker(t, disk) }, OpenState{Kafka: KafkaState{Start: 40}}},
	} {
		for _, closed := range []bool{true, false} {
			mem := tenRecords(t, small, closed)
			tc.harm(mem)
			disk := settledLog(t, files(t, mem))
			l, _, err := Open(disk, testDir, small, tc.st)
			require.NoError(t, err, name)
			want, err := contents(l, End)
			require.NoError(t, err, name)
			same := func(fs *vfs.Crash, want []string) {
				t.Helper()
				again, rep, err := Open(fs, testDir, small, OpenState{})
				require.NoError(t, err, name)
				require.Empty(t, rep.Damage, name)
				got, err := contents(again, End)
				require.NoError(t, err, name)
				require.Equal(t, want, got, name)
				require.NoError(t, again.Close())
			}
			same(disk.After(vfs.KeepNone, 0), want)
			a := put(t, l, "v")
			same(disk.After(vfs.KeepNone, 0), append(want, itoa(int(a.Base))+":v"))
		}
	}
}

// A log that is empty at an offset, and whose data file is gone: the one that takes its place is named before it takes a record.
func TestEmptyLogMadeAnewIsNamed(t *testing.T) {
	cfg := &Config{Replicated: true}
	for base, empty := range map[int64]func(l *Log) error{
		5: func(l *Log) error { return l.TruncateFully(5) },
		1: func(l *Log) error { l.AdvanceHigh(1); _, err := l.DeleteRecords(1); return err },
	} {
		mem := vfs.NewMem()
		l := openLog(t, mem, cfg)
		put(t, l, "v")
		require.NoError(t, empty(l))
		require.NoError(t, l.Close())
		removeAllBut(t, mem, SlotFile, LeaderEpochFile)
		disk := settledLog(t, files(t, mem))
		l, _, err := Open(disk, testDir, cfg, OpenState{AcceptLoss: true})
		require.NoError(t, err)
		require.NoError(t, l.AppendAt(t.Context(), at(batchOf(t, "v"), base, noEpoch))) // no history of epochs is stored for it
		list, err := contents(openLog(t, disk.After(vfs.KeepNone, 0), cfg), End)
		require.NoError(t, err)
		require.Equal(t, []string{fmt.Sprintf("%d:v", base)}, list)
	}
}

func removeAllBut(t testing.TB, disk vfs.FS, keep ...string) {
	t.Helper()
	for _, name := range names(t, disk) {
		if !slices.Contains(keep, name) {
			require.NoError(t, disk.Remove(testDir+"/"+name))
		}
	}
}

// A leader's batches leave offsets out; what was acknowledged of them is there after a power cut, though the slot that was written
// since is not.
func TestGapsSurviveAPowerCut(t *testing.T) {
	cfg := &Config{Replicated: true, PreWrite: -1}
	for _, closed := range []bool{false, true} {
		disk := settledLog(t, nil)
		l := openLog(t, disk, cfg)
		if put(t, l, "v"); closed {
			require.NoError(t, l.Close())
			l = openLog(t, disk, cfg)
		}
		for _, offset := range []int64{10, 11, 20} {
			require.NoError(t, l.AppendAt(t.Context(), at(batchOf(t, "v"), offset, 0)))
		}
		for _, policy := range vfs.Policies() {
			again, rep, err := Open(disk.After(policy, 1), testDir, cfg, OpenState{})
			require.NoError(t, err)
			require.Empty(t, rep.Damage)
			list, err := contents(again, End)
			require.NoError(t, err)
			require.Equal(t, []string{"0:v", "10:v", "11:v", "20:v"}, list, "%v", policy)
			require.NoError(t, again.Close())
		}
	}
}

// A cut that a process saw, and whose sync failed, is in the page cache only: the open that finishes the truncation makes it durable.
func TestCutWhoseSyncFailedIsDurableAfterTheOpen(t *testing.T) {
	cfg := &Config{Replicated: true, PreWrite: -1}
	crash := settledLog(t, nil)
	disk := vfs.NewFault(crash)
	l := openLog(t, disk, cfg)
	for range 5 {
		put(t, l, "v")
	}
	disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log", Err: syscall.EIO})
	require.ErrorIs(t, l.Truncate(2), syscall.EIO)
	killed := crash.Kill(0)
	for range 2 {
		l, _, err := Open(killed, testDir, cfg, OpenState{})
		require.NoError(t, err)
		list, err := contents(l, End)
		require.NoError(t, err)
		require.Equal(t, tenWant(2), list)
		killed = killed.After(vfs.KeepNone, 0)
		require.NoError(t, l.Close())
	}
}

// Segments that leave the log take all their files along, wherever the power is cut: a seal that stayed would tell, once the log has grown
// past it, that its data file is missing.
func TestRemovedSegmentsLeaveNothing(t *testing.T) {
	for name, c := range map[string]struct {
		cfg *Config
		run func(p *player)
	}{
		"truncate":       {&Config{Replicated: true, SegmentBytes: 100}, func(p *player) { p.add(5); p.truncate(1) }},
		"truncate fully": {&Config{Replicated: true, SegmentBytes: 100}, func(p *player) { p.add(4); p.truncateFully(2); p.add(1) }},
		"delete records": {&Config{SegmentBytes: 100, FileDeleteDelay: -1}, func(p *player) { p.add(5); p.deleteRecords(3) }},
	} {
		whole := vfs.NewCrash()
		play(t, whole, c.cfg, 0, c.run)
		for n := whole.Ops() / 2; n <= whole.Ops(); n += every(1) {
			disk := vfs.NewCrash()
			p := play(t, disk, c.cfg, n, c.run)
			for seed := range uint64(thin.Raced(16, 4)) {
				hint := fmt.Sprintf("%s: operation %d, seed %d", name, n, seed)
				after := disk.After(vfs.RandomEntries, seed)
				p.requireNoStrays(t, after, hint)
				// A second cut, while the first is made good.
				ops := after.Ops()
				for m := 1 + n%5; m <= ops && seed < 8; m += 5 {
					second := disk.After(vfs.RandomEntries, seed)
					second.CrashAt(m)
					if l, _, err := Open(second, testDir, c.cfg, OpenState{}); err == nil {
						_ = l.Close()
					}
					p.requireNoStrays(t, second.After(vfs.RandomEntries, uint64(m)), fmt.Sprintf("%s, then %d", hint, m))
				}
			}
		}
	}
}

// requireNoStrays opens a log and fails if a file of a segment that it does not have is there.
func (p *player) requireNoStrays(t testing.TB, disk *vfs.Crash, hint string) {
	t.Helper()
	require.NoError(t, errors.Join(disk.MkdirAll(testDir), disk.SyncDir(".")))
	l, _, err := Open(disk, testDir, p.cfg, OpenState{})
	require.NoError(t, err, hint)
	_, err = l.Append(t.Context(), batchOf(t, "v"), AppendOptions{})
	require.NoError(t, err, hint)
	own := map[int64]bool{}
	for _, s := range l.Segments() {
		own[s.Base] = true
	}
	for _, name := range names(t, disk) {
		base, kind, ok := segment.ParseName(name)
		require.True(t, !ok || own[base] || kind.File() == segment.KindSnapshot, "%s: %s", hint, name)
	}
	require.NoError(t, l.Close())
}

// A copy that loses power while it is brought up to date is no log, or the earlier or the later one; another run completes it, and then it
// stays, indexes too.
func TestPowerCutInABackup(t *testing.T) {
	cfg := &Config{SegmentBytes: 400, IndexInterval: 64, PreWrite: -1}
	for _, linked := range []bool{true, false} {
		var before, now []string
		// prepared is a log with a copy that is out of date; again brings it up to date.
		prepared := func() (disk *vfs.Crash, l *Log, again func() error) {
			disk = settledLog(t, nil)
			require.NoError(t, errors.Join(disk.MkdirAll("copy"), disk.SyncDir(".")))
			l = openLog(t, disk, cfg)
			opt := BackupOptions{FS: disk, Dir: "copy", Until: -1}
			if linked {
				opt.Link = disk.Link
			}
			again = func() error { _, err := l.Backup(opt); return err }
			for range 7 {
				put(t, l, "v")
			}
			require.NoError(t, again())
			before = tenWant(7)
			for range 7 {
				put(t, l, "v")
			}
			_, err := l.DeleteRecords(6)
			require.NoError(t, err)
			now = tenWant(14)[6:]
			return disk, l, again
		}
		is := func(disk *vfs.Crash, hint string, want ...[]string) {
			t.Helper()
			c, rep, err := Open(disk, "copy", cfg, OpenState{})
			require.NoError(t, err, hint)
			require.Empty(t, rep.Damage, hint)
			list, err := contents(c, End)
			require.NoError(t, err, hint)
			require.Contains(t, want, list, hint)
			require.NoError(t, c.Close())
		}
		complete := func(disk *vfs.Crash, hint string) {
			t.Helper()
			found, err := Verify(disk, "copy", cfg, VerifyOptions{})
			require.NoError(t, err, hint)
			require.Empty(t, slices.Concat(found.Faults, found.Notes), hint)
			is(disk, hint, now)
		}
		whole, _, again := prepared()
		from := whole.Ops()
		require.NoError(t, again())
		complete(whole.After(vfs.KeepNone, 0), "whole")
		for n := from + 1; n <= whole.Ops(); n += every(1) {
			disk, l, again := prepared()
			disk.CrashAt(n)
			require.ErrorIs(t, again(), vfs.ErrCrashed)
			for i, policy := range vfs.Policies() {
				hint := vfs.Cut{Op: n, Policy: policy, Seed: uint64(n)}.String()
				after := disk.After(policy, uint64(n))
				if _, there, err := (&slot{}).open(after, "copy"); there && err == nil {
					is(disk.After(policy, uint64(n)), hint, before, now)
				}
				if i%4 != n%4 {
					continue
				}
				source, _, err := Open(after, testDir, cfg, OpenState{})
				require.NoError(t, err, hint)
				opt := BackupOptions{FS: after, Dir: "copy", Until: -1}
				if linked {
					opt.Link = after.Link
				}
				_, err = source.Backup(opt)
				require.NoError(t, err, hint)
				complete(after.After(vfs.KeepNone, 0), hint)
				require.NoError(t, source.Close())
			}
			_ = l.Close()
		}
	}
}
