package topic

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// A goroutine that a callback ends while others wait for one is replaced at once.
func TestPoolReplacesGoroutinesThatCallbacksEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 50
		_, e, _, p := manyProducer(t, partitions)
		require.NoError(t, e.AlterTopic(t.Context(), "t", NoSync()))
		p.senders.mostActive = 1 // there is no other that would hire one
		start := time.Now()
		var told atomic.Int64
		for n := range partitions {
			require.NoError(t, p.Send(t.Context(), "t", to(n, "x"), func(Position, error) { told.Add(1); runtime.Goexit() }))
		}
		require.NoError(t, p.Flush(t.Context()))
		assert.EqualValues(t, partitions, told.Load())
		assert.Equal(t, start, time.Now(), "without waiting for the clock that finds who is stuck")
		require.NoError(t, p.Close())
	})
}

// When many goroutines come back at once, from callbacks that blocked or from syncs, the pool soon has no more at work than
// it should.
func TestPoolLetsGoroutinesThatComeBackGo(t *testing.T) {
	for name, syncs := range map[string]bool{"callbacks": false, "syncs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { comeBack(t, syncs) })
		})
	}
}

func comeBack(t *testing.T, syncs bool) {
	const partitions, held = 60, 25
	disk, _, _, p := manyProducer(t, partitions, BatchSize(1))
	release := make(chan struct{})
	wait := func(Position, error) { <-release }
	if syncs {
		release, wait = hang(disk, vfs.OpSync, 0, held), nil
	}
	for n := range held {
		require.NoError(t, p.Send(t.Context(), "t", to(n, "held"), wait))
	}
	time.Sleep(50 * stuckTick)
	synctest.Wait()
	close(release)
	disk.Clear()
	var writing, most atomic.Int64
	disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Hook: func(vfs.Op, string) {
		now := writing.Add(1)
		for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
		}
		time.Sleep(time.Millisecond)
		writing.Add(-1)
	}})
	for i := range 10 * partitions {
		require.NoError(t, p.Send(t.Context(), "t", to(i%partitions, "x"), nil))
	}
	time.Sleep(10 * time.Millisecond)
	most.Store(0)
	require.NoError(t, p.Flush(t.Context()))
	assert.LessOrEqual(t, most.Load(), int64(p.senders.mostActive))
	assert.Positive(t, most.Load())
	disk.Clear()
	require.NoError(t, p.Close())
}

// Retries without a pause leave other partitions their turns.
func TestProducerRetriesWithoutPauseStarveNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions, bad = 30, 20
		_, _, top, p := manyProducer(t, partitions, RetryBackoff(0, 0), Retries(100_000))
		for n := range bad {
			require.NoError(t, partitionOf(t, top, int32(n)).Fence(retriableFence{}))
		}
		var got acks
		for n := range bad {
			require.NoError(t, p.Send(t.Context(), "t", to(n, "x"), got.cb))
		}
		for n := bad; n < partitions; n++ {
			_, err := p.SendSync(t.Context(), "t", to(n, "x"))
			require.NoError(t, err)
		}
		assert.Zero(t, got.count(), "none has used up its retries")
		for n := range bad {
			_, err := partitionOf(t, top, int32(n)).Unfence()
			require.NoError(t, err)
		}
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, bad, got.count())
		for _, err := range got.errs {
			require.NoError(t, err)
		}
		require.NoError(t, p.Close())
	})
}

// A sender that goes on while what it has put in flight has no completer is looked after: should it be stuck, the clock finds it.
func TestSenderThatGoesOnIsLookedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, _, p := manyProducer(t, 1, Acks(None))
		require.NoError(t, p.Send(t.Context(), "t", to(0, "x"), nil))
		require.NoError(t, p.Flush(t.Context()))
		time.Sleep(3 * stuckTick)
		l, w := p.everyLane()[0], &worker{pool: p.senders}
		w.lane.Store(l)
		var got acks
		p.senders.mu.Lock()
		p.senders.workers[w] = struct{}{}
		p.senders.count[workerActive]++
		p.senders.mu.Unlock()
		l.mu.Lock()
		l.accepted++
		l.flight = []*batch{{calls: []func(Position, error){got.cb}}}
		l.ready.push(&batch{})
		l.mu.Unlock()
		assert.NotNil(t, nextOf(l))
		p.senders.mu.Lock()
		assert.True(t, p.senders.ticking)
		p.senders.mu.Unlock()
		time.Sleep(5 * stuckTick)
		synctest.Wait()
		assert.Equal(t, []error{nil}, got.errs, "told although the sender is stuck")
		w.leave()
		l.mu.Lock()
		l.hands, l.sending = nil, false
		l.mu.Unlock()
		require.NoError(t, p.Close())
	})
}

// An event function that ends a sender's goroutine before the append takes no batch with it.
func TestEventThatEndsASendersGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Open("", InMemory(), WithEvents(Events{PartitionOpened: func(f OpenedFacts) {
			if f.Topic == "t" {
				runtime.Goexit()
			}
		}}))
		require.NoError(t, err)
		defer e.Close()
		clientTopic(t, e, "t")
		p := clientProducer(t, e)
		var got acks
		for i := range 3 {
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), got.cb))
		}
		synctest.Wait()
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, 3, got.count())
		for i, err := range got.errs {
			require.NoError(t, err)
			assert.EqualValues(t, i, got.pos[i].Offset)
		}
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
	})
}
