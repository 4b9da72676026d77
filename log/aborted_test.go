package log

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// txnLog writes transactions of several producers.
type txnLog struct {
	t    testing.TB
	l    *Log
	seqs map[int64]int32
}

func (x *txnLog) send(id int64) Appended {
	x.t.Helper()
	a, err := x.l.Append(x.t.Context(), sent{id, 0, x.seqs[id], 1, 0, true}.batch(x.t), AppendOptions{Synced: true})
	require.NoError(x.t, err)
	x.seqs[id]++
	return a
}

func (x *txnLog) end(id int64, kind record.ControlType) Appended {
	x.t.Helper()
	a, err := x.l.Append(x.t.Context(), marker(kind, id, 0, 1, 0), AppendOptions{Synced: true, Coordinator: true})
	require.NoError(x.t, err)
	return a
}

func TestStableStopsAtAnOpenTransaction(t *testing.T) {
	for _, cfg := range []*Config{{}, {Durability: OS}, {SegmentBytes: 200}} {
		disk := vfs.NewMem()
		x := &txnLog{t, openLog(t, disk, cfg), map[int64]int32{}}
		put(t, x.l, "0")
		require.EqualValues(t, 1, x.l.Stable())
		x.send(7) // 1
		x.send(8) // 2
		put(t, x.l, "3")
		require.EqualValues(t, 1, x.l.Stable())
		require.EqualValues(t, 4, x.l.High())
		list, err := contents(x.l, Stable)
		require.NoError(t, err)
		require.Equal(t, []string{"0:0"}, list)
		x.end(7, record.Abort) // 4
		require.EqualValues(t, 2, x.l.Stable())
		x.send(7) // 5
		for _, kill := range []bool{false, true} {
			if !kill {
				require.NoError(t, x.l.Close())
			}
			x.l, _ = reopen(t, disk, cfg)
			require.EqualValues(t, 2, x.l.Stable(), "also after opening it again, killed %v", kill)
			_, err = x.l.Append(t.Context(), sent{7, 0, x.seqs[7], 1, 0, false}.batch(t), AppendOptions{Synced: true})
			require.ErrorIs(t, err, ErrInvalidTxnState)
		}
		x.end(8, record.Commit) // 6
		require.EqualValues(t, 5, x.l.Stable())
		x.end(7, record.Commit) // 7
		require.EqualValues(t, 8, x.l.Stable())
		aborted, err := x.l.AbortedIn(0, 8)
		require.NoError(t, err)
		require.Equal(t, []Aborted{{7, 1, 4, 2}}, aborted)
	}
}

// Aborted transactions in many segments, against a plain list, in every state of the log.
func TestAbortedIn(t *testing.T) {
	disk := vfs.NewCrash()
	require.NoError(t, disk.MkdirAll(testDir))
	require.NoError(t, disk.SyncDir("."))
	cfg := &Config{SegmentBytes: 900}
	x := &txnLog{t, openLog(t, disk, cfg), map[int64]int32{}}
	rng := rand.New(rand.NewPCG(1, 2))
	open := map[int64]int64{}
	var want []Aborted
	for range 150 {
		id := rng.Int64N(4)
		first, running := open[id]
		switch {
		case rng.IntN(4) == 0:
			put(t, x.l, "plain")
		case !running:
			open[id] = x.send(id).Base
		case rng.IntN(3) > 0:
			x.send(id)
		default:
			kind := record.ControlType(rng.IntN(2))
			a := x.end(id, kind)
			delete(open, id)
			if kind == record.Abort {
				stable := a.Base + 1
				for _, other := range open {
					stable = min(stable, other)
				}
				want = append(want, Aborted{id, first, a.Base, stable})
			}
		}
	}
	require.Greater(t, len(want), 9)
	check := func(l *Log) {
		t.Helper()
		end := l.End()
		for _, r := range [][2]int64{{0, end}, {0, 1}, {end / 2, end}, {end / 3, end / 2}, {end - 1, end}, {5, 5}, {end, end}} {
			var expected []Aborted
			for _, a := range want {
				if r[0] < r[1] && a.Last >= r[0] && a.First < r[1] {
					expected = append(expected, a)
				}
			}
			got, err := l.AbortedIn(r[0], r[1])
			require.NoError(t, err)
			require.ElementsMatch(t, expected, got, "%v", r)
		}
	}
	check(x.l)
	killed := openLog(t, disk.Kill(0), cfg)
	check(killed)
	require.NoError(t, killed.Close())
	cut := disk.After(vfs.KeepNone, 0)
	for _, name := range names(t, cut) {
		if len(name) > 9 && name[len(name)-9:] == ".txnindex" {
			require.NoError(t, cut.Remove(testDir+"/"+name))
		}
	}
	torn := openLog(t, cut, cfg)
	check(torn)
	require.NoError(t, torn.Close())
	torn = openLog(t, cut, cfg)
	check(torn)
	// After a power cut that takes what was never synced, the seal has the whole list.
	cut = disk.After(vfs.KeepNone, 0)
	unasked := openLog(t, cut, cfg)
	put(t, unasked, "x")
	require.NoError(t, unasked.Close())
	unasked = openLog(t, cut, cfg)
	check(unasked)
	require.NoError(t, x.l.Close())
	x.l = openLog(t, disk, cfg)
	check(x.l)
}

// The list of aborted transactions is gone: after a power cut while the disk does not let read what it is made of, or after a stop in order.
// The log rolls, stops and goes on all the same, and later look-ups get the whole list.
func TestAbortedListIsMadeAnewLater(t *testing.T) {
	cfg := &Config{SegmentBytes: 2000, Replicated: true}
	want := []Aborted{{7, 0, 1, 2}}
	for name, end := range map[string]func(l *Log) error{
		"roll": func(l *Log) error {
			for len(l.Segments()) == 1 {
				put(t, l, "v")
			}
			return nil
		},
		"close":    (*Log).Close,
		"truncate": func(l *Log) error { return l.Truncate(3) },
	} {
		for _, closed := range []bool{false, true} {
			crash := settledLog(t, nil)
			x := &txnLog{t, openLog(t, crash, cfg), map[int64]int32{}}
			x.send(7)
			x.end(7, record.Abort)
			put(t, x.l, "v", "w")
			left := crash.After(vfs.KeepNone, 0)
			if closed {
				require.NoError(t, x.l.Close())
				left = crash
				require.NotZero(t, loseDerived(t, left, ".txnindex", "gone"))
			}
			disk := vfs.NewFault(left)
			l := openLog(t, disk, cfg)
			put(t, l, "v")
			disk.Add(vfs.Rule{Op: vfs.OpRead, Path: "*.log", Count: vfs.Forever, Err: syscall.EIO})
			if name == "truncate" {
				disk.Clear()
			}
			require.NoError(t, end(l), name)
			disk.Clear()
			if name != "close" {
				require.NoError(t, l.Close())
			}
			for range 2 {
				l, _, err := Open(disk, testDir, cfg, OpenState{})
				require.NoError(t, err)
				put(t, l, "v")
				list, err := l.AbortedIn(0, l.End())
				require.NoError(t, err)
				require.Equal(t, want, list, name)
				require.NoError(t, l.Close())
			}
		}
	}
}

// A truncation that a crash cut short is finished although the list of aborted transactions of the segment that it ends in is gone.
func TestTruncationIsFinishedWithoutTheAbortedList(t *testing.T) {
	cfg := &Config{SegmentBytes: 300, Replicated: true, PreWrite: -1}
	whole := settledLog(t, nil)
	run := func(disk *vfs.Crash) *Log {
		x := &txnLog{t, openLog(t, disk, cfg), map[int64]int32{}}
		x.send(7)
		x.end(7, record.Abort)
		for range 6 {
			put(t, x.l, "v")
		}
		return x.l
	}
	l := run(whole)
	from := whole.Ops()
	require.NoError(t, l.Truncate(2))
	for n := from + 1; n <= whole.Ops(); n++ {
		disk := settledLog(t, nil)
		l := run(disk)
		disk.CrashAt(n)
		_ = l.Truncate(2)
		after := disk.After(vfs.KeepAll, 0)
		loseDerived(t, after, ".txnindex", "gone")
		l, _, err := Open(after, testDir, cfg, OpenState{})
		require.NoError(t, err, n)
		list, err := l.AbortedIn(0, l.End())
		require.NoError(t, err)
		require.Equal(t, []Aborted{{7, 0, 1, 2}}, list)
		require.NoError(t, l.Close())
	}
}
