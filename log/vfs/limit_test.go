package vfs_test

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// limited returns a Limited of n descriptors that counts its calls below.
func limited(n int, rules ...vfs.Rule) (*vfs.Limited, *vfs.Fault, *vfs.Crash) {
	disk := vfs.NewCrash()
	count := vfs.NewFault(disk, rules...)
	return vfs.Limit(count, n), count, disk
}

// open creates n files /f0, /f1 ... and syncs them, so that they are clean.
func openMany(t testing.TB, l vfs.FS, n int) []vfs.File {
	t.Helper()
	var files []vfs.File
	for i := range n {
		f := must(l.Create(fmt.Sprint("/f", i)))
		write(t, f, 0, fmt.Sprint("content ", i))
		require.NoError(t, f.Sync())
		files = append(files, f)
	}
	return files
}

func get(t testing.TB, f vfs.File) string {
	t.Helper()
	buf := make([]byte, 100)
	n, err := f.ReadAt(buf, 0)
	require.ErrorIs(t, err, io.EOF)
	return string(buf[:n])
}

func TestLimitReopensWhatIsUsed(t *testing.T) {
	l, count, disk := limited(3)
	files := openMany(t, l, 10)
	require.Equal(t, 3, l.OpenFiles())
	require.Equal(t, 3, disk.OpenFiles())
	for round := range 2 {
		for i, f := range files {
			require.Equal(t, fmt.Sprint("content ", i), get(t, f), "round %d", round)
			require.LessOrEqual(t, disk.OpenFiles(), 3)
		}
	}
	opens := count.Count(vfs.OpOpen)
	require.Equal(t, int64(20), opens)
	for range 10 { // three in turn fit
		for _, f := range files[7:] {
			get(t, f)
		}
	}
	require.Equal(t, opens, count.Count(vfs.OpOpen))
	require.Equal(t, int64(10), count.Count(vfs.OpSync), "clean files need no sync to be closed")
	for _, f := range files {
		require.NoError(t, f.Close())
		require.ErrorIs(t, f.Close(), fs.ErrClosed)
	}
	require.Zero(t, l.OpenFiles())
	require.Zero(t, disk.OpenFiles())
}

func TestLimitSparesTheHotOne(t *testing.T) {
	l, count, _ := limited(3)
	files := openMany(t, l, 10)
	get(t, files[0])
	before := count.Count(vfs.OpOpen)
	for _, f := range files[1:] {
		get(t, files[0])
		get(t, f)
	}
	require.LessOrEqual(t, count.Count(vfs.OpOpen)-before, int64(9), "the hot file stayed open")
}

// unwitnessed is a rule for a disk without witnesses.
func unwitnessed() vfs.Rule { return vfs.Rule{Op: vfs.OpWitness, Count: vfs.Forever} }

func TestLimitSyncsBeforeItCloses(t *testing.T) {
	l, count, disk := limited(2, unwitnessed())
	files := openMany(t, l, 4)
	write(t, files[0], 0, "c") // from now on it is known that there are no witnesses
	get(t, files[1])
	get(t, files[2])
	require.NoError(t, l.SyncDir("/"))
	write(t, files[0], 0, "CONTENT")
	syncs := count.Count(vfs.OpSync)
	require.Equal(t, int64(5), syncs, "one a file, and one before the first was closed dirty")
	for range 3 { // one dirty, the others take turns in the second place
		for _, f := range files[1:] {
			get(t, f)
		}
	}
	require.Equal(t, syncs, count.Count(vfs.OpSync), "a dirty file gives way last")
	assert.Equal(t, "content 0", content(t, disk.After(vfs.KeepNone, 0), "/f0"))
	write(t, files[1], 0, "CONTENT")
	get(t, files[2])
	require.Equal(t, syncs+1, count.Count(vfs.OpSync), "with all dirty one is synced")
	assert.Equal(t, "CONTENT 0", content(t, disk.After(vfs.KeepNone, 0), "/f0"), "the oldest")
	require.LessOrEqual(t, disk.OpenFiles(), 2)
}

func TestLimitRemembersAFailedSync(t *testing.T) {
	for name, c := range map[string]func(f vfs.File) error{
		"told by Sync":  func(f vfs.File) error { return f.Sync() },
		"told by Close": func(f vfs.File) error { return f.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			l, count, disk := limited(1, unwitnessed())
			f := must(l.Create("/a"))
			require.NoError(t, f.Sync())
			require.NoError(t, l.SyncDir("/"))
			write(t, f, 0, "data")
			count.Add(vfs.Rule{Op: vfs.OpSync, Path: "/a"})
			g := must(l.Create("/b")) // takes the descriptor
			require.NoError(t, g.Close())
			require.Equal(t, "data", get(t, f), "visible, but lost")
			require.ErrorIs(t, c(f), syscall.EIO)
			require.Equal(t, "", content(t, disk.After(vfs.KeepAll, 0), "/a"))
			if name == "told by Sync" {
				require.ErrorIs(t, f.Sync(), syscall.EIO, "for good")
			}
		})
	}
}

// What a disk refuses once is not made good by a later call, nor by a call that was made for want of descriptors.
func TestLimitTellsFailuresForGood(t *testing.T) {
	l, count, _ := limited(1)
	f := must(l.Create("/a"))
	write(t, f, 0, "data")
	count.Add(vfs.Rule{Op: vfs.OpSync, Path: "/a"})
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.ErrorIs(t, f.Sync(), syscall.EIO)

	f = must(l.Create("/b"))
	write(t, f, 0, "data")
	require.NoError(t, f.Sync())
	count.Add(vfs.Rule{Op: vfs.OpClose, Path: "/b"})
	require.NoError(t, must(l.Create("/c")).Close()) // takes the descriptor
	require.ErrorIs(t, f.Close(), syscall.EIO)
}

// Where files can have witnesses no descriptor is synced that is taken from a handle, however often; the Sync of the
// handle reaches what all its descriptors have written.
func TestLimitTakesDirtyDescriptorsUnsynced(t *testing.T) {
	l, count, disk := limited(2)
	files := openMany(t, l, 10)
	require.NoError(t, l.SyncDir("/"))
	syncs := count.Count(vfs.OpSync)
	for round := range 3 {
		for i, f := range files {
			write(t, f, int64(round), fmt.Sprint(round, i))
		}
	}
	require.Equal(t, syncs, count.Count(vfs.OpSync))
	require.Equal(t, int64(10), count.Count(vfs.OpWitness), "one a handle until it is synced")
	require.LessOrEqual(t, disk.OpenFiles(), 2)
	require.Equal(t, "content 3", content(t, disk.After(vfs.KeepNone, 0), "/f3"))
	require.NoError(t, files[3].Sync())
	require.Equal(t, syncs+1, count.Count(vfs.OpSync))
	require.Equal(t, "012 3nt 3", content(t, disk.After(vfs.KeepNone, 0), "/f3"))
	require.Equal(t, "content 4", content(t, disk.After(vfs.KeepNone, 0), "/f4"))
	write(t, files[3], 0, "again")
	for _, f := range files[4:] {
		get(t, f)
	}
	require.Equal(t, int64(11), count.Count(vfs.OpWitness), "what is written after a Sync wants another one")
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	require.Equal(t, syncs+1, count.Count(vfs.OpSync))
	require.Zero(t, disk.OpenFiles())
}

// A dirty handle that has a witness gives its descriptor as easily as a clean one.
func TestLimitWitnessedHandlesAreNotSpared(t *testing.T) {
	l, count, _ := limited(2)
	files := openMany(t, l, 3)
	for range 2 { // all get a witness
		for _, f := range files {
			write(t, f, 0, "x")
		}
	}
	write(t, files[1], 0, "x")
	require.NoError(t, files[0].Sync())
	get(t, files[2])
	opens := count.Count(vfs.OpOpen)
	get(t, files[0])
	require.Equal(t, opens, count.Count(vfs.OpOpen), "the dirty one has waited longer than the clean one")
}

// A handle that yields goes first, however lately it was used, and whether it is dirty; without a witness a dirty one stays.
func TestLimitYield(t *testing.T) {
	for name, rules := range map[string][]vfs.Rule{"witnessed": nil, "unwitnessed": {unwitnessed()}} {
		t.Run(name, func(t *testing.T) {
			l, count, _ := limited(3, rules...)
			files := openMany(t, l, 6)
			write(t, files[0], 0, "c")
			for _, f := range files[1:] {
				get(t, f)
			}
			for i := range 10 {
				get(t, files[3])
				get(t, files[4])
				write(t, files[i%2], 0, "c")
				vfs.Yield(files[i%2])
			}
			opens := count.Count(vfs.OpOpen)
			get(t, files[3])
			get(t, files[4])
			if rules == nil {
				require.Equal(t, opens, count.Count(vfs.OpOpen), "the yielding ones took each other's place")
				require.Equal(t, int64(6), count.Count(vfs.OpSync))
			}
			vfs.Yield(files[5]) // has no descriptor
			require.NoError(t, files[0].Close())
			vfs.Yield(files[0])
			vfs.Yield(must(vfs.NewMem().Create("/other"))) // has no say
			get(t, files[5])
			require.Equal(t, 3, l.OpenFiles())
		})
	}
}

// Of handles that were not used since one was looked for, the yielding one goes, though it was opened and used last.
func TestLimitYieldGoesToTheFront(t *testing.T) {
	l, count, _ := limited(3)
	files := openMany(t, l, 4)
	vfs.Yield(files[3])
	get(t, files[0])
	opens := count.Count(vfs.OpOpen)
	get(t, files[1])
	get(t, files[2])
	require.Equal(t, opens, count.Count(vfs.OpOpen))
	get(t, files[3])
	require.Equal(t, opens+1, count.Count(vfs.OpOpen))
}

// What a disk fails to write back behind the back of a handle without descriptor is told by the handle's Sync, for good,
// and by that of every other handle that had written; also when memory ran short meanwhile.
func TestLimitTellsWhatTheDiskLostMeanwhile(t *testing.T) {
	for name, between := range map[string]func(t *testing.T, l vfs.FS, f vfs.File){
		"at once":       func(*testing.T, vfs.FS, vfs.File) {},
		"written again": func(t *testing.T, _ vfs.FS, f vfs.File) { write(t, f, 4, "more") },
		"read": func(t *testing.T, _ vfs.FS, f vfs.File) {
			_, err := f.ReadAt(make([]byte, 1), 0)
			require.True(t, err == nil || err == io.EOF)
		},
		"renamed": func(t *testing.T, l vfs.FS, _ vfs.File) { require.NoError(t, l.Rename("/a", "/z")) },
		"removed": func(t *testing.T, l vfs.FS, _ vfs.File) { require.NoError(t, l.Remove("/a")) },
	} {
		t.Run(name, func(t *testing.T) {
			l, _, disk := limited(1)
			f, g, reader := must(l.Create("/a")), must(l.Open("/a")), must(l.OpenRead("/a"))
			other := must(l.Create("/b"))
			write(t, f, 0, "data")
			write(t, g, 0, "data")
			write(t, other, 0, "data") // takes the descriptor
			require.Equal(t, 1, disk.OpenFiles())
			require.NoError(t, disk.FailWriteback("/a"))
			disk.DropCache()
			between(t, l, f)
			write(t, other, 0, "data")
			require.ErrorIs(t, f.Sync(), syscall.EIO)
			require.ErrorIs(t, f.Sync(), syscall.EIO)
			write(t, other, 0, "data")
			require.ErrorIs(t, g.Sync(), syscall.EIO, "the disk has told f only")
			require.NoError(t, other.Sync())
			require.ErrorIs(t, f.Close(), syscall.EIO)
			require.ErrorIs(t, g.Close(), syscall.EIO)
			require.NoError(t, reader.Close(), "it has written nothing")
			require.NoError(t, other.Close())
			require.Zero(t, disk.OpenFiles())
		})
	}
}

// The disk tells one handle while another on the same file has its descriptor still, and loses it before it asks.
func TestLimitTellsEveryHandleThatHasWritten(t *testing.T) {
	l, _, disk := limited(2)
	f, g := must(l.Create("/a")), must(l.Open("/a"))
	write(t, f, 0, "data")
	write(t, g, 0, "data")
	require.NoError(t, disk.FailWriteback("/a"))
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	openMany(t, l, 2)
	require.ErrorIs(t, g.Sync(), syscall.EIO)
}

// TestLimitSyncReachesCleanHandles: a handle that wrote nothing itself must sync
// what others left in the page cache.
func TestLimitSyncReachesCleanHandles(t *testing.T) {
	l, _, disk := limited(1)
	f := must(disk.Create("/a"))
	write(t, f, 0, "data")
	require.NoError(t, disk.SyncDir("/"))
	g, h := must(l.Open("/a")), must(l.Create("/other"))
	require.NoError(t, g.Sync())
	require.Equal(t, "data", content(t, disk.After(vfs.KeepNone, 0), "/a"))
	require.NoError(t, h.Close())
	require.NoError(t, g.Close())
}

func TestLimitNamesOfSleepingHandles(t *testing.T) {
	l, _, disk := limited(1)
	require.NoError(t, l.MkdirAll("/d"))
	moved, removed, replaced := must(l.Create("/d/moved")), must(l.Create("/removed")), must(l.Create("/replaced"))
	write(t, moved, 0, "moved")
	write(t, removed, 0, "removed")
	write(t, replaced, 0, "replaced")
	busy := must(l.Create("/busy")) // takes the only place
	require.LessOrEqual(t, disk.OpenFiles(), 1)

	require.NoError(t, l.Rename("/d", "/e"))
	require.NoError(t, l.Remove("/removed"))
	require.NoError(t, l.Rename("/e/moved", "/replaced"))
	for f, want := range map[vfs.File]string{moved: "moved", removed: "removed", replaced: "replaced"} {
		require.Equal(t, want, get(t, f))
		write(t, f, int64(len(want)), "!")
		require.NoError(t, f.Sync())
		write(t, busy, 0, "x")
		require.Equal(t, want+"!", get(t, f))
	}
	require.Equal(t, "moved!", content(t, disk, "/replaced"))

	// What fails changes nothing.
	require.Error(t, l.Remove("/none"))
	require.Error(t, l.Rename("/replaced", "/none/x"))
	write(t, busy, 0, "y")
	require.Equal(t, "moved!", get(t, moved))
	for _, f := range []vfs.File{moved, removed, replaced, busy} {
		require.NoError(t, f.Close())
	}
	require.Zero(t, l.OpenFiles())
	require.Zero(t, disk.OpenFiles())
}

func TestLimitRemoveThatFails(t *testing.T) {
	l, count, disk := limited(1)
	f := must(l.Create("/a"))
	write(t, f, 0, "data")
	other := must(l.Create("/b"))
	count.Add(vfs.Rule{Op: vfs.OpOpen})
	require.ErrorIs(t, l.Remove("/a"), syscall.EIO, "without a descriptor the file would be lost to its handle")
	count.Add(vfs.Rule{Op: vfs.OpRemove})
	require.ErrorIs(t, l.Remove("/a"), syscall.EIO)
	get(t, other)
	require.Equal(t, "data", get(t, f))
	get(t, other)
	require.LessOrEqual(t, disk.OpenFiles(), 1, "a removal that failed keeps no descriptor")
	require.NoError(t, f.Close())
	require.NoError(t, other.Close())
	require.Zero(t, disk.OpenFiles())
}

func TestLimitErrorsLeakNothing(t *testing.T) {
	l, count, disk := limited(2)
	files := openMany(t, l, 4)
	count.Add(vfs.Rule{Op: vfs.OpOpen, Count: 3, Err: syscall.EACCES})
	_, err := files[0].ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, syscall.EACCES)
	require.ErrorIs(t, files[1].Sync(), syscall.EACCES)
	_, err = l.Open("/f2")
	require.ErrorIs(t, err, syscall.EACCES)
	require.Equal(t, l.OpenFiles(), disk.OpenFiles())
	require.Equal(t, "content 0", get(t, files[0]))
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	require.Zero(t, l.OpenFiles())
}

// TestLimitUnderTightProcess: the process may have fewer descriptors than we think.
func TestLimitUnderTightProcess(t *testing.T) {
	m := vfs.NewMem()
	m.SetHandleLimit(3)
	l := vfs.Limit(m, 100)
	files := openMany(t, l, 10)
	for i, f := range files {
		require.Equal(t, fmt.Sprint("content ", i), get(t, f))
	}
	require.Equal(t, 3, l.OpenFiles())
	for _, f := range files {
		require.NoError(t, f.Close())
	}
}

// TestLimitLeavesDescriptorsInUse stops a reader in the middle and lets others
// take descriptors meanwhile.
func TestLimitLeavesDescriptorsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, count, disk := limited(1)
		f := must(l.Create("/slow"))
		write(t, f, 0, "data")
		require.NoError(t, f.Sync())
		gate, done := make(chan struct{}), make(chan string)
		count.Add(vfs.Rule{Op: vfs.OpRead, Path: "/slow", Hook: func(vfs.Op, string) { <-gate }})
		go func() { done <- get(t, f) }()
		synctest.Wait()
		files := openMany(t, l, 5)
		require.Equal(t, 2, disk.OpenFiles(), "more than the limit, rather than fail")
		require.NoError(t, l.Rename("/slow", "/renamed"), "a rename does not wait for readers")
		close(gate)
		require.Equal(t, "data", <-done)
		get(t, files[0])
		require.Equal(t, 1, disk.OpenFiles())
		require.Equal(t, "data", get(t, f))
	})
}

// TestLimitSlowDiskDelaysNobodyElse holds an open, a sync for eviction and a
// removal, and uses other files.
func TestLimitSlowDiskDelaysNobodyElse(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpOpen, vfs.OpRemove, vfs.OpRename} {
		synctest.Test(t, func(t *testing.T) {
			l, count, _ := limited(3)
			files := openMany(t, l, 5)
			gate, done := make(chan struct{}), make(chan error)
			count.Add(vfs.Rule{Op: op, Path: "/f0", Hook: func(vfs.Op, string) { <-gate }})
			go func() {
				var err error
				switch op {
				case vfs.OpOpen:
					_, err = files[0].Size()
				case vfs.OpRemove:
					err = l.Remove("/f0")
				case vfs.OpRename:
					err = l.Rename("/f0", "/g0")
				}
				done <- err
			}()
			synctest.Wait()
			for i, f := range files[1:] {
				require.Equal(t, fmt.Sprint("content ", i+1), get(t, f))
			}
			require.NoError(t, must(l.Create("/new")).Close())
			require.NoError(t, l.Rename("/new", "/newer"))
			close(gate)
			require.NoError(t, <-done)
			require.Equal(t, "content 0", get(t, files[0]))
		})
	}
}

// TestLimitConcurrent lets everything happen at once to few files.
func TestLimitConcurrent(t *testing.T) {
	l, _, disk := limited(2)
	const names, workers, rounds = 5, 6, 150
	for i := range names {
		require.NoError(t, must(l.Create(fmt.Sprint("/f", i))).Close())
	}
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			var held []vfs.File
			for r := range rounds {
				i, k := (w+r)%names, (w*3+r*7)%names
				if f, err := l.Open(fmt.Sprint("/f", i)); err == nil {
					held = append(held, f)
				}
				switch r % 5 {
				case 0:
					_ = l.Rename(fmt.Sprint("/f", i), fmt.Sprint("/f", k))
				case 1:
					_ = l.Remove(fmt.Sprint("/f", k))
				case 2:
					if f, err := l.Create(fmt.Sprint("/f", k)); err == nil {
						held = append(held, f)
					}
				}
				for _, f := range held {
					_, err := f.WriteAt([]byte(strings.Repeat("x", 10)), int64(w*10))
					assert.NoError(t, err)
					n, err := f.ReadAt(make([]byte, 10), int64(w*10))
					assert.Equal(t, 10, n, "%v", err)
				}
				if len(held) > 4 {
					assert.NoError(t, held[0].Sync())
					assert.NoError(t, held[0].Close())
					held = held[1:]
				}
			}
			for _, f := range held {
				assert.NoError(t, f.Close())
			}
		})
	}
	all.Wait()
	require.Zero(t, l.OpenFiles())
	require.Zero(t, disk.OpenFiles())
}

// TestLimitIdleFilesAreSmall measures what ten thousand sleeping files take.
func TestLimitIdleFilesAreSmall(t *testing.T) {
	m := vfs.NewMem()
	l := vfs.Limit(m, 10)
	require.NoError(t, must(l.Create("/one")).Close())
	const n = 10_000
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("/%05d", i)
		require.NoError(t, m.Link("/one", paths[i]))
	}
	files := make([]vfs.File, n)
	before := heap()
	for i := range files {
		files[i] = must(l.OpenRead(paths[i]))
	}
	each := int64(heap()-before) / n
	assert.Less(t, each, int64(320), "bytes for each idle file")
	t.Logf("%d bytes for each idle file", each)
	runtime.KeepAlive(files)
	runtime.KeepAlive(paths)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Which descriptor gives way is found at a cost that does not grow with the number of those that are dirty.
func TestLimitFindsAVictimAtOnce(t *testing.T) {
	for name, rules := range map[string][]vfs.Rule{"witnessed": nil, "unwitnessed": {unwitnessed()}} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{64, 2048} {
				l := vfs.Limit(vfs.NewFault(vfs.NewMem(), rules...), n)
				var files []vfs.File
				for i := range 2 * n {
					files = append(files, must(l.Create(fmt.Sprint("/f", i))))
					write(t, files[i], 0, "x")
				}
				before := l.HandSteps()
				for i := range 2 * n { // each takes the descriptor of another dirty one
					write(t, files[i], 1, "y")
				}
				require.LessOrEqual(t, l.HandSteps()-before, 4*2*n, "among %d", n)
			}
		})
	}
}

func BenchmarkLimitReadHot(b *testing.B) {
	l := vfs.Limit(vfs.NewMem(), 10)
	f := openMany(b, l, 1)[0]
	buf := make([]byte, 8)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.ReadAt(buf, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// What needs a descriptor for a moment gets one from a handle that nobody uses.
func TestLimitMakesRoomForDirectories(t *testing.T) {
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("d"))
	fault := vfs.NewFault(mem)
	fs := vfs.Limit(fault, 8)
	for _, name := range []string{"a", "b"} {
		f, err := fs.Create(filepath.Join("d", name))
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		defer f.Close()
	}
	fault.Add(vfs.Rule{Op: vfs.OpSyncDir, Err: syscall.EMFILE})
	require.NoError(t, fs.SyncDir("d"))
	require.Equal(t, 1, fs.OpenFiles())
	fault.Add(vfs.Rule{Op: vfs.OpList, Err: syscall.EMFILE})
	names, err := fs.List("d")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, names)
	fault.Add(vfs.Rule{Op: vfs.OpSyncDir, Err: syscall.EMFILE})
	require.ErrorIs(t, fs.SyncDir("d"), syscall.EMFILE, "nothing is left to give back")
}
