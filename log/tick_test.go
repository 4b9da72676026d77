package log

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

func itoa(n int) string { return strconv.Itoa(n) }

// owner ticks a log as topic does: when it was asked to, and as often as it says.
type owner struct {
	asked []time.Duration
	ticks []time.Duration // since the start
	start time.Time
	stop  chan struct{}
}

func (o *owner) hooks() Hooks {
	return Hooks{Dirty: func(l *Log, d time.Duration) {
		o.asked = append(o.asked, d)
		go func() {
			for d > 0 {
				select {
				case <-time.After(d):
				case <-o.stop:
					return
				}
				o.ticks = append(o.ticks, time.Since(o.start))
				d, _ = l.Tick(context.Background())
			}
		}()
	}}
}

func TestTickAtTheTimesItAskedFor(t *testing.T) {
	for _, tc := range []struct {
		cfg     *Config
		asked   time.Duration
		durable []int64 // before the first tick, after it
	}{
		{&Config{}, time.Second, []int64{1, 1}},
		{&Config{Durability: Interval}, 100 * time.Millisecond, []int64{0, 1}},
		{&Config{Durability: Interval, SyncInterval: 7 * time.Millisecond}, 7 * time.Millisecond, []int64{0, 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := &owner{start: time.Now(), stop: make(chan struct{})}
			disk, slots := counted(vfs.NewMem(), vfs.OpSync, SlotFile)
			l, _, err := Open(disk, testDir, tc.cfg, OpenState{Hooks: o.hooks()})
			require.NoError(t, err)
			relaxed := AppendOptions{}
			_, err = l.Append(t.Context(), batchOf(t, "a"), relaxed)
			require.NoError(t, err)
			require.EqualValues(t, 1, l.High(), "visible at once, or by its own fsync")
			require.Equal(t, tc.durable[0], l.Durable())
			before := slots.Load()
			_, err = l.Append(t.Context(), batchOf(t, "b"), relaxed)
			require.NoError(t, err)
			require.Equal(t, []time.Duration{tc.asked}, o.asked, "asked once")
			time.Sleep(time.Minute)
			synctest.Wait()
			require.EqualValues(t, 2, l.Durable())
			require.Equal(t, before+1, slots.Load(), "the slot is synced once")
			require.Equal(t, []time.Duration{tc.asked}, o.ticks, "and the log wants nothing more")
			_, err = l.Append(t.Context(), batchOf(t, "c"), relaxed)
			require.NoError(t, err)
			require.Len(t, o.asked, 2, "it asks again")
			close(o.stop)
			require.NoError(t, l.Close())
		})
	}
}

func TestLevelOSWantsNoFsync(t *testing.T) {
	disk, syncs := counted(vfs.NewMem(), vfs.OpSync, ".log")
	asked := 0
	l, _, err := Open(disk, testDir, &Config{Durability: OS}, OpenState{Hooks: Hooks{Dirty: func(*Log, time.Duration) { asked++ }}})
	require.NoError(t, err)
	for range 3 {
		_, err = l.Append(t.Context(), batchOf(t, "a"), AppendOptions{})
		require.NoError(t, err)
	}
	require.Zero(t, asked)
	require.Zero(t, syncs.Load())
	require.EqualValues(t, 3, l.High())
	_, err = l.Append(t.Context(), batchOf(t, "b"), AppendOptions{Synced: true})
	require.NoError(t, err)
	require.EqualValues(t, 1, syncs.Load(), "the zero options ask for more")
	require.EqualValues(t, 4, l.Durable())
	require.NoError(t, l.Close())
}

func TestSyncBytes(t *testing.T) {
	size := int64(len(batchOf(t, "a")))
	disk, syncs := counted(vfs.NewMem(), vfs.OpSync, ".log")
	l := openLog(t, disk, &Config{Durability: Interval, SyncBytes: 3 * size})
	for i := 1; i <= 8; i++ {
		_, err := l.Append(t.Context(), batchOf(t, "a"), AppendOptions{})
		require.NoError(t, err)
		require.EqualValues(t, i/4, syncs.Load())
	}
}

func TestTickSnapshotsProducers(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk, &Config{})
	_, err := l.Append(t.Context(), sent{9, 0, 0, 2, 0, false}.batch(t), AppendOptions{Synced: true})
	require.NoError(t, err)
	l.writer.snapshotBytes = snapshotInterval
	_, err = l.Tick(t.Context())
	require.NoError(t, err)
	require.Contains(t, names(t, disk), snapshotName(2))
	require.Len(t, l.Producers(), 1)
	expired, left := l.ExpireProducers(time.Now())
	require.Equal(t, []int{0, 1}, []int{expired, left})
	expired, left = l.ExpireProducers(time.Now().Add(25 * time.Hour))
	require.Equal(t, []int{1, 0}, []int{expired, left})
	require.NoError(t, l.Close())
}

// A cancelled Tick asks to be called again.
func TestTickCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newGate()
		defer disk.open()
		l := openLog(t, disk, &Config{})
		_, err := l.Append(t.Context(), batchOf(t, "a"), AppendOptions{NoWait: true})
		require.NoError(t, err)
		go func() { _ = l.Commit(context.Background(), 1) }()
		synctest.Wait()
		_, err = l.Append(t.Context(), batchOf(t, "b"), AppendOptions{NoWait: true})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		again, err := l.Tick(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, again)
		disk.open()
		again, err = l.Tick(context.Background())
		require.NoError(t, err)
		require.Zero(t, again)
		require.NoError(t, l.Close())
	})
}
