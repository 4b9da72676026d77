package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// journal is what a scenario knows of its log while it runs: what a later open may find.
type journal struct {
	past, now *image // now is what the log is; past what it was while a change is under way, or nil
}

// image is a state of the log: every value ever appended at its offset, in order.
type image struct {
	base             int64
	values           []string // of offset base, base+1, ...
	acked            int64    // offsets below are acknowledged
	minStart, maxLow int64    // the start is one of [minStart, maxLow]
}

func (m *image) clone() *image { c := *m; c.values = slices.Clone(m.values); return &c }

func (m *image) end() int64 { return m.base + int64(len(m.values)) }

// fits tells what is wrong with a recovered log, given this image.
func (m *image) fits(l *Log, list []string) error {
	if l.Start() < m.minStart || l.Start() > m.maxLow {
		return fmt.Errorf("start %d not in [%d, %d]", l.Start(), m.minStart, m.maxLow)
	}
	if l.End() < m.acked || l.End() > m.end() {
		return fmt.Errorf("end %d not in [%d, %d]", l.End(), m.acked, m.end())
	}
	var want []string
	for o := max(l.Start(), m.base); o < l.End(); o++ {
		want = append(want, fmt.Sprintf("%d:%s", o, m.values[o-m.base]))
	}
	if !slices.Equal(want, list) {
		return fmt.Errorf("found %v, want %v", list, want)
	}
	return nil
}

// verify opens what a crash left, compares, goes on writing and opens again: after a
// clean stop, or after one more power cut that leaves only what is durable.
func (j *journal) verify(t testing.TB, disk *vfs.Crash, cfg *Config, cutAgain bool) {
	t.Helper()
	require.NoError(t, errors.Join(disk.MkdirAll(testDir), disk.SyncDir("."))) // the caller's part
	l, rep, err := Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err)
	require.Empty(t, rep.Damage)
	list, err := contents(l, End)
	require.NoError(t, err)
	wrong := j.now.fits(l, list)
	if wrong != nil && j.past != nil {
		if second := j.past.fits(l, list); second != nil {
			wrong = fmt.Errorf("%w; or %w", wrong, second)
		} else {
			wrong = nil
		}
	}
	require.NoError(t, wrong)
	require.Equal(t, l.End(), l.Durable())
	served := openLog(t, disk.After(vfs.KeepNone, 0), cfg) // what an open serves, it has made durable
	kept, err := contents(served, End)
	require.NoError(t, err)
	require.Equal(t, list, kept, "after a power cut that follows the recovery")
	require.NoError(t, served.Close())
	for _, v := range []string{"after", "wards"} {
		a, err := l.Append(context.Background(), batchOf(t, v), AppendOptions{Synced: true})
		require.NoError(t, err)
		list = append(list, fmt.Sprintf("%d:%s", a.Base, v))
	}
	start := l.Start()
	if cutAgain {
		require.NoError(t, l.Flush(context.Background()))
		disk = disk.After(vfs.KeepNone, 0)
	}
	require.NoError(t, l.Close())
	l, rep, err = Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err)
	require.Equal(t, !cutAgain, rep.Clean)
	require.Equal(t, start, l.Start())
	again, err := contents(l, End)
	require.NoError(t, err)
	require.Equal(t, list, again)
	require.NoError(t, l.Close())
}

// player runs a scenario against a log and keeps the journal. It stops at the first error.
type player struct {
	t    testing.TB
	disk *vfs.Crash
	cfg  *Config
	l    *Log
	j    journal
	n    int
	err  error
}

func (p *player) step(f func() error) {
	if p.err == nil {
		p.err = f()
	}
}

func (p *player) open() {
	p.step(func() (err error) {
		var hooks Hooks
		if p.cfg.FileDeleteDelay > 0 { // the owner calls DeleteFiles
			hooks.Removed = func(*Log, time.Duration) {}
		}
		p.l, _, err = Open(p.disk, testDir, p.cfg, OpenState{Hooks: hooks})
		return err
	})
}

// reap unlinks what was removed before.
func (p *player) reap() {
	p.step(func() error { _, err := p.l.DeleteFiles(time.Now().Add(time.Hour)); return err })
}

// add appends n batches one after the other.
func (p *player) add(n int) {
	for range n {
		p.step(func() error {
			v := fmt.Sprintf("value-%d", p.n)
			p.n++
			p.j.now.values = append(p.j.now.values, v)
			a, err := p.l.Append(context.Background(), batchOf(p.t, v), AppendOptions{Synced: true})
			if err == nil {
				p.j.now.acked = a.Last + 1
			}
			return err
		})
	}
}

// unsynced appends n batches without waiting for the disk.
func (p *player) unsynced(n int) {
	for range n {
		p.step(func() error {
			v := fmt.Sprintf("value-%d", p.n)
			p.n++
			p.j.now.values = append(p.j.now.values, v)
			_, err := p.l.Append(context.Background(), batchOf(p.t, v), AppendOptions{NoWait: true})
			return err
		})
	}
}

func (p *player) flush() {
	p.step(func() error {
		end := p.l.End()
		err := p.l.Flush(context.Background())
		if err == nil {
			p.j.now.acked = end
		}
		return err
	})
}

func (p *player) tick() {
	p.step(func() error { _, err := p.l.Tick(context.Background()); return err })
}

// change runs something that leaves the log as it was or as after says.
func (p *player) change(after func(m *image), f func() error) {
	p.step(func() error {
		p.j.past = p.j.now
		p.j.now = p.j.now.clone()
		after(p.j.now)
		err := f()
		if err == nil {
			p.j.past = nil
		} else {
			// A cut in progress may have stopped anywhere.
			p.j.past.acked = min(p.j.past.acked, p.j.now.acked)
		}
		return err
	})
}

func (p *player) truncate(to int64) {
	p.change(func(m *image) { m.values = m.values[:to-m.base]; m.acked = to }, func() error { return p.l.Truncate(to) })
}

func (p *player) truncateFully(to int64) {
	p.change(func(m *image) { *m = image{base: to, acked: to, minStart: to, maxLow: to} }, func() error { return p.l.TruncateFully(to) })
}

func (p *player) deleteRecords(to int64) {
	p.change(func(m *image) { m.minStart, m.maxLow = to, to }, func() error { _, err := p.l.DeleteRecords(to); return err })
}

// retain lets go of what the rules say, which is everything below to.
func (p *player) retain(rules Retention, to int64) {
	p.change(func(m *image) { m.minStart, m.maxLow = to, to }, func() error {
		_, err := p.l.ApplyRetention(context.Background(), time.Now(), &rules)
		return err
	})
}

func (p *player) close() { p.step(func() error { return p.l.Close() }) }

// play runs a scenario on a disk that loses power in operation n, 0 for never.
func play(t testing.TB, disk *vfs.Crash, cfg *Config, n int, scenario func(p *player)) *player {
	p := &player{t: t, disk: disk, cfg: cfg, j: journal{now: &image{}}}
	disk.CrashAt(n)
	p.step(func() error {
		if err := disk.MkdirAll(testDir); err != nil {
			return err
		}
		return disk.SyncDir(".")
	})
	p.open()
	scenario(p)
	p.close()
	switch {
	case n == 0:
		require.NoError(t, p.err)
	case p.err == nil: // in what Close unlinks at last, and the next open unlinks otherwise
		require.True(t, disk.Crashed())
	default:
		require.ErrorIs(t, p.err, vfs.ErrCrashed)
	}
	if p.l != nil {
		_ = p.l.Close()
	}
	return p
}

var crashScenarios = []struct {
	name string
	cfg  Config
	run  func(p *player)
}{
	{"append and sync", Config{}, func(p *player) { p.add(3) }},
	{"group of eight", Config{PreWrite: -1}, func(p *player) { p.unsynced(8); p.flush(); p.tick(); p.unsynced(2) }},
	{"three rolls", Config{SegmentBytes: 300}, func(p *player) { p.add(10) }},
	{"interval", Config{Durability: Interval, SegmentBytes: 300}, func(p *player) { p.unsynced(3); p.tick(); p.unsynced(6); p.tick() }},
	{"truncate", Config{Replicated: true, SegmentBytes: 300}, func(p *player) { p.add(7); p.truncate(5); p.truncate(1) }},
	{"truncate and append", Config{Replicated: true, SegmentBytes: 300}, func(p *player) {
		p.add(7)
		p.truncate(4)
		p.add(4)
		p.tick()
		p.truncate(6)
		p.add(2)
	}},
	{"truncate fully", Config{Replicated: true, SegmentBytes: 300}, func(p *player) { p.add(5); p.truncateFully(3); p.add(2); p.truncateFully(90); p.add(2) }},
	{"delete records", Config{SegmentBytes: 300}, func(p *player) { p.add(8); p.deleteRecords(4); p.add(2); p.deleteRecords(10); p.add(1) }},
	{"delete records later", Config{SegmentBytes: 300, FileDeleteDelay: time.Minute}, func(p *player) {
		p.add(8)
		p.deleteRecords(4)
		p.add(2)
		p.reap()
		p.deleteRecords(10)
		p.add(1)
	}},
	{"retention by size", Config{SegmentBytes: 100, FileDeleteDelay: time.Minute}, func(p *player) {
		p.add(4)
		p.retain(Retention{Bytes: 150}, 2)
		p.add(1)
		p.reap()
		p.retain(Retention{Bytes: -1}, 5)
		p.add(1)
	}},
	{"retention by age", Config{SegmentBytes: 100}, func(p *player) { p.add(2); p.retain(Retention{Age: time.Hour}, 2); p.add(1) }},
	{"retention by records", Config{SegmentBytes: 100}, func(p *player) { p.add(2); p.retain(Retention{Records: 1}, 1) }},
	{"retention by acknowledgement", Config{SegmentBytes: 100}, func(p *player) {
		p.add(2)
		p.retain(Retention{Acknowledged: upTo(1, true)}, 1)
		p.add(1)
	}},
	{"retention by a policy", Config{SegmentBytes: 100}, func(p *player) { p.add(2); p.retain(Retention{Policy: firstOf(1)}, 1) }},
	{"retention at interval", Config{Durability: Interval, SegmentBytes: 100}, func(p *player) {
		p.unsynced(3)
		p.retain(Retention{Records: 1}, 2)
		p.tick()
	}},
	{"close and open", Config{SegmentBytes: 300}, func(p *player) {
		p.add(4)
		p.close()
		p.open()
		p.add(2)
		p.close()
		p.open()
	}},
}

// every is how far apart the operations lie that a test tries: n, and farther under -race, which is for races. With
// QUIRE_EVERY_CUT set it tries them all.
func every(n int) int {
	switch {
	case os.Getenv("QUIRE_EVERY_CUT") != "":
		return 1
	case invariant.Enabled:
		return 11 * n
	case testing.Short():
		return 4 * n
	}
	return n
}

// eachCut goes through the ways in which power is lost in one operation. The seed varies
// with the operation; internal/proof tries them all.
func eachCut(n int, f func(policy vfs.Policy, seed uint64)) {
	for _, policy := range vfs.Policies() {
		f(policy, uint64(n))
		if policy.Seeded() && !invariant.Enabled {
			f(policy, uint64(7*n+1))
		}
	}
}

func TestCrashAtEveryOperation(t *testing.T) {
	for i := range crashScenarios {
		s := &crashScenarios[i]
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			whole := vfs.NewCrash()
			play(t, whole, &s.cfg, 0, s.run)
			for n := 1 + i%4; n <= whole.Ops(); n += every(4) { // internal/proof tries them all
				disk := vfs.NewCrash()
				p := play(t, disk, &s.cfg, n, s.run)
				if t.Failed() {
					return
				}
				eachCut(n, func(policy vfs.Policy, seed uint64) {
					defer func() {
						if t.Failed() {
							t.Logf("cut %v", vfs.Cut{Op: n, Policy: policy, Seed: seed})
						}
					}()
					p.j.verify(t, disk.After(policy, seed), &s.cfg, (int(policy)+n)%2 == 0)
				})
				p.j.verify(t, disk.Kill(uint64(n)), &s.cfg, n%2 == 0)
			}
		})
	}
}

// A crash inside recovery, at each of its operations, changes nothing about what the next one finds.
func TestCrashInsideRecovery(t *testing.T) {
	t.Run("truncation", func(t *testing.T) {
		t.Parallel()
		crashInsideRecovery(t, &Config{Replicated: true, SegmentBytes: 400}, func(p *player) {
			p.add(5)
			p.truncate(3)
			p.add(4)
			p.unsynced(2)
			p.flush()
		})
	})
	t.Run("retention", func(t *testing.T) {
		t.Parallel()
		crashInsideRecovery(t, &Config{SegmentBytes: 100, FileDeleteDelay: time.Minute}, func(p *player) {
			p.add(3)
			p.retain(Retention{Records: 1}, 2)
			p.reap()
			p.add(1)
		})
	})
}

func crashInsideRecovery(t *testing.T, cfg *Config, scenario func(p *player)) {
	whole := vfs.NewCrash()
	play(t, whole, cfg, 0, scenario)
	for n := 3; n <= whole.Ops(); n += every(5) {
		first := vfs.NewCrash()
		p := play(t, first, cfg, n, scenario)
		for _, policy := range []vfs.Policy{vfs.KeepAll, vfs.TornSectors, vfs.GarbageSectors, vfs.RandomEntries} {
			seed := uint64(n)
			probe := first.After(policy, seed)
			l, _, err := Open(probe, testDir, cfg, OpenState{})
			require.NoError(t, err)
			require.NoError(t, l.Close())
			for m := 1 + n%2; m <= probe.Ops(); m += 2 {
				second := first.After(policy, seed)
				second.CrashAt(m)
				if l, _, err := Open(second, testDir, cfg, OpenState{}); err == nil {
					_ = l.Close()
				}
				p.j.verify(t, second.After(vfs.KeepRandom, uint64(m)), cfg, m%2 == 0)
				p.j.verify(t, second.After(vfs.KeepNone, 0), cfg, m%2 == 1)
			}
		}
	}
}

// An interrupted truncation that removes whole segments is finished by the open after it: a
// power cut at any of its operations, and one right behind it, bring nothing back, and leave no hole
// where it has cut a segment short.
func TestCrashWhileATruncationIsFinished(t *testing.T) {
	for to, cfg := range map[int64]*Config{1: {Replicated: true, SegmentBytes: 100}, 3: {Replicated: true, SegmentBytes: 160}} {
		scenario := func(p *player) { p.add(6); p.truncate(to) }
		whole := vfs.NewCrash()
		play(t, whole, cfg, 0, scenario)
		for n := whole.Ops() / 2; n <= whole.Ops(); n += thin.Raced(1, 3) {
			first := vfs.NewCrash()
			p := play(t, first, cfg, n, scenario)
			probe := first.After(vfs.KeepAll, 0)
			require.NoError(t, openLog(t, probe, cfg).Close())
			for m := 1; m <= probe.Ops(); m += thin.Raced(1, 5) {
				second := first.After(vfs.KeepAll, 0)
				second.CrashAt(m)
				if l, _, err := Open(second, testDir, cfg, OpenState{}); err == nil {
					_ = l.Close()
				}
				p.j.verify(t, second.After(vfs.KeepNone, 0), cfg, true)
			}
		}
	}
}
