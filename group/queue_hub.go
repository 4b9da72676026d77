package group

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/quirelog/quire/topic"
)

// hubKey is the key under which an engine holds its hub.
type hubKey struct{}

// A hub is what the queues of one engine share: the logs of their state, and which of them are open.
type hub struct {
	eng  *topic.Engine
	turn chan struct{} // held while a queue is opened or closed

	mu     sync.Mutex
	queues map[queueID]*Queue
	ended  bool

	logs map[int32]*stateLog // guarded by turn
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
		return context.Cause(ctx)
	}
}

func (h *hub) endTurn() { <-h.turn }

// stateLog gives the log that holds the state of key. The caller has the turn.
func (h *hub) stateLog(ctx context.Context, key shareKey) (*stateLog, error) {
	t, err := h.stateTopic(ctx)
	if err != nil {
		return nil, err
	}
	n := key.home(int32(t.Partitions()))
	l := h.logs[n]
	if l == nil {
		if l, err = loadStateLog(ctx, t, n); err != nil {
			return nil, err
		}
		h.logs[n] = l
	}
	return l, nil
}

// stateTopic opens ShareStateTopic, or creates it with Kafka's settings.
func (h *hub) stateTopic(ctx context.Context) (*topic.Topic, error) {
	if p, err := h.eng.Partition(ShareStateTopic, 0); err == nil {
		return p.Topic(), nil
	}
	return h.eng.Topic(ctx, ShareStateTopic, topic.Partitions(ShareStatePartitions), topic.Durable(),
		topic.CleanupWith(topic.CleanupDelete), topic.Retention(-1))
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

// TopicsChanged, Drain and EngineClosing have nothing to do: Settle closes the queues.
func (h *hub) TopicsChanged()              {}
func (h *hub) Drain(context.Context) error { return nil }
func (h *hub) EngineClosing()              {}

// Settle closes the queues that are open.
func (h *hub) Settle(ctx context.Context) error {
	if err := h.takeTurn(ctx); err != nil {
		return err
	}
	defer h.endTurn()
	h.mu.Lock()
	h.ended = true
	open := make([]*Queue, 0, len(h.queues))
	for _, q := range h.queues {
		open = append(open, q)
	}
	h.mu.Unlock()
	var faults []error
	for _, q := range open {
		faults = append(faults, q.close(topic.ErrClosed))
	}
	return errors.Join(faults...)
}
