package group

import (
	"strings"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The topics of groups are as small as one process needs, or as the engine was told; a partition that no group uses has no directory, and topics
// that are there keep their partitions.
func TestInternalPartitions(t *testing.T) {
	commit := func(e *topic.Engine, groups ...string) int {
		c, err := On(e)
		require.NoError(t, err)
		for _, name := range groups {
			list := []PartitionOffset{{TopicPartition: topic.TopicPartition{Topic: "orders"}, Offset: 1}}
			require.NoError(t, c.Commit(t.Context(), name, CommitRequest{Generation: -1, ProducerID: -1, Offsets: list}).Err)
		}
		p, err := e.Partition(OffsetsTopic, 0)
		require.NoError(t, err)
		return p.Topic().Partitions()
	}
	states := func(e *topic.Engine) int { // of queues
		q, err := OpenQueue(t.Context(), e, "orders")
		require.NoError(t, err)
		require.NoError(t, q.Close())
		p, err := e.Partition(ShareStateTopic, 0)
		require.NoError(t, err)
		return p.Topic().Partitions()
	}
	directories := func(disk vfs.FS) (count int) {
		names, err := disk.List("data")
		require.NoError(t, err)
		for _, name := range names {
			if strings.HasPrefix(name, OffsetsTopic+"-") {
				count++
			}
		}
		return count
	}
	disk := vfs.NewMem()
	opts := topic.On(disk)
	e, err := topic.Open("data", opts)
	require.NoError(t, err)
	_, err = e.Topic(t.Context(), "orders")
	require.NoError(t, err)
	assert.Equal(t, 4, commit(e, "billing"))
	assert.Equal(t, 4, states(e))
	assert.Equal(t, 1, directories(disk))
	require.NoError(t, e.Close())
	e, err = topic.Open("data", opts, topic.InternalPartitions(50))
	require.NoError(t, err)
	assert.Equal(t, 4, commit(e, "billing"), "what exists keeps its number")
	require.NoError(t, e.Close())

	e, err = topic.Open("data", topic.InMemory(), topic.InternalPartitions(50))
	require.NoError(t, err)
	_, err = e.Topic(t.Context(), "orders")
	require.NoError(t, err)
	assert.Equal(t, 50, commit(e, "billing"))
	assert.Equal(t, 50, states(e))
	require.NoError(t, e.Close())
	_, err = topic.Open("data", topic.InMemory(), topic.InternalPartitions(0))
	assert.ErrorIs(t, err, topic.ErrInvalid)
}
