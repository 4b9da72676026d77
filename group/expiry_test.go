package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic"
)

// What a commit costs does not grow with the offsets of its group.
func TestCommitLooksAtItsOwnOffsets(t *testing.T) {
	cost := func(offsets int) float64 {
		d := drive(t, Config{}, abc(1))
		id := together(d, 1)[0]
		many := committing(id, 1, "z", 1)
		for p := range offsets {
			many.Offsets = append(many.Offsets, PartitionOffset{TopicPartition: tp("a", int32(p)), Offset: 1})
		}
		require.NoError(t, ask[CommitResponse](d, many).Err)
		return testing.AllocsPerRun(50, func() {
			for _, e := range d.m.step(d.now.Milliseconds(), 0, committing(id, 1, "a", 7)) {
				if e, ok := e.(appendEntries); ok {
					d.m.step(d.now.Milliseconds(), 0, stored{e.seq, nil})
				}
			}
			require.Positive(t, d.m.nextExpiry())
		})
	}
	require.InDelta(t, cost(1), cost(5000), 2)
}

// A commit has its shard look at its own group alone: beside it lie groups that nothing may touch.
func TestCommitLooksAtItsOwnGroup(t *testing.T) {
	eng, err := topic.Open("", topic.InMemory())
	require.NoError(t, err)
	defer eng.Close()
	c, err := On(eng)
	require.NoError(t, err)
	commit := func(group string) error {
		return c.SetOffsets(t.Context(), group, []PartitionOffset{{TopicPartition: tp("a", 0), Offset: 1}})
	}
	require.NoError(t, commit("mine"))
	s, err := c.shardOf(t.Context(), "mine", false)
	require.NoError(t, err)
	s.mu.Lock()
	for i := range 1000 {
		s.seats[fmt.Sprint("other ", i)] = &seat{} // without a machine: a look at it panics
	}
	s.mu.Unlock()
	for range 10 {
		require.NoError(t, commit("mine"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range 1000 {
		delete(s.seats, fmt.Sprint("other ", i))
	}
}

// An offset expires when its retention is over, or at the time that it says itself, whichever that is; time without an engine does not count.
func TestExpiryOfAnOffset(t *testing.T) {
	d := drive(t, Config{OffsetRetention: time.Hour}, abc(1))
	hour := time.Hour.Milliseconds()
	base := func(o OffsetRecord) int64 { return o.CommitTime }
	at := func(expire int64) int64 { return d.m.expiryOf(OffsetRecord{CommitTime: 5, ExpireTime: expire}, base) }
	require.Equal(t, 5+hour, at(-1))
	require.EqualValues(t, 0, at(0))
	require.EqualValues(t, 70, at(70))
	d.m.closed = []topic.Downtime{{From: 10, To: 30}}
	require.Equal(t, 25+hour, at(-1))
	require.EqualValues(t, 90, at(70))
	require.EqualValues(t, 0, at(0))
}
