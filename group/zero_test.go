package group_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/internal/handletest"
	"github.com/quirelog/quire/topic"
)

// Handles that no call of this package gave give errors that match topic.ErrInvalid where they give any, and neither panic nor hang.
func TestZeroHandlesGiveErrors(t *testing.T) {
	handletest.Zero(t, topic.ErrInvalid, &group.Consumer{}, &group.Coordinator{}, &group.Queue{}, &group.Delivery{}, &group.Router{}, &group.Batch{})
}

// Calls that are given no engine at all say so.
func TestNilEngineIsRefused(t *testing.T) {
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"coordinator":  func() error { return failOf(group.NewCoordinator(nil, group.Config{})) },
		"on":           func() error { return failOf(group.On(nil)) },
		"join":         func() error { return failOf(group.Join(ctx, nil, "g", group.Topics("t"))) },
		"queue":        func() error { return failOf(group.OpenQueue(ctx, nil, "t")) },
		"queues":       func() error { return failOf(group.Queues(ctx, nil, "t")) },
		"delete queue": func() error { return group.DeleteQueue(ctx, nil, "t", "q") },
		"router":       func() error { return failOf(group.OpenRouter(ctx, nil, "r", group.From("t"))) },
	} {
		assert.NotPanics(t, func() { assert.ErrorIs(t, call(), topic.ErrInvalid, name) }, name)
	}
}
