package group_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// retained applies retention by hand, and gives the first offset that is left of jobs.
func retained(t testing.TB, e *topictest.Engine) int64 {
	t.Helper()
	require.NoError(t, e.ApplyRetention(t.Context()))
	p, err := e.Partition("jobs", 0)
	require.NoError(t, err)
	start, err := p.Start()
	require.NoError(t, err)
	return start
}

func fillJobs(t testing.TB, e *topictest.Engine, n int, opts ...topic.TopicOption) {
	t.Helper()
	e.OpenTopic("jobs", append(opts, topic.SegmentBytes(200))...)
	for range n {
		put(t, e, "some job of moderate length")
	}
}

// commitRead has a consumer group commit that it has read n more records.
func commitRead(t *testing.T, e *topictest.Engine, name string, n int) {
	t.Helper()
	c, err := group.Join(t.Context(), e.Engine, name, group.Topics("jobs"), group.ReadWith(topic.MaxPollRecords(n)))
	require.NoError(t, err)
	require.Len(t, take(t, c, n), n)
	require.NoError(t, c.Close())
}

// A record goes when the queues and groups that were named have all finished it, whether they are open or not.
func TestRecordsGoOnceAllWhoWereNamedHaveFinishedThem(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		fillJobs(t, e, 20, topic.RetainUntilAcked("a", "b", "audit"))
		a := openQueue(t, e, group.QueueName("a"))
		drain(t, a, 20, (*group.Delivery).Ack)
		assert.Zero(t, retained(t, e), "there is neither b nor audit")
		commitRead(t, e, "audit", 12)
		assert.Zero(t, retained(t, e), "there is no b")
		b := openQueue(t, e, group.QueueName("b"))
		drain(t, b, 5, (*group.Delivery).Ack)
		between := func(at, low, high int64) {
			t.Helper()
			assert.GreaterOrEqual(t, at, low)
			assert.LessOrEqual(t, at, high)
		}
		between(retained(t, e), 4, 5)
		drain(t, b, 10, (*group.Delivery).Ack)
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
		between(retained(t, e), 11, 12) // both queues are closed, and done further than the group

		// What they have finished is known after a stop, and a power cut.
		before := retained(t, e)
		e.Crash(topictest.LoseUnsynced)
		put(t, e, "some job of moderate length")
		assert.Equal(t, before, retained(t, e), "nobody has asked for groups or queues yet: all is kept")
		commitRead(t, e, "audit", 6)
		openQueue(t, e, group.QueueName("other"))
		between(retained(t, e), 14, 15)

		// A name that is gone keeps all, until it is released.
		drain(t, openQueue(t, e, group.QueueName("a")), 1, (*group.Delivery).Ack)
		require.NoError(t, group.DeleteQueue(t.Context(), e.Engine, "jobs", "b"))
		before = retained(t, e)
		commitRead(t, e, "audit", 2)
		assert.Equal(t, before, retained(t, e))
		require.NoError(t, e.AlterTopic(t.Context(), "jobs", topic.RetainUntilAcked("a", "audit")))
		between(retained(t, e), 19, 20)
	})
}

func TestRetainUntilAckedNeedsNames(t *testing.T) {
	e := topictest.New(t)
	for _, opt := range []topic.TopicOption{topic.RetainUntilAcked(), topic.RetainUntilAcked("a", " "), topic.RetainUntilAcked("a,b")} {
		_, err := e.Topic(t.Context(), "jobs", opt)
		require.ErrorIs(t, err, topic.ErrInvalid)
	}
	jobs := e.OpenTopic("jobs", topic.RetainUntilAcked("a", "b"))
	s := jobs.Settings()
	assert.Equal(t, "a,b", s.RetentionGroups)
	assert.Negative(t, s.Retention)
	require.ErrorIs(t, e.AlterTopic(t.Context(), "jobs", topic.RetainUntilAcked("x,y")), topic.ErrInvalid)
	_, err := e.Topic(t.Context(), "jobs", topic.RetainUntilAcked("a", "b"))
	require.NoError(t, err, "the same again is no conflict")
}

// The hook of the engine's own goes before what groups say.
func TestOwnHookDecidesWhatIsAcknowledged(t *testing.T) {
	e := topictest.New(t, topic.WithRetention(topic.RetentionHooks{Acknowledged: func(_ *topic.Partition, groups []string) (int64, bool) {
		assert.Equal(t, []string{"a"}, groups)
		return 10, true
	}}))
	fillJobs(t, e, 20, topic.RetainUntilAcked("a"))
	openQueue(t, e, group.QueueName("a"))
	assert.GreaterOrEqual(t, retained(t, e), int64(9))
}
