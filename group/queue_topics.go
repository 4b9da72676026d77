package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/topic"
)

// TopicsChanged ends the queues whose topics are gone, and has those look whose topics have grown.
func (h *hub) TopicsChanged(names []string) {
	var gone []*Queue
	for _, q := range h.all() {
		if !slices.Contains(names, q.topic.Name()) {
			continue
		}
		t, err := h.topicOf(q.topic.Name())
		switch {
		case err != nil: // the engine is closing
		case t == nil || t.ID() != q.id.topic:
			if q.finish(fmt.Errorf("%w: topic %q of queue %q was deleted", topic.ErrNotFound, q.topic.Name(), q.id.name)) {
				gone = append(gone, q)
			}
		default:
			q.mayHaveGrown()
		}
	}
	if len(gone) > 0 {
		h.eng.Go(func() { h.dropTopics(gone) })
	}
}

// dropTopics gives up queues that have ended because their topics are gone, and forgets what is stored of these topics, of queues that are not
// open too. What it cannot store stays: it is of no use to anybody, for the next topic of that name has another id.
func (h *hub) dropTopics(gone []*Queue) {
	_ = h.takeTurn(context.Background())
	defer h.endTurn()
	for _, q := range gone {
		_ = q.quit() // its feed: nothing reads from it
		for _, l := range h.logs {
			for _, key := range l.keysOf(q.id.topic) {
				_ = l.remove(key)
			}
		}
	}
}

// keysOf lists what is stored of a topic.
func (l *stateLog) keysOf(id topic.ID) (list []shareKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.states {
		if key.topic == id {
			list = append(list, key)
		}
	}
	return list
}

// mayHaveGrown has somebody look at the topic's partitions if there are new ones.
func (q *Queue) mayHaveGrown() {
	n := q.topic.Partitions()
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.opened || n <= len(q.parts) {
		return
	}
	q.grown, q.rota.look = true, true
	q.rouseLocked(time.Now())
}

// grow takes in the partitions that the topic has got. The caller has the feed.
func (q *Queue) grow(ctx context.Context) (err error) {
	q.mu.Lock()
	grown := q.grown
	q.grown = false
	q.mu.Unlock()
	if !grown {
		return nil
	}
	defer func() {
		if err != nil {
			q.mu.Lock()
			q.grown = true
			q.mu.Unlock()
		}
	}()
	known := q.stalls()
	parts, err := inTurn(ctx, q.hub, func() ([]*stall, error) { return q.openGrown(ctx, known) }, func([]*stall, error) {})
	if err != nil {
		return err
	}
	if err := q.attend(parts, len(known)); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil { // what it had was given up without them
		return q.end
	}
	q.takeInLocked(parts)
	if w := q.rota.watcher; w != nil { // it was told of those of before
		w.wake()
	}
	return nil
}

// openGrown opens the partitions that are not known yet, behind those that are. Its caller has the turn.
func (q *Queue) openGrown(ctx context.Context, known []*stall) ([]*stall, error) {
	parts := slices.Clone(known)
	for n := len(known); n < q.topic.Partitions(); n++ {
		s, err := q.openStall(ctx, int32(n), true)
		if err != nil {
			return nil, err
		}
		parts = append(parts, s)
	}
	return parts, nil
}

// Queues lists the names of a topic's queues, open or not, in order. It reads all of [ShareStateTopic] unless that was done already. A topic of
// dead letters has one more for each queue that was redriven.
//
// Errors: topic.ErrNotFound if there is no such topic; those of reading.
func Queues(ctx context.Context, eng *topic.Engine, topicName string) ([]string, error) {
	h, err := hubOf(eng)
	if err != nil {
		return nil, err
	}
	if err := h.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer h.endTurn()
	t, err := h.topicOf(topicName)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, fmt.Errorf("%w: topic %q", topic.ErrNotFound, topicName)
	}
	states, err := h.findStateTopic()
	if err != nil || states == nil {
		return nil, err
	}
	var names []string
	for n := range states.Partitions() {
		l, err := h.logAt(ctx, states, int32(n))
		if err != nil {
			return nil, err
		}
		for _, key := range l.keysOf(t.ID()) {
			if key.partition == 0 { // without it there is no queue
				names = append(names, key.queue)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// DeleteQueue deletes a queue of a topic with all that is stored of it: a queue opened later under the name begins anew. The topic, its records
// and the queue's dead letters stay. If the queue is open it ends with [ErrGroupNotFound] for those who take part, and answers for what
// they hold are refused; handlers of a Run are not waited for. It may be called again after an error, or a crash, which may leave a part done.
//
// A topic that retains its records until the queue has finished them keeps them all from then on: see [topic.RetainUntilAcked].
//
// Errors: ErrGroupNotFound if there is no such queue; topic.ErrNotFound if there is no such topic; what the disk says.
func DeleteQueue(ctx context.Context, eng *topic.Engine, topicName, queue string) error {
	h, err := hubOf(eng)
	if err != nil {
		return err
	}
	_, err = inTurn(ctx, h, func() (struct{}, error) { return struct{}{}, h.deleteQueue(ctx, topicName, queue) }, func(struct{}, error) {})
	return err
}

// deleteQueue is DeleteQueue for a caller that has the turn.
func (h *hub) deleteQueue(ctx context.Context, topicName, queue string) error {
	t, err := h.topicOf(topicName)
	if err != nil {
		return err
	}
	if t == nil {
		return fmt.Errorf("%w: topic %q", topic.ErrNotFound, topicName)
	}
	id := queueID{t.ID(), queue}
	if q := h.find(id); q != nil && q.finish(refuse(ErrGroupNotFound, "queue %q on topic %q was deleted", queue, topicName)) {
		if err := q.quit(); err != nil {
			return fmt.Errorf("group: delete queue %q: %w", queue, err)
		}
	}
	found, err := h.forget(ctx, id, t.Partitions())
	switch {
	case err != nil:
		return fmt.Errorf("group: delete queue %q: %w", queue, err)
	case !found:
		return refuse(ErrGroupNotFound, "queue %q on topic %q", queue, topicName)
	}
	return nil
}

// forget removes all that is stored of a queue, partition 0 first: without it there is no queue. The caller has the turn.
func (h *hub) forget(ctx context.Context, id queueID, partitions int) (found bool, err error) {
	t, err := h.findStateTopic()
	if err != nil || t == nil {
		return false, err
	}
	for n := range partitions {
		key := shareKey{id.name, id.topic, int32(n)}
		l, err := h.logIn(ctx, t, key)
		if err != nil {
			return found, err
		}
		found = found || l.state(key) != nil
		if err := l.remove(key); err != nil {
			return found, err
		}
	}
	return found, nil
}
