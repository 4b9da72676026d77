package topic

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConsumerRecordsLoop(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(2))
	put(t, top, 0, 0, 100, 10)
	put(t, top, 1, 0, 100, 10)
	c := clientConsumer(t, e, MaxWait(0))
	require.NoError(t, c.AssignTopics("t"))
	seen := map[int32][]int64{}
	for range 10 { // a loop that is left resumes where it was
		n := 0
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			seen[rec.Partition] = append(seen[rec.Partition], rec.Offset)
			if n++; n == 20 {
				break
			}
		}
		for tp, list := range seen {
			pos, err := c.Position(TopicPartition{"t", tp})
			require.NoError(t, err)
			require.EqualValues(t, len(list), pos)
		}
	}
	assert.Equal(t, map[int32][]int64{0: span(0, 100), 1: span(0, 100)}, seen)
}

func TestConsumerRecordsLoopSeekAndPauseInside(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(2))
	put(t, top, 0, 0, 10, 10)
	put(t, top, 1, 0, 10, 10)
	a, b := TopicPartition{"t", 0}, TopicPartition{"t", 1}
	c := clientConsumer(t, e, MaxWait(0))
	require.NoError(t, c.Assign(a, b))
	var got []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for rec, err := range c.Records(ctx) {
		require.NoError(t, err)
		got = append(got, fmt.Sprint(rec.Partition, "@", rec.Offset))
		switch len(got) {
		case 2:
			require.NoError(t, c.Seek(a, 8))
		case 6:
			require.NoError(t, c.Pause(b))
			cancel()
		}
	}
	assert.Equal(t, []string{"0@0", "0@1", "0@8", "0@9", "1@0", "1@1"}, got)
	pos, err := c.Position(b)
	require.NoError(t, err)
	assert.EqualValues(t, 2, pos)
}

func TestConsumerRecordsLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t")
		put(t, top, 0, 0, 3, 3)
		c := clientConsumer(t, e)
		require.NoError(t, c.AssignTopics("t"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		for _, err := range c.Records(ctx) {
			require.NoError(t, err, "a done context ends the loop without a pair")
			n++
		}
		assert.Equal(t, 3, n)
		time.AfterFunc(time.Second, c.Wakeup)
		var errs []error
		for rec, err := range c.Records(t.Context()) {
			assert.Nil(t, rec)
			errs = append(errs, err)
		}
		require.Len(t, errs, 1)
		assert.ErrorIs(t, errs[0], ErrWakeup)
	})
}

func TestConsumerInterceptors(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	put(t, top, 0, 0, 4, 4)
	c := clientConsumer(t, e, InterceptConsumed(
		ConsumerInterceptor{OnConsume: func(recs []Record) []Record {
			return slices.DeleteFunc(recs, func(r Record) bool { return r.Offset == 2 })
		}},
		ConsumerInterceptor{OnConsume: func([]Record) []Record { panic("never mind") }},
		ConsumerInterceptor{},
	))
	require.NoError(t, c.AssignTopics("t"))
	assert.Equal(t, []int64{0, 1, 3}, offsetsOf(poll1(t, c)))
}
