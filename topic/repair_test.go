package topic

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tree is every file below a directory with its content and the time of its last change.
func tree(t testing.TB, fsys vfs.FS, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range filesIn(t, fsys, dir) {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		require.NoError(t, err)
		if info.IsDir {
			maps.Copy(all, tree(t, fsys, path))
			continue
		}
		data, err := vfs.ReadFile(fsys, path, -1)
		require.NoError(t, err)
		all[path] = fmt.Sprintf("%d %s", info.ModTime.UnixNano(), data)
	}
	return all
}

// stockedDisk is a directory with two topics of several small segments, closed or killed.
func stockedDisk(t testing.TB, closed bool) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	for _, name := range []string{"orders", "events"} {
		tp := openTopic(t, e, name, Partitions(2), SegmentBytes(600), Set("index.interval.bytes", "100"))
		for i := range 24 {
			_, err := tp.Append(t.Context(), Record{Key: []byte("k"), Value: fmt.Appendf(nil, "%s-%02d", name, i)}, AppendTo(int32(i%2)))
			require.NoError(t, err)
		}
	}
	if !closed {
		killed := copyTree(t, disk, "data")
		require.NoError(t, e.Close())
		return killed
	}
	require.NoError(t, e.Close())
	return disk
}

func copyTree(t testing.TB, from vfs.FS, dir string) *vfs.Mem {
	t.Helper()
	to := vfs.NewMem()
	var walk func(dir string)
	walk = func(dir string) {
		require.NoError(t, to.MkdirAll(dir))
		for _, name := range filesIn(t, from, dir) {
			path := filepath.Join(dir, name)
			info, err := from.Stat(path)
			require.NoError(t, err)
			if info.IsDir {
				walk(path)
				continue
			}
			data, err := vfs.ReadFile(from, path, -1)
			require.NoError(t, err)
			require.NoError(t, vfs.WriteFile(to, path, data))
		}
	}
	walk(dir)
	return to
}

func verifyClean(t testing.TB, fsys vfs.FS, hint string) *VerifyReport {
	t.Helper()
	rep, err := VerifyDirectory(t.Context(), fsys, "data", VerifyOptions{})
	require.NoError(t, err, hint)
	require.Empty(t, rep.Faults, hint)
	return rep
}

func TestVerifyBesideAppends(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "orders", SegmentBytes(2000), NoSync())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < 3000 && ctx.Err() == nil; i++ {
			_, _ = tp.Append(context.Background(), Record{Value: []byte(strings.Repeat("v", 100))})
		}
	}()
	for range 5 {
		var last Progress
		rep, err := e.Verify(t.Context(), VerifyOptions{Progress: func(p Progress) { last = p }})
		require.NoError(t, err)
		require.Empty(t, rep.Faults)
		require.Equal(t, last.Total, last.Done)
		require.Equal(t, rep.Bytes, last.Done)
	}
	stop()
	<-done
	require.NoError(t, e.Close())
	_, err := e.Verify(t.Context(), VerifyOptions{})
	assert.ErrorIs(t, err, ErrClosed)
}

func TestVerifyStopsWithTheContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := VerifyDirectory(ctx, stockedDisk(t, true), "data", VerifyOptions{})
	assert.ErrorIs(t, err, context.Canceled)
}

// Verify and an engine opened for reading leave every file as it is, content and time, whatever state the directory is in.
func TestReadingChangesNothing(t *testing.T) {
	for name, harm := range map[string]func(disk *vfs.Mem){
		"closed":   func(*vfs.Mem) {},
		"no index": func(disk *vfs.Mem) { require.NoError(t, disk.Remove("data/orders-0/00000000000000000000.index")) },
		"no slot":  func(disk *vfs.Mem) { require.NoError(t, disk.Remove("data/orders-0/quire.slot")) },
		"no side":  func(disk *vfs.Mem) { require.NoError(t, disk.Remove("data/orders-0/00000000000000000000.sums")) },
		"damage": func(disk *vfs.Mem) {
			f, err := disk.Open("data/orders-0/00000000000000000000.log")
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("#########"), 100)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		},
		"half a manifest": func(disk *vfs.Mem) {
			require.NoError(t, vfs.WriteFile(disk, "data/quire.manifest", []byte("half")))
		},
	} {
		for _, closed := range []bool{true, false} {
			disk := stockedDisk(t, closed)
			harm(disk)
			before := tree(t, disk, "data")
			_, err := VerifyDirectory(t.Context(), disk, "data", VerifyOptions{})
			require.NoError(t, err)
			_, err = Repair(t.Context(), "data", RepairOptions{FS: disk, DryRun: true, AcceptLoss: true})
			require.NoError(t, err)
			e, err := Open("data", On(disk), ReadOnlyMode())
			require.NoError(t, err)
			rep, err := e.Verify(t.Context(), VerifyOptions{Topics: []string{"orders"}})
			require.NoError(t, err)
			assert.Equal(t, 2, rep.Partitions)
			for _, p := range e.allPartitions() {
				_, _ = p.Get(t.Context(), 3)
				_, _ = p.Get(t.Context(), 11)
			}
			require.NoError(t, e.Close())
			assert.True(t, maps.Equal(before, tree(t, disk, "data")), "%s, closed %v", name, closed)
		}
	}
}

// Whatever file is removed, cut or changed: after a repair the directory opens, nothing is wrong, and what was not in the file is there.
func TestRepairOfEveryFile(t *testing.T) {
	for _, closed := range []bool{true, false} {
		whole := stockedDisk(t, closed)
		for _, path := range slices.Sorted(maps.Keys(tree(t, whole, "data"))) {
			for _, way := range []string{"removed", "cut", "changed"} {
				hint := fmt.Sprintf("%s %s, closed %v", path, way, closed)
				disk := copyTree(t, whole, "data")
				damageFile(t, disk, path, way)
				repairWhole(t, disk, hint)
			}
		}
	}
}

func damageFile(t testing.TB, disk vfs.FS, path, way string) {
	t.Helper()
	data, err := vfs.ReadFile(disk, path, -1)
	require.NoError(t, err)
	switch {
	case way == "removed":
		require.NoError(t, disk.Remove(path))
	case way == "cut":
		require.NoError(t, vfs.WriteFile(disk, path, data[:len(data)/2]))
	case len(data) > 0:
		data[len(data)*2/3] ^= 0x40
		require.NoError(t, vfs.WriteFile(disk, path, data))
	}
}

func repairWhole(t testing.TB, disk vfs.FS, hint string) {
	t.Helper()
	rep, err := Repair(t.Context(), "data", RepairOptions{FS: disk, AcceptLoss: true})
	require.NoError(t, err, hint)
	records := verifyClean(t, disk, hint).Records
	e, err := Open("data", On(disk))
	require.NoError(t, err, hint)
	for _, p := range e.allPartitions() {
		_, err := p.End()
		require.NoError(t, err, hint)
	}
	require.NoError(t, e.Close())
	lost := 0
	for _, f := range rep.Lost {
		lost += int(f.NextOffset - f.FirstOffset)
	}
	require.EqualValues(t, 48, records+int64(lost), "%s: %v", hint, rep.Lost)
	again, err := Repair(t.Context(), "data", RepairOptions{FS: disk})
	require.NoError(t, err, hint)
	require.Empty(t, again.Found, hint)
}

func TestRepairAsksBeforeItGivesUpRecords(t *testing.T) {
	disk := stockedDisk(t, true)
	require.NoError(t, disk.Remove("data/orders-1/00000000000000000000.log"))
	damageFile(t, disk, "data/events-0/00000000000000000000.index", "cut")
	rep, err := Repair(t.Context(), "data", RepairOptions{FS: disk})
	require.ErrorIs(t, err, ErrDataLoss)
	var at *PartitionError
	require.ErrorAs(t, err, &at)
	assert.Equal(t, "orders", at.Topic)
	assert.EqualValues(t, 1, at.Partition)
	assert.Len(t, rep.Rebuilt, 1, "what loses nothing is repaired all the same")
	left, err := VerifyDirectory(t.Context(), disk, "data", VerifyOptions{})
	require.NoError(t, err)
	for _, f := range left.Faults {
		assert.Equal(t, "orders", f.Topic)
	}

	e := openOn(t, disk)
	_, err = Repair(t.Context(), "data", RepairOptions{FS: disk, AcceptLoss: true})
	assert.ErrorIs(t, err, ErrLocked, "an engine has it")
	require.NoError(t, e.Close())
}

// Derived files made anew are those that were written live, byte for byte.
func TestRebuildIndexes(t *testing.T) {
	disk := stockedDisk(t, true)
	want := contentsOf(t, disk)
	e := openOn(t, disk)
	require.NoError(t, e.RebuildIndexes(t.Context()))
	require.NoError(t, e.Close())
	for path, data := range contentsOf(t, disk) {
		if strings.Contains(filepath.Base(path), "checkpoint") || filepath.Base(path) == "quire.slot" {
			continue
		}
		assert.True(t, data == want[path], path)
		delete(want, path)
	}
}

func contentsOf(t testing.TB, disk vfs.FS) map[string]string {
	t.Helper()
	return contentsIn(t, disk, "data")
}

func contentsIn(t testing.TB, disk vfs.FS, dir string) map[string]string {
	t.Helper()
	all := tree(t, disk, dir)
	for path, text := range all {
		_, all[path], _ = strings.Cut(text, " ")
	}
	return all
}

// A directory that goes while Verify looks, and that the manifest does not count, is no loss.
func TestVerifyOfAStrayDirectoryThatGoes(t *testing.T) {
	disk := stockedDisk(t, true)
	stray := filepath.Join("data", "orders-2")
	require.NoError(t, disk.MkdirAll(stray))
	looks := vfs.NewFault(disk, vfs.Rule{Op: vfs.OpList, Path: "orders-0", Hook: func(vfs.Op, string) { assert.NoError(t, disk.Remove(stray)) }})
	rep, err := VerifyDirectory(t.Context(), looks, "data", VerifyOptions{})
	require.NoError(t, err)
	assert.Empty(t, rep.Faults)
	_, err = disk.Stat(stray)
	require.ErrorIs(t, err, fs.ErrNotExist)
}
