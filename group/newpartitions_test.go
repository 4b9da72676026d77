package group_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// Partitions and topics that come after a group's first member begin at their first record, whatever the rule for others is; what was there
// when it joined begins as the rule says.
func TestNewPartitionsBeginAtTheirBeginning(t *testing.T) {
	for name, policy := range map[string]topic.ResetPolicy{"latest": topic.Latest, "duration": topic.ByDuration(0), "fail": topic.Fail, "earliest": topic.Earliest} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				e := topictest.New(t)
				add := func(to string, partitions int, p int32, value string) {
					tp := e.OpenTopic(to, topic.Partitions(partitions))
					_, err := tp.Append(t.Context(), topic.Record{Value: []byte(value)}, topic.AppendTo(p))
					require.NoError(t, err)
				}
				add("jobs.a", 1, 0, "old")
				time.Sleep(time.Second)
				join := func() *group.Consumer {
					c, err := group.Join(t.Context(), e.Engine, "g", group.TopicsMatching("jobs.*"), group.ReadWith(topic.OnOutOfRange(policy)))
					require.NoError(t, err)
					return c
				}
				var mu sync.Mutex
				var got []string
				serve := func(c *group.Consumer) func() {
					ctx, stop := context.WithTimeout(t.Context(), time.Minute)
					ended := make(chan error, 1)
					go func() {
						ended <- c.Run(ctx, 1, func(_ context.Context, b *group.Batch) error {
							mu.Lock()
							defer mu.Unlock()
							for _, r := range b.Records {
								got = append(got, string(r.Value))
							}
							return nil
						})
					}()
					synctest.Wait()
					return func() {
						require.ErrorIs(t, <-ended, context.DeadlineExceeded)
						stop()
					}
				}
				first := join()
				serve(first)()
				time.Sleep(time.Second)
				require.NoError(t, e.AlterTopic(t.Context(), "jobs.a", topic.Partitions(2)))
				add("jobs.a", 2, 1, "new partition")
				add("jobs.b", 1, 0, "new topic")
				second := join() // it comes when they are there already; the group does not
				time.Sleep(time.Second)
				one, other := serve(first), serve(second)
				one()
				other()
				want := []string{"new partition", "new topic"}
				if policy == topic.Earliest || policy == topic.Fail {
					want = append(want, "old")
				}
				require.ElementsMatch(t, want, got)
				require.NoError(t, first.Close())
				require.NoError(t, second.Close())
			})
		})
	}
}

// A name that only looks like one of the engine's own topics is matched as any other.
func TestTopicsMatchingLeavesOutTheEnginesOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("__audit")
		c, err := group.Join(t.Context(), e.Engine, "g", group.TopicsMatching(".*"))
		require.NoError(t, err)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		require.ErrorIs(t, c.Run(ctx, 1, func(context.Context, *group.Batch) error { return nil }), context.DeadlineExceeded)
		require.Equal(t, []topic.TopicPartition{tp("__audit", 0)}, c.Assignment())
		require.NoError(t, c.Close())
	})
}
