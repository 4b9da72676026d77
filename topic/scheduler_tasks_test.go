package topic

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// taskOf is a task that calls f.
func taskOf(long bool, f func(ctx context.Context, now time.Time) time.Duration) *task {
	return &task{kind: &taskKind{long: long, do: func(ctx context.Context, _ *log.Log, now time.Time) time.Duration { return f(ctx, now) }}}
}

// listing is a task and when it is due.
type listing struct {
	of *task
	at time.Duration
}

// listed is the scheduler's list, its head first.
func listed(e *Engine) (list []listing) {
	e.scheduler.mu.Lock()
	defer e.scheduler.mu.Unlock()
	for _, c := range e.scheduler.due.All() {
		list = append(list, listing{c, c.at})
	}
	return list
}

// What takes long holds nothing up, and is asked to give up when the engine closes.
func TestLongTaskHoldsNothingUp(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		ended := make(chan error, 1)
		scrub := taskOf(true, func(ctx context.Context, _ time.Time) time.Duration {
			<-ctx.Done()
			ended <- ctx.Err()
			return 0
		})
		e.scheduler.arm(scrub, 0)
		synctest.Wait()
		assert.Equal(t, 1, e.goroutines.size(), "at work")
		p := partitionOf(t, openTopic(t, e, "orders", SyncEvery(50*time.Millisecond)), 0)
		_, err := p.Append(t.Context(), Record{Value: []byte("v")})
		require.NoError(t, err)
		time.Sleep(51 * time.Millisecond)
		synctest.Wait()
		assert.EqualValues(t, 1, durableOf(t, p))
		require.NoError(t, e.Close())
		assert.ErrorIs(t, <-ended, context.Canceled)
	})
}

func TestTasksComeInTime(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		began := time.Now()
		var seen []string
		note := func(name string, again time.Duration) *task {
			return taskOf(false, func(context.Context, time.Time) time.Duration {
				seen = append(seen, name+" "+time.Since(began).String())
				return again
			})
		}
		late, early, often := note("late", 0), note("early", 0), note("often", time.Minute)
		e.scheduler.arm(late, time.Hour)
		e.scheduler.arm(late, 150*time.Second) // moved up
		e.scheduler.arm(late, 3*time.Hour)     // not down
		e.scheduler.arm(early, time.Second)
		e.scheduler.arm(often, time.Minute)
		time.Sleep(200 * time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"early 1s", "often 1m0s", "often 2m0s", "late 2m30s", "often 3m0s"}, seen)
		assert.Zero(t, e.goroutines.size())
	})
}

// A task that is asked for while it is being done comes again, and never twice at once.
func TestTaskAskedForWhileBusy(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		running, rounds := 0, 0
		var c *task
		c = taskOf(true, func(context.Context, time.Time) time.Duration {
			running++
			rounds++
			assert.Equal(t, 1, running)
			if rounds < 3 {
				e.scheduler.arm(c, 0)
			}
			time.Sleep(time.Second)
			running--
			return 0
		})
		e.scheduler.arm(c, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, 3, rounds)
		assert.Zero(t, e.goroutines.size())
	})
}

// The soonest of the times for which it was asked meanwhile counts.
func TestTaskAskedForSoonerWhileBusy(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		var began []time.Time
		var c *task
		c = taskOf(true, func(context.Context, time.Time) time.Duration {
			if began = append(began, time.Now()); len(began) == 1 {
				e.scheduler.arm(c, time.Hour)
				e.scheduler.arm(c, time.Minute)
				e.scheduler.arm(c, time.Hour)
			}
			return 0
		})
		e.scheduler.arm(c, 0)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		require.Len(t, began, 2)
		assert.Equal(t, time.Minute, began[1].Sub(began[0]))
	})
}

func TestTickDoesLongTasks(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		var at []time.Time
		c := taskOf(true, func(_ context.Context, now time.Time) time.Duration {
			at = append(at, now)
			return time.Hour
		})
		e.scheduler.arm(c, time.Hour)
		require.NoError(t, e.Tick(t.Context(), time.Now()))
		assert.Empty(t, at)
		soon := time.Now().Add(time.Hour)
		require.NoError(t, e.Tick(t.Context(), soon))
		require.NoError(t, e.Tick(t.Context(), soon))
		assert.Equal(t, []time.Time{soon}, at)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, e.Tick(ended, soon.Add(time.Hour)), context.Canceled)
	})
}

// The files of removed segments go when their delay is over, without anybody asking.
func TestRemovedFilesGo(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, disk *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "orders", SegmentBytes(200), Set("file.delete.delay.ms", "20000")), 0)
		for range 10 {
			_, err := p.Append(t.Context(), Record{Value: []byte("some value")})
			require.NoError(t, err)
		}
		has := func(name string) bool {
			_, err := disk.Stat("data/orders-0/" + name)
			return err == nil
		}
		_, err := p.DeleteRecords(t.Context(), 6)
		require.NoError(t, err)
		time.Sleep(19 * time.Second)
		require.True(t, has("00000000000000000000.log.deleted"))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.False(t, has("00000000000000000000.log.deleted"))

		require.NoError(t, e.AlterTopic(t.Context(), "orders", Set("file.delete.delay.ms", "0")))
		_, err = p.DeleteRecords(t.Context(), -1)
		require.NoError(t, err)
		names, err := disk.List("data/orders-0")
		require.NoError(t, err)
		for _, name := range names {
			assert.NotContains(t, name, ".deleted")
		}
	})
}
