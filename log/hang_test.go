package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// hungDisk lets calls of a kind wait until it is released.
type hungDisk struct {
	*vfs.Fault
	open chan struct{}
}

func (d *hungDisk) hang(op vfs.Op) {
	open := make(chan struct{})
	d.open = open
	d.Add(vfs.Rule{Op: op, Count: vfs.Forever, Hook: func(vfs.Op, string) { <-open }})
}

func (d *hungDisk) release() {
	d.Clear()
	close(d.open)
}

var hangingOps = []vfs.Op{
	vfs.OpAny, vfs.OpWrite, vfs.OpSync, vfs.OpCreate, vfs.OpOpen, vfs.OpRename, vfs.OpSyncDir, vfs.OpPreallocate, vfs.OpClose, vfs.OpSize, vfs.OpRead,
}

// outcomes sorts values by what the caller was told of them.
type outcomes struct {
	mu                     sync.Mutex
	acked, unknown, failed []string
}

func (o *outcomes) add(value string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.acked = append(o.acked, value)
	case errors.Is(err, ErrUncertain):
		o.unknown = append(o.unknown, value)
	default:
		o.failed = append(o.failed, value)
	}
}

// agree holds what is in the log against what the callers were told.
func (o *outcomes) agree(t *testing.T, list []string) {
	t.Helper()
	count := map[string]int{}
	for _, entry := range list {
		_, value, _ := strings.Cut(entry, ":")
		count[value]++
	}
	for _, v := range o.acked {
		require.Equal(t, 1, count[v], "%s was acknowledged", v)
		delete(count, v)
	}
	for _, v := range o.unknown {
		require.LessOrEqual(t, count[v], 1, "%s", v)
		delete(count, v)
	}
	for _, v := range o.failed {
		require.Zero(t, count[v], "%s was refused", v)
	}
	require.Empty(t, count, "never appended")
}

// TestHungDiskEndsNoWait hangs each kind of call of a disk under appends from many goroutines, at each level, and segments
// that roll. Each append returns with its context, and its bytes are the caller's again. When the disk goes on, so does the
// log, and holds what was told.
func TestHungDiskEndsNoWait(t *testing.T) {
	for _, op := range hangingOps {
		for _, level := range []Durability{Sync, Interval, OS} {
			t.Run(fmt.Sprint(op, "/", level), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { hangUnderAppends(t, op, level) })
			})
		}
	}
}

func hangUnderAppends(t *testing.T, op vfs.Op, level Durability) {
	disk := &hungDisk{Fault: vfs.NewFault(vfs.NewMem())}
	l := openLog(t, disk, &Config{Durability: level, SegmentBytes: 300})
	put(t, l, "before")
	o := outcomes{acked: []string{"before"}}
	disk.hang(op)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				value := fmt.Sprintf("w%d-%d", w, i)
				b := batchOf(t, value)
				began := time.Now()
				_, err := l.Append(ctx, b, AppendOptions{Synced: true})
				require.LessOrEqual(t, time.Since(began), 100*time.Millisecond)
				if err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				clear(b) // the bytes are the caller's
				o.add(value, err)
				cancel()
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_ = l.Flush(ctx)
	_ = l.Commit(ctx, l.End())
	require.LessOrEqual(t, time.Since(began), 100*time.Millisecond)
	disk.release()
	synctest.Wait()
	last := put(t, l, "after")
	o.add("after", nil)
	require.NoError(t, l.Flush(t.Context()))
	require.Greater(t, l.Durable(), last.Last)
	list, err := contents(l, High)
	require.NoError(t, err)
	o.agree(t, list)
	require.NoError(t, l.Close())
	l, _ = reopen(t, disk, &Config{Durability: level})
	again, err := contents(l, High)
	require.NoError(t, err)
	require.Equal(t, list, again)
}

// TestHungDiskUnderRuns is the same for a follower's batches.
func TestHungDiskUnderRuns(t *testing.T) {
	for _, op := range hangingOps {
		synctest.Test(t, func(t *testing.T) {
			disk := &hungDisk{Fault: vfs.NewFault(vfs.NewMem())}
			l := openLog(t, disk, &Config{SegmentBytes: 300})
			put(t, l, "before")
			disk.hang(op)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			run := slices.Concat(at(batchOf(t, "a"), 1, 0), at(batchOf(t, "b"), 2, 0), at(batchOf(t, "c"), 3, 0))
			began := time.Now()
			err := l.AppendAt(ctx, run)
			require.LessOrEqual(t, time.Since(began), 100*time.Millisecond, "%v", op)
			if err != nil {
				require.ErrorIs(t, err, ErrUncertain, "%v", op)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			clear(run)
			disk.release()
			synctest.Wait()
			list, err := contents(l, End)
			require.NoError(t, err, "%v", op)
			require.Equal(t, []string{"0:before", "1:a", "2:b", "3:c"}, list, "%v", op)
			require.NoError(t, l.Close())
		})
	}
}

// TestHungDiskUnderUpkeep hangs each kind of call under what goes over a log: each returns soon after its context.
func TestHungDiskUnderUpkeep(t *testing.T) {
	for name, work := range map[string]func(ctx context.Context, l *Log) error{
		"retention": func(ctx context.Context, l *Log) error {
			_, err := l.ApplyRetention(ctx, time.Now(), &Retention{Bytes: 1})
			return err
		},
		"compact": func(ctx context.Context, l *Log) error {
			_, err := l.Compact(ctx, CompactOptions{})
			return err
		},
		"indexes": func(ctx context.Context, l *Log) error { return l.RebuildIndexes(ctx) },
		"redact":  func(ctx context.Context, l *Log) error { return l.Redact(ctx, 1, RedactOptions{}) },
		"tick": func(ctx context.Context, l *Log) error {
			_, err := l.Tick(ctx)
			return err
		},
	} {
		for _, op := range hangingOps {
			synctest.Test(t, func(t *testing.T) {
				disk := &hungDisk{Fault: vfs.NewFault(vfs.NewMem())}
				l := openLog(t, disk, &Config{SegmentBytes: 300, Compacted: true})
				for i := range 12 {
					put(t, l, fmt.Sprint("v", i))
				}
				disk.hang(op)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				began := time.Now()
				err := work(ctx, l)
				require.LessOrEqual(t, time.Since(began), 100*time.Millisecond+grace, "%s, %v: %v", name, op, err)
				disk.release()
				synctest.Wait()
				put(t, l, "after")
				_, err = contents(l, High)
				require.NoError(t, err, "%s, %v", name, op)
				require.NoError(t, l.Close(), "%s, %v", name, op)
			})
		}
	}
}

// TestAppendLeavesTheHeaderInPlace: with either kind of context the caller's batch gets its offset, or is what it was.
func TestAppendLeavesTheHeaderInPlace(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{MaxBatchBytes: 1000})
	for i, ctx := range []context.Context{context.Background(), t.Context()} {
		b := batchOf(t, "v")
		_, err := l.Append(ctx, b, AppendOptions{Synced: true})
		require.NoError(t, err)
		require.EqualValues(t, i, b.BaseOffset())
		big := batchOf(t, strings.Repeat("v", 2000))
		was := slices.Clone(big)
		_, err = l.Append(ctx, big, AppendOptions{Synced: true})
		require.ErrorIs(t, err, ErrTooLarge)
		require.Equal(t, was, big)
	}
}

// lateContext is one that is found to have ended when it is looked at for the given time; its Done is told of later.
type lateContext struct {
	context.Context
	looks *atomic.Int32
}

func (c lateContext) Done() <-chan struct{} { return make(chan struct{}) }

func (c lateContext) Err() error {
	if c.looks.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

func endsAfter(looks int32) lateContext {
	c := lateContext{context.Background(), new(atomic.Int32)}
	c.looks.Store(looks)
	return c
}

// TestContextEndsAtEachLook: wherever an append or a flush finds that its context has ended, it leaves no lock and no lead behind.
func TestContextEndsAtEachLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, vfs.NewMem(), &Config{})
		for looks := range int32(6) {
			_, _ = l.Append(endsAfter(looks), batchOf(t, "v"), AppendOptions{Synced: true})
			_ = l.AppendAt(endsAfter(looks), at(batchOf(t, "v"), l.End(), 0))
			_, err := l.Append(t.Context(), batchOf(t, "v"), AppendOptions{NoWait: true})
			require.NoError(t, err)
			_ = l.Flush(endsAfter(looks))
			put(t, l, "v")
		}
	})
}

// TestLeadOfAnEndedContext: one that is handed the lead when its context has ended hands it on to those who joined the round
// with it, or gives it up.
func TestLeadOfAnEndedContext(t *testing.T) {
	for _, more := range []int{0, 2} {
		synctest.Test(t, func(t *testing.T) {
			disk := &hungDisk{Fault: vfs.NewFault(vfs.NewMem())}
			l := openLog(t, disk, &Config{})
			put(t, l, "v")
			disk.hang(vfs.OpSync)
			got := make(chan error, 4)
			join := func(ctx context.Context) {
				a, err := l.Append(context.Background(), batchOf(t, "v"), AppendOptions{NoWait: true})
				require.NoError(t, err)
				go func() { got <- l.Commit(ctx, a.Last+1) }()
				synctest.Wait()
			}
			join(context.Background())
			join(endsAfter(0))
			for range more {
				join(t.Context())
			}
			disk.release()
			synctest.Wait()
			require.Len(t, got, 2+more)
			for range 2 + more {
				if err := <-got; err != nil {
					require.ErrorIs(t, err, context.Canceled)
				}
			}
			if more > 0 {
				put(t, l, "v")
			}
			require.NoError(t, l.Close())
		})
	}
}

// TestTendedAfterItsCallerLeft: a batch whose append was given up while it was written is cared for like others.
func TestTendedAfterItsCallerLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &hungDisk{Fault: vfs.NewFault(vfs.NewMem())}
		dirty := 0
		l, _, err := Open(disk, testDir, &Config{}, OpenState{Hooks: Hooks{Dirty: func(*Log, time.Duration) { dirty++ }}})
		require.NoError(t, err)
		disk.hang(vfs.OpWrite)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = l.Append(ctx, batchOf(t, "v"), AppendOptions{Synced: true})
		require.ErrorIs(t, err, ErrUncertain)
		require.Zero(t, dirty)
		disk.release()
		synctest.Wait()
		require.Equal(t, 1, dirty)
		_, err = l.Tick(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, l.High())
		require.NoError(t, l.Close())
	})
}
