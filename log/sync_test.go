package log

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gate is a disk on which each sync of a data file waits for a token, until it is opened.
type gate struct {
	*vfs.Fault
	let   chan struct{}
	open  func()
	syncs atomic.Int64
}

func newGate() *gate {
	opened := make(chan struct{})
	g := &gate{let: make(chan struct{}), open: sync.OnceFunc(func() { close(opened) })}
	g.Fault = vfs.NewFault(vfs.NewMem(), vfs.Rule{Op: vfs.OpSync, Path: "*.log", Count: vfs.Forever, Hook: func(vfs.Op, string) {
		select {
		case <-g.let:
		case <-opened:
		}
		g.syncs.Add(1)
	}})
	return g
}

// One fsync for all that was written before it began; the writes of the next round happen
// while it runs.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newGate()
		defer disk.open()
		l := openLog(t, disk, &Config{})
		var acked atomic.Int64
		add := func() {
			_, err := l.Append(context.Background(), batchOf(t, "v"), AppendOptions{Synced: true})
			assert.NoError(t, err)
			acked.Add(1)
		}
		go add()
		synctest.Wait()
		for range 8 {
			go add()
		}
		synctest.Wait()
		require.EqualValues(t, 9, l.End(), "written while the first round syncs")
		require.Zero(t, acked.Load())
		require.Zero(t, l.High(), "nothing is visible before it is durable")
		disk.let <- struct{}{}
		synctest.Wait()
		require.EqualValues(t, 1, acked.Load())
		require.EqualValues(t, 1, l.High())
		disk.let <- struct{}{}
		synctest.Wait()
		require.EqualValues(t, 9, acked.Load(), "eight share one fsync")
		require.EqualValues(t, 9, l.High())
		require.EqualValues(t, 2, disk.syncs.Load())
		disk.open()
		require.NoError(t, l.Close())
	})
}

func TestGroupCommitUnderLoad(t *testing.T) {
	var syncs atomic.Int64
	disk := vfs.NewFault(vfs.NewMem(), vfs.Rule{Op: vfs.OpSync, Path: "*.log", Count: vfs.Forever, Hook: func(vfs.Op, string) {
		syncs.Add(1)
		for range 20 { // let others write meanwhile
			runtime.Gosched()
		}
	}})
	l := openLog(t, disk, &Config{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				a, err := l.Append(context.Background(), batchOf(t, "v"), AppendOptions{Synced: true})
				assert.NoError(t, err)
				assert.Greater(t, l.High(), a.Last, "read your ack")
				assert.Greater(t, l.Durable(), a.Last)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 800, l.End())
	require.Less(t, syncs.Load(), int64(500))
}

// A waiter that gives up gets an unknown outcome and stalls nobody, also the one that had
// been handed the lead.
func TestCancelledCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newGate()
		defer disk.open()
		l := openLog(t, disk, &Config{})
		why := errors.New("gave up")
		ctx, cancel := context.WithCancelCause(context.Background())
		_, err := l.Append(ctx, batchOf(t, "0"), AppendOptions{NoWait: true})
		require.NoError(t, err)
		results := make(chan error, 9)
		commit := func(ctx context.Context, end int64) { results <- l.Commit(ctx, end) }
		go commit(context.Background(), 1) // runs the round
		synctest.Wait()
		put := func() {
			_, err := l.Append(ctx, batchOf(t, "v"), AppendOptions{NoWait: true})
			require.NoError(t, err)
		}
		put()
		go commit(ctx, 2) // waits for the next
		synctest.Wait()
		cancel(why)
		synctest.Wait()
		err = <-results
		require.ErrorIs(t, err, ErrUncertain)
		require.ErrorIs(t, err, why)
		go commit(context.Background(), 2)
		synctest.Wait()
		disk.let <- struct{}{}
		synctest.Wait()
		require.NoError(t, <-results)
		disk.let <- struct{}{}
		synctest.Wait()
		require.NoError(t, <-results)
		require.EqualValues(t, 2, l.High())

		_, err = l.Append(ctx, batchOf(t, "x"), AppendOptions{Synced: true})
		require.ErrorIs(t, err, why, "cancelled before it began")
		require.NotErrorIs(t, err, ErrUncertain)
		require.EqualValues(t, 2, l.End())

		// Nobody is left when the round ends: the lead is given up, and the next one takes it.
		ctx, cancel = context.WithCancelCause(context.Background())
		put()
		go commit(context.Background(), 3)
		synctest.Wait()
		put()
		go commit(ctx, 4)
		go commit(ctx, 4)
		synctest.Wait()
		cancel(why)
		synctest.Wait()
		require.ErrorIs(t, <-results, ErrUncertain)
		require.ErrorIs(t, <-results, ErrUncertain)
		disk.let <- struct{}{}
		synctest.Wait()
		require.NoError(t, <-results)
		disk.open()
		again, err := l.Tick(context.Background())
		require.NoError(t, err)
		require.Zero(t, again)
		require.EqualValues(t, 4, l.High(), "the owner's tick syncs what nobody waits for")
		require.False(t, l.syncer.running)
		disk.open()
		require.NoError(t, l.Close())
	})
}

// The waiter that is handed the lead in the moment in which it gives up hands it back.
func TestCancelRacesTheLead(t *testing.T) {
	for range 200 {
		l := openLog(t, vfs.NewMem(), &Config{})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				c := ctx
				if i%2 == 0 {
					c = context.Background()
				}
				_, err := l.Append(c, batchOf(t, "v"), AppendOptions{Synced: true})
				if i%2 == 0 {
					assert.NoError(t, err)
				}
			})
		}
		cancel()
		wg.Wait()
		require.NoError(t, l.Flush(context.Background()))
		require.Equal(t, l.End(), l.High())
		require.NoError(t, l.Close())
	}
}

func TestFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crash := vfs.NewCrash()
		let := make(chan struct{})
		bad := errors.New("the disk is dying")
		disk := vfs.NewFault(crash)
		var told atomic.Int64
		l, _, err := Open(disk, testDir, &Config{}, OpenState{Hooks: Hooks{Fenced: func(error) { told.Add(1) }}})
		require.NoError(t, err)
		put(t, l, "a")
		disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log", Err: bad, Hook: func(vfs.Op, string) { <-let }})
		results := make(chan error, 4)
		for range 4 {
			go func() {
				_, err := l.Append(context.Background(), batchOf(t, "b"), AppendOptions{Synced: true})
				results <- err
			}()
			synctest.Wait()
		}
		let <- struct{}{}
		for range 4 {
			err := <-results
			require.ErrorIs(t, err, ErrUncertain)
			require.ErrorIs(t, err, bad)
		}
		_, err = l.Append(context.Background(), batchOf(t, "c"), AppendOptions{Synced: true})
		require.ErrorIs(t, err, ErrFenced)
		require.NotErrorIs(t, err, ErrUncertain)
		require.False(t, l.Unfence())
		l.Fence(errors.New("other"))
		require.ErrorIs(t, l.Fenced(), bad, "the sticky reason stays")
		require.EqualValues(t, 1, told.Load())
		requireContents(t, l, "0:a")
		require.ErrorIs(t, l.Truncate(1), ErrFenced)
		again, err := l.Tick(context.Background())
		require.Zero(t, again)
		require.Error(t, err)
		require.ErrorIs(t, l.Close(), bad)
		require.Zero(t, crash.OpenFiles())

		crash.DropCache()
		l = openLog(t, crash, &Config{})
		requireContents(t, l, "0:a")
		put(t, l, "d")
		requireContents(t, l, "0:a", "1:d")
		require.NoError(t, l.Close())
	})
}

func TestFullDisk(t *testing.T) {
	for _, cfg := range []*Config{{}, {PreWrite: -1}, {SegmentBytes: 300}, {Durability: OS, SegmentBytes: 300}} {
		disk := vfs.NewMem()
		l := openLog(t, disk, cfg)
		var want []string
		for i := range 40 {
			if i%4 == 3 {
				disk.SetByteLimit(disk.Used() + int64(10*i))
			}
			b := batchOf(t, "v")
			_, err := l.Append(t.Context(), b, AppendOptions{Synced: true})
			if err != nil {
				require.ErrorIs(t, err, ErrNoSpace)
				require.ErrorIs(t, err, syscall.ENOSPC)
				require.NotErrorIs(t, err, ErrUncertain)
				require.Equal(t, batchOf(t, "v"), b, "as it was")
				if l.End() > 4 {
					_, err = l.DeleteRecords(l.Start() + 1)
					require.NoError(t, err, "deleting needs no space")
					want = want[1:]
				}
				disk.SetByteLimit(0)
				_, err = l.Append(t.Context(), b, AppendOptions{Synced: true})
				require.NoError(t, err)
			}
			disk.SetByteLimit(0)
			want = append(want, itoa(i)+":v")
		}
		requireContents(t, l, want...)
		require.NoError(t, l.Close())
		l = openLog(t, disk, cfg)
		requireContents(t, l, want...)
	}
}

func TestFailedWrite(t *testing.T) {
	for _, short := range []int{0, 1, 60} {
		disk := vfs.NewFault(vfs.NewMem())
		l := openLog(t, disk, &Config{PreWrite: -1})
		put(t, l, "a")
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Short: short, Err: syscall.EIO})
		_, err := l.Append(t.Context(), batchOf(t, "b"), AppendOptions{Synced: true})
		require.ErrorIs(t, err, syscall.EIO)
		require.NotErrorIs(t, err, ErrUncertain)
		put(t, l, "c")
		requireContents(t, l, "0:a", "1:c")
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Short: short, Err: syscall.EIO}, vfs.Rule{Op: vfs.OpTruncate, Path: "*.log"})
		_, err = l.Append(t.Context(), batchOf(t, "d"), AppendOptions{Synced: true})
		require.ErrorIs(t, err, ErrUncertain, "the cut failed too")
		_, err = l.Append(t.Context(), batchOf(t, "e"), AppendOptions{Synced: true})
		require.ErrorIs(t, err, ErrFenced)
		requireContents(t, l, "0:a", "1:c")
		require.Error(t, l.Close())
		l, _ = reopen(t, disk, &Config{})
		requireContents(t, l, "0:a", "1:c")
	}
}

func TestSlotFailures(t *testing.T) {
	t.Run("the first note fails: nothing was written", func(t *testing.T) {
		for _, c := range []struct {
			rule vfs.Rule
			cfg  *Config
		}{
			{vfs.Rule{Op: vfs.OpWrite, Path: SlotFile}, &Config{}},
			{vfs.Rule{Op: vfs.OpSyncDir}, &Config{}},
			{vfs.Rule{Op: vfs.OpSync, Path: SlotFile}, &Config{Durability: OS}},
		} {
			disk := vfs.NewFault(vfs.NewMem(), c.rule)
			l := openLog(t, disk, c.cfg)
			_, err := l.Append(t.Context(), batchOf(t, "a"), AppendOptions{Synced: true})
			require.Error(t, err)
			require.NotErrorIs(t, err, ErrUncertain)
			require.Zero(t, l.End())
			require.ErrorIs(t, l.Fenced(), ErrFenced)
			require.NoError(t, l.Close(), "nothing to stop")
		}
	})
	t.Run("a later write fails: this append is on disk, later ones are refused", func(t *testing.T) {
		disk := vfs.NewFault(vfs.NewMem())
		l := openLog(t, disk, &Config{})
		put(t, l, "a")
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: SlotFile})
		put(t, l, "b")
		requireContents(t, l, "0:a", "1:b")
		_, err := l.Append(t.Context(), batchOf(t, "c"), AppendOptions{Synced: true})
		require.ErrorIs(t, err, ErrFenced)
	})
	t.Run("no space for it: it is written later", func(t *testing.T) {
		disk := vfs.NewFault(vfs.NewMem())
		l := openLog(t, disk, &Config{})
		put(t, l, "a")
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: SlotFile, Err: syscall.ENOSPC})
		put(t, l, "b")
		put(t, l, "c")
		requireContents(t, l, "0:a", "1:b", "2:c")
		require.NoError(t, l.Close())
	})
}

// A truncation while appends wait for their fsync: none of them is told that it is in the
// log, even when others take its offsets.
func TestTruncateUnderWaitingAppends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newGate()
		defer disk.open()
		l := openLog(t, disk, &Config{Replicated: true})
		results := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := l.Append(context.Background(), batchOf(t, "old"), AppendOptions{Synced: true})
				results <- err
			}()
			synctest.Wait()
		}
		cut := make(chan error, 1)
		go func() { cut <- l.Truncate(1) }()
		synctest.Wait()
		disk.open()
		require.NoError(t, <-cut)
		require.EqualValues(t, 1, l.End())
		put(t, l, "new")
		uncertain := 0
		for range 3 {
			if err := <-results; err != nil {
				require.ErrorIs(t, err, ErrUncertain)
				uncertain++
			}
		}
		require.GreaterOrEqual(t, uncertain, 2)
		list, err := contents(l, End)
		require.NoError(t, err)
		require.Equal(t, []string{"0:old", "1:new"}, list)
	})
}
