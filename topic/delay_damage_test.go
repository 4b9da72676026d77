package topic

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// spoil changes the content of the batch that holds an offset, in the first segment of a partition.
func spoil(t testing.TB, disk vfs.FS, partition string, offset int64) {
	t.Helper()
	path := filepath.Join("data", partition, "00000000000000000000.log")
	data, err := vfs.ReadFile(disk, path, -1)
	require.NoError(t, err)
	at := 0
	for b, err := range record.Batches(data) {
		require.NoError(t, err)
		if b.LastOffset() >= offset {
			break
		}
		at += len(b)
	}
	f, err := disk.Open(path)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{data[at+70] ^ 0x40}, int64(at+70))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// listening opens an engine that notes the damage it is told of.
func listening(t testing.TB, disk vfs.FS, opts ...Option) (*Engine, *[]string) {
	t.Helper()
	told := new([]string)
	e, err := Open("data", append([]Option{On(disk), WithEvents(Events{Damage: func(f DamageFacts) {
		var damage *CorruptionError
		require.ErrorAs(t, f.Err, &damage)
		*told = append(*told, fmt.Sprintf("%s-%d [%d,%d)", f.Topic, f.Partition, damage.FirstOffset, damage.NextOffset))
	}})}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e, told
}

// What is damaged of the delayed topic is told once, with its offsets, and all the rest is delivered; found by an engine that
// opens it, or by one that has a few messages in memory and reads the next ones.
func TestDamageHoldsUpNoOtherMessage(t *testing.T) {
	for _, running := range []bool{false, true} {
		for _, bad := range []int64{0, 13, 19} {
			if running && bad == 0 {
				continue // in memory already
			}
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewMem()
				e, told := listening(t, disk, DelayedInMemory(4))
				tp := openTopic(t, e, "mails")
				var want []string
				for i := range int64(20) {
					later(t, tp, fmt.Sprint(i), 2*time.Minute+time.Duration(i)*time.Second)
					if i != bad {
						want = append(want, fmt.Sprint(i))
					}
				}
				synctest.Wait()
				if !running {
					require.NoError(t, e.Close())
				}
				spoil(t, disk, "__delayed-2", bad)
				if !running {
					e, told = listening(t, disk, DelayedInMemory(4))
					tp = openTopic(t, e, "mails")
				}
				assert.Equal(t, want, waiting(t, tp))
				_, err := tp.Cancel(t.Context(), Position{Topic: DelayedTopic, Partition: 2, Offset: bad})
				require.ErrorIs(t, err, ErrCorrupt)
				time.Sleep(time.Hour)
				synctest.Wait()
				assert.Equal(t, want, delivered(t, tp), "running %t, offset %d", running, bad)
				assert.Equal(t, []string{fmt.Sprintf("__delayed-2 [%d,%d)", bad, bad+1)}, *told)
			})
		}
	}
}

// Messages that were in memory already when their bytes went bad are dropped, and those behind them are delivered.
func TestMessageDamagedBeforeItsDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e, told := listening(t, disk)
		tp := openTopic(t, e, "mails")
		for _, v := range []string{"a", "b", "c"} {
			later(t, tp, v, time.Second)
		}
		synctest.Wait() // they are in memory
		spoil(t, disk, "__delayed-1", 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []string{"a", "c"}, delivered(t, tp))
		assert.Equal(t, []string{"__delayed-1 [1,2)"}, *told)
		assert.Equal(t, int64(1), e.Metrics().Delayed.Dropped)
	})
}

// The progress that cannot be read is told; an older one is used, and what it names as under way is looked for.
func TestDamagedProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		tp := openTopic(t, e, "mails")
		later(t, tp, "a", time.Second)
		later(t, tp, "b", time.Hour)
		time.Sleep(time.Minute)
		progress, err := e.Partition(DelayedTopic, progressPart)
		require.NoError(t, err)
		end, err := progress.End()
		require.NoError(t, err)
		require.Greater(t, end, int64(1))
		require.NoError(t, e.Close())
		spoil(t, disk, "__delayed-0", end-1)
		e, told := listening(t, disk)
		tp = openTopic(t, e, "mails")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		assert.Equal(t, []string{"a", "b"}, delivered(t, tp))
		assert.Equal(t, []string{fmt.Sprintf("__delayed-0 [%d,%d)", end-1, end)}, *told)
	})
}

// A damaged record of a recurring message stops none of the others; that message itself goes on from what its target holds.
func TestDamagedRecurringMessage(t *testing.T) {
	for bad := range int64(14) {
		synctest.Test(t, func(t *testing.T) {
			disk := vfs.NewMem()
			e := openOn(t, disk)
			a, b := openTopic(t, e, "a"), openTopic(t, e, "b")
			require.NoError(t, a.Recur(t.Context(), "a", say("a"), Every(time.Minute), CatchUp()))
			require.NoError(t, b.Recur(t.Context(), "b", say("b"), Every(time.Minute)))
			time.Sleep(6*time.Minute + time.Second)
			require.NoError(t, e.Close())
			spoil(t, disk, "__recurring-0", bad)
			e, told := listening(t, disk)
			a, b = openTopic(t, e, "a"), openTopic(t, e, "b")
			time.Sleep(4 * time.Minute)
			synctest.Wait()
			for _, tp := range []*Topic{a, b} {
				list := firings(t, tp)
				assert.Len(t, list, 10, "offset %d", bad)
				for i := 1; i < len(list); i++ {
					assert.Equal(t, time.Minute, list[i].Sub(list[i-1]))
				}
			}
			assert.Len(t, *told, 1)
		})
	}
}
