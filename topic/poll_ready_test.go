package topic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func partsOf(name string, n int) []TopicPartition {
	list := make([]TopicPartition, n)
	for i := range list {
		list[i] = TopicPartition{Topic: name, Partition: int32(i)}
	}
	return list
}

// A Poll looks at the partitions that have something, however many are assigned, and opens none that was never used.
func TestPollLooksAtWhatIsReady(t *testing.T) {
	const assigned, active, rounds = 10_000, 3, 200
	for _, level := range []IsolationLevel{ReadUncommitted, ReadCommitted} {
		synctest.Test(t, func(t *testing.T) {
			eng := clientEngine(t)
			top := clientTopic(t, eng, "t", Partitions(assigned), quick())
			c := clientConsumer(t, eng, MaxWait(Forever), Isolation(level))
			require.NoError(t, c.Assign(partsOf("t", assigned)...))
			for i := range active {
				put(t, top, int32(i*3333), 0, 1, 1)
			}
			for got := 0; got < active; {
				recs, err := c.Poll(t.Context())
				require.NoError(t, err)
				got += len(recs)
			}
			for _, waits := range []bool{true, false} {
				before := c.f.Visits
				for i := range rounds {
					part := int32(i%active) * 3333
					if waits {
						go func() {
							synctest.Wait()
							put(t, top, part, 0, 1, 1)
						}()
					} else {
						put(t, top, part, 0, 1, 1)
					}
					recs, err := c.Poll(t.Context())
					require.NoError(t, err)
					require.Len(t, recs, 1)
					require.Equal(t, part, recs[0].Partition)
				}
				assert.LessOrEqual(t, c.f.Visits-before, assigned+3*rounds, "the first time all were looked at")
				if !waits {
					assert.LessOrEqual(t, c.f.Visits-before, 3*rounds)
				}
			}
			require.Len(t, eng.openPartitions(), active)
		})
	}
}

// t.Read looks at what is ready, too.
func TestReadLooksAtWhatIsReady(t *testing.T) {
	const partitions, used, rounds = 500, 5, 100
	synctest.Test(t, func(t *testing.T) {
		eng := clientEngine(t)
		top := clientTopic(t, eng, "t", Partitions(partitions), quick())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := top.reading(ctx, nil)
		require.NoError(t, err)
		got := make(chan Record)
		go func() {
			defer close(got)
			_ = r.records(ctx, func(rec *Record, _ error) bool { got <- *rec; return true })
		}()
		synctest.Wait()
		before := r.f.Visits
		require.LessOrEqual(t, before, partitions)
		for i := range rounds {
			put(t, top, int32(i%used)*99, 0, 1, 1)
			rec := <-got
			require.Equal(t, int32(i%used)*99, rec.Partition)
			synctest.Wait()
		}
		assert.LessOrEqual(t, r.f.Visits-before, 2*rounds+used, "a first use may be told before its record")
		cancel()
		_, more := <-got
		require.False(t, more)
		put(t, top, 0, 0, 1, 1)
		require.Nil(t, r.f.Front(), "the loop has left: nothing is told to it")
	})
}

// Partitions that were never used are opened by no Poll, are told of when they are used, from their first record on, and when they end.
func TestUnusedPartitionsAreNotOpenedToBeWatched(t *testing.T) {
	for _, reset := range []ResetPolicy{Earliest, Latest, Fail, ByDuration(time.Hour)} {
		synctest.Test(t, func(t *testing.T) {
			eng := clientEngine(t)
			top := clientTopic(t, eng, "t", Partitions(4), quick())
			c := clientConsumer(t, eng, MaxWait(Forever), OnOutOfRange(reset))
			require.NoError(t, c.Assign(partsOf("t", 4)...))
			go func() {
				synctest.Wait()
				assert.Empty(t, eng.openPartitions())
				_, _ = top.AppendBatch(t.Context(), []Record{{Value: []byte("a")}}, AppendTo(2))
			}()
			recs, err := c.Poll(t.Context())
			require.NoError(t, err)
			require.Len(t, recs, 1, "%v", reset)
			require.EqualValues(t, 2, recs[0].Partition)
			require.Len(t, eng.openPartitions(), 1)
			require.NoError(t, c.Assign(partsOf("t", 4)[:2]...))
			go func() {
				synctest.Wait()
				assert.NoError(t, eng.DeleteTopic(t.Context(), "t"))
			}()
			_, err = c.Poll(t.Context())
			require.ErrorIs(t, err, ErrNotFound)
			_, err = c.Poll(t.Context())
			require.ErrorIs(t, err, ErrNotFound, "it comes again")
			synctest.Wait() // the deletion
		})
	}
}

// An error of a partition comes again at each Poll that has nothing else to return, and others have their turn between.
func TestPollErrorsComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := clientEngine(t)
		gone, there := clientTopic(t, eng, "gone", quick()), clientTopic(t, eng, "there", quick())
		put(t, gone, 0, 0, 1, 1)
		c := clientConsumer(t, eng, MaxWait(Forever))
		require.NoError(t, c.AssignTopics("gone", "there"))
		_, err := c.Poll(t.Context())
		require.NoError(t, err)
		go func() {
			synctest.Wait()
			assert.NoError(t, eng.DeleteTopic(t.Context(), "gone"))
		}()
		for i := range 6 {
			_, err := c.Poll(t.Context())
			require.ErrorIs(t, err, ErrNotFound)
			put(t, there, 0, i, 1, 1)
			recs, err := c.Poll(t.Context())
			require.NoError(t, err)
			require.Len(t, recs, 1)
		}
		synctest.Wait() // the deletion
	})
}

// What ended is told nothing more: a consumer that was closed, while it waits or not, and partitions that were taken away.
func TestWatchesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := clientEngine(t)
		top := clientTopic(t, eng, "t", Partitions(2), quick())
		put(t, top, 0, 0, 1, 1)
		put(t, top, 1, 0, 1, 1)
		idle := func(waits bool) *Consumer {
			c := clientConsumer(t, eng, MaxWait(Forever), OnOutOfRange(Latest))
			require.NoError(t, c.Assign(partsOf("t", 2)...))
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _, _ = c.Poll(ctx) }()
			synctest.Wait()
			if !waits {
				cancel()
				synctest.Wait()
			}
			_ = cancel
			return c
		}
		waiting, resting, smaller := idle(true), idle(false), idle(false)
		require.NoError(t, waiting.Close())
		require.NoError(t, resting.Close())
		require.NoError(t, smaller.Assign(partsOf("t", 2)[1:]...))
		synctest.Wait()
		put(t, top, 0, 1, 1, 1)
		for _, c := range []*Consumer{waiting, resting, smaller} {
			require.Nil(t, c.f.Front())
		}
		put(t, top, 1, 1, 1, 1)
		require.NotNil(t, smaller.f.Front())
	})
}

// However appends, deletions, seeks, pauses and changes of the assignment meet a consumer, it ends up with all records that there are.
func TestPollMissesNothing(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			const partitions = 6
			eng := clientEngine(t)
			top := clientTopic(t, eng, "t", Partitions(partitions), quick())
			all := partsOf("t", partitions)
			level := IsolationLevel(rnd.IntN(2))
			c := clientConsumer(t, eng, MaxWait(time.Duration(1+rnd.IntN(50))*time.Millisecond), MaxPollRecords(1+rnd.IntN(5)), Isolation(level))
			require.NoError(t, c.Assign(all...))
			var wg sync.WaitGroup
			defer wg.Wait()
			for range 4 {
				rnd := rand.New(rand.NewPCG(rnd.Uint64(), 1))
				wg.Go(func() { appendAtRandom(t, top, rnd, partitions) })
			}
			seen := map[TopicPartition]int64{}
			var over atomic.Bool
			go func() {
				wg.Wait()
				over.Store(true)
			}()
			for !over.Load() {
				if rnd.IntN(8) == 0 { // there may always be something to read
					time.Sleep(5 * time.Millisecond)
				}
				meddle(t, c, rnd, all, seen)
				recs, err := pollSomehow(t, c, rnd)
				require.NoError(t, err)
				note(t, seen, recs)
			}
			require.NoError(t, c.Assign(all...))
			require.NoError(t, c.Resume())
			for _, tp := range all {
				end, err := partitionOf(t, top, tp.Partition).High()
				require.NoError(t, err)
				pos, err := c.Position(tp)
				require.NoError(t, err)
				for polls := 0; pos < end; polls++ {
					require.Less(t, polls, 2000, "seed %d: %v stands at %d of %d", seed, tp, pos, end)
					recs, err := c.Poll(t.Context())
					require.NoError(t, err)
					note(t, seen, recs)
					pos, err = c.Position(tp)
					require.NoError(t, err)
				}
			}
		})
	}
}

func appendAtRandom(t *testing.T, top *Topic, rnd *rand.Rand, partitions int) {
	for range 60 {
		time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
		part := partitionOf(t, top, int32(rnd.IntN(partitions)))
		if rnd.IntN(8) == 0 {
			_, err := part.DeleteRecords(t.Context(), -1)
			assert.NoError(t, err)
			continue
		}
		_, err := part.Append(t.Context(), make([]Record, 1+rnd.IntN(4))...)
		assert.NoError(t, err)
	}
}

// meddle does something to the consumer. What is sought back to is seen again.
func meddle(t *testing.T, c *Consumer, rnd *rand.Rand, all []TopicPartition, seen map[TopicPartition]int64) {
	tp := all[rnd.IntN(len(all))]
	var err error
	switch rnd.IntN(12) {
	case 0:
		err = c.Pause(tp)
	case 1, 2:
		err = c.Resume(tp)
	case 3:
		if back := seen[tp] - 2; back >= 0 {
			if err = c.Seek(tp, back); err == nil {
				seen[tp] = back
			}
		}
	case 4:
		err = c.Assign(all[:1+rnd.IntN(len(all))]...)
		for i, tp := range all {
			if _, known := c.named[tp]; !known {
				delete(seen, all[i])
			}
		}
	case 5:
		err = c.Assign(all...)
	case 6:
		if err = c.SeekToStart(tp); err == nil {
			delete(seen, tp)
		}
	}
	if !errors.Is(err, ErrInvalid) { // not assigned
		require.NoError(t, err)
	}
}

func pollSomehow(t *testing.T, c *Consumer, rnd *rand.Rand) ([]Record, error) {
	if rnd.IntN(4) > 0 {
		return c.Poll(t.Context())
	}
	list := c.Assignment()
	if rnd.IntN(2) == 0 {
		var err error
		list, err = c.Ready()
		require.NoError(t, err)
	}
	return c.PollFrom(list...)
}

// note sees that records come in order.
func note(t *testing.T, seen map[TopicPartition]int64, recs []Record) {
	for i := range recs {
		tp := TopicPartition{Topic: recs[i].Topic, Partition: recs[i].Partition}
		require.GreaterOrEqual(t, recs[i].Offset, seen[tp], fmt.Sprint(tp))
		seen[tp] = recs[i].Offset + 1
	}
}

// outOfRange gives a consumer of two partitions of which the first is an error at each look.
func outOfRange(t *testing.T) (*Topic, *Consumer, []TopicPartition) {
	eng := clientEngine(t)
	top := clientTopic(t, eng, "t", Partitions(2), quick())
	c := clientConsumer(t, eng, OnOutOfRange(Fail), MaxWait(0))
	parts := partsOf("t", 2)
	require.NoError(t, c.Assign(parts...))
	require.NoError(t, c.Seek(parts[0], 7))
	return top, c, parts
}

// A partition with an error is ready once, however often it was sought, resumed or read beside that, and behind those without one.
func TestFailedPartitionsAreListedOnce(t *testing.T) {
	top, c, parts := outOfRange(t)
	for range 2 { // then the other has been looked at, too
		_, err := c.Poll(t.Context())
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
	meddle := map[string]func() error{
		"seek": func() error { return c.Seek(parts[0], 7) },
		"resume": func() error {
			return errors.Join(c.Pause(parts[0]), c.Resume(parts[0]))
		},
		"poll from": func() error {
			_, err := c.PollFrom(parts[0])
			require.ErrorIs(t, err, ErrOffsetOutOfRange)
			return nil
		},
	}
	for name, f := range meddle {
		for range 5 {
			_, err := c.Poll(t.Context())
			require.ErrorIs(t, err, ErrOffsetOutOfRange, name)
			require.NoError(t, f(), name)
			list, err := c.Ready()
			require.NoError(t, err)
			require.Equal(t, parts[:1], list, name)
		}
	}
	put(t, top, 1, 0, 1, 1)
	require.NoError(t, c.Seek(parts[0], 0))
	_, err := c.Poll(t.Context())
	require.NoError(t, err)
	list, err := c.Ready()
	require.NoError(t, err)
	require.Empty(t, list, "what could be read is no failure any more")
}

// Callers that choose by Ready come to the others, too, when a partition is an error again and again.
func TestReadyHasFailedPartitionsLast(t *testing.T) {
	top, c, parts := outOfRange(t)
	for i := range 4 {
		put(t, top, 1, i, 1, 1)
		var got []Record
		for range 2 {
			list, err := c.Ready()
			require.NoError(t, err)
			recs, err := c.PollFrom(list...)
			if err != nil {
				require.ErrorIs(t, err, ErrOffsetOutOfRange)
			}
			got = append(got, recs...)
		}
		require.Len(t, got, 1, "round %d", i)
		require.Equal(t, parts[1].Partition, got[0].Partition)
	}
}

// A watch outlives the first use of its partition, which it does not bring about, and is told of the end.
func TestWatchFromBeforeTheFirstUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := clientEngine(t)
		top := clientTopic(t, eng, "t", quick())
		part := partitionOf(t, top, 0)
		var told, early, late int
		watch := func(n *int) (stop func()) {
			stop, err := part.Watch(func() { *n++ })
			require.NoError(t, err)
			return stop
		}
		news := func() bool {
			had := told
			told = 0
			return had > 0
		}
		stop, stopEarly, stopLate := watch(&told), watch(&early), watch(&late)
		stopEarly()
		stopEarly()
		require.Empty(t, eng.openPartitions())
		require.False(t, news())
		require.NoError(t, part.Warm(t.Context()))
		require.True(t, news(), "opened")
		put(t, top, 0, 0, 1, 1)
		require.True(t, news(), "appended")
		l, _, _ := part.finish(ErrNotFound) // half of a deletion
		stopLate()
		had := late
		l.Abandon()
		require.True(t, news(), "ended")
		require.Equal(t, had, late, "stop ends it also between the two")
		require.Zero(t, early)
		stop()
		_, err := part.Watch(func() {})
		require.ErrorIs(t, err, ErrNotFound)
		_, err = new(Partition).Watch(func() {})
		require.Error(t, err)
		require.NoError(t, eng.DeleteTopic(t.Context(), "t"))
	})
}

// One that waits for the first use is told of an end, too.
func TestWatchOfAnUnusedPartitionThatEnds(t *testing.T) {
	eng := clientEngine(t)
	top := clientTopic(t, eng, "t", quick())
	told := 0
	stop, err := partitionOf(t, top, 0).Watch(func() { told++ })
	require.NoError(t, err)
	require.NoError(t, eng.DeleteTopic(t.Context(), "t"))
	require.Equal(t, 1, told)
	stop()
}

// A partition that was never used is opened by none who only read it, or ask where it stands.
func TestReadersOpenNoUnusedPartition(t *testing.T) {
	const partitions, used = 300, 7
	for name, opts := range map[string][]ReadOption{
		"start": nil, "end": {FromEnd()}, "time": {FromTime(time.Now())}, "offset": {FromOffset(0)}, "until offset": {UntilOffset(1)},
		"until time": {FromStart(), UntilTime(time.Now().Add(time.Hour))}, "until end": {UntilEnd()}, "committed": {WithIsolation(ReadCommitted)},
	} {
		synctest.Test(t, func(t *testing.T) {
			eng := clientEngine(t)
			top := clientTopic(t, eng, "t", Partitions(partitions), quick())
			put(t, top, used, 0, 1, 1)
			got := 0
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan struct{})
			go func() {
				defer close(over)
				for _, err := range top.Read(ctx, opts...) {
					assert.NoError(t, err)
					got++
				}
			}()
			synctest.Wait()
			require.Len(t, eng.openPartitions(), 1, name)
			read := got
			put(t, top, used+1, 0, 1, 1)
			synctest.Wait()
			ended := name == "until end" || name == "until time"
			require.Equal(t, ended, got == read, name)
			cancel()
			<-over
		})
	}
	eng := clientEngine(t)
	top := clientTopic(t, eng, "t", quick())
	c := clientConsumer(t, eng)
	tp := TopicPartition{Topic: "t"}
	require.NoError(t, c.Assign(tp))
	part := partitionOf(t, top, 0)
	for name, ask := range map[string]func() (int64, error){
		"start": part.Start, "stable": part.Stable, "high": part.High, "end": part.End, "size": part.Size,
		"offsets":  func() (int64, error) { o, err := part.Offsets(); return o.End + o.Durable, err },
		"position": func() (int64, error) { return c.Position(tp) },
		"lag":      func() (int64, error) { return c.Lag(tp) },
		"to time":  func() (int64, error) { return 0, c.SeekToTime(time.Now(), tp) },
	} {
		n, err := ask()
		require.NoError(t, err, name)
		require.Zero(t, n, name)
		require.Empty(t, eng.openPartitions(), name)
		require.True(t, part.Opened(), "there is nothing to open")
	}
	for _, err := range top.Read(t.Context(), FromOffset(1), UntilEnd()) {
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
	require.NoError(t, eng.DeleteTopic(t.Context(), "t"))
	_, err := part.High()
	require.ErrorIs(t, err, ErrNotFound)
}

// What an append that has returned has written is there for a Poll that does not wait, with many who append, sync and roll at once.
func TestPollSeesWhatWasAppended(t *testing.T) {
	for _, level := range []IsolationLevel{ReadUncommitted, ReadCommitted} {
		for name, durability := range map[string]TopicOption{"sync": SegmentBytes(1000), "none": NoSync()} {
			eng := clientEngine(t)
			top := clientTopic(t, eng, "t", durability, Set("segment.index.bytes", "1024"))
			var wg sync.WaitGroup
			for range 8 {
				c := clientConsumer(t, eng, MaxWait(0), Isolation(level))
				require.NoError(t, c.AssignTopics("t"))
				wg.Go(func() {
					next := int64(0)
					for range 150 {
						pos, err := top.Append(t.Context(), Record{Value: make([]byte, 100)})
						assert.NoError(t, err)
						for {
							recs, err := c.Poll(t.Context())
							assert.NoError(t, err)
							if len(recs) == 0 {
								break
							}
							next = recs[len(recs)-1].Offset + 1
						}
						if next <= pos.Offset {
							t.Errorf("%s, %v: appended at %d, read up to %d", name, level, pos.Offset, next)
							return
						}
					}
				})
			}
			wg.Wait()
		}
	}
}

// What is taken away from a consumer leaves nothing with it: no watch, and no error to tell.
func TestPartitionsTakenAwayAreLetGo(t *testing.T) {
	top, c, parts := outOfRange(t)
	for range 2 {
		_, err := c.Poll(t.Context())
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
	require.Len(t, partitionOf(t, top, 1).waiting, 1)
	require.NoError(t, c.Assign())
	require.Empty(t, partitionOf(t, top, 1).waiting)
	require.NoError(t, c.Assign(parts[1]))
	for range 3 {
		recs, err := c.Poll(t.Context())
		require.NoError(t, err)
		require.Empty(t, recs)
	}
}
