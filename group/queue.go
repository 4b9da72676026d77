package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quirelog/quire/topic"
)

// Queue makes a topic a work queue: each record goes to one of those who take part, who says when it is done. Records stay in the topic,
// for others to read, until retention lets them go; what is done is kept in [ShareStateTopic], with Kafka's share groups' rules and records
// (KIP-932). All methods may be called at once from any goroutine. It ends with Close or with its engine, and costs nothing while nobody
// waits for a record: it has no goroutine of its own.
//
// What it promises:
//
//	Q1  A record is delivered to one at a time, while the lease lasts, and at most MaxAttempts times, crashes included: a delivery is
//	    counted on disk before it is told. (A handler of Run that gives up because it is told to stop does not count.)
//	Q2  What was acknowledged, and known to be (the loop went on, Flush or Close returned nil), is not delivered again, crashes included.
//	    What was acknowledged and not known to be may be delivered again after a crash.
//	Q3  Every record ends acknowledged, or dead: rejected, or without an attempt left. With DeadLetter a dead one is on disk among the dead
//	    letters before it is done; a crash between the two leaves it there twice, with the same topic, partition and offset.
//	Q4  With OrderByKey the records of a key in one partition are delivered in their order, one at a time, crashes included.
type Queue struct {
	hub   *hub
	id    queueID
	topic *topic.Topic
	dead  *topic.Topic // nil without dead letters
	cfg   *queueConfig
	feed  *topic.Consumer
	parts []*stall

	mu       sync.Mutex
	line     *lineup
	opened   bool
	end      error // why it is over
	fetching bool
	crowded  bool // a window was full at the last fetch
	full     int  // how many were
	kept     int  // bytes of records held in memory
	stats    QueueMetrics

	waiters []*waiter
	watcher *waiter   // the one that watches the partitions and the time
	armed   time.Time // until when it sleeps, zero if without a limit
}

// stall is one partition of a queue: its machine, and what of it is still to be stored.
type stall struct {
	q     *Queue
	part  *topic.Partition
	share *share
	log   *stateLog
	key   shareKey
	state *shareState

	// guarded by the queue's mutex
	full    bool // its window was full at the last fetch, and the feed passes it over
	staged  map[int64]stateRun
	stories map[int64]story
	seq     uint64 // counts what was staged
	stored  uint64 // up to where it is durable
	safe    int64  // the start that is durable
	sealed  bool   // nothing is stored any more
}

// OpenQueue opens the queue of a topic, and creates the topic, and the queue, if they are missing. A queue is open once in an engine:
// another is ErrExists; Deliveries and Run may be called as often as one likes. What is delivered begins with the records that are not
// finished: those that were held when the engine stopped are delivered again.
//
// Errors: those of [topic.Engine.Topic]; one that matches ErrInvalid for all faulty options at once; one that matches [ErrCorrupt] when
// the stored state cannot be read.
func OpenQueue(ctx context.Context, eng *topic.Engine, topicName string, opts ...QueueOption) (*Queue, error) {
	cfg, err := newQueueConfig(topicName, opts)
	if err != nil {
		return nil, err
	}
	h, err := hubOf(eng)
	if err != nil {
		return nil, err
	}
	t, err := eng.Topic(ctx, topicName)
	if err != nil {
		return nil, err
	}
	q := &Queue{hub: h, id: queueID{t.ID(), cfg.name}, topic: t, cfg: cfg, line: newLineup()}
	q.line.limits = cfg.limits
	if cfg.dead != "" {
		if q.dead, err = eng.Topic(ctx, cfg.dead); err != nil {
			return nil, err
		}
	}
	if err := h.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer h.endTurn()
	if err := h.enter(q); err != nil {
		return nil, err
	}
	if err := q.open(ctx); err != nil {
		h.leave(q)
		return nil, fmt.Errorf("group: open queue %q: %w", cfg.name, err)
	}
	return q, nil
}

// open finds the state of every partition and puts the feed where it begins.
func (q *Queue) open(ctx context.Context) (err error) {
	if q.feed, err = q.hub.eng.NewConsumer(topic.MaxWait(0), topic.MaxPollRecords(feedRecords), topic.OnOutOfRange(topic.Earliest)); err != nil {
		return err
	}
	assigned := make([]topic.TopicPartition, q.topic.Partitions())
	for n := range assigned {
		s, err := q.openStall(ctx, int32(n))
		if err != nil {
			return errors.Join(err, q.feed.Close())
		}
		q.parts = append(q.parts, s)
		assigned[n] = s.at()
	}
	if err := q.feed.Assign(assigned...); err != nil {
		return err
	}
	for _, s := range q.parts {
		if err := q.feed.Seek(s.at(), s.share.end); err != nil {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.opened = true
	return nil
}

func (s *stall) at() topic.TopicPartition {
	return topic.TopicPartition{Topic: s.q.topic.Name(), Partition: s.part.ID()}
}

func (q *Queue) openStall(ctx context.Context, n int32) (*stall, error) {
	part, err := q.topic.Partition(n)
	if err != nil {
		return nil, err
	}
	s := &stall{q: q, part: part, key: shareKey{q.id.name, q.id.topic, n}, staged: map[int64]stateRun{}, stories: map[int64]story{}}
	if s.log, err = q.hub.stateLog(ctx, s.key); err != nil {
		return nil, err
	}
	if s.state = s.log.state(s.key); s.state == nil {
		start, err := q.beginning(ctx, part)
		if err != nil {
			return nil, err
		}
		if s.state, err = s.log.begin(s.key, start); err != nil {
			return nil, err
		}
	}
	s.share = newShare(int16(q.cfg.attempts), s.state)
	s.safe = s.share.start
	return s, nil
}

// beginning is where a new queue begins in a partition.
func (q *Queue) beginning(ctx context.Context, p *topic.Partition) (int64, error) {
	switch {
	case q.cfg.start == topic.Earliest:
		return p.Start()
	case q.cfg.start > 0:
		pos, _, ok, err := p.OffsetForTime(ctx, time.Now().Add(-time.Duration(q.cfg.start)))
		if err != nil || ok {
			return pos.Offset, err
		}
	}
	return p.High()
}

// Name is the queue's name.
func (q *Queue) Name() string { return q.id.name }

// Topic is the topic that the queue takes its records from.
func (q *Queue) Topic() *topic.Topic { return q.topic }

// stalls is the partitions that it knows. The list does not change: partitions that come later make a new one.
func (q *Queue) stalls() []*stall {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.parts
}

// Flush makes everything acknowledged, released and rejected so far durable, and says whether it is.
func (q *Queue) Flush() error {
	var faults []error
	for _, s := range q.stalls() {
		q.mu.Lock()
		upTo := s.seq
		q.mu.Unlock()
		faults = append(faults, s.commit(upTo))
	}
	return errors.Join(faults...)
}

// Close ends the queue: loops and Runs end with ErrClosed, what was acknowledged is made durable, what is held is given back; later answers
// are refused. The handlers of a Run are not waited for. Close again does nothing. Its error says what may be delivered again though it was
// acknowledged.
func (q *Queue) Close() error { return q.close(topic.ErrClosed) }

func (q *Queue) close(why error) error {
	q.mu.Lock()
	if q.end != nil {
		q.mu.Unlock()
		return nil
	}
	q.end = why
	for _, w := range q.waiters {
		w.wake()
	}
	q.waiters = nil
	q.mu.Unlock()
	err := errors.Join(q.Flush(), q.feed.Close())
	for _, s := range q.stalls() {
		s.seal()
	}
	q.hub.leave(q)
	return err
}
