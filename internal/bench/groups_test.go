package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// Every contestant does all jobs; an error says which are left.
func TestQueuesDoAllJobs(t *testing.T) {
	e := &env{tier: tiers["quick"], dir: t.TempDir()}
	for _, c := range queueContests() {
		for _, workers := range []int{1, 4} {
			s, err := c.run(e, workers, 50)
			require.NoError(t, err, c.name)
			require.EqualValues(t, 50, s.records)
			require.Positive(t, s.elapsed)
		}
	}
}

func TestCommitsAreCounted(t *testing.T) {
	eng, err := topic.Open("", topic.InMemory())
	require.NoError(t, err)
	defer eng.Close()
	_, err = eng.Topic(t.Context(), quireTopic, topic.Partitions(100))
	require.NoError(t, err)
	coord, err := group.On(eng)
	require.NoError(t, err)
	s, err := commitShape{groups: 1, partitions: 3}.commitFor(coord, 20*time.Millisecond)
	require.NoError(t, err)
	list, err := coord.Offsets(t.Context(), "g0")
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, s.records, list[0].Offset)
}
