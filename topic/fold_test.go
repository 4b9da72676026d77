package topic_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// TestCaseTwins: where the disk takes names for equal that differ in case only, the second topic of such a name is refused,
// whichever way it comes, and the first keeps its records; elsewhere both live side by side.
func TestCaseTwins(t *testing.T) {
	disk := vfs.Fold(vfs.NewMem())
	eng, err := topic.Open("data", topic.On(disk))
	require.NoError(t, err)
	orders, err := eng.Topic(t.Context(), "Orders")
	require.NoError(t, err)
	_, err = orders.Append(t.Context(), topic.Record{Value: []byte("v")})
	require.NoError(t, err)
	for _, name := range []string{"orders", "ORDERS", "oRDERS"} {
		_, err = eng.CreateTopic(t.Context(), name)
		require.ErrorIs(t, err, topic.ErrExists)
		_, err = eng.Topic(t.Context(), name)
		require.ErrorIs(t, err, topic.ErrExists)
		require.ErrorIs(t, eng.DeleteTopic(t.Context(), name), topic.ErrNotFound)
	}
	_, err = eng.CreateTopics(t.Context(), topic.NewTopic{Name: "Both"}, topic.NewTopic{Name: "both"})
	require.ErrorIs(t, err, topic.ErrInvalid)
	require.NoError(t, eng.Close())
	eng, err = topic.Open("data", topic.On(disk))
	require.NoError(t, err)
	first, err := eng.Partition("Orders", 0)
	require.NoError(t, err)
	rec, err := first.Get(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, "v", string(rec.Value))
	require.NoError(t, eng.DeleteTopic(t.Context(), "Orders"))
	_, err = eng.CreateTopic(t.Context(), "orders")
	require.NoError(t, err)
	require.NoError(t, eng.Close())

	apart, err := topic.Open("data", topic.On(vfs.NewMem()))
	require.NoError(t, err)
	for _, name := range []string{"Orders", "orders"} {
		_, err := apart.CreateTopic(t.Context(), name)
		require.NoError(t, err)
	}
	require.NoError(t, apart.Close())
}
