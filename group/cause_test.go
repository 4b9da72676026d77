package group_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// Every call that ends with a context that was given a cause of its own tells that cause, and matches context.Canceled too.
func TestEndedContextsMatchCanceledAndTheirCause(t *testing.T) {
	eng, err := topic.Open("", topic.InMemory())
	require.NoError(t, err)
	defer eng.Close()
	_, err = eng.Topic(t.Context(), "t")
	require.NoError(t, err)
	coord, err := group.NewCoordinator(eng, group.Config{})
	require.NoError(t, err)
	c, err := group.Join(t.Context(), eng, "g", group.Topics("t"))
	require.NoError(t, err)
	q, err := group.OpenQueue(t.Context(), eng, "t", group.QueueName("q"), group.DeadLetter("dead"))
	require.NoError(t, err)
	r, err := group.OpenRouter(t.Context(), eng, "r", group.From("t"))
	require.NoError(t, err)
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	for name, call := range map[string]func() error{
		"join":         func() error { _, err := group.Join(ctx, eng, "g", group.Topics("t")); return err },
		"open queue":   func() error { _, err := group.OpenQueue(ctx, eng, "t", group.QueueName("other")); return err },
		"open router":  func() error { _, err := group.OpenRouter(ctx, eng, "other", group.From("t")); return err },
		"list":         func() error { _, err := coord.List(ctx); return err },
		"describe":     func() error { _, err := coord.Describe(ctx, "g"); return err },
		"offsets":      func() error { _, err := coord.Offsets(ctx, "g"); return err },
		"lag":          func() error { _, err := coord.Lag(ctx, "g"); return err },
		"reset":        func() error { _, err := coord.ResetOffsets(ctx, "g", group.ToEarliest()); return err },
		"run":          func() error { return c.Run(ctx, 1, func(context.Context, *group.Batch) error { return nil }) },
		"run by key":   func() error { return c.RunByKey(ctx, 1, func(context.Context, *group.Batch) error { return nil }) },
		"run a queue":  func() error { return q.Run(ctx, 1, func(context.Context, *group.Delivery) error { return nil }) },
		"peek":         func() error { _, err := q.Peek(ctx, 1); return err },
		"redrive":      func() error { _, err := q.Redrive(ctx, func(group.DeadRecord) bool { return true }); return err },
		"run a router": func() error { return r.Run(ctx, 1) },
	} {
		err := call()
		assert.ErrorIs(t, err, reason, name)
		assert.ErrorIs(t, err, context.Canceled, name)
	}
}
