package group_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// Offsets age while an engine is open, by the days in all, and not while none is; so also when it was not stopped in good order.
func TestOffsetsDoNotAgeWhileNoEngineIsOpen(t *testing.T) {
	const day = 24 * time.Hour
	for name, stop := range map[string]func(e *topictest.Engine){
		"closed": func(e *topictest.Engine) {
			require.NoError(t, e.Close())
			time.Sleep(10 * day)
			e.Reopen()
		},
		"crashed": func(e *topictest.Engine) {
			e.FailWrites(0) // so that the old engine's end writes nothing
			_ = e.Close()
			time.Sleep(10 * day)
			e.Crash(topictest.LoseUnsynced)
		},
		"file lost": func(e *topictest.Engine) {
			require.NoError(t, e.Close())
			require.NoError(t, e.Disk().Remove("data/quire.uptime"))
			time.Sleep(10 * day)
			e.Reopen()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				e := topictest.New(t)
				e.OpenTopic("a")
				commit := func(name string) {
					c, err := group.On(e.Engine)
					require.NoError(t, err)
					list := []group.PartitionOffset{{TopicPartition: topic.TopicPartition{Topic: "a"}, Offset: 1}}
					require.NoError(t, c.SetOffsets(t.Context(), name, list))
				}
				has := func() bool {
					c, err := group.On(e.Engine)
					require.NoError(t, err)
					list, err := c.Offsets(t.Context(), "g")
					require.NoError(t, err)
					return len(list) > 0
				}
				open := func(d time.Duration) { // with a commit now and then, as engines have that are in use
					for ; d > 0; d -= time.Hour {
						time.Sleep(time.Hour)
						commit("other")
					}
				}
				commit("g")
				open(3 * day)
				stop(e)
				require.True(t, has())
				open(3 * day)
				require.True(t, has(), "six days")
				stop(e)
				require.True(t, has())
				if name == "file lost" { // nothing is known of the time before: it begins anew
					open(6 * day)
					require.True(t, has())
				}
				open(day + 3*time.Hour)
				require.False(t, has(), "a bit more than seven days in all")
			})
		})
	}
}
