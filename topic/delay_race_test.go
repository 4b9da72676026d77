package topic

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A message that is cancelled at the moment it is due is delivered or kept back, never both and never neither, and Cancel
// tells which.
func TestCancelOfMessagesThatAreBeingDelivered(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "mails", Partitions(3), quick())
	const workers, each = 8, 100
	var stopped sync.Map
	var n atomic.Int64
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 3))
			scheduled := map[string]Position{} // some are due when their turn to be cancelled comes
			for i := range each {
				v := fmt.Sprint(w, " ", i)
				pos, err := tp.Append(t.Context(), say(v), DeliverAfter(time.Duration(r.IntN(2000))*time.Microsecond))
				if !assert.NoError(t, err) {
					return
				}
				if pos.Topic != DelayedTopic {
					stopped.Store(v, false) // it was due already: an append as usual
					continue
				}
				scheduled[v] = pos
			}
			for v, pos := range scheduled {
				ok, err := tp.Cancel(t.Context(), pos)
				assert.NoError(t, err)
				stopped.Store(v, ok)
				if ok {
					n.Add(1)
				}
			}
		})
	}
	group.Wait()
	want := workers*each - int(n.Load())
	count := map[string]int{}
	if want > 0 {
		for rec, err := range tp.Read(t.Context()) {
			require.NoError(t, err)
			count[string(rec.Value)]++
			if want--; want == 0 {
				break
			}
		}
	}
	stopped.Range(func(v, kept any) bool {
		times := count[v.(string)]
		if kept.(bool) {
			return assert.Zero(t, times, "%v was told to be cancelled", v)
		}
		return assert.Equal(t, 1, times, "%v was told to be too late to cancel", v)
	})
	assert.Empty(t, waiting(t, tp))
	assert.Len(t, delivered(t, tp), workers*each-int(n.Load()))
}

// Partitions that a topic gets later change nothing for what waits, and get their own messages.
func TestDelayedMessagesOfATopicThatGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "mails")
		later(t, tp, "old", time.Minute)
		require.NoError(t, e.AlterTopic(t.Context(), "mails", Partitions(4)))
		_, err := tp.Append(t.Context(), say("new"), DeliverAfter(30*time.Second), AppendTo(3))
		require.NoError(t, err)
		time.Sleep(time.Hour)
		where := map[string]int32{}
		for rec, err := range tp.Read(t.Context(), UntilEnd()) {
			require.NoError(t, err)
			where[string(rec.Value)] = rec.Partition
		}
		assert.Equal(t, map[string]int32{"old": 0, "new": 3}, where)
	})
}

// An engine that only reads delivers nothing and changes nothing.
func TestReadOnlyEngineDeliversNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		tp := openTopic(t, e, "mails")
		pos := later(t, tp, "a", time.Minute)
		require.NoError(t, tp.Recur(t.Context(), "tick", say("tick"), Every(time.Minute)))
		require.NoError(t, e.Close())
		time.Sleep(time.Hour)
		ro := openOn(t, disk, ReadOnlyMode())
		tp, err := ro.Topic(t.Context(), "mails")
		require.NoError(t, err)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Empty(t, delivered(t, tp))
		_, err = tp.Append(t.Context(), say("b"), DeliverAfter(time.Minute))
		require.ErrorIs(t, err, ErrReadOnly)
		_, err = tp.Cancel(t.Context(), pos)
		require.ErrorIs(t, err, ErrReadOnly)
		require.ErrorIs(t, tp.Recur(t.Context(), "x", say("x"), Every(time.Minute)), ErrReadOnly)
		require.NoError(t, ro.Close())
		e = openOn(t, disk)
		tp = openTopic(t, e, "mails")
		synctest.Wait()
		assert.ElementsMatch(t, []string{"a", "tick"}, delivered(t, tp))
	})
}

// Close in the middle of deliveries, many times: what comes comes once, and nothing is missing in the end.
func TestCloseDuringDeliveries(t *testing.T) {
	disk := vfs.NewMem()
	const n = 5000
	e := openOn(t, disk)
	tp := openTopic(t, e, "mails", Partitions(2), quick())
	recs := make([]Record, n)
	for i := range recs {
		recs[i] = say(fmt.Sprint(i))
	}
	for i := 0; i < n; i += 50 {
		_, err := tp.AppendBatch(t.Context(), recs[i:i+50], DeliverAfter(time.Duration(20+i/100)*time.Millisecond))
		require.NoError(t, err)
	}
	for range 60 {
		require.NoError(t, e.Close())
		e = openOn(t, disk)
		tp = openTopic(t, e, "mails")
	}
	seen := map[string]bool{}
	for r, err := range tp.Read(t.Context(), FromStart()) { // waits for those that are still to come
		require.NoError(t, err)
		require.False(t, seen[string(r.Value)], "%s came twice", r.Value)
		if seen[string(r.Value)] = true; len(seen) == n {
			break
		}
	}
	assert.Len(t, delivered(t, tp), n)
}

// An engine whose delayed messages have all come holds no goroutine, no timer and few files once it is opened again; the
// levels are opened when they are next used.
func TestNothingPendingCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		tp := openTopic(t, e, "mails")
		for level := range 5 {
			later(t, tp, "x", firstLevel<<(levelBits*level)/2)
		}
		time.Sleep(72 * time.Hour)
		synctest.Wait()
		require.Len(t, delivered(t, tp), 5)
		require.NoError(t, e.Close())
		e = openOn(t, disk)
		synctest.Wait()
		for i := range int32(delayParts) {
			part, err := e.Partition(DelayedTopic, i)
			require.NoError(t, err)
			assert.Equal(t, i == progressPart, part.log.Load() != nil, "partition %d", i)
		}
		assert.Zero(t, e.Metrics().Goroutines)
		assert.LessOrEqual(t, disk.OpenFiles(), 6)
		tp = openTopic(t, e, "mails")
		later(t, tp, "y", time.Minute)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Len(t, delivered(t, tp), 6)
	})
}
