package group

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic"
)

// A member's loop looks at the partitions that something happened to, however many it has, and each gets its records in order.
func TestMemberLooksAtWhatChanged(t *testing.T) {
	const partitions, rounds, active = 1000, 40, 3
	loops := map[string]func(*Consumer, context.Context, func(*Batch)) error{
		"batches": func(c *Consumer, ctx context.Context, f func(*Batch)) error {
			for b, err := range c.Batches(ctx) {
				if err != nil {
					return err
				}
				f(b)
			}
			return ctx.Err()
		},
		"run": func(c *Consumer, ctx context.Context, f func(*Batch)) error {
			return c.Run(ctx, 1, func(_ context.Context, b *Batch) error { f(b); return nil })
		},
		"by key": func(c *Consumer, ctx context.Context, f func(*Batch)) error {
			return c.RunByKey(ctx, 1, func(_ context.Context, b *Batch) error { f(b); return nil })
		},
	}
	weigh := PartitionWeights(func(topic.TopicPartition) int { return 3 })
	for name, loop := range loops {
		for _, opts := range [][]JoinOption{{Topics("a")}, {Topics("a"), TopicPriority("a")}, {Topics("a"), weigh}} {
			synctest.Test(t, func(t *testing.T) {
				eng, err := topic.Open("", topic.InMemory())
				require.NoError(t, err)
				defer eng.Close()
				a, err := eng.Topic(t.Context(), "a", topic.Partitions(partitions), topic.NoSync())
				require.NoError(t, err)
				c, err := Join(t.Context(), eng, "g", opts...)
				require.NoError(t, err)
				ctx, stop := context.WithCancel(t.Context())
				next, ended := map[int32]int64{}, make(chan error)
				go func() {
					ended <- loop(c, ctx, func(b *Batch) {
						for _, r := range b.Records {
							assert.Equal(t, next[b.Partition], r.Offset)
							next[b.Partition]++
						}
						b.Mark()
					})
				}()
				synctest.Wait()
				require.Len(t, c.Assignment(), partitions)
				before := c.looked
				for i := range rounds {
					for k := range int32(active) {
						_, err := a.Append(t.Context(), topic.Record{Key: []byte{byte(k)}}, topic.AppendTo(k*333))
						require.NoError(t, err)
					}
					if i%2 == 0 {
						synctest.Wait()
					}
				}
				synctest.Wait()
				assert.LessOrEqual(t, c.looked-before, 8*rounds*active, name)
				before = c.looked
				for range rounds {
					require.NoError(t, c.Commit(ctx))
				}
				assert.LessOrEqual(t, c.looked-before, 2*active, "what was committed is not looked at again")
				stop()
				err = <-ended
				require.True(t, errors.Is(err, context.Canceled), "%v", err)
				require.Equal(t, map[int32]int64{0: rounds, 333: rounds, 666: rounds}, next)
				require.NoError(t, c.Close())
			})
		}
	}
}

// A queue looks at what changed, too: windows that became full, what is to be stored, and starts that rose.
func TestQueueLooksAtWhatChanged(t *testing.T) {
	const partitions = 300
	synctest.Test(t, func(t *testing.T) {
		eng, err := topic.Open("", topic.InMemory())
		require.NoError(t, err)
		defer eng.Close()
		a, err := eng.Topic(t.Context(), "a", topic.Partitions(partitions), topic.NoSync())
		require.NoError(t, err)
		q, err := OpenQueue(t.Context(), eng, "a")
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		got, ended := make(chan *Delivery), make(chan struct{})
		go func() {
			defer close(ended)
			for d, err := range q.Deliveries(ctx) {
				assert.NoError(t, err)
				got <- d
			}
		}()
		synctest.Wait()
		state := func() (touched, unstored, changed int) {
			q.mu.Lock()
			defer q.mu.Unlock()
			for m := q.news.Front(); m != nil; m = q.news.Next(m) {
				changed++
			}
			return len(q.touched), len(q.unstored), changed
		}
		touched, unstored, changed := state()
		require.Equal(t, []int{0, 0, 0}, []int{touched, unstored, changed}, "all rest")
		for i := range int32(20) {
			_, err := a.Append(t.Context(), topic.Record{}, topic.AppendTo(i*7))
			require.NoError(t, err)
			d := <-got
			require.Equal(t, i*7, d.Partition)
			touched, unstored, changed = state()
			require.LessOrEqual(t, max(touched, unstored, changed), 2)
			d.Ack()
			synctest.Wait()
		}
		part, err := a.Partition(0)
		require.NoError(t, err)
		_, err = part.DeleteRecords(t.Context(), -1)
		require.NoError(t, err)
		synctest.Wait()
		require.EqualValues(t, 1, q.parts[0].share.floor, "the sleeping loop was told")
		stop()
		<-ended
		require.NoError(t, q.Close())
		_, err = a.Append(t.Context(), topic.Record{}, topic.AppendTo(1))
		require.NoError(t, err)
		require.Nil(t, q.news.Front(), "a closed queue is told nothing")
	})
}

// A queue that ends while it takes in new partitions leaves no watch of them behind.
func TestQueueThatEndsTakesInNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng, err := topic.Open("", topic.InMemory())
		require.NoError(t, err)
		defer eng.Close()
		a, err := eng.Topic(t.Context(), "a")
		require.NoError(t, err)
		q, err := OpenQueue(t.Context(), eng, "a")
		require.NoError(t, err)
		require.NoError(t, eng.AlterTopic(t.Context(), "a", topic.Partitions(2)))
		require.True(t, q.finish(topic.ErrClosed)) // half of a Close
		require.ErrorIs(t, q.grow(t.Context()), topic.ErrClosed)
		require.NoError(t, q.quit())
		for n := range int32(2) {
			_, err = a.Append(t.Context(), topic.Record{}, topic.AppendTo(n))
			require.NoError(t, err)
		}
		for m := q.news.Front(); m != nil; m = q.news.Next(m) {
			require.Zero(t, m.Of.part.ID(), "told of a partition that it gave up")
		}
		require.Len(t, q.stalls(), 1)
	})
}

// Members and queues open the partitions that were ever used, and tell where they stand in all.
func TestUnusedPartitionsStayUnopened(t *testing.T) {
	const partitions = 200
	synctest.Test(t, func(t *testing.T) {
		eng, err := topic.Open("", topic.InMemory())
		require.NoError(t, err)
		defer eng.Close()
		a, err := eng.Topic(t.Context(), "a", topic.Partitions(partitions), topic.NoSync())
		require.NoError(t, err)
		put := func(n int32) {
			_, err := a.Append(t.Context(), topic.Record{}, topic.AppendTo(n))
			require.NoError(t, err)
		}
		opened := func() int64 { return a.Metrics().PartitionsOpened }
		put(3)
		c, err := Join(t.Context(), eng, "g", Topics("a"))
		require.NoError(t, err)
		q, err := OpenQueue(t.Context(), eng, "a")
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		got, ended := make(chan int32, 9), make(chan struct{}, 2)
		go func() {
			_ = c.Run(ctx, 1, func(_ context.Context, b *Batch) error { got <- b.Partition; return nil })
			ended <- struct{}{}
		}()
		go func() {
			_ = q.Run(ctx, 1, func(_ context.Context, d *Delivery) error { got <- d.Partition; return nil })
			ended <- struct{}{}
		}()
		for i, n := range []int32{3, 100} {
			if i > 0 {
				put(n)
			}
			require.Equal(t, n, <-got)
			require.Equal(t, n, <-got)
			synctest.Wait()
			require.EqualValues(t, i+1, opened())
		}
		lags := c.Lag()
		require.Len(t, lags, partitions)
		require.Zero(t, lags[0].Lag)
		require.Zero(t, lags[0].End)
		coord, err := On(eng)
		require.NoError(t, err)
		_, err = coord.Lag(t.Context(), "g")
		require.NoError(t, err)
		require.Zero(t, q.Metrics().Backlog)
		require.EqualValues(t, 2, opened())
		stop()
		<-ended
		<-ended
		require.NoError(t, errors.Join(c.Close(), q.Close()))
	})
}

// A partition that is an error at each look keeps none of the others from being served, whatever their ranks and weights.
func TestFailingPartitionDelaysNoOther(t *testing.T) {
	for name, order := range map[string]JoinOption{
		"none": Topics("a"), "one class": TopicPriority("a"),
		"higher": PartitionPriority(func(tp topic.TopicPartition) int { return -int(tp.Partition) }),
		"each":   PartitionWeights(func(topic.TopicPartition) int { return 2 }),
	} {
		synctest.Test(t, func(t *testing.T) {
			eng, err := topic.Open("", topic.InMemory())
			require.NoError(t, err)
			defer eng.Close()
			a, err := eng.Topic(t.Context(), "a", topic.Partitions(2))
			require.NoError(t, err)
			coord, err := On(eng)
			require.NoError(t, err)
			for n := range int32(2) {
				for range 3 {
					_, err := a.Append(t.Context(), topic.Record{}, topic.AppendTo(n))
					require.NoError(t, err)
				}
			}
			part, err := a.Partition(0)
			require.NoError(t, err)
			_, err = part.DeleteRecords(t.Context(), -1)
			require.NoError(t, err)
			require.NoError(t, coord.SetOffsets(t.Context(), "g", []PartitionOffset{
				{TopicPartition: topic.TopicPartition{Topic: "a"}, Offset: 1, LeaderEpoch: -1},
				{TopicPartition: topic.TopicPartition{Topic: "a", Partition: 1}, Offset: 0, LeaderEpoch: -1},
			}))
			c, err := Join(t.Context(), eng, "g", Topics("a"), order, ReadWith(topic.OnOutOfRange(topic.Fail), topic.MaxPollRecords(1)))
			require.NoError(t, err)
			got := 0
			for range 9 {
				for b, err := range c.Batches(t.Context()) {
					if err != nil {
						require.ErrorIs(t, err, topic.ErrOffsetOutOfRange, name)
						break
					}
					require.EqualValues(t, 1, b.Partition)
					got += len(b.Records)
				}
			}
			require.Equal(t, 3, got, name)
			require.NoError(t, c.Close())
		})
	}
}

// A pause does not outlast the partition's stay with its member: what comes back is read.
func TestPauseEndsWithTheAssignment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng, err := topic.Open("", topic.InMemory())
		require.NoError(t, err)
		defer eng.Close()
		a, err := eng.Topic(t.Context(), "a", topic.Partitions(2))
		require.NoError(t, err)
		got, over := make(chan int32, 9), make(chan error, 2)
		join := func() *Consumer {
			c, err := Join(t.Context(), eng, "g", Topics("a"))
			require.NoError(t, err)
			go func() {
				over <- c.Run(t.Context(), 1, func(_ context.Context, b *Batch) error { got <- b.Partition; return nil })
			}()
			synctest.Wait()
			return c
		}
		first := join()
		parts := first.Assignment()
		require.Len(t, parts, 2)
		require.NoError(t, first.Pause(parts...))
		second := join()
		moved := second.Assignment()
		require.Len(t, moved, 1)
		require.NoError(t, second.Close())
		require.NoError(t, <-over)
		synctest.Wait()
		require.Len(t, first.Assignment(), 2)
		for n := range int32(2) {
			_, err := a.Append(t.Context(), topic.Record{}, topic.AppendTo(n))
			require.NoError(t, err)
		}
		require.Equal(t, moved[0].Partition, <-got)
		synctest.Wait()
		require.Empty(t, got, "the one that stayed is paused still")
		require.NoError(t, first.Resume(parts...))
		require.Equal(t, 1-moved[0].Partition, <-got)
		require.NoError(t, first.Close())
		require.NoError(t, <-over)
	})
}
