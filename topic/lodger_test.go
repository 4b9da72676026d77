package topic_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic"
)

type lodgerKey struct{}

// guest writes down what it is told.
type guest struct {
	told          []string
	drain, settle error
}

func (g *guest) TopicsChanged([]string)      { g.told = append(g.told, "topics") }
func (g *guest) Drain(context.Context) error { g.told = append(g.told, "drain"); return g.drain }
func (g *guest) EngineClosing()              { g.told = append(g.told, "closing") }
func (g *guest) Settle(context.Context) error {
	g.told = append(g.told, "settle")
	return g.settle
}

func TestLodgerLivesWithTheEngine(t *testing.T) {
	eng, err := topic.Open("", topic.InMemory())
	require.NoError(t, err)
	g := &guest{drain: errors.New("left over"), settle: errors.New("unfinished")}
	l, err := eng.Lodge(lodgerKey{}, func() topic.Lodger { return g })
	require.NoError(t, err)
	require.Same(t, g, l)
	again, err := eng.Lodge(lodgerKey{}, func() topic.Lodger { return &guest{} })
	require.NoError(t, err)
	require.Same(t, g, again, "one for each key")

	ctx := t.Context()
	_, err = eng.CreateTopic(ctx, "a", topic.Partitions(1))
	require.NoError(t, err)
	require.NoError(t, eng.AlterTopic(ctx, "a", topic.Partitions(2)))
	require.NoError(t, eng.DeleteTopic(ctx, "a"))
	err = eng.Shutdown(ctx)
	require.ErrorIs(t, err, g.drain)
	require.ErrorIs(t, err, g.settle)
	require.Equal(t, []string{"topics", "topics", "topics", "drain", "closing", "settle"}, g.told)

	_, err = eng.Lodge(lodgerKey{}, func() topic.Lodger { return &guest{} })
	require.ErrorIs(t, err, topic.ErrClosed)
	require.False(t, eng.Go(func() {}))
}
