package group_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// served gives what a loop hands out, one letter a batch, the topic's first, until so many were.
func served(t *testing.T, c *group.Consumer, n int, between func(i int)) string {
	t.Helper()
	var got strings.Builder
	for b, err := range c.Batches(t.Context()) {
		require.NoError(t, err)
		got.WriteByte(b.Topic[0])
		b.Mark()
		if between != nil {
			between(got.Len())
		}
		if got.Len() == n {
			break
		}
	}
	return got.String()
}

func TestHigherPriorityIsServedWheneverItHasRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := open(t, vfs.NewMem())
		fill(t, eng, "low", 2, 5)
		fill(t, eng, "mid", 1, 2)
		fill(t, eng, "high", 1, 2)
		c, err := group.Join(t.Context(), eng, "g", group.Topics("low", "mid", "high"), group.TopicPriority("high", "mid"),
			group.ReadWith(topic.MaxPollRecords(1)))
		require.NoError(t, err)
		got := served(t, c, 18, func(i int) {
			switch i {
			case 6:
				fill(t, eng, "mid", 1, 1)
			case 8: // beside each other
				fill(t, eng, "mid", 1, 2)
				fill(t, eng, "high", 1, 1)
			}
		})
		require.Equal(t, "hhmmllmlhmmlllllll", got)
		synctest.Wait()
		ended := make(chan string)
		go func() { ended <- served(t, c, 1, nil) }()
		synctest.Wait() // it sleeps, and wakes up for each of them
		fill(t, eng, "low", 2, 1)
		require.Equal(t, "l", <-ended)
		require.NoError(t, c.Close())
	})
}

func TestPartitionsHavePrioritiesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 4, 3)
		c := join(t, eng, group.ReadWith(topic.MaxPollRecords(1)), group.PartitionPriority(func(tp topic.TopicPartition) int {
			if tp.Partition == 3 {
				panic("counts as 0")
			}
			return -int(tp.Partition % 2)
		}))
		var got []int32
		for b, err := range c.Batches(t.Context()) {
			require.NoError(t, err)
			if got = append(got, b.Partition); len(got) == 12 {
				break
			}
		}
		for i, p := range got[:9] {
			require.NotEqualValues(t, 1, p, "batch %d of %v", i, got)
		}
		require.Equal(t, []int32{0, 2, 3, 0, 2, 3, 0, 2, 3, 1, 1, 1}, got, "equals take turns")
		require.NoError(t, c.Close())
	})
}

func TestWeightsShareRecordsExactly(t *testing.T) {
	for name, opt := range map[string][]group.JoinOption{
		"topics": {group.TopicWeights(map[string]int{"a": 5, "b": 3})},
		"partitions": {group.PartitionWeights(func(tp topic.TopicPartition) int {
			return map[string]int{"a": 5, "b": 3}[tp.Topic]
		})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				eng := open(t, vfs.NewMem())
				for _, name := range []string{"a", "b", "c"} {
					fill(t, eng, name, 1, 1000)
				}
				c, err := group.Join(t.Context(), eng, "g", append(opt, group.Topics("a", "b", "c"), group.ReadWith(topic.MaxPollRecords(1)))...)
				require.NoError(t, err)
				count := map[rune]int{}
				for _, r := range served(t, c, 900, nil) {
					count[r]++
				}
				require.Equal(t, map[rune]int{'a': 500, 'b': 300, 'c': 100}, count)
				require.NoError(t, c.Close())
			})
		})
	}
}

// Batches of different sizes, bytes instead of records, and workers: shares hold to within a batch.
func TestWeightsShareBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := open(t, vfs.NewMem())
		for name, size := range map[string]int{"a": 10, "b": 1000} {
			at, err := eng.Topic(t.Context(), name, topic.Partitions(2))
			require.NoError(t, err)
			recs := make([]topic.Record, 400_000/size)
			for i := range recs {
				recs[i].Value = make([]byte, size)
			}
			for p := range int32(2) {
				_, err = at.AppendBatch(t.Context(), recs, topic.AppendTo(p))
				require.NoError(t, err)
			}
		}
		c, err := group.Join(t.Context(), eng, "g", group.Topics("a", "b"), group.TopicWeights(map[string]int{"a": 1, "b": 4}), group.WeighBytes(),
			group.ReadWith(topic.MaxPollRecords(20)))
		require.NoError(t, err)
		var bytes [2]atomic.Int64
		ended := make(chan error)
		go func() {
			ended <- c.Run(t.Context(), 2, func(_ context.Context, b *group.Batch) error {
				time.Sleep(time.Millisecond)
				n := bytes[b.Topic[0]-'a'].Add(int64(len(b.Records) * len(b.Records[0].Value)))
				if b.Topic == "b" && n >= 600_000 {
					return c.Close()
				}
				return nil
			})
		}()
		require.NoError(t, <-ended)
		require.InDelta(t, 4, float64(bytes[1].Load())/float64(bytes[0].Load()), 0.3)
	})
}

// Order by key, priorities and weights together.
func TestPriorityByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := open(t, vfs.NewMem())
		for _, name := range []string{"low", "high"} {
			at, err := eng.Topic(t.Context(), name, topic.Partitions(1))
			require.NoError(t, err)
			for i := range 6 {
				_, err := at.Append(t.Context(), topic.Record{Key: fmt.Append(nil, i%3)})
				require.NoError(t, err)
			}
		}
		c, err := group.Join(t.Context(), eng, "g", group.Topics("low", "high"), group.TopicPriority("high"))
		require.NoError(t, err)
		d := &diary{start: time.Now()}
		ended := make(chan error)
		go func() {
			ended <- c.RunByKey(t.Context(), 3, func(_ context.Context, b *group.Batch) error {
				for _, r := range b.Records {
					time.Sleep(time.Second)
					d.note("%s %s", r.Topic, r.Key)
				}
				return nil
			})
		}()
		time.Sleep(time.Minute)
		var want []string
		for i, name := range []string{"high", "high", "low", "low"} {
			for k := range 3 {
				want = append(want, fmt.Sprintf("%d %s %d", i+1, name, k))
			}
		}
		require.ElementsMatch(t, want, d.all())
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
	})
}

func TestServingOrderIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 0)
		_, err := group.Join(t.Context(), eng, "g", group.Topics("a"), group.TopicWeights(map[string]int{"a": 0}), group.ReadAhead(0))
		require.ErrorIs(t, err, topic.ErrInvalid)
		require.ErrorContains(t, err, `weight 0 of topic "a"`)
		require.ErrorContains(t, err, "0 records in flight")
	})
}

// A topic is deleted while priorities look at it; what is left goes on.
func TestTopicOfHighPriorityIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := open(t, vfs.NewMem())
		fill(t, eng, "high", 1, 3)
		fill(t, eng, "low", 1, 3)
		c, err := group.Join(t.Context(), eng, "g", group.Topics("low", "high"), group.TopicPriority("high"), group.ReadWith(topic.MaxPollRecords(1)))
		require.NoError(t, err)
		low := 0
		for b, err := range c.Batches(t.Context()) {
			require.NoError(t, err)
			if b.Topic == "high" && b.Records[0].Offset == 0 {
				require.NoError(t, eng.DeleteTopic(t.Context(), "high"))
			}
			if b.Topic == "low" {
				if low++; low == 3 {
					break
				}
			}
		}
		require.Equal(t, []topic.TopicPartition{tp("low", 0)}, c.Assignment())
		require.NoError(t, c.Close())
	})
}
