package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// hubKey is the key under which an engine holds its hub.
type hubKey struct{}

// A hub is what the queues of one engine share: the logs of their state, and which of them are open.
type hub struct {
	eng  *topic.Engine
	turn chan struct{} // held while a queue is opened or closed
	// calls are those that go on when their callers have left.
	calls bounded.Calls

	mu     sync.Mutex
	queues map[queueID]*Queue
	ended  bool

	// guarded by turn
	states topic.ID // of ShareStateTopic
	logs   map[int32]*stateLog
}

type queueID struct {
	topic topic.ID
	name  string
}

func hubOf(eng *topic.Engine) (*hub, error) {
	l, err := eng.Lodge(hubKey{}, func() topic.Lodger {
		return &hub{eng: eng, turn: make(chan struct{}, 1), queues: map[queueID]*Queue{}, logs: map[int32]*stateLog{}}
	})
	if err != nil {
		return nil, err
	}
	return l.(*hub), nil
}

func (h *hub) takeTurn(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return bounded.Cause(ctx)
	}
}

func (h *hub) endTurn() { <-h.turn }

// inTurn does what takes the turn, apart from the caller, which leaves when ctx ends; late is told then what came of it.
func inTurn[T any](ctx context.Context, h *hub, f func() (T, error), late func(T, error)) (T, error) {
	var none T
	if err := h.takeTurn(ctx); err != nil {
		return none, err
	}
	v, out, err := bounded.OrLater(ctx, &h.calls, 0, func() (T, error) {
		defer h.endTurn()
		return f()
	}, late)
	if out == bounded.NotBegun {
		h.endTurn()
	}
	return v, err
}

// stateLog gives the log that holds the state of key, and makes the topic of the states if there is none. The caller has the turn.
func (h *hub) stateLog(ctx context.Context, key shareKey) (*stateLog, error) {
	t, err := h.findStateTopic()
	if t == nil && err == nil { // with Kafka's settings
		settings := topic.InternalSettings(ShareStateTopic)
		t, err = h.eng.Topic(ctx, ShareStateTopic, append(settings, topic.Partitions(h.eng.InternalPartitions()))...)
	}
	if err != nil {
		return nil, err
	}
	return h.logIn(ctx, t, key)
}

// logIn gives the log that holds the state of key in the topic of the states. The caller has the turn.
func (h *hub) logIn(ctx context.Context, t *topic.Topic, key shareKey) (*stateLog, error) {
	return h.logAt(ctx, t, key.home(int32(t.Partitions())))
}

func (h *hub) logAt(ctx context.Context, t *topic.Topic, n int32) (*stateLog, error) {
	if t.ID() != h.states { // it was deleted, and what it said is gone
		h.states = t.ID()
		clear(h.logs)
	}
	if l := h.logs[n]; l != nil {
		return l, nil
	}
	l, err := loadStateLog(ctx, t, n)
	if err != nil {
		return nil, err
	}
	h.logs[n] = l
	return l, nil
}

// findStateTopic gives ShareStateTopic, nil if there is none.
func (h *hub) findStateTopic() (*topic.Topic, error) { return h.topicOf(ShareStateTopic) }

// topicOf gives the topic of a name, nil if there is none.
func (h *hub) topicOf(name string) (*topic.Topic, error) {
	p, err := h.eng.Partition(name, 0)
	switch {
	case errors.Is(err, topic.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return p.Topic(), nil
}

// state gives what is stored under key, nil if nothing is. The caller has the turn.
func (h *hub) state(ctx context.Context, t *topic.Topic, key shareKey) (*storedState, error) {
	l, err := h.logIn(ctx, t, key)
	if err != nil {
		return nil, err
	}
	if s := l.state(key); s != nil {
		return &storedState{l, s}, nil
	}
	return nil, nil
}

// enter makes q known, unless it is open already.
func (h *hub) enter(q *Queue) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return topic.ErrClosed
	}
	if h.queues[q.id] != nil {
		return fmt.Errorf("%w: queue %q on topic %q is open", topic.ErrExists, q.id.name, q.topic.Name())
	}
	h.queues[q.id] = q
	return nil
}

func (h *hub) leave(q *Queue) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queues[q.id] == q {
		delete(h.queues, q.id)
	}
}

func (h *hub) find(id queueID) *Queue {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.queues[id]
}

// all lists the queues that are open.
func (h *hub) all() []*Queue {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.queues))
}

// Drain shuts the queues down, all at once: their handlers are told and waited for.
func (h *hub) Drain(ctx context.Context) error {
	return allAtOnce(h.all(), func(q *Queue) error { return q.Shutdown(ctx) })
}

// allAtOnce calls f for all, at once, and waits.
func allAtOnce[T any](list []T, f func(T) error) error {
	faults := make([]error, len(list))
	var wg sync.WaitGroup
	for i, v := range list {
		wg.Go(func() { faults[i] = f(v) })
	}
	wg.Wait()
	return errors.Join(faults...)
}

// EngineClosing has nothing to do: Settle closes the queues.
func (h *hub) EngineClosing() {}

// Settle closes the queues that are open.
func (h *hub) Settle(ctx context.Context) error {
	if err := h.takeTurn(ctx); err != nil {
		return err
	}
	defer h.endTurn()
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	return allAtOnce(h.all(), func(q *Queue) error { return q.close(ctx, topic.ErrClosed) })
}
