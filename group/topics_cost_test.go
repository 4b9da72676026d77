package group_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// With a group attached, what the creation of a topic allocates does not grow with the number of topics.
func TestCreationsBesideAGroupAreLinear(t *testing.T) {
	eng, err := topic.Open("", topic.InMemory())
	require.NoError(t, err)
	defer eng.Close()
	_, err = eng.Topic(t.Context(), "t")
	require.NoError(t, err)
	c, err := group.Join(t.Context(), eng, "g", group.Topics("t"))
	require.NoError(t, err)
	defer c.Close()
	made := 0
	create := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			_, err := eng.CreateTopic(t.Context(), fmt.Sprint("topic", made))
			require.NoError(t, err)
			made++
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / uint64(n)
	}
	few := create(300)
	create(2400)
	many := create(300)
	require.Less(t, many, 3*few, "bytes for a creation: %d beside few topics", few)
}
