package topic

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What cannot be meant is refused where it is said.
func TestDutiesRefuseWhatCannotBe(t *testing.T) {
	for name, opt := range map[string]Option{
		"budget with no behaviour": DiskBudget(1<<20, 9),
		"negative behaviour":       DiskBudget(1<<20, -1),
		"strategy without a name":  WithCompactionStrategy("", log.ByTimestamp()),
		"strategy of a taken name": WithCompactionStrategy("offset", log.ByTimestamp()),
		"strategy like a header":   WithCompactionStrategy("header=x", log.ByTimestamp()),
		"strategy with spaces":     WithCompactionStrategy("by me", log.ByTimestamp()),
		"nil strategy":             WithCompactionStrategy("mine", nil),
	} {
		_, err := Open("data", On(vfs.NewMem()), opt)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	disk := vfs.NewMem()
	e := openOn(t, disk, DiskBudget(math.MinInt64, RefuseAppends), DiskReserve(math.MinInt64), CompactionMemory(-1), CompactionRate(-1),
		CompactEvery(-1), RetentionEvery(-1), ScrubEvery(-1, -1))
	tp := openTopic(t, e, "orders")
	_, err := tp.Append(t.Context(), Record{Value: []byte("v")})
	require.ErrorIs(t, err, ErrQuota, "the least budget there is")
	for name, err := range map[string]error{
		"compact": e.Compact(t.Context(), "nowhere"),
		"rebuild": e.RebuildIndexes(t.Context(), "orders", "nowhere"),
		"verify":  second(e.Verify(t.Context(), VerifyOptions{Topics: []string{"nowhere"}})),
		"backup":  second(e.Backup(t.Context(), "saved", BackupOptions{Topics: []string{"nowhere"}})),
	} {
		require.ErrorIs(t, err, ErrNotFound, name)
	}
	require.ErrorIs(t, e.Compact(t.Context(), "orders"), ErrInvalid, "it is not compacted")
	require.NoError(t, e.Close())
	_, err = Repair(t.Context(), "data", RepairOptions{FS: disk, Topics: []string{"nowhere"}})
	require.ErrorIs(t, err, ErrNotFound)
	_, err = Repair(t.Context(), "elsewhere", RepairOptions{FS: disk})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Restore(t.Context(), "data", "back", RestoreOptions{FS: disk, Until: map[TopicPartition]int64{{Topic: "orders", Partition: 7}: 1}})
	require.ErrorIs(t, err, ErrNotFound, "whole would not be what was asked for")
	_, err = Restore(t.Context(), "data", "back", RestoreOptions{FS: disk, Until: map[TopicPartition]int64{{Topic: "orders"}: math.MinInt64}})
	require.NoError(t, err)
	_, err = Restore(t.Context(), "data", "back", RestoreOptions{FS: disk})
	require.ErrorIs(t, err, ErrInvalid, "it holds something")
	_, err = VerifyDirectory(t.Context(), nil, t.TempDir(), VerifyOptions{})
	require.ErrorIs(t, err, ErrNotData)
}

func second[T any](_ T, err error) error { return err }

// A request in vain leaves a backup what it is.
func TestBackupAskedForInVain(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	appendTo(t, partitionOf(t, openTopic(t, e, "orders", small()...), 0), 5)
	_, err := e.Backup(t.Context(), "saved", BackupOptions{})
	require.NoError(t, err)
	_, err = e.Backup(t.Context(), "saved", BackupOptions{Topics: []string{"nowhere"}})
	require.ErrorIs(t, err, ErrNotFound)
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errInjected)
	_, err = e.Backup(ended, "saved", BackupOptions{})
	require.ErrorIs(t, err, errInjected)
	require.NoError(t, e.Close())
	require.Len(t, holds(t, disk, "saved", "orders")[0], 5)
}

// A directory is not copied onto itself, whatever it is called.
func TestBackupOntoItself(t *testing.T) {
	dir := t.TempDir()
	data, saved, alias := filepath.Join(dir, "data"), filepath.Join(dir, "saved"), filepath.Join(dir, "alias")
	e, err := Open(data)
	require.NoError(t, err)
	appendTo(t, partitionOf(t, openTopic(t, e, "orders", small()...), 0), 5)
	_, err = e.Backup(t.Context(), saved, BackupOptions{})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.NoError(t, os.Symlink(saved, alias))
	e, err = Open(saved, ReadOnlyMode())
	require.NoError(t, err)
	for _, to := range []string{alias, saved, saved + "/.", filepath.Join(dir, "x", "..", "saved")} {
		_, err = e.Backup(t.Context(), to, BackupOptions{})
		require.ErrorIs(t, err, ErrInvalid, to)
	}
	require.NoError(t, e.Close())
	_, err = Restore(t.Context(), saved, alias, RestoreOptions{})
	require.ErrorIs(t, err, ErrInvalid)
	require.Len(t, holds(t, vfs.OS(), saved, "orders")[0], 5)
}

// greedy lets more go than there is, or less than nothing.
type greedy int

func (g greedy) Deletable(*Partition, time.Time, []SegmentState) int { return int(g) }

func TestPolicyOutOfRange(t *testing.T) {
	for n, start := range map[int]int64{math.MinInt: 2, -1: 2, 0: 2, math.MaxInt: 6} {
		e := openOn(t, vfs.NewMem(), WithRetention(RetentionHooks{Policy: greedy(n)}))
		p := partitionOf(t, openTopic(t, e, "orders", small(RetentionRecords(4))...), 0)
		appendTo(t, p, 6)
		_, err := p.ApplyRetention(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, start, startOf(t, p), "%d", n)
		require.NoError(t, e.Close())
	}
}

// Only a record of a user's can be redacted.
func TestRedactOfWhatIsNoRecord(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "users", compacting()...)
	p := partitionOf(t, tp, 0)
	putKeys(t, p, 10, 2)
	require.NoError(t, e.Compact(t.Context(), "users"))
	for offset, want := range map[int64]error{
		0:  ErrNoRecord, // compacted away
		-1: ErrOffsetOutOfRange, math.MinInt64: ErrOffsetOutOfRange, 20: ErrOffsetOutOfRange, math.MaxInt64: ErrOffsetOutOfRange,
	} {
		require.ErrorIs(t, p.Redact(t.Context(), offset, RedactOptions{}), want, "%d", offset)
	}
	require.ErrorIs(t, p.Redact(t.Context(), 19, RedactOptions{Value: make([]byte, 8<<20)}), ErrTooLarge)
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errInjected)
	require.ErrorIs(t, p.Redact(ended, 19, RedactOptions{}), errInjected)
	require.NoError(t, p.Redact(t.Context(), 19, RedactOptions{}))
	l, err := p.open()
	require.NoError(t, err)
	marker := record.EndTxnMarker(record.Commit, 7, 0, 0, time.Now().UnixMilli())
	err = l.AppendAt(t.Context(), atOffset(marker, l.End()))
	require.NoError(t, err)
	require.ErrorIs(t, p.Redact(t.Context(), l.End()-1, RedactOptions{}), ErrNoRecord, "a marker")
	require.NoError(t, e.Close())
}

func atOffset(b record.Batch, offset int64) record.Batch {
	b.SetBaseOffset(offset)
	b.SetLeaderEpoch(0)
	return b
}

// byHand is what may be done to a directory by hand, and what each works on.
func byHand(disk vfs.FS) map[string]func(ctx context.Context, e *Engine) error {
	return map[string]func(ctx context.Context, e *Engine) error{
		"compact":   func(ctx context.Context, e *Engine) error { return e.Compact(ctx) },
		"retention": func(ctx context.Context, e *Engine) error { return e.ApplyRetention(ctx) },
		"redact": func(ctx context.Context, e *Engine) error {
			tp, err := e.Topic(ctx, "users")
			if err != nil {
				return err
			}
			p, err := tp.Partition(0)
			if err != nil {
				return err
			}
			return p.Redact(ctx, 39, RedactOptions{Value: []byte("v39")})
		},
		"rebuild": func(ctx context.Context, e *Engine) error { return e.RebuildIndexes(ctx) },
		"backup": func(ctx context.Context, e *Engine) error {
			return second(e.Backup(ctx, "saved", BackupOptions{FS: disk, Copy: true}))
		},
		"restore": func(ctx context.Context, e *Engine) error {
			_ = e.Close()
			if _, err := readBackupMark(disk, "back"); err == nil { // not there, or restored by an earlier call
				_ = vfs.RemoveAll(disk, "back")
			}
			return second(Restore(ctx, "data", "back", RestoreOptions{FS: disk}))
		},
		"scrub": func(ctx context.Context, e *Engine) error { return second(e.Scrub(ctx, ScrubOptions{})) },
	}
}

// newestOf is the newest value of each key of the compacted topic, and the rest of the other.
func newestOf(t testing.TB, disk vfs.FS, dir string) map[string]string {
	t.Helper()
	e, err := Open(dir, On(disk), ReadOnlyMode())
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	got := map[string]string{}
	for _, r := range stored(t, partitionOf(t, openTopic(t, e, "users"), 0)) {
		got[string(r.Key)] = string(r.Value)
	}
	for _, r := range stored(t, partitionOf(t, openTopic(t, e, "orders"), 0)) {
		if r.Offset >= 38 { // what retention keeps in any case
			got[fmt.Sprint(r.Offset)] = string(r.Value)
		}
	}
	return got
}

// dutiful is a directory with something to do for every duty.
func dutiful(t testing.TB) map[string]string {
	t.Helper()
	disk := vfs.NewMem()
	e := openOn(t, disk)
	putKeys(t, partitionOf(t, openTopic(t, e, "users", compacting(Set("file.delete.delay.ms", "0"))...), 0), 10, 4)
	appendTo(t, partitionOf(t, openTopic(t, e, "orders", small(RetentionRecords(2))...), 0), 40)
	require.NoError(t, e.Close())
	return contentsOf(t, disk)
}

func diskOf(t testing.TB, files map[string]string) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	for path, data := range files {
		require.NoError(t, disk.MkdirAll(filepath.Dir(path)))
		require.NoError(t, vfs.WriteFile(disk, path, []byte(data)))
	}
	return disk
}

// growing are the calls that need room on the disk.
var growing = []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpRename, vfs.OpLink, vfs.OpMkdirAll, vfs.OpPreallocate}

// A disk that becomes full at any moment of a duty costs nothing: what was there is there, in this engine and the next, and the duty
// succeeds once there is room. A context that ends at any moment does no more.
func TestDutiesInTrouble(t *testing.T) {
	files := dutiful(t)
	want := newestOf(t, diskOf(t, files), "data")
	require.Len(t, want, 4+2)
	for name := range byHand(nil) {
		for _, trouble := range []string{"full", "cancelled"} {
			t.Run(name+" "+trouble, func(t *testing.T) {
				t.Parallel()
				for k := 1; ; k += every(47) {
					disk := diskOf(t, files)
					faulty := vfs.NewFault(disk)
					e, err := Open("data", On(faulty))
					require.NoError(t, err)
					duty := byHand(faulty)[name]
					ctx, cancel := context.WithCancelCause(t.Context())
					hit := false
					faulty.Add(vfs.Rule{K: k, Hook: func(vfs.Op, string) {
						if hit = true; trouble == "cancelled" {
							cancel(errInjected)
							return
						}
						for _, op := range growing {
							faulty.Add(vfs.Rule{Op: op, Count: vfs.Forever, Err: syscall.ENOSPC})
						}
					}})
					err = duty(ctx, e)
					faulty.Clear()
					hint := fmt.Sprintf("call %d: %v", k, err)
					if err != nil && trouble == "cancelled" {
						require.ErrorIs(t, err, errInjected, hint)
					}
					_ = e.Close() // a log that was fenced says so again
					e, err = Open("data", On(disk))
					require.NoError(t, err, hint)
					require.NoError(t, byHand(disk)[name](t.Context(), e), hint)
					require.NoError(t, e.Close(), hint)
					require.Equal(t, want, newestOf(t, disk, "data"), hint)
					verifyClean(t, disk, hint)
					require.Zero(t, disk.OpenFiles(), hint)
					cancel(nil)
					if !hit {
						break
					}
				}
			})
		}
	}
}
