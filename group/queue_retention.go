package group

import (
	"context"
	"errors"

	"github.com/quirelog/quire/topic"
)

var errBusy = errors.New("group: a queue is being opened or closed")

// Acknowledged tells retention what a queue has finished of a partition: records of topics that are kept until groups have acknowledged them
// ([topic.RetainUntilAcked]) go below that. What it tells is durable. A queue that is not open is read from its log; while another queue is
// opened or closed that has to wait for the next time.
func (h *hub) Acknowledged(p *topic.Partition, name string) (offset int64, known bool, err error) {
	id := queueID{p.Topic().ID(), name}
	if q := h.find(id); q != nil {
		return q.finishedBelow(p.ID()), true, nil
	}
	select {
	case h.turn <- struct{}{}:
	default: // whoever has the turn may wait for the very partition that is looked after
		return 0, false, errBusy
	}
	defer h.endTurn()
	if q := h.find(id); q != nil {
		return q.finishedBelow(p.ID()), true, nil
	}
	t, err := h.findStateTopic()
	if err != nil || t == nil {
		return 0, false, err
	}
	ctx := context.Background()
	first, err := h.state(ctx, t, shareKey{name, id.topic, 0})
	if err != nil || first == nil {
		return 0, false, err
	}
	s, err := h.state(ctx, t, shareKey{name, id.topic, p.ID()})
	if err != nil || s == nil {
		return 0, err == nil, err // the queue has not seen this partition yet
	}
	return s.begins(), true, nil
}

// finishedBelow is the durable start of a partition; 0 for one that the topic got after the queue was opened, or while it is opened.
func (q *Queue) finishedBelow(partition int32) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.opened || int(partition) >= len(q.parts) {
		return 0
	}
	return q.parts[partition].safe
}

// Acknowledged tells retention what a consumer group has committed for a partition; nothing is finished where it has committed nothing.
func (l lodger) Acknowledged(p *topic.Partition, name string) (offset int64, known bool, err error) {
	list, err := l.c.Offsets(context.Background(), name)
	if err != nil || len(list) == 0 {
		return 0, false, err
	}
	at := topic.TopicPartition{Topic: p.Topic().Name(), Partition: p.ID()}
	for _, o := range list {
		if o.TopicPartition == at && o.Err == nil {
			return o.Offset, true, nil
		}
	}
	return 0, true, nil
}
