package topic

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func clientConsumer(t testing.TB, e *Engine, opts ...ConsumerOption) *Consumer {
	t.Helper()
	c, err := e.NewConsumer(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// put appends numbered records to one partition, each batch of size per.
func put(t testing.TB, top *Topic, partition int32, from, n, per int) {
	t.Helper()
	part, err := top.Partition(partition)
	require.NoError(t, err)
	for i := from; i < from+n; i += per {
		var recs []Record
		for j := i; j < min(i+per, from+n); j++ {
			recs = append(recs, Record{Value: []byte(strconv.Itoa(j)), Time: time.UnixMilli(int64(1000 + j))})
		}
		_, err := part.Append(context.Background(), recs...)
		require.NoError(t, err)
	}
}

func offsetsOf(recs []Record) (list []int64) {
	for _, r := range recs {
		list = append(list, r.Offset)
	}
	return list
}

func span(from, to int64) (list []int64) {
	for i := from; i < to; i++ {
		list = append(list, i)
	}
	return list
}

func poll1(t testing.TB, c *Consumer) []Record {
	t.Helper()
	recs, err := c.Poll(t.Context())
	require.NoError(t, err)
	return recs
}

func TestConsumerReadsWhatWasWritten(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	when := time.UnixMilli(1_700_000_000_123)
	in := []Record{
		{Time: when, Key: []byte("k"), Value: []byte("v"), Headers: []Header{{Key: "h", Value: []byte("1")}, {Key: "h"}}},
		{Time: when, Key: []byte{}, Value: nil},
		{Time: when, Key: nil, Value: []byte{}},
	}
	part, _ := top.Partition(0)
	_, err := part.Append(t.Context(), in...)
	require.NoError(t, err)
	c := clientConsumer(t, e)
	require.NoError(t, c.AssignTopics("t"))
	got := poll1(t, c)
	for i := range in {
		in[i].Topic, in[i].Offset = "t", int64(i)
	}
	assert.Equal(t, in, got)
	assert.NotNil(t, got[1].Key)
	assert.Nil(t, got[1].Value)
	assert.NotNil(t, got[2].Value)
}

func TestConsumerMaxPollRecordsAndPosition(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	put(t, top, 0, 0, 100, 30)
	c := clientConsumer(t, e, MaxPollRecords(7))
	tp := TopicPartition{"t", 0}
	require.NoError(t, c.Assign(tp))
	for at := int64(0); at < 100; {
		recs := poll1(t, c)
		to := min(at+7, 100)
		require.Equal(t, span(at, to), offsetsOf(recs))
		require.Equal(t, len(recs), cap(recs), "an append must not reach what is still to come")
		pos, err := c.Position(tp)
		require.NoError(t, err)
		require.Equal(t, to, pos)
		lag, err := c.Lag(tp)
		require.NoError(t, err)
		require.Equal(t, 100-to, lag)
		at = to
	}
}

func TestConsumerSeeks(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(2))
	put(t, top, 0, 0, 50, 10)
	c := clientConsumer(t, e, MaxPollRecords(5), MaxWait(0))
	tp := TopicPartition{"t", 0}
	require.NoError(t, c.Assign(tp))
	poll1(t, c)
	require.NoError(t, c.Seek(tp, 33))
	assert.Equal(t, span(33, 38), offsetsOf(poll1(t, c)))
	require.NoError(t, c.SeekToStart())
	assert.Equal(t, span(0, 5), offsetsOf(poll1(t, c)))
	require.NoError(t, c.SeekToTime(time.UnixMilli(1000+17)))
	assert.Equal(t, span(17, 22), offsetsOf(poll1(t, c)))
	require.NoError(t, c.SeekToTime(time.UnixMilli(5000)))
	assert.Empty(t, poll1(t, c))
	pos, err := c.Position(tp)
	require.NoError(t, err)
	assert.EqualValues(t, 50, pos)
	require.NoError(t, c.SeekToEnd(tp))
	put(t, top, 0, 50, 3, 3)
	assert.Equal(t, []int64(nil), offsetsOf(poll1(t, c)), "the end is looked up when first needed")
	put(t, top, 0, 53, 2, 2)
	assert.Equal(t, span(53, 55), offsetsOf(poll1(t, c)))

	assert.ErrorIs(t, c.Seek(tp, -1), ErrInvalid)
	assert.ErrorIs(t, c.Seek(TopicPartition{"t", 1}, 0), ErrInvalid, "not assigned")
	assert.ErrorIs(t, c.Assign(tp, tp), ErrInvalid)
	assert.ErrorIs(t, c.Assign(TopicPartition{"t", 9}), ErrNotFound)
	assert.ErrorIs(t, c.AssignTopics("none"), ErrNotFound)
	assert.Equal(t, []TopicPartition{tp}, c.Assignment())
}

func TestConsumerKeepsPositionsOfThoseAssignedAgain(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(2))
	put(t, top, 0, 0, 10, 10)
	put(t, top, 1, 0, 10, 10)
	a, b := TopicPartition{"t", 0}, TopicPartition{"t", 1}
	c := clientConsumer(t, e, MaxPollRecords(4), MaxWait(0))
	require.NoError(t, c.Assign(a))
	poll1(t, c)
	require.NoError(t, c.Assign(b, a))
	pos, err := c.Position(a)
	require.NoError(t, err)
	assert.EqualValues(t, 4, pos)
	seen := map[int32][]int64{}
	for range 6 {
		for _, r := range poll1(t, c) {
			seen[r.Partition] = append(seen[r.Partition], r.Offset)
		}
	}
	assert.Equal(t, map[int32][]int64{0: span(4, 10), 1: span(0, 10)}, seen)
}

func TestConsumerTakesTurns(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(3))
	for p := range int32(3) {
		put(t, top, p, 0, 400, 20)
	}
	c := clientConsumer(t, e, MaxPollRecords(50), MaxPartitionBytes(1000), MaxWait(0))
	require.NoError(t, c.AssignTopics("t"))
	counts := map[int32]int{}
	for {
		recs := poll1(t, c)
		if len(recs) == 0 {
			break
		}
		for _, r := range recs {
			require.EqualValues(t, counts[r.Partition], r.Offset)
			counts[r.Partition]++
		}
		lo, hi := 400, 0
		for p := range int32(3) {
			lo, hi = min(lo, counts[p]), max(hi, counts[p])
		}
		require.LessOrEqual(t, hi-lo, 120, "no partition runs ahead by much more than a run")
	}
	assert.Equal(t, map[int32]int{0: 400, 1: 400, 2: 400}, counts)
}

func TestConsumerProgressOnLargeBatches(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	_, err := top.Append(t.Context(), Record{Value: make([]byte, 500_000)})
	require.NoError(t, err)
	put(t, top, 0, 1, 2, 1)
	c := clientConsumer(t, e, MaxPartitionBytes(60), MaxBytes(60))
	require.NoError(t, c.AssignTopics("t"))
	recs := poll1(t, c)
	require.Len(t, recs, 1)
	assert.Len(t, recs[0].Value, 500_000)
	assert.Equal(t, []int64{1}, offsetsOf(poll1(t, c)))
	assert.Equal(t, []int64{2}, offsetsOf(poll1(t, c)))
}

func TestConsumerPause(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(2))
	put(t, top, 0, 0, 20, 20)
	put(t, top, 1, 0, 20, 20)
	a, b := TopicPartition{"t", 0}, TopicPartition{"t", 1}
	c := clientConsumer(t, e, MaxPollRecords(5), MaxWait(0))
	require.NoError(t, c.Assign(a, b))
	require.EqualValues(t, 0, poll1(t, c)[0].Partition)
	require.NoError(t, c.Pause(a))
	paused, err := c.Paused()
	require.NoError(t, err)
	assert.Equal(t, []TopicPartition{a}, paused)
	for i := range int64(4) {
		recs := poll1(t, c)
		require.Equal(t, span(5*i, 5*i+5), offsetsOf(recs))
		require.EqualValues(t, 1, recs[0].Partition)
	}
	assert.Empty(t, poll1(t, c))
	require.NoError(t, c.Resume())
	recs := poll1(t, c)
	assert.Equal(t, span(5, 10), offsetsOf(recs))
	assert.EqualValues(t, 0, recs[0].Partition)
}

func TestConsumerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t", Partitions(2))
		c := clientConsumer(t, e, MaxWait(300*time.Millisecond))
		require.NoError(t, c.AssignTopics("t"))
		start := time.Now()
		assert.Empty(t, poll1(t, c))
		assert.Equal(t, 300*time.Millisecond, time.Since(start))

		start = time.Now()
		time.AfterFunc(70*time.Millisecond, func() { put(t, top, 1, 0, 1, 1) })
		assert.Equal(t, []int64{0}, offsetsOf(poll1(t, c)))
		assert.Equal(t, 70*time.Millisecond, time.Since(start))

		start = time.Now()
		cause := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(40*time.Millisecond, func() { cancel(cause) })
		_, err := c.Poll(ctx)
		assert.ErrorIs(t, err, cause)
		assert.Equal(t, 40*time.Millisecond, time.Since(start))

		start = time.Now()
		time.AfterFunc(50*time.Millisecond, c.Wakeup)
		_, err = c.Poll(t.Context())
		assert.ErrorIs(t, err, ErrWakeup)
		assert.Equal(t, 50*time.Millisecond, time.Since(start))
		c.Wakeup()
		_, err = c.Poll(t.Context())
		assert.ErrorIs(t, err, ErrWakeup, "the next call, when none runs")
		put(t, top, 0, 0, 1, 1)
		assert.Len(t, poll1(t, c), 1, "once")

		time.AfterFunc(50*time.Millisecond, func() { _, err := c.Position(TopicPartition{"t", 0}); assert.ErrorIs(t, err, ErrConcurrentUse) })
		time.AfterFunc(60*time.Millisecond, func() { assert.NoError(t, c.Close()) })
		_, err = c.Poll(t.Context())
		assert.ErrorIs(t, err, ErrClosed)
		_, err = c.Poll(t.Context())
		assert.ErrorIs(t, err, ErrClosed)
		assert.ErrorIs(t, c.Seek(TopicPartition{"t", 0}, 1), ErrClosed)
	})
}

func TestConsumerMinBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t")
		c := clientConsumer(t, e, MinBytes(400), MaxWait(time.Second))
		require.NoError(t, c.AssignTopics("t"))
		start := time.Now()
		for i := range 20 { // a batch of one such record has 70 bytes
			time.AfterFunc(time.Duration(i+1)*10*time.Millisecond, func() { put(t, top, 0, i, 1, 1) })
		}
		assert.Equal(t, span(0, 6), offsetsOf(poll1(t, c)))
		assert.Equal(t, 60*time.Millisecond, time.Since(start))
		time.Sleep(time.Second)
		assert.Len(t, poll1(t, c), 14)
		start = time.Now()
		put(t, top, 0, 20, 1, 1)
		assert.Len(t, poll1(t, c), 1)
		assert.Equal(t, time.Second, time.Since(start), "too little: what there is, at the end of the wait")
	})
}

// A consumer that waits is asleep: nothing is looked at until something changes.
func TestConsumerDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t")
		c := clientConsumer(t, e, MaxWait(0))
		require.NoError(t, c.AssignTopics("t"))
		before := e.Metrics().Total.Fetches
		time.AfterFunc(time.Hour, func() { put(t, top, 0, 0, 1, 1) })
		start := time.Now()
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			assert.Zero(t, rec.Offset)
			break
		}
		assert.Equal(t, time.Hour, time.Since(start))
		assert.Equal(t, before+1, e.Metrics().Total.Fetches)
	})
}

func TestConsumerOutOfRange(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		policy ResetPolicy
		want   int64 // position after the poll; -1: an error
	}{{Earliest, 20}, {Latest, 40}, {ByDuration(10 * time.Minute), 30}, {Fail, -1}} {
		t.Run(c.policy.String(), func(t *testing.T) {
			e := clientEngine(t)
			top := clientTopic(t, e, "t")
			part, _ := top.Partition(0)
			for i := range 40 {
				when := now.Add(-time.Hour)
				if i >= 30 {
					when = now
				}
				_, err := part.Append(t.Context(), Record{Time: when, Value: []byte("v")})
				require.NoError(t, err)
			}
			_, err := part.DeleteRecords(t.Context(), 20)
			require.NoError(t, err)
			con := clientConsumer(t, e, OnOutOfRange(c.policy), MaxPollRecords(1), MaxWait(0))
			tp := TopicPartition{"t", 0}
			require.NoError(t, con.Assign(tp))
			for _, bad := range []int64{5, 1000} {
				require.NoError(t, con.Seek(tp, bad))
				recs, err := con.Poll(t.Context())
				if c.want < 0 {
					var rng *OffsetRangeError
					require.ErrorAs(t, err, &rng)
					assert.ErrorIs(t, err, ErrOffsetOutOfRange)
					assert.Equal(t, OffsetRangeError{"t", 0, bad, 20, 40}, *rng)
					pos, err := con.Position(tp)
					require.NoError(t, err)
					assert.Equal(t, bad, pos, "an error moves nothing")
					continue
				}
				require.NoError(t, err)
				if c.want < 40 {
					require.Equal(t, []int64{c.want}, offsetsOf(recs))
				} else {
					require.Empty(t, recs)
				}
			}
		})
	}
}

func TestConsumerTopicDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t")
		put(t, top, 0, 0, 1, 1)
		other := clientTopic(t, e, "other")
		put(t, other, 0, 0, 1, 1)
		c := clientConsumer(t, e, MaxWait(time.Minute))
		require.NoError(t, c.AssignTopics("t", "other"))
		assert.Len(t, poll1(t, c), 2)
		time.AfterFunc(time.Second, func() { assert.NoError(t, e.DeleteTopic(context.Background(), "t")) })
		_, err := c.Poll(t.Context())
		assert.ErrorIs(t, err, ErrNotFound)
		var at *PartitionError
		require.ErrorAs(t, err, &at)
		assert.Equal(t, "t", at.Topic)
		put(t, other, 0, 1, 1, 1)
		assert.Len(t, poll1(t, c), 1, "the others go on")
		require.NoError(t, c.AssignTopics("other"))
		clientTopic(t, e, "t")
		require.NoError(t, c.AssignTopics("t", "other"))
		pos, err := c.Position(TopicPartition{"t", 0})
		require.NoError(t, err)
		assert.Zero(t, pos)
		synctest.Wait() // the deletion
	})
}

func TestConsumerEndsWithItsEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t")
		c := clientConsumer(t, e, MaxWait(time.Minute))
		require.NoError(t, c.AssignTopics("t"))
		time.AfterFunc(time.Second, func() { assert.NoError(t, e.Close()) })
		start := time.Now()
		_, err := c.Poll(t.Context())
		assert.ErrorIs(t, err, ErrClosed)
		assert.Equal(t, time.Second, time.Since(start))
		_, err = e.NewConsumer()
		assert.ErrorIs(t, err, ErrClosed)
	})
}

func TestConsumerConcurrentUse(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	put(t, top, 0, 0, 1000, 10)
	c := clientConsumer(t, e, MaxPollRecords(3), MaxWait(0))
	require.NoError(t, c.AssignTopics("t"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var seen []int64
	for range 4 {
		wg.Go(func() {
			for range 500 {
				recs, err := c.Poll(t.Context())
				if err != nil {
					assert.True(t, errors.Is(err, ErrConcurrentUse) || errors.Is(err, ErrWakeup), err)
					continue
				}
				mu.Lock()
				seen = append(seen, offsetsOf(recs)...)
				mu.Unlock()
				c.Wakeup()
				c.Assignment()
			}
		})
	}
	wg.Wait()
	slices.Sort(seen)
	assert.Equal(t, span(0, int64(len(seen))), seen, "nothing twice, nothing lost")
}

func TestConsumerConfigFaults(t *testing.T) {
	e := clientEngine(t)
	_, err := e.NewConsumer(MaxPollRecords(0), MinBytes(-1), MaxWait(-1), MaxBytes(0), MaxPartitionBytes(0), Isolation(9), OnOutOfRange(-9))
	require.ErrorIs(t, err, ErrInvalid)
	for _, text := range []string{"poll records", "min bytes", "max wait", "max bytes", "partition bytes", "isolation", "reset policy"} {
		assert.ErrorContains(t, err, text)
	}
}
