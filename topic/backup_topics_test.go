package topic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// agrees sees that a backup is sound, that its manifest has as used what it has directories of, and that every partition can be used.
func agrees(t testing.TB, disk *vfs.Mem, dir string) {
	t.Helper()
	found, err := VerifyDirectory(t.Context(), disk, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, found.Faults)
	stored, err := catalog.Load(disk, dir, checkEntry, false)
	require.NoError(t, err)
	var used, there []string
	for _, entry := range stored.Manifest.Topics {
		for n := range int32(entry.Partitions) {
			if !entry.Unused.Has(n) {
				used = append(used, dirName(entry.Name, n))
			}
		}
	}
	for _, base := range filesIn(t, disk, dir) {
		if _, is := parseDirName(base); is {
			there = append(there, base)
		}
	}
	require.ElementsMatch(t, there, used)
	b, err := Open(dir, On(disk))
	require.NoError(t, err)
	list, err := b.Topics(t.Context())
	require.NoError(t, err)
	for _, tp := range list {
		for n := range int32(tp.Partitions()) {
			_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(n))
			require.NoError(t, err, "%s-%d", tp.Name(), n)
		}
	}
	require.NoError(t, b.Close())
}

// Topics come, go, grow and are first used at steps all through a backup, into a new directory and over an earlier backup.
func TestBackupAgreesWithItsDirectories(t *testing.T) {
	meanwhile := map[string]func(*Engine, *Topic) error{
		"deleted": func(e *Engine, tp *Topic) error { return e.DeleteTopic(t.Context(), tp.Name()) },
		"created anew": func(e *Engine, tp *Topic) error {
			if err := e.DeleteTopic(t.Context(), tp.Name()); err != nil {
				return err
			}
			fresh, err := e.Topic(t.Context(), tp.Name(), Partitions(4), quick())
			if err == nil {
				_, err = fresh.Append(t.Context(), Record{Value: []byte("fresh")}, AppendTo(2))
			}
			return err
		},
		"grown": func(e *Engine, tp *Topic) error {
			err := e.AlterTopic(t.Context(), tp.Name(), Partitions(5))
			for _, n := range []int32{0, 4} {
				if err == nil {
					_, err = tp.Append(t.Context(), Record{Value: []byte("first")}, AppendTo(n))
				}
			}
			return err
		},
		"created": func(e *Engine, _ *Topic) error {
			fresh, err := e.Topic(t.Context(), "fresh", quick())
			if err == nil {
				_, err = fresh.Append(t.Context(), Record{Value: []byte("first")})
			}
			return err
		},
	}
	for name, change := range meanwhile {
		for _, earlier := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s earlier=%v", name, earlier), func(t *testing.T) {
				steps := 0
				for k := 1; k == 1 || k <= steps; k += thin.Raced(31, 127) { // with 1 it takes a minute
					steps = backupBeside(t, k, earlier, change)
				}
				require.Greater(t, steps, 50)
			})
		}
	}
}

// backupBeside changes a topic before the k-th operation on the disk of a backup, and tells how many there were.
func backupBeside(t *testing.T, k int, earlier bool, change func(*Engine, *Topic) error) int {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	var prices *Topic
	for _, name := range []string{"orders", "prices", "zones"} {
		tp := openTopic(t, e, name, Partitions(3), quick(), SegmentBytes(200))
		if name == "prices" {
			prices = tp
		}
		for i := range 4 {
			_, err := tp.Append(t.Context(), Record{Value: make([]byte, 60)}, AppendTo(int32(1+i%2)))
			require.NoError(t, err)
		}
	}
	if earlier {
		_, err := e.Backup(t.Context(), "saved", BackupOptions{})
		require.NoError(t, err)
	}
	steps := 0
	copies := vfs.NewFault(disk, vfs.Rule{Op: vfs.OpAny, Count: vfs.Forever, Hook: func(vfs.Op, string) {
		if steps++; steps == k {
			assert.NoError(t, change(e, prices))
		}
	}})
	_, err := e.Backup(context.Background(), "saved", BackupOptions{FS: copies, Remove: []string{"prices"}})
	require.NoError(t, err, "step %d", k)
	agrees(t, disk, "saved")
	require.NoError(t, e.Close())
	return steps
}

// What the catalog counts as used, and the partition not yet, has no directory in a backup.
func TestBackupBesideFirstUse(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	openTopic(t, e, "orders", Partitions(2))
	require.NoError(t, partitionOf(t, openTopic(t, e, "orders"), 1).Warm(t.Context()))
	require.NoError(t, e.catalog.Commit(catalog.Change{Use: &catalog.Use{Topic: "orders", Partition: 0}}))
	rep, err := e.Backup(t.Context(), "saved", BackupOptions{})
	require.NoError(t, err)
	assert.Equal(t, map[TopicPartition]int64{{Topic: "orders", Partition: 1}: 0}, rep.Ends)
	agrees(t, disk, "saved")
}

// A topic that has another's name since the manifest was taken is not the one that the manifest speaks of.
func TestBackupPlansOnlyTheTopicOfTheManifest(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	require.NoError(t, partitionOf(t, openTopic(t, e, "orders"), 0).Warm(t.Context()))
	c := &copier{ctx: t.Context(), e: e}
	require.NoError(t, c.takeManifest())
	require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
	require.NoError(t, partitionOf(t, openTopic(t, e, "orders"), 0).Warm(t.Context()))
	require.NoError(t, c.planTopics())
	assert.Empty(t, c.manifest.Topics)
	assert.Empty(t, c.list)
}

// A topic that is deleted while the others are opened is left out, unless it was asked for or an earlier backup has it.
func TestBackupLeavesOutWhatIsDeletedMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name    string
		earlier bool
		opts    BackupOptions
		want    error
	}{
		{"all topics", false, BackupOptions{}, nil},
		{"asked for", false, BackupOptions{Topics: []string{"orders", "prices"}}, ErrNotFound},
		{"in an earlier backup", true, BackupOptions{}, &DiscardError{}},
		{"in an earlier backup, may go", true, BackupOptions{Remove: []string{"prices"}}, nil},
	} {
		for _, when := range []string{"data/orders-0", "saved/orders-0"} {
			t.Run(c.name+" "+when, func(t *testing.T) {
				disk := vfs.NewMem()
				fault := vfs.NewFault(disk)
				e, err := Open("data", On(fault))
				require.NoError(t, err)
				for _, name := range []string{"orders", "prices"} {
					_, err := openTopic(t, e, name, quick()).Append(t.Context(), Record{Value: []byte("v")})
					require.NoError(t, err)
				}
				if c.earlier {
					_, err := e.Backup(t.Context(), "saved", BackupOptions{})
					require.NoError(t, err)
				}
				require.NoError(t, e.Close())
				e, err = Open("data", On(fault))
				require.NoError(t, err)
				fault.Add(vfs.Rule{Path: when, Hook: func(vfs.Op, string) {
					assert.NoError(t, e.DeleteTopic(t.Context(), "prices"))
				}})
				rep, err := e.Backup(t.Context(), "saved", c.opts)
				var want *DiscardError
				switch {
				case c.want == nil:
					require.NoError(t, err)
					assert.Equal(t, map[TopicPartition]int64{{Topic: "orders"}: 1}, rep.Ends)
					assert.Equal(t, 1, rep.Partitions)
					agrees(t, disk, "saved")
				case errors.As(c.want, &want):
					require.ErrorAs(t, err, &want)
					assert.Equal(t, []string{"prices"}, want.Topics)
				default:
					assert.ErrorIs(t, err, c.want)
				}
				require.NoError(t, e.Close())
			})
		}
	}
}

// A directory of an earlier backup goes when the topic of its name has no such partition in use any more, and only if that was allowed.
func TestBackupForgetsDirectoriesOfTopicsCreatedAnew(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "orders", Partitions(2))
	for n := range int32(2) {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(n))
		require.NoError(t, err)
	}
	_, err := e.Backup(t.Context(), "saved", BackupOptions{})
	require.NoError(t, err)
	require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
	_, err = openTopic(t, e, "orders", Partitions(2)).Append(t.Context(), Record{Value: []byte("new")}, AppendTo(1))
	require.NoError(t, err)
	_, err = e.Backup(t.Context(), "saved", BackupOptions{})
	var kept *DiscardError
	require.ErrorAs(t, err, &kept)
	assert.Equal(t, [][]string{{"0:v"}, {"0:v"}}, holds(t, disk, "saved", "orders"), "nothing was changed")
	for _, name := range filesIn(t, disk, "saved") {
		if strings.HasPrefix(name, ManifestFile) {
			require.NoError(t, disk.Remove("saved/"+name))
		}
	}
	_, err = e.Backup(t.Context(), "saved", BackupOptions{})
	require.ErrorAs(t, err, &kept, "its directories tell")
	_, err = e.Backup(t.Context(), "saved", BackupOptions{Remove: []string{"orders"}})
	require.NoError(t, err)
	agrees(t, disk, "saved")
}

// A partition is missing only if its topic is still the one that had it, however often others took its name meanwhile.
func TestVerifyBesideTopicsOfOneName(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	use := func() { assert.NoError(t, partitionOf(t, openTopic(t, e, "orders"), 0).Warm(t.Context())) }
	drop := func() { assert.NoError(t, e.DeleteTopic(t.Context(), "orders")) }
	use()
	looks := vfs.NewFault(disk, vfs.Rule{Path: "data/orders-0", Hook: func(vfs.Op, string) { drop(); use(); drop() }})
	afresh := vfs.Rule{Path: ManifestFile, Hook: func(vfs.Op, string) { use() }}
	looks.Add(vfs.Rule{Op: vfs.OpList, Path: "data/orders-0", Hook: func(vfs.Op, string) { looks.Add(afresh) }})
	looks.Add(vfs.Rule{Op: vfs.OpStat, Path: "data/orders-0", Hook: func(vfs.Op, string) { drop() }})
	found, err := VerifyDirectory(t.Context(), looks, "data", VerifyOptions{})
	require.NoError(t, err)
	assert.Empty(t, found.Faults)
}
