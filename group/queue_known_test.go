package group_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// A loop that goes on to another partition has made the answer for the one before durable too.
func TestQueueAnswerKnownAcrossPartitions(t *testing.T) {
	const partitions = 6
	disk := vfs.NewCrash()
	eng, err := topic.Open("data", topic.On(disk))
	require.NoError(t, err)
	jobs, err := eng.Topic(t.Context(), "jobs", topic.Partitions(partitions))
	require.NoError(t, err)
	for n := range int32(partitions) {
		p, err := jobs.Partition(n)
		require.NoError(t, err)
		_, err = p.Append(t.Context(), topic.Record{Value: []byte("job")})
		require.NoError(t, err)
	}
	q, err := group.OpenQueue(t.Context(), eng, "jobs")
	require.NoError(t, err)

	known, last := map[int32]bool{}, int32(-1)
	for d, err := range q.Deliveries(t.Context()) {
		require.NoError(t, err)
		if last >= 0 {
			known[last] = true
		}
		if len(known) == partitions-1 {
			disk.CrashAt(disk.Ops() + 1)
			break
		}
		last = d.Partition
		d.Ack()
	}

	eng, err = topic.Open("data", topic.On(disk.After(vfs.KeepNone, 0)))
	require.NoError(t, err)
	defer eng.Close()
	q, err = group.OpenQueue(t.Context(), eng, "jobs")
	require.NoError(t, err)
	for d, err := range q.Deliveries(t.Context()) {
		require.NoError(t, err)
		require.False(t, known[d.Partition], "partition %d was known to be done", d.Partition)
		d.Ack()
		break
	}
	require.Zero(t, q.Metrics().Backlog, "one of them was not done")
}
