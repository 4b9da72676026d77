package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// holds is what a directory's topic holds, partition by partition, "offset:value".
func holds(t testing.TB, fsys vfs.FS, dir, name string) (all [][]string) {
	t.Helper()
	rep, err := VerifyDirectory(t.Context(), fsys, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Faults)
	e, err := Open(dir, On(fsys), ReadOnlyMode())
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	for _, p := range openTopic(t, e, name).state.Load().partitions {
		o, err := p.Offsets()
		require.NoError(t, err)
		var list []string
		if o.High > o.Start {
			for _, r := range stored(t, p) {
				list = append(list, fmt.Sprintf("%d:%s", r.Offset, r.Value))
			}
		}
		all = append(all, list)
	}
	return all
}

func TestBackupAndRestore(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "orders", Partitions(2), SegmentBytes(600))
	add := func(n int) {
		for i := range n {
			_, err := tp.Append(t.Context(), Record{Value: fmt.Appendf(nil, "v%d", i)}, AppendTo(int32(i%2)))
			require.NoError(t, err)
		}
	}
	add(40)
	var told []Progress
	rep, err := e.Backup(t.Context(), "saved", BackupOptions{Progress: func(p Progress) { told = append(told, p) }})
	require.NoError(t, err)
	assert.NotEmpty(t, told)
	assert.Equal(t, 2, rep.Partitions)
	assert.Positive(t, rep.Linked)
	assert.Positive(t, rep.Copied)
	assert.Zero(t, rep.Kept)
	first := holds(t, disk, "saved", "orders")
	assert.Equal(t, holds(t, disk, "data", "orders"), first)

	add(40)
	p := partitionOf(t, tp, 0)
	_, err = p.DeleteRecords(t.Context(), 12)
	require.NoError(t, err)
	assert.Equal(t, first, holds(t, disk, "saved", "orders"), "a backup does not follow")
	again, err := e.Backup(t.Context(), "saved", BackupOptions{})
	require.NoError(t, err)
	assert.Positive(t, again.Kept)
	whole := holds(t, disk, "data", "orders")
	assert.Equal(t, whole, holds(t, disk, "saved", "orders"))

	other := vfs.NewMem()
	_, err = e.Backup(t.Context(), "far", BackupOptions{FS: other})
	require.NoError(t, err)
	assert.Equal(t, whole, holds(t, other, "far", "orders"))

	_, err = Restore(t.Context(), "saved", "back", RestoreOptions{FS: disk, Until: map[TopicPartition]int64{{Topic: "orders", Partition: 1}: 15}})
	require.NoError(t, err)
	back := holds(t, disk, "back", "orders")
	assert.Equal(t, whole[0], back[0])
	assert.Equal(t, whole[1][:15], back[1])
	assert.NotContains(t, filesIn(t, disk, "back"), backupFile)
	_, err = Restore(t.Context(), "saved", "back", RestoreOptions{FS: disk})
	assert.ErrorIs(t, err, ErrInvalid, "not empty")
	_, err = e.Backup(t.Context(), "back", BackupOptions{})
	assert.ErrorIs(t, err, ErrInvalid, "no backup")

	// Who writes to the backup changes nothing in the directory it was made of.
	for _, dir := range []string{"saved", "back"} {
		b, err := Open(dir, On(disk))
		require.NoError(t, err)
		assert.True(t, b.startedOK)
		pos, err := openTopic(t, b, "orders").Append(t.Context(), Record{Value: []byte("other")}, AppendTo(0))
		require.NoError(t, err)
		assert.EqualValues(t, 40, pos.Offset)
		require.NoError(t, b.Close())
	}
	assert.Equal(t, whole, holds(t, disk, "data", "orders"))
	_, err = e.Backup(t.Context(), "saved", BackupOptions{})
	assert.ErrorIs(t, err, ErrInvalid, "it is no backup any more")
}

func TestRestoreUntilTime(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "orders", SegmentBytes(400))
	began := time.UnixMilli(1_700_000_000_000)
	for i := range 30 {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v"), Time: began.Add(time.Duration(i) * time.Second)})
		require.NoError(t, err)
	}
	_, err := e.Backup(t.Context(), "saved", BackupOptions{Copy: true})
	require.NoError(t, err)
	for _, n := range []int{0, 1, 7, 29, 30, 99} {
		dir := fmt.Sprintf("back-%d", n)
		_, err = Restore(t.Context(), "saved", dir, RestoreOptions{FS: disk, UntilTime: began.Add(time.Duration(n) * time.Second), Link: n%2 == 0})
		require.NoError(t, err)
		assert.Len(t, holds(t, disk, dir, "orders")[0], min(n, 30), "%d seconds", n)
	}
}

// What is backed up beside a writer that appends, rolls and deletes is a stretch of its log.
func TestBackupBesideAppends(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "orders", SegmentBytes(1000), NoSync())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < 5000 && ctx.Err() == nil; i++ {
			_, _ = tp.Append(context.Background(), Record{Value: fmt.Appendf(nil, "v%d", i)})
			if i%500 == 499 {
				_, _ = tp.state.Load().partitions[0].DeleteRecords(context.Background(), int64(i-300))
			}
		}
	}()
	for n := range 5 {
		_, err := e.Backup(t.Context(), "saved", BackupOptions{})
		require.NoError(t, err)
		list := holds(t, disk, "saved", "orders")[0]
		for i := range list {
			var offset, v int
			_, err := fmt.Sscanf(list[i], "%d:v%d", &offset, &v)
			require.NoError(t, err)
			require.Equal(t, offset, v)
			if i > 0 {
				require.Contains(t, list[i-1], fmt.Sprintf("%d:", offset-1), "round %d", n)
			}
		}
	}
	stop()
	<-done
}

func TestBackupOfDamage(t *testing.T) {
	disk := stockedDisk(t, true)
	damageFile(t, disk, "data/orders-0/00000000000000000000.log", "changed")
	e := openOn(t, disk)
	rep, err := e.Backup(t.Context(), "saved", BackupOptions{})
	require.ErrorIs(t, err, ErrCorrupt)
	assert.NotEmpty(t, rep.Faults)
	_, err = Open("saved", On(disk))
	require.ErrorIs(t, err, ErrCorrupt, "an unfinished backup is none")
	_, err = Open("saved", On(disk), ReadOnlyMode())
	require.ErrorIs(t, err, ErrCorrupt)
	rep, err = e.Backup(t.Context(), "saved", BackupOptions{AllowDamage: true})
	require.NoError(t, err)
	assert.NotEmpty(t, rep.Faults)
}

// settled is a Crash with the files of a directory, on disk.
func settled(t testing.TB, files map[string]string) *vfs.Crash {
	t.Helper()
	disk := vfs.NewCrash()
	dirs := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if dir := filepath.Dir(path); !dirs[dir] {
			dirs[dir] = true
			require.NoError(t, ensureDir(disk, dir))
		}
		require.NoError(t, vfs.WriteFile(disk, path, []byte(files[path])))
	}
	return disk
}

// every is how far apart the operations lie that a test tries: n, further with -short, or all of them with QUIRE_EVERY_CUT set.
func every(n int) int {
	switch {
	case os.Getenv("QUIRE_EVERY_CUT") != "":
		return 1
	case testing.Short():
		return 4 * n
	}
	return n
}

// Wherever power is lost: the backup is the whole one or it is refused, and a further one completes it. What it was made of is untouched.
func TestBackupCrash(t *testing.T) {
	files := contentsOf(t, stockedDisk(t, true))
	run := func(disk vfs.FS) error {
		e, err := Open("data", On(disk), ReadOnlyMode())
		if err != nil {
			return err
		}
		_, err = e.Backup(context.Background(), "saved", BackupOptions{})
		return errors.Join(err, e.Close())
	}
	whole := settled(t, files)
	before := whole.Ops()
	require.NoError(t, run(whole))
	want := holds(t, whole, "data", "orders")
	step := every(max((whole.Ops()-before)/13, 1))
	for n := before + 1; n <= whole.Ops(); n += step {
		disk := settled(t, files)
		disk.CrashAt(n)
		_ = run(disk)
		for _, policy := range vfs.Policies() {
			after := disk.After(policy, uint64(n))
			hint := fmt.Sprintf("operation %d, %v", n, policy)
			if b, err := Open("saved", On(after), ReadOnlyMode()); err == nil {
				require.NoError(t, b.Close())
				if names := filesIn(t, after, "saved"); slices.Contains(names, backupFile) {
					require.Equal(t, want, holds(t, after, "saved", "orders"), hint)
				}
			}
			require.Equal(t, want, holds(t, after, "data", "orders"), hint)
			require.NoError(t, run(after), hint)
			require.Equal(t, want, holds(t, after.After(vfs.KeepNone, 1), "saved", "orders"), hint)
		}
	}
}

// What a backup on another disk was told to hold is on that disk when it returns: copied, rewritten, kept or removed.
func TestBackupOnAnotherDiskIsDurable(t *testing.T) {
	e := openOn(t, stockedDisk(t, true))
	orders := openTopic(t, e, "orders")
	target := vfs.NewCrash()
	more := func() {
		for i := range 12 {
			_, err := orders.Append(t.Context(), Record{Value: fmt.Append(nil, "more", i)}, AppendTo(0))
			require.NoError(t, err)
		}
	}
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"first", func() {}}, {"more", more}, {"and more", more},
		{"altered", func() { require.NoError(t, e.AlterTopic(t.Context(), "orders", Retention(time.Hour))) }},
		{"deleted", func() {
			_, err := partitionOf(t, orders, 1).DeleteRecords(t.Context(), 9)
			require.NoError(t, err)
		}},
		{"dropped", func() { require.NoError(t, e.DeleteTopic(t.Context(), "events")) }},
	} {
		step.change()
		name := step.name
		_, err := e.Backup(t.Context(), "saved", BackupOptions{FS: target, Remove: []string{"events"}})
		require.NoError(t, err, name)
		require.Equal(t, contentsIn(t, target, "saved"), contentsIn(t, target.After(vfs.KeepNone, 0), "saved"), name)
		var want [][]string
		for _, p := range orders.state.Load().partitions {
			var list []string
			for _, r := range stored(t, p) {
				list = append(list, fmt.Sprintf("%d:%s", r.Offset, r.Value))
			}
			want = append(want, list)
		}
		require.Equal(t, want, holds(t, target.After(vfs.KeepNone, 0), "saved", "orders"), name)
	}
}

// A directory that its maker did not sync is on disk with the backup in it.
func TestBackupIntoAnUnsyncedDirectory(t *testing.T) {
	disk := settled(t, contentsOf(t, stockedDisk(t, true)))
	want := holds(t, disk, "data", "orders")
	require.NoError(t, disk.MkdirAll("saved"))
	e, err := Open("data", On(disk), ReadOnlyMode())
	require.NoError(t, err)
	_, err = e.Backup(t.Context(), "saved", BackupOptions{})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.Equal(t, want, holds(t, disk.After(vfs.KeepNone, 0), "saved", "orders"))
}

// Whatever operation fails: the backup says so, nothing is changed in the directory, no descriptor stays open, and the next one succeeds.
func TestBackupFaults(t *testing.T) {
	files := contentsOf(t, stockedDisk(t, true))
	for k := 1; ; k += every(29) {
		mem := vfs.NewMem()
		for _, path := range slices.Sorted(maps.Keys(files)) {
			require.NoError(t, mem.MkdirAll(filepath.Dir(path)))
			require.NoError(t, vfs.WriteFile(mem, path, []byte(files[path])))
		}
		disk := vfs.NewFault(mem)
		e, err := Open("data", On(disk), ReadOnlyMode())
		require.NoError(t, err)
		hit := false
		disk.Add(vfs.Rule{K: k, Err: errInjected, Hook: func(vfs.Op, string) { hit = true }})
		_, err = e.Backup(t.Context(), "saved", BackupOptions{})
		disk.Clear()
		if !hit {
			require.NoError(t, err)
			require.NoError(t, e.Close())
			break
		}
		if err == nil { // a link that failed was copied, or the lock's end
			holds(t, mem, "saved", "orders")
		}
		_, err = e.Backup(t.Context(), "saved", BackupOptions{})
		require.NoError(t, err, "after a fault of call %d", k)
		require.NoError(t, e.Close())
		require.Zero(t, mem.OpenFiles(), "call %d", k)
		holds(t, mem, "saved", "orders")
	}
}

var errInjected = errors.New("injected")

// TestBackupDuringASwap makes a backup while a compaction puts a segment in the place of two, whose names it has not got yet, or will not get
// at all: a copy of the first of them, which an earlier backup may have made, says that the second follows.
func TestBackupDuringASwap(t *testing.T) {
	for i := range 4 {
		earlier, fails := i&1 > 0, i&2 > 0
		synctest.Test(t, func(t *testing.T) {
			mem := vfs.NewMem()
			disk := vfs.NewFault(mem)
			e := openOn(t, disk)
			tp := openTopic(t, e, "orders", SegmentBytes(1000), Set("cleanup.policy", "compact"), Set("min.cleanable.dirty.ratio", "0"))
			add := func(keys ...string) {
				for _, key := range keys {
					_, err := tp.Append(t.Context(), Record{Key: []byte(key), Value: make([]byte, 800)})
					require.NoError(t, err)
				}
			}
			saved := make(chan error, 1)
			save := func() {
				_, err := e.Backup(t.Context(), "saved", BackupOptions{})
				saved <- err
			}
			add("a", "b", "b", "c")
			require.NoError(t, e.Compact(t.Context())) // leaves the second segment empty
			if earlier {
				save()
				require.NoError(t, <-saved)
			}
			add("d")
			renamed := vfs.Rule{Op: vfs.OpRename, Path: "00000000000000000000.log.deleted"}
			if !fails {
				renamed.Hook = func(vfs.Op, string) {
					go save()
					synctest.Wait() // until it has ended, or waits for the compaction
				}
			}
			disk.Add(renamed)
			err := e.Compact(t.Context())
			require.Equal(t, fails, err != nil)
			if fails {
				save()
			}
			require.NoError(t, <-saved)
			assert.Equal(t, holds(t, mem, "data", "orders"), holds(t, mem, "saved", "orders"))
			err = e.Close()
			require.Equal(t, fails, err != nil)
		})
	}
}
