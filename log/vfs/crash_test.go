package vfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// must returns v or panics: for steps of a set-up that cannot fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func write(t testing.TB, f vfs.File, off int64, s string) {
	t.Helper()
	_, err := f.WriteAt([]byte(s), off)
	require.NoError(t, err)
}

// content reads a file; "?" when it is not there.
func content(t testing.TB, fsys vfs.FS, name string) string {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return "?"
	}
	require.NoError(t, err)
	return string(data)
}

// durable returns a disk with the file /a that holds "old" durably, open.
func durable(t testing.TB, text string) (*vfs.Crash, vfs.File) {
	t.Helper()
	c := vfs.NewCrash()
	f := must(c.Create("/a"))
	write(t, f, 0, text)
	require.NoError(t, f.Sync())
	require.NoError(t, c.SyncDir("/"))
	return c, f
}

func TestCrashSyncIsNotTheEntry(t *testing.T) {
	c := vfs.NewCrash()
	f := must(c.Create("/a"))
	write(t, f, 0, "data")
	require.NoError(t, f.Sync())
	assert.Equal(t, "?", content(t, c.After(vfs.KeepNone, 0), "/a"))
	assert.Equal(t, "data", content(t, c.After(vfs.EntriesOnly, 0), "/a"))

	c = vfs.NewCrash()
	f = must(c.Create("/a"))
	write(t, f, 0, "data")
	require.NoError(t, c.SyncDir("/"))
	assert.Equal(t, "", content(t, c.After(vfs.KeepNone, 0), "/a"))
	assert.Equal(t, "data", content(t, c.After(vfs.DataOnly, 0), "/a"))
	assert.Equal(t, "\x00\x00\x00\x00", content(t, c.After(vfs.SizeOnly, 0), "/a"))
}

func TestCrashDirectoryNeedsItsParent(t *testing.T) {
	c := vfs.NewCrash()
	require.NoError(t, c.MkdirAll("/d/e"))
	require.NoError(t, vfs.WriteFile(c, "/d/e/a", []byte("x")))
	assert.Equal(t, "?", content(t, c.After(vfs.KeepNone, 0), "/d/e/a"))
	require.NoError(t, c.SyncDir("/d"))
	assert.Equal(t, "?", content(t, c.After(vfs.KeepNone, 0), "/d/e/a"))
	require.NoError(t, c.SyncDir("/"))
	assert.Equal(t, "x", content(t, c.After(vfs.KeepNone, 0), "/d/e/a"))
}

// outcomes collects what a name can hold after a cut, over many seeds.
func outcomes(t testing.TB, c *vfs.Crash, p vfs.Policy, name string) []string {
	t.Helper()
	seen := make(map[string]bool)
	for seed := range uint64(64) {
		seen[content(t, c.After(p, seed), name)] = true
	}
	var list []string
	for s := range seen {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

func TestCrashPoliciesOnWholeWrites(t *testing.T) {
	c, f := durable(t, "....")
	write(t, f, 0, "a")
	write(t, f, 1, "b")
	write(t, f, 2, "c")
	require.Equal(t, 3, c.Pending())
	for policy, want := range map[vfs.Policy][]string{
		vfs.KeepNone:      {"...."},
		vfs.KeepAll:       {"abc."},
		vfs.KeepPrefix:    {"....", "a...", "ab..", "abc."},
		vfs.DropOne:       {".bc.", "a.c.", "ab.."},
		vfs.KeepRandom:    {"....", "..c.", ".b..", ".bc.", "a...", "a.c.", "ab..", "abc."},
		vfs.TornSectors:   {"....", "a...", "ab..", "abc."},
		vfs.SizeOnly:      {"...."},
		vfs.EntriesOnly:   {"...."},
		vfs.DataOnly:      {"abc."},
		vfs.RandomEntries: {"abc."},
		// A durable sector is never ruined.
		vfs.ZeroedSectors:  {"....", "a...", "ab..", "abc."},
		vfs.GarbageSectors: {"....", "a...", "ab..", "abc."},
		vfs.MixedSectors:   {"....", "a...", "ab..", "abc."},
	} {
		assert.Equal(t, want, outcomes(t, c, policy, "/a"), policy.String())
	}
	assert.Equal(t, "abc.", content(t, c, "/a"), "the receiver changed")
}

func TestCrashSectors(t *testing.T) {
	c, f := durable(t, strings.Repeat("o", 600))
	write(t, f, 600, strings.Repeat("n", 1000)) // part of sector 1, sector 2, part of 3
	parts := func(s string) string {
		kinds := ""
		for _, r := range [][2]int{{0, 600}, {600, 1024}, {1024, 1536}, {1536, 1600}} {
			part := s[min(r[0], len(s)):min(r[1], len(s))]
			switch {
			case part == "":
				kinds += "-"
			case strings.Trim(part, part[:1]) != "":
				kinds += "#" // garbage
			case part[0] == 0:
				kinds += "0"
			default:
				kinds += part[:1]
			}
		}
		return kinds
	}
	for policy, want := range map[vfs.Policy][]string{
		// each sector written or old, the length the last one's or the new one
		vfs.TornSectors:    {"o---", "o0n-", "o0nn", "o00n", "onn-", "onnn", "on0n", "on--", "o000"},
		vfs.ZeroedSectors:  {"o000", "o00n", "o0n0", "o0nn", "on00", "on0n", "onn0", "onnn"},
		vfs.GarbageSectors: {"o0##", "o0#n", "o0n#", "o0nn", "on##", "on#n", "onn#", "onnn"},
		vfs.MixedSectors:   {"onnn", "o0n#", "on#0", "o---"},
	} {
		got := make(map[string]bool)
		for seed := range uint64(400) {
			s := content(t, c.After(policy, seed), "/a")
			require.Equal(t, strings.Repeat("o", 600), s[:600], "durable bytes changed")
			got[parts(s)] = true
		}
		for _, kinds := range want {
			assert.True(t, got[kinds], "%s never gave %s", policy, kinds)
		}
		if policy == vfs.ZeroedSectors || policy == vfs.GarbageSectors {
			assert.Len(t, got, len(want), "%s gave %v", policy, got)
		}
	}
}

func TestCrashTruncate(t *testing.T) {
	c, f := durable(t, "0123456789")
	require.NoError(t, f.Truncate(4))
	write(t, f, 4, "xy")
	assert.Equal(t, "0123456789", content(t, c.After(vfs.KeepNone, 0), "/a"))
	assert.Equal(t, []string{"0123", "0123456789", "0123xy", "0123xy6789"}, outcomes(t, c, vfs.KeepRandom, "/a"))
	require.NoError(t, f.Sync())
	assert.Equal(t, "0123xy", content(t, c.After(vfs.KeepNone, 0), "/a"))
}

func TestCrashEntriesInAnyOrder(t *testing.T) {
	c := vfs.NewCrash()
	for _, name := range []string{"/a", "/b", "/c"} {
		require.NoError(t, vfs.WriteFile(c, name, []byte(name)))
	}
	require.NoError(t, c.Remove("/a"))
	require.NoError(t, c.Rename("/b", "/c"))
	require.NoError(t, must(c.Create("/d")).Close())
	seen := make(map[string]bool)
	for seed := range uint64(100) {
		after := c.After(vfs.RandomEntries, seed)
		seen[strings.Join(must(after.List("/")), "")+content(t, after, "/c")] = true
	}
	assert.Len(t, seen, 8, "three changes, each there or not: %v", seen)
	assert.True(t, seen["abc/c"] && seen["cd/b"] && seen["ac/b"] && seen["abcd/c"], "%v", seen)
	require.NoError(t, c.SyncDir("/"))
	require.Zero(t, c.Pending())
	assert.Equal(t, []string{"c", "d"}, must(c.After(vfs.KeepNone, 0).List("/")))
}

func TestCrashRenameBeforeData(t *testing.T) {
	c, f := durable(t, "old")
	require.NoError(t, f.Close())
	f = must(c.Create("/a.tmp"))
	write(t, f, 0, "new")
	require.NoError(t, f.Close())
	require.NoError(t, c.Rename("/a.tmp", "/a"))
	assert.Equal(t, "old", content(t, c.After(vfs.KeepNone, 0), "/a"))
	assert.Equal(t, "", content(t, c.After(vfs.EntriesOnly, 0), "/a"), "not synced before the rename")
	assert.Equal(t, "\x00\x00\x00", content(t, c.After(vfs.SizeOnly, 0), "/a"))
}

func TestCrashRenameBetweenDirectories(t *testing.T) {
	c := vfs.NewCrash()
	require.NoError(t, c.MkdirAll("/x"))
	require.NoError(t, c.MkdirAll("/y"))
	require.NoError(t, c.SyncDir("/"))
	f := must(c.Create("/x/a"))
	write(t, f, 0, "data")
	require.NoError(t, f.Sync())
	require.NoError(t, c.Rename("/x/a", "/y/b"))
	require.NoError(t, c.SyncDir("/y"))
	for _, p := range vfs.Policies() {
		after := c.After(p, 1)
		assert.Equal(t, "data", content(t, after, "/y/b"), p.String())
		assert.Equal(t, "?", content(t, after, "/x/a"), p.String())
	}
}

func TestCrashDirectoryHasOneName(t *testing.T) {
	c := vfs.NewCrash()
	require.NoError(t, c.MkdirAll("/a"))
	require.NoError(t, vfs.WriteFile(c, "/a/f", []byte("x")))
	require.NoError(t, c.SyncDir("/"))
	require.NoError(t, c.Rename("/a", "/b"))
	require.NoError(t, c.Rename("/b", "/c"))
	for seed := range uint64(32) {
		names := must(c.After(vfs.KeepRandom, seed).List("/"))
		require.Len(t, names, 1, "seed %d", seed)
		assert.Equal(t, "x", content(t, c.After(vfs.KeepRandom, seed), "/"+names[0]+"/f"))
	}
}

func TestCrashFailedSync(t *testing.T) {
	c, f := durable(t, "old")
	require.NoError(t, f.Close())
	faulty := vfs.NewFault(c, vfs.Rule{Op: vfs.OpSync})
	f = must(faulty.Open("/a"))
	write(t, f, 0, "new")
	require.Error(t, f.Sync())
	assert.Equal(t, "new", content(t, c, "/a"), "still visible")
	require.NoError(t, f.Sync(), "and the next one says all is well")
	for _, p := range vfs.Policies() {
		assert.Equal(t, "old", content(t, c.After(p, 3), "/a"), p.String())
	}
	write(t, f, 3, "er")
	c.DropCache()
	assert.Equal(t, "older", content(t, c, "/a"))
}

// A disk that fails between two Syncs tells each open handle once, one that comes later as long as none was told, and
// none once neither a handle nor a witness has kept the file in memory.
func TestCrashFailedWriteback(t *testing.T) {
	lose := func(t *testing.T) (*vfs.Crash, vfs.File) {
		c := vfs.NewCrash()
		f := must(c.Create("/a"))
		write(t, f, 0, "data")
		require.NoError(t, f.Sync())
		require.NoError(t, c.SyncDir("/"))
		write(t, f, 0, "DATA")
		return c, f
	}
	t.Run("told to all that are open", func(t *testing.T) {
		c, f := lose(t)
		g := must(c.Open("/a"))
		require.NoError(t, c.FailWriteback("/a"))
		write(t, f, 4, "!")
		require.ErrorIs(t, f.Sync(), syscall.EIO)
		require.Equal(t, "data!", content(t, c.After(vfs.KeepNone, 0), "/a"), "the later write was taken")
		require.NoError(t, f.Sync())
		require.NoError(t, must(c.Open("/a")).Sync(), "another was told")
		require.ErrorIs(t, g.Sync(), syscall.EIO)
	})
	t.Run("told to one that comes later", func(t *testing.T) {
		c, f := lose(t)
		require.NoError(t, f.Close())
		for range 2 {
			require.NoError(t, c.FailWriteback("/a"))
			require.ErrorIs(t, must(c.Open("/a")).Sync(), syscall.EIO)
		}
	})
	for witnessed, want := range map[bool]error{true: syscall.EIO, false: nil} {
		t.Run(fmt.Sprint("memory runs short, witnessed ", witnessed), func(t *testing.T) {
			c, f := lose(t)
			w := must(f.(vfs.Witnesser).Witness())
			require.NoError(t, f.Close())
			require.NoError(t, c.FailWriteback("/a"))
			if !witnessed {
				require.NoError(t, w.Close())
				require.NoError(t, w.Close())
			}
			c.DropCache()
			require.ErrorIs(t, must(c.Open("/a")).Sync(), want)
		})
	}
	c, _ := lose(t)
	require.ErrorIs(t, c.FailWriteback("/none"), fs.ErrNotExist)
}

func TestCrashLyingSync(t *testing.T) {
	c, f := durable(t, "old")
	require.NoError(t, f.Close())
	f = must(vfs.NewFault(c, vfs.Rule{Op: vfs.OpSync, Lie: true}).Open("/a"))
	write(t, f, 0, "new")
	require.NoError(t, f.Sync())
	assert.Equal(t, "old", content(t, c.After(vfs.KeepNone, 0), "/a"))
	require.NoError(t, f.Sync())
	assert.Equal(t, "new", content(t, c.After(vfs.KeepNone, 0), "/a"))
}

// atEveryOp calls check with the disk of a scenario stopped in each of its calls.
func atEveryOp(t *testing.T, scenario func(c *vfs.Crash) error, check func(op int, c *vfs.Crash)) {
	t.Helper()
	whole := vfs.NewCrash()
	require.NoError(t, scenario(whole))
	for op := 1; op <= whole.Ops(); op++ {
		c := vfs.NewCrash()
		c.CrashAt(op)
		require.ErrorIs(t, scenario(c), vfs.ErrCrashed)
		require.True(t, c.Crashed())
		check(op, c)
	}
}

func twoVersions(c *vfs.Crash) error {
	if err := vfs.WriteFile(c, "/a", []byte("one")); err != nil {
		return err
	}
	return vfs.WriteFile(c, "/a", []byte("three"))
}

func TestWriteFileSurvivesEveryCut(t *testing.T) {
	states := 0
	atEveryOp(t, twoVersions, func(op int, c *vfs.Crash) {
		// The calls are create, write, sync, rename, syncdir, twice.
		allowed := map[string]bool{"one": op >= 4, "three": op >= 9, "?": op <= 5}
		for _, p := range vfs.Policies() {
			for seed := range uint64(8) {
				after := c.After(p, seed)
				got := content(t, after, "/a")
				require.True(t, allowed[got], "%v gave %q", vfs.Cut{Op: op, Policy: p, Seed: seed}, got)
				require.NoError(t, vfs.WriteFile(after, "/a", []byte("next")))
				require.Equal(t, "next", content(t, after.After(vfs.KeepNone, 0), "/a"))
				states++
			}
		}
	})
	assert.Equal(t, 10*len(vfs.Policies())*8, states)
}

// A killed process leaves of PutFile what was there before or all of it, and a try in the place of one that was cut off succeeds.
func TestPutFileSurvivesEveryKill(t *testing.T) {
	put := func(c *vfs.Crash) error {
		return errors.Join(vfs.PutFile(c, "/a", []byte("one")), vfs.PutFile(c, "/a", []byte("three")))
	}
	atEveryOp(t, put, func(op int, c *vfs.Crash) {
		// The calls are create, write, rename, twice.
		allowed := map[string]bool{"?": op <= 3, "one": op >= 3, "three": op >= 6}
		for seed := range uint64(8) {
			after := c.Kill(seed)
			got := content(t, after, "/a")
			require.True(t, allowed[got], "%d gave %q", op, got)
			require.NoError(t, vfs.PutFile(after, "/a", []byte("next")))
			require.Equal(t, "next", content(t, after, "/a"))
		}
	})
}

func TestCrashInFlightWrite(t *testing.T) {
	c, f := durable(t, "old")
	c.CrashAt(c.Ops() + 1)
	n, err := f.WriteAt([]byte("new!"), 0)
	require.ErrorIs(t, err, vfs.ErrCrashed)
	require.Zero(t, n)
	assert.Equal(t, "new!", content(t, c.After(vfs.KeepAll, 0), "/a"))
	assert.Equal(t, "old", content(t, c.After(vfs.KeepNone, 0), "/a"))
	killed := make(map[string]bool)
	for seed := range uint64(100) {
		killed[content(t, c.Kill(seed), "/a")] = true
	}
	for _, want := range []string{"old", "nld", "new", "new!"} {
		assert.True(t, killed[want], "no kill left %q: %v", want, killed)
	}
}

func TestCrashedAnswersEverything(t *testing.T) {
	c, f := durable(t, "x")
	lock := must(c.Lock("/lock", "me"))
	c.CrashAt(c.Ops() + 1)
	for name, err := range map[string]error{
		"create": second(c.Create("/b")), "open": second(c.Open("/a")), "openread": second(c.OpenRead("/a")),
		"remove": c.Remove("/a"), "rename": c.Rename("/a", "/b"), "link": c.Link("/a", "/b"), "mkdir": c.MkdirAll("/d"),
		"list": second(c.List("/")), "stat": second(c.Stat("/a")), "syncdir": c.SyncDir("/"), "lock": second(c.Lock("/l", "")),
		"read": second(f.ReadAt(make([]byte, 1), 0)), "write": second(f.WriteAt([]byte("y"), 0)), "truncate": f.Truncate(0),
		"sync": f.Sync(), "size": second(f.Size()), "preallocate": f.Preallocate(0, 1),
	} {
		// The map's values are computed in source order: the first call is the
		// one the power goes in.
		assert.ErrorIs(t, err, vfs.ErrCrashed, name)
	}
	require.NoError(t, lock.Close())
	require.ErrorIs(t, f.Close(), vfs.ErrCrashed)
	require.Zero(t, c.OpenFiles())
	after := c.After(vfs.KeepAll, 0)
	require.Zero(t, after.OpenFiles())
	require.NoError(t, must(after.Lock("/lock", "next")).Close(), "locks die with the crash")
}

func second[T any](_ T, err error) error { return err }

func TestKillKeepsTheCache(t *testing.T) {
	c, f := durable(t, "old")
	write(t, f, 0, "new")
	must(c.Lock("/lock", "me"))
	require.NoError(t, must(c.Create("/b")).Close())
	open := must(c.Create("/gone"))
	require.NoError(t, c.Remove("/gone"))
	write(t, open, 0, "x")

	k := c.Kill(0)
	assert.Equal(t, []string{"a", "b", "lock"}, must(k.List("/")))
	assert.Equal(t, "new", content(t, k, "/a"))
	assert.Equal(t, []string{"a"}, must(k.After(vfs.KeepNone, 0).List("/")), "and the power may go later")
	assert.Equal(t, "old", content(t, k.After(vfs.KeepNone, 0), "/a"))
	require.NoError(t, must(k.Lock("/lock", "next")).Close())
	f = must(k.Open("/a"))
	require.NoError(t, f.Sync())
	assert.Equal(t, "new", content(t, k.After(vfs.KeepNone, 0), "/a"), "synced after the kill")
	assert.Equal(t, "old", content(t, c.After(vfs.KeepNone, 0), "/a"), "clones are independent")
	write(t, f, 0, "NEW")
	assert.Equal(t, "new", content(t, c, "/a"))
}

func TestCrashOnOp(t *testing.T) {
	c := vfs.NewCrash()
	var got []string
	c.OnOp(func(op vfs.Op, path string) {
		got = append(got, fmt.Sprint(op, filepath.ToSlash(path), c.Ops(), content(t, c.After(vfs.KeepNone, 0), "/a")))
	})
	require.NoError(t, vfs.WriteFile(c, "/a", []byte("x")))
	require.NoError(t, c.Remove("/a"))
	assert.Equal(t, []string{"create/a.tmp0?", "write/a.tmp1?", "sync/a.tmp2?", "rename/a.tmp3?", "syncdir/4?", "remove/a5x"}, got)
}

func TestCrashIsReproducible(t *testing.T) {
	run := func() *vfs.Crash {
		c := vfs.NewCrash()
		for i := range 20 {
			f := must(c.Create(fmt.Sprint("/f", i)))
			for k := range 5 {
				write(t, f, int64(k*700), strings.Repeat(fmt.Sprint(k), 900))
			}
		}
		return c
	}
	a, b := run(), run()
	for _, p := range vfs.Policies() {
		for seed := range uint64(3) {
			x, y := a.After(p, seed), b.After(p, seed)
			names := must(x.List("/"))
			require.Equal(t, names, must(y.List("/")))
			for _, name := range names {
				require.Equal(t, content(t, x, "/"+name), content(t, y, "/"+name), "%v %d %s", p, seed, name)
			}
		}
	}
}

func TestCrashClonesAreIndependent(t *testing.T) {
	c, f := durable(t, strings.Repeat("x", 10_000))
	write(t, f, 5000, "yyyy")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			after := c.After(vfs.KeepAll, 0)
			g := must(after.Open("/a"))
			for k := range 50 {
				write(t, g, int64(k*200), fmt.Sprint(i))
				assert.NoError(t, g.Sync())
				again := after.After(vfs.KeepNone, 0)
				assert.Equal(t, content(t, after, "/a"), content(t, again, "/a"))
			}
		})
	}
	for k := range 50 {
		write(t, f, int64(k*200), "z")
	}
	all.Wait()
	assert.Equal(t, 50, strings.Count(content(t, c, "/a"), "z"))
}

func TestCrashBudgets(t *testing.T) {
	c := vfs.NewCrash()
	c.SetByteLimit(100)
	c.SetHandleLimit(1)
	f := must(c.Create("/a"))
	_, err := c.Open("/a")
	require.True(t, vfs.IsTooManyFiles(err), "%v", err)
	n, err := f.WriteAt(make([]byte, 150), 0)
	require.Equal(t, 100, n)
	require.True(t, vfs.IsNoSpace(err), "%v", err)
	require.True(t, vfs.IsNoSpace(f.Preallocate(50, 51)))
	require.True(t, vfs.IsNoSpace(f.Truncate(101)))
	require.NoError(t, f.Truncate(10))
	write(t, f, 10, strings.Repeat("x", 90))
	require.NoError(t, c.Remove("/a"))
	require.NoError(t, f.Close())
	f = must(c.Create("/b"))
	write(t, f, 0, strings.Repeat("x", 100))
}

func TestCutNames(t *testing.T) {
	for _, p := range vfs.Policies() {
		cut := vfs.Cut{Op: 17, Policy: p, Seed: 1<<63 + 5}
		got, err := vfs.ParseCut(cut.String())
		require.NoError(t, err)
		require.Equal(t, cut, got)
	}
	assert.Equal(t, "3/torn/9", vfs.Cut{Op: 3, Policy: vfs.TornSectors, Seed: 9}.String())
	assert.False(t, vfs.KeepAll.Seeded())
	assert.True(t, vfs.DropOne.Seeded())
	for _, bad := range []string{"", "1/torn", "x/torn/1", "1/tron/1", "1/torn/-1", "1/torn/1/1"} {
		_, err := vfs.ParseCut(bad)
		assert.Error(t, err, bad)
	}
	assert.Equal(t, "policy(200)", vfs.Policy(200).String())
}

func BenchmarkCrashState(b *testing.B) {
	c := vfs.NewCrash()
	for i := range 10 {
		f := must(c.Create(fmt.Sprint("/f", i)))
		write(b, f, 0, strings.Repeat("x", 8000))
		if i%2 == 0 {
			_ = f.Sync()
		}
	}
	seed := uint64(0)
	for b.Loop() {
		seed++
		c.After(vfs.Policy(seed%13), seed)
	}
}
