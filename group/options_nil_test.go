package group_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// A nil option is refused by every call that takes options.
func TestNilOptionsAreRefused(t *testing.T) {
	eng, err := topic.Open("", topic.InMemory())
	require.NoError(t, err)
	defer eng.Close()
	ctx := t.Context()
	_, err = eng.Topic(ctx, "t")
	require.NoError(t, err)
	for name, call := range map[string]func() error{
		"join":         func() error { _, err := group.Join(ctx, eng, "g", group.Topics("t"), nil); return err },
		"join reading": func() error { _, err := group.Join(ctx, eng, "g", group.Topics("t"), group.ReadWith(nil)); return err },
		"queue":        func() error { _, err := group.OpenQueue(ctx, eng, "t", nil); return err },
		"router":       func() error { _, err := group.OpenRouter(ctx, eng, "r", group.From("t"), nil); return err },
		"assignor": func() error {
			_, err := group.Join(ctx, eng, "g", group.Topics("t"), group.AssignWith(nil, assignor.Range()))
			return err
		},
		"router that creates nothing": func() error {
			_, err := group.OpenRouter(ctx, eng, "r", group.From("t"), group.CreateWith(nil))
			return err
		},
		"router joining": func() error {
			_, err := group.OpenRouter(ctx, eng, "r", group.From("t"), group.JoinWith(nil))
			return err
		},
		"router creating": func() error {
			_, err := group.OpenRouter(ctx, eng, "r", group.From("t"), group.CreateWith(nil), group.Bind(group.Binding{Kind: group.ExactKey, Key: "k", To: "new"}))
			return err
		},
	} {
		assert.ErrorIs(t, call(), topic.ErrInvalid, name)
	}
}

// The zero Engine is closed, for everything that stands on it.
func TestZeroEngineIsClosed(t *testing.T) {
	ctx := t.Context()
	for name, call := range map[string]func(*topic.Engine) error{
		"coordinator": func(e *topic.Engine) error { _, err := group.NewCoordinator(e, group.Config{}); return err },
		"on":          func(e *topic.Engine) error { _, err := group.On(e); return err },
		"join":        func(e *topic.Engine) error { _, err := group.Join(ctx, e, "g", group.Topics("t")); return err },
		"queue":       func(e *topic.Engine) error { _, err := group.OpenQueue(ctx, e, "t"); return err },
		"router":      func(e *topic.Engine) error { _, err := group.OpenRouter(ctx, e, "r", group.From("t")); return err },
	} {
		assert.ErrorIs(t, call(new(topic.Engine)), topic.ErrClosed, name)
	}
}
