package topic

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// oldRecords is a closed directory with 50 records that are three years old, in several segments.
func oldRecords(t *testing.T, opts ...TopicOption) *vfs.Mem {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "events", append(opts, SegmentBytes(300), Partitions(2), quick())...)
	for i := range 50 {
		at := time.Now().AddDate(-3, 0, 0).Add(time.Duration(i) * time.Second)
		_, err := tp.Append(t.Context(), Record{Key: []byte("k"), Value: []byte(fmt.Sprint(i)), Time: at}, AppendTo(0))
		require.NoError(t, err)
	}
	require.NoError(t, e.Close())
	return disk
}

// kept is how many records retention and compaction leave.
func kept(t *testing.T, e *Engine) int {
	t.Helper()
	require.NoError(t, e.ApplyRetention(t.Context()))
	tp, err := e.lookup("events")
	require.NoError(t, err)
	return len(stored(t, partitionOf(t, tp, 0)))
}

// However the files of the manifest are lost, and whichever way is taken on, what was to be kept for ever is kept, and the settings are known.
func TestLostManifestKeepsForever(t *testing.T) {
	rot := func(t *testing.T, disk *vfs.Mem, names ...string) {
		for _, name := range names {
			require.NoError(t, vfs.WriteFile(disk, filepath.Join("data", name), []byte("rot")))
		}
	}
	files := func(t *testing.T, disk *vfs.Mem) (list []string) {
		for _, base := range filesIn(t, disk, "data") {
			if strings.HasPrefix(base, catalog.File) {
				list = append(list, base)
			}
		}
		return list
	}
	losses := map[string]func(t *testing.T, disk *vfs.Mem){
		"all gone":         func(t *testing.T, disk *vfs.Mem) { loseManifest(t, disk) },
		"all rotten":       func(t *testing.T, disk *vfs.Mem) { rot(t, disk, files(t, disk)...) },
		"snapshots rotten": func(t *testing.T, disk *vfs.Mem) { rot(t, disk, catalog.File, catalog.PrevFile) },
		"journal rotten":   func(t *testing.T, disk *vfs.Mem) { rot(t, disk, catalog.JournalFile(1)) },
		"journal gone":     func(t *testing.T, disk *vfs.Mem) { require.NoError(t, disk.Remove("data/"+catalog.JournalFile(1))) },
		"newest gone":      func(t *testing.T, disk *vfs.Mem) { require.NoError(t, disk.Remove("data/"+catalog.File)) },
		"checkpoints too": func(t *testing.T, disk *vfs.Mem) {
			loseManifest(t, disk)
			rot(t, disk, "meta.properties", "log-start-offset-checkpoint")
		},
		"identities too": func(t *testing.T, disk *vfs.Mem) { loseManifest(t, disk); rot(t, disk, "events-0/partition.metadata") },
		"all identities too": func(t *testing.T, disk *vfs.Mem) {
			loseManifest(t, disk)
			rot(t, disk, "events-0/partition.metadata", "events-1/partition.metadata")
		},
		"identities and copies": func(t *testing.T, disk *vfs.Mem) {
			loseManifest(t, disk)
			for _, dir := range []string{"events-0/", "events-1/"} {
				rot(t, disk, dir+"partition.metadata", dir+catalog.CopyFile)
			}
		},
		"copy and manifest": func(t *testing.T, disk *vfs.Mem) { loseManifest(t, disk); rot(t, disk, "events-0/"+catalog.CopyFile) },
	}
	ways := map[string]func(t *testing.T, disk *vfs.Mem) (*Engine, error){
		"open":    func(_ *testing.T, disk *vfs.Mem) (*Engine, error) { return Open("data", On(disk)) },
		"rebuild": func(_ *testing.T, disk *vfs.Mem) (*Engine, error) { return Open("data", On(disk), RebuildManifest()) },
		"repair": func(t *testing.T, disk *vfs.Mem) (*Engine, error) {
			_, err := Repair(t.Context(), "data", RepairOptions{FS: disk})
			require.NoError(t, err)
			return Open("data", On(disk))
		},
		"broker's defaults": func(_ *testing.T, disk *vfs.Mem) (*Engine, error) {
			return Open("data", On(disk), RebuildManifest(), Defaults(Retention(7*24*time.Hour), CleanupWith(CleanupCompact)))
		},
	}
	for what, lose := range losses {
		for way, open := range ways {
			t.Run(what+"/"+way, func(t *testing.T) {
				disk := oldRecords(t, Retention(-1))
				e := openOn(t, disk)
				_, err := openTopic(t, e, "events").Append(t.Context(), Record{}, AppendTo(1))
				require.NoError(t, err)
				require.NoError(t, e.Close())
				lose(t, disk)
				e, err = open(t, disk)
				if err != nil {
					require.ErrorIs(t, err, ErrCorrupt)
					require.Equal(t, "open", way, "only Open without a word refuses")
					return
				}
				defer e.Close()
				assert.Equal(t, 50, kept(t, e))
				tp, err := e.lookup("events")
				require.NoError(t, err)
				if what != "copy and manifest" && what != "identities and copies" {
					assert.Equal(t, map[string]string{"retention.ms": "-1", "segment.bytes": "300", KeyDurability: "os"}, tp.Overrides())
					assert.Equal(t, 2, tp.Partitions())
				}
			})
		}
	}
}

// What the owner set last is what comes back: an alteration reaches the copy, and a setting that lets records go comes back as well.
func TestCopyFollowsAlterations(t *testing.T) {
	disk := oldRecords(t, Retention(time.Hour))
	e := openOn(t, disk)
	require.NoError(t, e.AlterTopic(t.Context(), "events", Retention(-1), Partitions(5)))
	require.NoError(t, e.Close())
	loseManifest(t, disk)
	e = openOn(t, disk)
	assert.Equal(t, 50, kept(t, e))
	tp, err := e.lookup("events")
	require.NoError(t, err)
	assert.Equal(t, 5, tp.Partitions())
	require.NoError(t, e.AlterTopic(t.Context(), "events", Retention(time.Hour)))
	require.NoError(t, e.Close())
	loseManifest(t, disk)
	assert.Zero(t, kept(t, openOn(t, disk)))
}

// cutJournal cuts the manifest's only journal.
func cutJournal(t *testing.T, disk *vfs.Mem, size int64) {
	t.Helper()
	for _, base := range filesIn(t, disk, "data") {
		if _, is := catalog.ParseJournalFile(base); is {
			f, err := disk.Open("data/" + base)
			require.NoError(t, err)
			require.NoError(t, errors.Join(f.Truncate(size), f.Close()))
		}
	}
}

func journalSize(t *testing.T, disk *vfs.Mem) (size int64) {
	t.Helper()
	for _, base := range filesIn(t, disk, "data") {
		if _, is := catalog.ParseJournalFile(base); is {
			info, err := disk.Stat("data/" + base)
			require.NoError(t, err)
			size = info.Size
		}
	}
	return size
}

// What is altered after the manifest was lost is newer than every copy from before, also when its own copy was not written.
func TestAlterationAfterALossIsNewer(t *testing.T) {
	disk := oldRecords(t)
	e := openOn(t, disk)
	for range 20 {
		require.NoError(t, e.AlterTopic(t.Context(), "events", Retention(time.Hour)))
	}
	require.NoError(t, e.Close())
	loseManifest(t, disk)
	faulty := vfs.NewFault(disk)
	e = openOn(t, faulty)
	openTopic(t, e, "events")
	faulty.Add(vfs.Rule{Op: vfs.OpWrite, Path: catalog.CopyFile, Count: vfs.Forever, Err: syscall.EIO})
	require.NoError(t, e.AlterTopic(t.Context(), "events", Retention(-1)))
	size := journalSize(t, disk)
	require.NoError(t, e.Close())
	cutJournal(t, disk, size) // as a kill leaves it
	assert.Equal(t, 50, kept(t, openOn(t, disk)))
}

// A journal that was cut looks as one that a crash left, whether the engine was stopped or killed. The copy tells that an alteration is missing.
func TestCutJournalForgetsNoAlteration(t *testing.T) {
	for _, reading := range []bool{false, true} {
		disk := oldRecords(t, Retention(time.Hour))
		e := openOn(t, disk)
		openTopic(t, e, "another")
		size := journalSize(t, disk)
		require.NoError(t, e.AlterTopic(t.Context(), "events", Retention(-1), Partitions(5)))
		require.NoError(t, e.Close())
		cutJournal(t, disk, size)
		if reading {
			e = openOn(t, disk, ReadOnlyMode())
			assert.Negative(t, openTopic(t, e, "events").Settings().Retention)
			require.NoError(t, e.Close())
		}
		for range 2 { // and the manifest knows it again
			e = openOn(t, disk)
			assert.Equal(t, 50, kept(t, e))
			assert.Equal(t, 5, openTopic(t, e, "events").Partitions())
			require.NoError(t, e.Close())
		}
	}
}

// When the newest copy is lost beside the manifest, neither what is left of the journal nor an older copy is taken for what the owner said last.
func TestLostCopyKeepsEverything(t *testing.T) {
	for what, lose := range map[string]func(disk *vfs.Mem) error{
		"rotten": func(disk *vfs.Mem) error {
			return vfs.WriteFile(disk, filepath.Join("data", "events-0", catalog.CopyFile), []byte("rot"))
		},
		"gone": func(disk *vfs.Mem) error { return disk.Remove(filepath.Join("data", "events-0", catalog.CopyFile)) },
	} {
		for _, older := range []bool{false, true} { // a copy lies in the second partition, from before the alteration
			for _, journal := range []bool{false, true} { // its beginning can be read
				t.Run(fmt.Sprintf("%s/older copy %v/journal %v", what, older, journal), func(t *testing.T) {
					disk := vfs.NewMem()
					e := openOn(t, disk)
					tp := openTopic(t, e, "events", Retention(time.Hour), SegmentBytes(300), Partitions(2), quick())
					if older {
						_, err := tp.Append(t.Context(), Record{}, AppendTo(1))
						require.NoError(t, err)
					}
					size := journalSize(t, disk)
					for i := range 50 {
						_, err := tp.Append(t.Context(), Record{Key: []byte("k"), Value: []byte(fmt.Sprint(i)), Time: time.Now().AddDate(-3, 0, 0)}, AppendTo(0))
						require.NoError(t, err)
					}
					require.NoError(t, e.AlterTopic(t.Context(), "events", Retention(-1)))
					require.NoError(t, e.Close())
					if journal {
						cutJournal(t, disk, size)
						require.NoError(t, errors.Join(disk.Remove("data/"+catalog.File), disk.Remove("data/"+catalog.PrevFile)))
					} else {
						loseManifest(t, disk)
					}
					require.NoError(t, lose(disk))
					for _, opts := range [][]Option{{RebuildManifest()}, nil} {
						e = openOn(t, disk, opts...)
						assert.Equal(t, 50, kept(t, e))
						require.NoError(t, e.Close())
					}
					// Nor later, when the manifest is lost again and the older copy is still there.
					loseManifest(t, disk)
					e = openOn(t, disk)
					assert.Equal(t, 50, kept(t, e))
					require.NoError(t, e.AlterTopic(t.Context(), "events", Retention(time.Hour)))
					assert.Zero(t, kept(t, e))
					require.NoError(t, e.Close())
				})
			}
		}
	}
}

// A copy in the directory of a partition that was used later and has a lower number is the newer one.
func TestCopyMovesToTheFirstPartition(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "events", Partitions(4), SegmentBytes(500))
	for n, segment := range map[int32]int64{3: 600, 1: 700, 0: 800} {
		_, err := tp.Append(t.Context(), Record{}, AppendTo(n))
		require.NoError(t, err)
		require.NoError(t, e.AlterTopic(t.Context(), "events", SegmentBytes(segment)))
	}
	want := tp.Overrides()
	require.NoError(t, e.Close())
	loseManifest(t, disk)
	tp = openTopic(t, openOn(t, disk), "events")
	assert.Equal(t, want, tp.Overrides())
	assert.Equal(t, 4, tp.Partitions())
}

// A copy may be older than the use of a partition: what lies in a directory that the copy calls unused is read all the same.
func TestPartitionUsedAfterTheCopy(t *testing.T) {
	for _, copies := range []bool{true, false} {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		tp := openTopic(t, e, "events", Partitions(4))
		for _, n := range []int32{0, 3} {
			_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(n))
			require.NoError(t, err)
		}
		require.NoError(t, e.Close())
		loseManifest(t, disk)
		if !copies {
			require.NoError(t, disk.Remove("data/events-0/"+catalog.CopyFile))
		}
		e = openOn(t, disk)
		tp = openTopic(t, e, "events")
		require.Equal(t, 4, tp.Partitions())
		for n, want := range []int{1, 0, 0, 1} {
			require.Len(t, stored(t, partitionOf(t, tp, int32(n))), want, "copies %v, partition %d", copies, n)
		}
		report, err := e.Verify(t.Context(), VerifyOptions{})
		require.NoError(t, err)
		require.Empty(t, report.Faults)
		require.NoError(t, e.Close())
	}
}

// So it is with partitions that a lost alteration added.
func TestPartitionsOfALostAlteration(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "events")
	size := journalSize(t, disk)
	require.NoError(t, e.AlterTopic(t.Context(), "events", Partitions(5)))
	_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(3))
	require.NoError(t, err)
	require.NoError(t, e.Close())
	cutJournal(t, disk, size)
	require.NoError(t, disk.Remove("data/events-3/"+catalog.CopyFile))
	e = openOn(t, disk)
	tp = openTopic(t, e, "events")
	require.Equal(t, 4, tp.Partitions())
	for n, want := range []int{0, 0, 0, 1} {
		require.Len(t, stored(t, partitionOf(t, tp, int32(n))), want, "partition %d", n)
	}
	require.NoError(t, e.Close())
}

// A directory of Kafka's, whose settings are not known, keeps everything until its owner says otherwise, and so does what such a topic gets later.
func TestAdoptedTopicKeepsEverything(t *testing.T) {
	disk := oldRecords(t, Retention(time.Hour))
	loseManifest(t, disk)
	for _, name := range filesIn(t, disk, "data/events-0") {
		if strings.HasPrefix(name, "quire.") || filepath.Ext(name) == ".sums" {
			require.NoError(t, disk.Remove("data/events-0/"+name))
		}
	}
	for range 2 {
		e := openOn(t, disk, Defaults(Retention(time.Minute)))
		assert.Equal(t, 50, kept(t, e))
		tp, err := e.lookup("events")
		require.NoError(t, err)
		assert.Empty(t, tp.Overrides())
		require.NoError(t, e.Close())
	}
	e := openOn(t, disk)
	require.NoError(t, e.AlterTopic(t.Context(), "events", Retention(time.Hour)))
	assert.Zero(t, kept(t, e))
}

// A topic for which no retention was set keeps records for ever; a broker sets Kafka's week by Defaults.
func TestRetentionDefaultIsForever(t *testing.T) {
	disk := oldRecords(t)
	e := openOn(t, disk)
	assert.Equal(t, 50, kept(t, e))
	defaults := DefaultSettings()
	assert.Negative(t, defaults.Retention)
	require.NoError(t, e.Close())
	e = openOn(t, vfs.NewMem(), Defaults(Retention(7*24*time.Hour)))
	assert.Equal(t, 7*24*time.Hour, openTopic(t, e, "t").Settings().Retention)
}

// The copy of an altered topic's settings is on disk when AlterTopic returns: a power cut that comes with the loss of the manifest takes nothing of them.
func TestAlteredSettingsSurviveTheManifest(t *testing.T) {
	disk := vfs.NewCrash()
	e := openOn(t, disk)
	appendTo(t, partitionOf(t, openTopic(t, e, "orders", Retention(time.Hour)), 0), 1)
	require.NoError(t, e.AlterTopic(t.Context(), "orders", Retention(48*time.Hour)))
	after := disk.After(vfs.KeepNone, 0)
	for _, name := range filesIn(t, after, "data") {
		if strings.HasPrefix(name, manifestFile) {
			require.NoError(t, after.Remove(filepath.Join("data", name)))
		}
	}
	e = openOn(t, after)
	assert.Equal(t, 48*time.Hour, openTopic(t, e, "orders").Settings().Retention)
}
