package log

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testDir = "d"

// TestMain fails the package when a goroutine outlives its test.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	// A fuzzing run keeps a goroutine of the testing package.
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	if n := runtime.NumGoroutine(); n > before && code == 0 && !fuzzing {
		fmt.Printf("%d goroutines were left behind\n", n-before)
		code = 1
	}
	os.Exit(code)
}

// batchOf is a batch with these values, timestamps 1000, 1001, ...
func batchOf(t testing.TB, values ...string) record.Batch {
	t.Helper()
	return build(t, record.BuilderConfig{}, values...)
}

func build(t testing.TB, cfg record.BuilderConfig, values ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(cfg)
	for i, v := range values {
		require.NoError(t, b.Add(&record.Record{Timestamp: 1000 + int64(i), Key: []byte("k"), Value: []byte(v)}))
	}
	sealed, err := b.Seal()
	require.NoError(t, err)
	return sealed
}

// timed is a batch whose records have these timestamps.
func timed(t testing.TB, times ...int64) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.BuilderConfig{})
	for _, ts := range times {
		require.NoError(t, b.Add(&record.Record{Timestamp: ts, Value: []byte("v")}))
	}
	sealed, err := b.Seal()
	require.NoError(t, err)
	return sealed
}

// at gives a batch its place and epoch as a leader has done.
func at(b record.Batch, offset int64, epoch int32) record.Batch {
	b = slices.Clone(b)
	b.SetBaseOffset(offset)
	b.SetLeaderEpoch(epoch)
	return b
}

func openLog(t testing.TB, fs vfs.FS, cfg *Config) *Log {
	t.Helper()
	l, _ := reopen(t, fs, cfg)
	return l
}

func reopen(t testing.TB, fs vfs.FS, cfg *Config) (*Log, Recovered) {
	t.Helper()
	l, rep, err := Open(fs, testDir, cfg, OpenState{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l, rep
}

func put(t testing.TB, l *Log, values ...string) Appended {
	t.Helper()
	a, err := l.Append(context.Background(), batchOf(t, values...), AppendOptions{Synced: true})
	require.NoError(t, err)
	return a
}

// contents reads everything from the start to the bound, as "offset:value".
func contents(l *Log, b Bound) (list []string, err error) {
	var run []byte
	var d record.Decoder
	var r record.Record
	for place := At(l.Start()); ; {
		if run, place, err = l.Read(run, place, ReadOptions{Bound: b, MaxBytes: 300, Check: true}); err != nil || len(run) == 0 {
			return list, err
		}
		for batch, err := range record.Batches(run) {
			if err != nil {
				return list, err
			}
			if err := d.Reset(batch, 0); err != nil {
				return list, err
			}
			for d.Next(&r) {
				if r.Offset >= l.Start() {
					list = append(list, fmt.Sprintf("%d:%s", r.Offset, r.Value))
				}
			}
			if d.Err() != nil {
				return list, d.Err()
			}
		}
	}
}

func requireContents(t testing.TB, l *Log, want ...string) {
	t.Helper()
	got, err := contents(l, High)
	require.NoError(t, err)
	if len(want) == 0 {
		require.Empty(t, got)
		return
	}
	require.Equal(t, want, got)
}

// files maps every file of the log to its bytes.
func files(t testing.TB, fs vfs.FS) map[string]string {
	t.Helper()
	names, err := fs.List(testDir)
	require.NoError(t, err)
	all := map[string]string{}
	for _, name := range names {
		if isDir(fs, testDir+"/"+name) {
			continue
		}
		data, err := vfs.ReadFile(fs, testDir+"/"+name, -1)
		require.NoError(t, err)
		all[name] = string(data)
	}
	return all
}

func names(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List(testDir)
	require.NoError(t, err)
	return names
}

// counted counts calls on files whose path holds a text.
func counted(fs vfs.FS, op vfs.Op, path string) (*vfs.Fault, *atomic.Int64) {
	var n atomic.Int64
	return vfs.NewFault(fs, vfs.Rule{Op: op, Path: path, Count: vfs.Forever,
		Hook: func(vfs.Op, string) { n.Add(1) }}), &n
}

func TestEverythingAfterClose(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{})
	put(t, l, "a", "b")
	require.NoError(t, l.Close())
	require.NoError(t, l.Close(), "idempotent")
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Append":        func() error { _, err := l.Append(ctx, batchOf(t, "x"), AppendOptions{Synced: true}); return err },
		"AppendAt":      func() error { return l.AppendAt(ctx, at(batchOf(t, "x"), 2, 0)) },
		"Read":          func() error { _, _, err := l.Read(nil, At(0), ReadOptions{}); return err },
		"Slice":         func() error { _, err := l.Slice(0, ReadOptions{}); return err },
		"Wait":          func() error { return l.Wait(ctx, 2, High) },
		"OffsetFor":     func() error { _, _, err := l.OffsetFor(1, High); return err },
		"OffsetFor max": func() error { _, _, err := l.OffsetFor(TimeMax, High); return err },
		"AbortedIn":     func() error { _, err := l.AbortedIn(0, 2); return err },
		"Truncate":      func() error { return l.Truncate(0) },
		"TruncateFully": func() error { return l.TruncateFully(9) },
		"DeleteRecords": func() error { _, err := l.DeleteRecords(-1); return err },
	} {
		assert.ErrorIs(t, call(), ErrClosed, name)
	}
	assert.NoError(t, l.Commit(ctx, 2), "it is on disk")
	assert.NoError(t, l.Flush(ctx))
	assert.NoError(t, l.Wait(ctx, 1, High))
	again, err := l.Tick(ctx)
	assert.NoError(t, err)
	assert.Zero(t, again)
	assert.Zero(t, l.Size())
	assert.Empty(t, l.Segments())
	assert.EqualValues(t, 2, l.End())
	l.Fence(errors.New("x"))
	assert.True(t, l.Unfence())
	l.AdvanceHigh(9)
	assert.EqualValues(t, 2, l.High())
	l.EpochEnd(0)
	l.ExpireProducers(time.Now())
	l.Producers()
	l.LeaderEpoch()
	require.ErrorIs(t, l.SetLeaderEpoch(5), ErrClosed)
}

func TestCloseGivesEverythingBack(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk, &Config{SegmentBytes: 300})
	for range 10 {
		put(t, l, "v")
	}
	requireContents(t, l, "0:v", "1:v", "2:v", "3:v", "4:v", "5:v", "6:v", "7:v", "8:v", "9:v")
	require.NoError(t, l.Close())
	_, _ = l.Tick(t.Context())
	assert.Zero(t, disk.OpenFiles())
}

func TestFence(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{})
	put(t, l, "a")
	reason := errors.New("not the leader")
	l.Fence(reason)
	_, err := l.Append(t.Context(), batchOf(t, "b"), AppendOptions{Synced: true})
	require.ErrorIs(t, err, ErrFenced)
	require.ErrorIs(t, err, reason)
	require.NotErrorIs(t, err, ErrUncertain)
	require.ErrorIs(t, l.Fenced(), reason)
	requireContents(t, l, "0:a")
	require.True(t, l.Unfence())
	require.NoError(t, l.Fenced())
	put(t, l, "b")
	require.NoError(t, l.Close())
}

func TestConfigureAtRunTime(t *testing.T) {
	disk, syncs := counted(vfs.NewMem(), vfs.OpSync, ".log")
	l := openLog(t, disk, &Config{Durability: OS})
	relaxed := AppendOptions{}
	_, err := l.Append(t.Context(), batchOf(t, "a"), relaxed)
	require.NoError(t, err)
	require.Zero(t, syncs.Load())
	require.NoError(t, l.Configure(&Config{}))
	_, err = l.Append(t.Context(), batchOf(t, "b"), relaxed)
	require.NoError(t, err)
	require.EqualValues(t, 1, syncs.Load())
	require.EqualValues(t, 2, l.Durable())
	_, err = l.Append(t.Context(), batchOf(t, "c"), AppendOptions{NoWait: true})
	require.NoError(t, err)
	require.EqualValues(t, 2, l.High())
	require.NoError(t, l.Configure(&Config{Durability: OS, MaxBatchBytes: 80}))
	require.EqualValues(t, 3, l.High(), "nobody else would make it visible")
	_, err = l.Append(t.Context(), batchOf(t, strings.Repeat("x", 80)), relaxed)
	require.ErrorIs(t, err, ErrTooLarge)
	require.Error(t, l.Configure(&Config{SegmentBytes: -1, Durability: 9}))
	require.EqualValues(t, 80, l.Config().MaxBatchBytes)
}

func TestConfigFaultsAllAtOnce(t *testing.T) {
	bad := &Config{Durability: 7, SyncInterval: -1, SyncBytes: -1, SegmentBytes: -1, SegmentAge: -1, SegmentJitter: -1, IndexBytes: -1,
		IndexInterval: -1, MaxBatchBytes: -1, TimestampBeforeMax: -1, TimestampAfterMax: -1, ProducerExpiry: -1, Timestamps: 9,
		Recompress: true, Codec: 77}
	err := bad.Validate()
	for _, word := range []string{"durability", "SyncInterval", "SyncBytes", "SegmentBytes", "SegmentAge", "SegmentJitter", "IndexBytes",
		"IndexInterval", "MaxBatchBytes", "TimestampBeforeMax", "TimestampAfterMax", "ProducerExpiry", "timestamp type"} {
		assert.ErrorContains(t, err, word)
	}
	_, _, err = Open(vfs.NewMem(), testDir, bad, OpenState{})
	require.Error(t, err)
	require.NoError(t, (&Config{}).Validate())
	assert.Equal(t, []string{"sync", "interval", "os", "durability(9)"},
		[]string{Sync.String(), Interval.String(), OS.String(), Durability(9).String()})
}

// Everything at once, and Close in the middle of it.
func TestCloseDuringEverything(t *testing.T) {
	for round := range 10 {
		disk := vfs.NewMem()
		l, _, err := Open(disk, testDir, &Config{SegmentBytes: 400, Durability: Durability(round % 3)}, OpenState{Hooks: Hooks{
			Dirty: func(l *Log, _ time.Duration) { l.End() }, Rolled: func(int64) {}, Fenced: func(error) {}}})
		require.NoError(t, err)
		var acked atomic.Int64
		var wg sync.WaitGroup
		work := func(f func(i int) error) {
			wg.Go(func() {
				for i := 0; ; i++ {
					if err := f(i); errors.Is(err, ErrClosed) || i > 1e6 {
						return
					}
					runtime.Gosched() // on one processor too they take turns
				}
			})
		}
		ctx := context.Background()
		for range 3 {
			work(func(int) error {
				a, err := l.Append(ctx, batchOf(t, "v"), AppendOptions{Synced: true})
				if err == nil {
					for old := acked.Load(); a.Last+1 > old && !acked.CompareAndSwap(old, a.Last+1); old = acked.Load() {
					}
				}
				return err
			})
		}
		work(func(int) error { _, err := contents(l, High); return err })
		work(func(int) error { _, err := l.Tick(ctx); return errors.Join(err, l.appendable()) })
		work(func(i int) error { return l.Wait(ctx, int64(i), High) })
		work(func(int) error { _, _, err := l.OffsetFor(1000, High); l.Segments(); l.Size(); return err })
		work(func(int) error { _, err := l.DeleteRecords(l.High() / 2); return err })
		work(func(int) error {
			s, err := l.Slice(l.Start(), ReadOptions{Bound: End})
			if err == nil {
				_, err = s.AppendTo(nil)
				s.Release()
			}
			return err
		})
		require.NoError(t, l.Wait(ctx, 20, High))
		wg.Go(func() { assert.NoError(t, l.Close()) })
		require.NoError(t, l.Close())
		wg.Wait()
		require.Zero(t, disk.OpenFiles())
		l, rep := reopen(t, disk, &Config{SegmentBytes: 400})
		require.True(t, rep.Clean)
		require.GreaterOrEqual(t, l.End(), acked.Load())
	}
}

func TestCloseWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, vfs.NewMem(), &Config{})
		got := make(chan error, 3)
		for _, b := range []Bound{High, Stable, End} {
			go func() { got <- l.Wait(context.Background(), 0, b) }()
		}
		ch := make(chan struct{}, 1)
		defer watch(l, ch)()
		synctest.Wait()
		require.NoError(t, l.Close())
		for range 3 {
			require.ErrorIs(t, <-got, ErrClosed)
		}
		<-ch
	})
}

// An idle log should cost little: with the allocator's header of 8 bytes it fills a size class of 768, one byte more costs 128.
func TestLogIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Log{}), uintptr(760))
}
