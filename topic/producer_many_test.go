package topic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/vfs"
)

// warm uses each partition once, so that what is counted afterwards is the producer's.
func warm(t *testing.T, top *Topic) {
	t.Helper()
	for n := range top.Partitions() {
		_, err := top.Append(t.Context(), Record{}, AppendTo(int32(n)))
		require.NoError(t, err)
	}
}

func to(partition int, text string) Record {
	return Record{Partition: int32(partition), Value: []byte(text)}
}

// manyProducer is a producer that goes by the records' own partitions, on a topic that has been used.
func manyProducer(t *testing.T, partitions int, opts ...ProducerOption) (*vfs.Fault, *Engine, *Topic, *Producer) {
	t.Helper()
	e, disk := faultyEngine(t)
	top := clientTopic(t, e, "t", Partitions(partitions))
	warm(t, top)
	return disk, e, top, clientProducer(t, e, append(opts, PartitionBy(Manual()))...)
}

// hang stops a kind of call under the partitions [from, to) until the channel is closed.
func hang(disk *vfs.Fault, op vfs.Op, from, to int) (release chan struct{}) {
	release = make(chan struct{})
	for n := from; n < to; n++ {
		disk.Add(vfs.Rule{Op: op, Path: fmt.Sprintf("data/t-%d/*.log", n), Count: vfs.Forever, Hook: func(vfs.Op, string) { <-release }})
	}
	return release
}

// Over many partitions a producer has few goroutines, and batches fill while their lane waits for one: a batch and a
// sync for all that came meanwhile.
func TestProducerOverManyPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions, rounds = 300, 20
		disk, e, top, p := manyProducer(t, partitions)
		var syncs atomic.Int64
		release := make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log", Count: vfs.Forever, Hook: func(vfs.Op, string) { syncs.Add(1); <-release }})
		before, batches := runtime.NumGoroutine(), e.Metrics().Total.BatchesIn
		var got atomic.Int64
		for i := range rounds {
			for n := range partitions {
				require.NoError(t, p.Send(t.Context(), "t", to(n, strconv.Itoa(i)), func(_ Position, err error) {
					assert.NoError(t, err)
					got.Add(1)
				}))
			}
			synctest.Wait()
			assert.LessOrEqual(t, runtime.NumGoroutine()-before, 2*(p.senders.mostActive+mostBlocked), "a committer and its sync each")
		}
		close(release)
		require.NoError(t, p.Flush(t.Context()))
		assert.EqualValues(t, partitions*rounds, got.Load())
		early := int64(p.senders.mostActive + mostBlocked)
		assert.LessOrEqual(t, e.Metrics().Total.BatchesIn-batches, partitions+2*early+early*DefaultMaxInFlight)
		assert.LessOrEqual(t, syncs.Load(), partitions+3*early)
		for n, list := range values(t, top) {
			for i, v := range list[1:] {
				require.Equal(t, strconv.Itoa(i), v, "partition %d", n)
			}
		}
		synctest.Wait()
		assert.LessOrEqual(t, runtime.NumGoroutine(), before, "idle again")
		time.Sleep(3 * stuckTick)
		p.senders.mu.Lock()
		assert.False(t, p.senders.ticking, "and no timer")
		p.senders.mu.Unlock()
		require.NoError(t, p.Close())
	})
}

// A disk that hangs under some partitions, callbacks that block, and partitions that wait for their next try hold up no
// other partition for long.
func TestProducerStuckPartitionsStopNoOthers(t *testing.T) {
	const partitions, bad = 70, 60
	for name, stick := range map[string]func(t *testing.T, disk *vfs.Fault, top *Topic, p *Producer) (free func()){
		"writes": func(_ *testing.T, disk *vfs.Fault, _ *Topic, _ *Producer) func() {
			release := hang(disk, vfs.OpWrite, 0, bad)
			return func() { close(release) }
		},
		"syncs": func(_ *testing.T, disk *vfs.Fault, _ *Topic, _ *Producer) func() {
			release := hang(disk, vfs.OpSync, 0, bad)
			return func() { close(release) }
		},
		"fences": func(t *testing.T, _ *vfs.Fault, top *Topic, _ *Producer) func() {
			for n := range bad {
				require.NoError(t, partitionOf(t, top, int32(n)).Fence(retriableFence{}))
			}
			return func() {
				for n := range bad {
					_, err := partitionOf(t, top, int32(n)).Unfence()
					require.NoError(t, err)
				}
			}
		},
		"callbacks": func(t *testing.T, _ *vfs.Fault, _ *Topic, p *Producer) func() {
			release := make(chan struct{})
			for n := range bad {
				require.NoError(t, p.Send(t.Context(), "t", to(n, "blocks"), func(Position, error) { <-release }))
			}
			return func() { close(release) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk, _, top, p := manyProducer(t, partitions)
				free := stick(t, disk, top, p)
				var got acks
				for n := range bad {
					require.NoError(t, p.Send(t.Context(), "t", to(n, "x"), got.cb))
				}
				start := time.Now()
				for n := bad; n < partitions; n++ {
					_, err := p.SendSync(t.Context(), "t", to(n, "x"))
					require.NoError(t, err)
				}
				assert.LessOrEqual(t, time.Since(start), 20*stuckTick)
				assert.Zero(t, got.count())
				free()
				disk.Clear()
				require.NoError(t, p.Flush(t.Context()))
				require.Equal(t, bad, got.count())
				for _, err := range got.errs {
					require.NoError(t, err)
				}
				require.NoError(t, p.Close())
			})
		})
	}
}

// A disk on which nothing returns: goroutines are bounded, every record is told when its time is over, and the producer
// goes on when the disk does.
func TestProducerOverManyPartitionsOnAHungDisk(t *testing.T) {
	for name, op := range map[string]vfs.Op{"writes": vfs.OpWrite, "syncs": vfs.OpSync} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const partitions, rounds = 400, 3
				disk, _, top, p := manyProducer(t, partitions, DeliveryTimeout(20*time.Second))
				release := make(chan struct{})
				disk.Add(vfs.Rule{Op: op, Path: "*.log", Count: vfs.Forever, Hook: func(vfs.Op, string) { <-release }})
				before, start := runtime.NumGoroutine(), time.Now()
				var got acks
				for range rounds {
					for n := range partitions {
						require.NoError(t, p.Send(t.Context(), "t", to(n, "lost"), got.cb))
					}
					time.Sleep(5 * time.Second)
					synctest.Wait()
					assert.LessOrEqual(t, runtime.NumGoroutine()-before, 2*(p.senders.mostActive+mostBlocked+mostStuck)+10)
				}
				require.NoError(t, p.Flush(t.Context()))
				assert.LessOrEqual(t, time.Since(start), 35*time.Second)
				require.Equal(t, rounds*partitions, got.count())
				for _, err := range got.errs {
					require.ErrorIs(t, err, ErrDeliveryTimeout)
				}
				close(release)
				disk.Clear()
				time.Sleep(time.Second)
				synctest.Wait()
				for n := range partitions {
					_, err := p.SendSync(t.Context(), "t", to(n, "good"))
					require.NoError(t, err)
				}
				assert.LessOrEqual(t, runtime.NumGoroutine(), before+3)
				for n, list := range values(t, top) {
					require.Equal(t, "good", list[len(list)-1], n)
				}
				require.NoError(t, p.Close())
				assert.Zero(t, p.memory.used())
			})
		})
	}
}

// A producer whose disk hangs under more partitions than there are goroutines ends when its context does.
func TestShutdownOverManyPartitionsOnAHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 300
		disk, _, _, p := manyProducer(t, partitions)
		release := hang(disk, vfs.OpWrite, 0, partitions)
		var got acks
		for n := range partitions {
			require.NoError(t, p.Send(t.Context(), "t", to(n, "x"), got.cb))
		}
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
		defer stop()
		start := time.Now()
		err := p.Shutdown(ctx)
		assert.LessOrEqual(t, time.Since(start), 3*time.Second+2*lastGrace)
		lost := undelivered(t, err)
		assert.EqualValues(t, partitions, lost.Records)
		assert.LessOrEqual(t, lost.Uncertain, int64(p.senders.mostActive+mostBlocked+mostStuck), "of the others it is known that they are not there")
		assert.Equal(t, partitions, got.count())
		close(release)
		disk.Clear()
	})
}

// The buffer memory bounds what records need, not how many lanes have one: a full batch for each would be 128 of them.
func TestProducerMemoryIsSharedByManyPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 1000
		disk, _, _, p := manyProducer(t, partitions, BufferMemory(2<<20), MaxBlock(0))
		release := hang(disk, vfs.OpWrite, 0, partitions)
		for n := range partitions {
			require.NoError(t, p.Send(t.Context(), "t", Record{Partition: int32(n), Value: make([]byte, 100)}, nil))
		}
		assert.LessOrEqual(t, p.memory.used(), int64(2<<20))
		var err error
		sent := 0
		for ; err == nil; sent++ {
			err = p.Send(t.Context(), "t", Record{Partition: int32(sent % partitions), Value: make([]byte, 100)}, nil)
		}
		require.ErrorIs(t, err, ErrBufferFull)
		assert.GreaterOrEqual(t, sent, 4*partitions, "batches grow while there is memory")
		assert.LessOrEqual(t, p.memory.used(), int64(2<<20))
		close(release)
		disk.Clear()
		require.NoError(t, p.Flush(t.Context()))
		assert.Zero(t, p.memory.used())
		assert.LessOrEqual(t, p.buffers.kept, 2<<18)
		require.NoError(t, p.Close())
	})
}

// While a Send waits for memory no batch lingers, also one that is opened meanwhile.
func TestProducerWaitingForMemoryEndsLaterLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 50
		_, e, _, p := manyProducer(t, partitions, BufferMemory(8<<10), BatchSize(1<<10), Linger(time.Hour), DeliveryTimeout(2*time.Hour))
		start, batches := time.Now(), e.Metrics().Total.BatchesIn
		for i := range 20 * partitions {
			require.NoError(t, p.Send(t.Context(), "t", to(i%partitions, "x"), nil))
		}
		assert.Equal(t, start, time.Now())
		assert.Positive(t, e.Metrics().Total.BatchesIn-batches)
		require.NoError(t, p.Close())
	})
}

// A batch that waits for its next try lets those of other lanes pass, and its own lane keeps its order.
func TestProducerRetriesInOrderOverManyPartitions(t *testing.T) {
	for _, inFlight := range []int{1, 5} {
		synctest.Test(t, func(t *testing.T) { retryInOrder(t, inFlight) })
	}
}

func retryInOrder(t *testing.T, inFlight int) {
	const partitions, each = 100, 30
	_, _, top, p := manyProducer(t, partitions, BatchSize(120), MaxInFlight(inFlight))
	for n := range partitions / 2 {
		require.NoError(t, partitionOf(t, top, int32(n)).Fence(retriableFence{}))
	}
	time.AfterFunc(3*time.Second, func() {
		for n := range partitions / 2 {
			_, _ = partitionOf(t, top, int32(n)).Unfence()
		}
	})
	for i := range each {
		for n := range partitions {
			require.NoError(t, p.Send(t.Context(), "t", to(n, strconv.Itoa(i)), nil))
		}
	}
	require.NoError(t, p.Flush(t.Context()))
	for n, list := range values(t, top) {
		require.Len(t, list, each+1)
		for i, v := range list[1:] {
			require.Equal(t, strconv.Itoa(i), v, "partition %d", n)
		}
	}
	require.NoError(t, p.Close())
}

// Lanes that always have more to send let the others have their turns, also those that may have any number of batches in flight.
func TestProducerHotPartitionsStarveNoOthers(t *testing.T) {
	for name, opts := range map[string][]ProducerOption{
		"one by one": {BatchSize(1)}, "batches": nil, "many in flight": {BatchSize(1), Idempotent(false), MaxInFlight(1 << 30)},
	} {
		t.Run(name, func(t *testing.T) {
			const hot, most = 12, 3_000_000
			_, e, top, p := manyProducer(t, hot+20, opts...)
			require.NoError(t, e.AlterTopic(t.Context(), "t", NoSync()))
			var sent atomic.Int64
			var over atomic.Bool
			for n := range hot {
				var again func(Position, error)
				again = func(Position, error) {
					if !over.Load() && sent.Add(1) < most {
						if err := p.Send(context.Background(), "t", to(n, "hot"), again); err != ErrClosed {
							assert.NoError(t, err)
						}
					}
				}
				for range 10 {
					again(Position{}, nil)
				}
			}
			for n := hot; n < top.Partitions(); n++ {
				_, err := p.SendSync(t.Context(), "t", to(n, "cold"))
				require.NoError(t, err)
			}
			assert.Less(t, sent.Load(), int64(most))
			over.Store(true)
			require.NoError(t, p.Close())
		})
	}
}

// The bytes of a batch that was given up while the disk had it are no other batch's until the disk returns.
func TestProducerKeepsTheBufferOfAHungWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, _, top, p := manyProducer(t, 2, DeliveryTimeout(2*time.Second))
		release := hang(disk, vfs.OpWrite, 0, 1)
		var got acks
		require.NoError(t, p.Send(t.Context(), "t", to(0, "held"), got.cb))
		require.NoError(t, p.Flush(t.Context()))
		require.ErrorIs(t, got.errs[0], ErrUncertain)
		for i := range 100 {
			_, err := p.SendSync(t.Context(), "t", to(1, strconv.Itoa(i)))
			require.NoError(t, err)
		}
		close(release)
		disk.Clear()
		synctest.Wait()
		_, err := p.SendSync(t.Context(), "t", to(0, "next"))
		require.NoError(t, err)
		assert.Equal(t, []string{"", "held", "next"}, values(t, top)[0])
		require.NoError(t, p.Close())
	})
}

// With many partitions the next one for records without a key is drawn among some, and any may come.
func TestPickPartitionOfMany(t *testing.T) {
	const n = 1000
	seen, asked := map[int32]bool{}, 0
	for range 20_000 {
		seen[pickPartition(n, func(i int) int {
			asked++
			if i == 7 {
				return 1
			}
			return 0
		})] = true
	}
	assert.Len(t, seen, n)
	assert.LessOrEqual(t, asked, 20_000*2*mostCandidates)
}

func TestBufferPool(t *testing.T) {
	p := newBufferPool(5000, 6000)
	for n, want := range map[int]int{1: 1024, 1024: 1024, 1025: 2048, 4097: 5000, 5000: 5000, 5001: 5001} {
		assert.Equal(t, want, p.round(n), n)
	}
	b := p.take(1024)
	assert.GreaterOrEqual(t, cap(b), 1024)
	p.give(append(b, "x"...))
	assert.Equal(t, 1024, p.kept)
	again := p.take(1024)
	assert.Empty(t, again)
	assert.Same(t, &b[:1][0], &again[:1][0], "the same again")
	p.give(again)
	p.give(make([]byte, 0, 3000))
	p.give(p.take(5001))
	p.give(nil)
	assert.Equal(t, 1024, p.kept, "of no size")
	for range 6 {
		p.give(make([]byte, 0, 1024+bufferSlack))
	}
	assert.Equal(t, 5*1024, p.kept, "no more than may be kept")
	large := p.take(5000)
	p.give(large)
	assert.Equal(t, 5000, p.kept, "others go for it")
	assert.Same(t, &large[:1][0], &p.take(5000)[:1][0])
	assert.Zero(t, p.kept)
	assert.Equal(t, 100, newBufferPool(100, 0).round(1))
}

// A batch that was opened before the lane's limit was halved grows within what it is charged with.
func TestBatchOlderThanTheLimitIsCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, _, p := manyProducer(t, 1, Linger(time.Hour), DeliveryTimeout(2*time.Hour))
		require.NoError(t, p.Send(t.Context(), "t", to(0, "x"), nil))
		l := p.everyLane()[0]
		l.mu.Lock()
		l.limit = 512
		l.mu.Unlock()
		for range 100 {
			require.NoError(t, p.Send(t.Context(), "t", Record{Value: make([]byte, 100)}, nil))
			l.mu.Lock()
			assert.LessOrEqual(t, int64(l.open.builder.Buffered()), l.open.cost)
			l.mu.Unlock()
		}
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
	})
}

// Many batches that the log finds too large make the next ones half as large as they are, not smaller and smaller.
func TestSplitsOfManyBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, e, top, p := manyProducer(t, 1, RetryBackoff(time.Second, time.Second))
		require.NoError(t, partitionOf(t, top, 0).Fence(retriableFence{}))
		for i := range 1000 {
			require.NoError(t, p.Send(t.Context(), "t", to(0, fmt.Sprintf("%0100d", i)), nil))
		}
		require.NoError(t, e.AlterTopic(t.Context(), "t", MaxMessageBytes(9000)))
		_, err := partitionOf(t, top, 0).Unfence()
		require.NoError(t, err)
		require.NoError(t, p.Flush(t.Context()))
		l := p.everyLane()[0]
		l.mu.Lock()
		assert.Greater(t, l.limit, 4500)
		l.mu.Unlock()
		for i, v := range values(t, top)[0][1:] {
			require.Equal(t, fmt.Sprintf("%0100d", i), v)
		}
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
		disk.Clear()
	})
}

// Batches kept for later hold no more memory of their own than buffers may.
func TestSpareBatchesHoldLittle(t *testing.T) {
	for name, opts := range map[string][]ProducerOption{"compressed": {Compress(compress.LZ4)}, "callbacks": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const partitions = 200
				disk, _, _, p := manyProducer(t, partitions, append(opts, BufferMemory(1<<20), BatchSize(4096))...)
				release := hang(disk, vfs.OpSync, 0, partitions)
				for i := range 150 * partitions {
					if err := p.Send(t.Context(), "t", to(i%partitions, ""), nil); err != nil {
						break
					}
				}
				close(release)
				disk.Clear()
				require.NoError(t, p.Flush(t.Context()))
				heavy := 0
				p.mu.Lock()
				for _, b := range p.spare {
					if name == "compressed" || cap(b.calls) > smallCalls {
						heavy++
					}
				}
				p.mu.Unlock()
				assert.LessOrEqual(t, heavy, 1<<18/4096+1)
				require.NoError(t, p.Close())
			})
		})
	}
}

// A batch that is known to be stored is told so, although its time ends while it waits for a goroutine.
func TestOverdueBatchThatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, _, p := manyProducer(t, 1, Acks(None), DeliveryTimeout(time.Minute))
		_, err := p.SendSync(t.Context(), "t", to(0, "x"))
		require.NoError(t, err)
		var got acks
		l, stored := p.everyLane()[0], &batch{born: time.Now().Add(-time.Hour), calls: []func(Position, error){got.cb}}
		l.mu.Lock()
		l.accepted++
		l.flight, l.completing, l.queued = []*batch{stored}, true, true
		l.mu.Unlock()
		l.overdue(false)
		synctest.Wait()
		assert.Equal(t, []error{nil}, got.errs)
		require.NoError(t, p.Close())
	})
}

func TestFifo(t *testing.T) {
	var q fifo[int]
	var model []int
	next := 0
	for range 20_000 {
		switch n := rand.IntN(4); n {
		case 0, 1:
			q.push(next)
			model = append(model, next)
			next++
		case 2:
			v := q.pop()
			if len(model) == 0 {
				require.Zero(t, v)
				break
			}
			require.Equal(t, model[0], v)
			model = model[1:]
		case 3:
			k := min(rand.IntN(3), len(model))
			front := slices.Clone(model[:k])
			q.drop(k)
			q.putBack(front...)
			q.putBack(-next)
			model = slices.Insert(slices.Clone(model), 0, -next)
		}
		require.Equal(t, len(model), q.len())
		require.Equal(t, len(model), len(q.all()))
		if len(model) > 0 {
			require.Equal(t, model, q.all())
		}
		for _, v := range q.list[:q.head] {
			require.Zero(t, v, "what is gone is let go")
		}
		if len(model) > 50 {
			q.drop(q.len())
			model = nil
		}
	}
}

// A long queue costs what each of its batches costs: nothing is moved for one that is taken.
func TestLaneWithALongQueue(t *testing.T) {
	l := &lane{p: &Producer{cfg: &producerConfig{maxInFlight: 1, deliveryTimeout: time.Hour}}, route: &route{name: "t"}}
	l.p.late = newSenderPool(l.p)
	const batches = 1 << 19
	start := time.Now()
	for range batches {
		l.ready.push(&batch{})
	}
	for range batches / 2 {
		nextOf(l)
	}
	l.hands, l.trying = &batch{}, true
	l.replaceLocked(l.dueLocked(true), true)
	assert.Zero(t, l.ready.len())
	assert.Len(t, l.flight, batches/2+1)
	assert.Less(t, time.Since(start), 20*time.Second, "minutes, were it the square")
}
