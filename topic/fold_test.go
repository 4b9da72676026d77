package topic_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
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
		var taken *topic.NameTakenError
		require.ErrorAs(t, err, &taken)
		require.Equal(t, topic.NameTakenError{Topic: name, Other: "Orders", Case: true}, *taken)
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
	for _, name := range []string{"Orders", "orders", "near.er"} {
		_, err := apart.CreateTopic(t.Context(), name)
		require.NoError(t, err)
	}
	_, err = apart.CreateTopic(t.Context(), "near_er")
	var taken *topic.NameTakenError
	require.ErrorAs(t, err, &taken)
	require.Equal(t, topic.NameTakenError{Topic: "near_er", Other: "near.er"}, *taken)
	require.NoError(t, apart.Close())
}

// TestCaseTwinsFromElsewhere: of two topics that such a disk takes for one, the first is served; the other is told and left alone. An engine
// that only reads does not ask the disk and serves each by its own name.
func TestCaseTwinsFromElsewhere(t *testing.T) {
	for name, lost := range map[string]bool{"known": false, "adopted": true} {
		t.Run(name, func(t *testing.T) { twinsFromElsewhere(t, lost) })
	}
}

func twinsFromElsewhere(t *testing.T, lost bool) {
	plain := vfs.NewMem()
	eng, err := topic.Open("data", topic.On(plain))
	require.NoError(t, err)
	for n, name := range []string{"Orders", "orders"} { // Orders-0 and orders-1 can lie side by side on any disk
		made, err := eng.CreateTopic(t.Context(), name, topic.Partitions(2))
		require.NoError(t, err)
		_, err = made.Append(t.Context(), topic.Record{Value: []byte(name)}, topic.AppendTo(int32(n)))
		require.NoError(t, err)
	}
	require.NoError(t, eng.Close())
	names, err := plain.List("data")
	require.NoError(t, err)
	for _, name := range names {
		if lost && strings.HasPrefix(name, "quire.manifest") {
			require.NoError(t, plain.Remove("data/"+name))
		}
	}
	reads := func(eng *topic.Engine, name string, n int32) string {
		p, err := eng.Partition(name, n)
		require.NoError(t, err)
		rec, err := p.Get(t.Context(), 0)
		require.NoError(t, err)
		return string(rec.Value)
	}
	for _, mode := range [][]topic.Option{{topic.ReadOnlyMode()}, nil} {
		var told *topic.NameTakenError
		disk := vfs.Fold(plain)
		logger := slog.New(errorsTo(func(err error) { errors.As(err, &told) }))
		eng, err = topic.Open("data", append(mode, topic.On(disk), topic.RebuildManifest(), topic.Logger(logger))...)
		require.NoError(t, err)
		require.Equal(t, "Orders", reads(eng, "Orders", 0))
		if mode != nil {
			require.Equal(t, "orders", reads(eng, "orders", 1))
		} else {
			_, err = eng.Partition("orders", 1)
			require.ErrorIs(t, err, topic.ErrNotFound)
			require.Equal(t, &topic.NameTakenError{Topic: "orders", Other: "Orders", Case: true}, told)
		}
		require.NoError(t, eng.Close())
	}
	names, err = plain.List("data")
	require.NoError(t, err)
	require.Contains(t, names, "orders-1", "left alone")
}

// errorsTo hands the errors of what is logged on.
type errorsTo func(error)

func (errorsTo) Enabled(context.Context, slog.Level) bool { return true }
func (h errorsTo) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h errorsTo) WithGroup(string) slog.Handler          { return h }

func (h errorsTo) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, is := a.Value.Any().(error); is {
			h(err)
		}
		return true
	})
	return nil
}
