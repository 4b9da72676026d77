package topic

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic/internal/fetch"

	"github.com/quirelog/quire/log/vfs"
)

// A partition ends once: a deletion that comes with the engine's end makes no stop after a crash an unclean one, and the
// first reason is what its callers are told.
func TestPartitionEndsOnce(t *testing.T) {
	disk := vfs.NewCrash()
	before := openOn(t, disk)
	put(t, openTopic(t, before, "orders"), 0, 0, 3, 1)
	e := openOn(t, disk.After(vfs.KeepAll, 0))
	require.False(t, e.startedOK)
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	_, err := p.End()
	require.NoError(t, err)
	for _, why := range []error{ErrNotFound, ErrClosed} {
		clean, err := p.shut(why)
		require.NoError(t, err)
		assert.True(t, clean)
	}
	_, err = p.open()
	assert.ErrorIs(t, err, ErrNotFound)
	assert.NotErrorIs(t, err, ErrClosed)
}

// Without a checkpoint of Kafka's nothing counts as flushed; with one exactly what it says does.
func TestKafkaStateOfAPartition(t *testing.T) {
	p := &Partition{topic: &Topic{eng: &Engine{startedOK: true}}}
	for saved, want := range map[int64]int64{-1: 0, 0: 0, 7: 7} {
		p.saved = checkpoint{recovery: saved, start: saved}
		st := p.kafkaState()
		assert.Equal(t, want, st.RecoveryPoint)
		assert.Equal(t, want, st.Start)
		assert.True(t, st.Clean)
	}
}

// At the end of what it may read a cursor reads nothing, and it reads again once there is more.
func TestCursorIsIdleAtTheEnd(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	part, err := top.Partition(0)
	require.NoError(t, err)
	f := fetch.New[Record](defaultFetch())
	c := f.Cursor(part.source(), Latest)
	f.Add(c)
	load := func() bool {
		ok, err := f.Load(t.Context(), c)
		require.NoError(t, err)
		return ok
	}
	assert.False(t, load())
	f.Settle(c)
	assert.Nil(t, f.Front())
	put(t, top, 0, 0, 1, 1)
	assert.Same(t, c, f.Front())
	assert.True(t, load())
}
