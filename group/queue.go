package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/internal/ready"
	"github.com/quirelog/quire/topic"
)

// Queue makes a topic a work queue: each record goes to one of those who take part, who says when it is done. Records stay in the topic,
// for others to read, until retention lets them go (see [topic.RetainUntilAcked]); what is done is kept in [ShareStateTopic], with Kafka's
// share groups' rules and records (KIP-932). All methods may be called at once from any goroutine. It costs nothing while nobody waits for a
// record: it has no goroutine of its own.
//
// It ends with Close or with its engine: topic.ErrClosed; with [DeleteQueue]: [ErrGroupNotFound]; with the deletion of its topic:
// topic.ErrNotFound, and a topic made again under the name begins without anything of it. Partitions that its topic gets are read from their
// start.
//
// What it promises:
//
//	Q1  A record is delivered to one at a time, while the lease lasts, and at most MaxAttempts times, crashes included: a delivery is
//	    counted on disk before it is told. (A handler of Run that gives up because it is told to stop does not count.)
//	Q2  What was acknowledged, and known to be (the loop went on, Flush or Close returned nil), is not delivered again, crashes included.
//	    What was acknowledged and not known to be may be delivered again after a crash.
//	Q3  Every record ends acknowledged, or dead: rejected, or without an attempt left. With DeadLetter a dead one is on disk among the dead
//	    letters before it is done, or parked until it can be; a crash between the two leaves it there twice, with the same topic, partition
//	    and offset.
//	Q4  With OrderByKey the records of a key in one partition are delivered in their order, one at a time, crashes included.
//	Q5  Limits hold for all who take part in this engine together. Buckets are full when a queue is opened.
//	Q6  A queue that is deleted leaves nothing, and one is wholly there or not at all, crashes included.
//	Q7  A record that ends the process does not use up the attempts of those that are in flight beside it: what has lost half of its attempts
//	    that way is delivered alone, with no other record of the queue in flight but those that have been for longer than a Lease.
type Queue struct {
	hub   *hub
	id    queueID
	topic *topic.Topic
	cfg   *queueConfig
	feed  *topic.Consumer
	parts []*stall

	mu     sync.Mutex
	line   *lineup
	opened bool
	grown  bool  // the topic has partitions that parts has not
	end    error // why it is over
	rota   rota  // who waits for a record
	full   int   // how many windows were full at the last fetch

	news     *ready.List[*stall] // those whose partitions have changed
	touched  []*stall            // those whose windows may have become full, or full no more
	unstored []*stall            // those with something staged

	kept  int // bytes of records held in memory
	stats QueueMetrics

	room    roomWait
	loops   map[*queueLoop]struct{} // that run
	closing bool                    // by Close, Shutdown or Drain: what ends for that ends in good order

	redriving atomic.Bool // a Redrive is under way
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
	touched bool
	dirty   bool // it is among the unstored
	mark    ready.Mark[*stall]
	unwatch func() // nil where nothing is told
	staged  map[int64]stateRun
	stories map[int64]story
	seq     uint64 // counts what was staged
	stored  uint64 // up to where it is durable
	safe    int64  // the start that is durable
	sealed  bool   // nothing is stored any more
	next    *round // those wait for it who came since the last one began
	storing bool   // rounds are under way
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
	q := &Queue{hub: h, id: queueID{t.ID(), cfg.name}, topic: t, cfg: cfg, line: newLineup(), loops: map[*queueLoop]struct{}{}}
	q.news = ready.New[*stall]()
	q.line.limits, q.line.quiet = cfg.limits, cfg.lease
	q.room.eng, q.room.loop, q.room.rests = eng, loopName{"queue", cfg.name}, defaultRests
	if cfg.dead != "" {
		if _, err = q.deadLetters(ctx); err != nil {
			return nil, err
		}
	}
	return inTurn(ctx, h, func() (*Queue, error) { return q.entered(ctx) }, func(q *Queue, err error) {
		if err == nil {
			_ = q.Close()
		}
	})
}

// entered is the queue when it is open. Its caller has the turn.
func (q *Queue) entered(ctx context.Context) (*Queue, error) {
	if err := q.hub.enter(q); err != nil {
		return nil, err
	}
	if err := q.open(ctx); err != nil {
		q.hub.leave(q)
		return nil, fmt.Errorf("group: open queue %q: %w", q.id.name, err)
	}
	q.mayHaveGrown() // while it was opened
	return q, nil
}

// open finds the state of every partition and puts the feed where it begins. A queue exists when partition 0 has a state: a new one stores
// that last, and a deleted one forgets it first. Partitions that an existing one has no state of came later, and are read from their start.
func (q *Queue) open(ctx context.Context) (err error) {
	if q.feed, err = q.hub.eng.NewConsumer(topic.MaxWait(0), topic.MaxPollRecords(feedRecords), topic.OnOutOfRange(topic.Earliest)); err != nil {
		return err
	}
	parts := make([]*stall, q.topic.Partitions())
	first, err := q.hub.stateLog(ctx, q.key(0))
	if err != nil {
		return errors.Join(err, q.feed.Close())
	}
	exists := first.state(q.key(0)) != nil
	for n := len(parts) - 1; n >= 0; n-- {
		if parts[n], err = q.openStall(ctx, int32(n), exists); err != nil {
			return errors.Join(err, q.feed.Close())
		}
	}
	if err := q.attend(parts, 0); err != nil {
		return errors.Join(err, q.feed.Close())
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.opened = true
	q.takeInLocked(parts)
	return nil
}

// takeInLocked goes over to a longer list of partitions.
func (q *Queue) takeInLocked(parts []*stall) {
	for _, s := range parts[len(q.parts):] {
		q.news.Init(&s.mark, s)
		q.news.Add(&s.mark)
		q.touchLocked(s)
		s.unwatch, _ = s.part.Watch(s.mark.Changed) // of one that has ended the reading says why
	}
	q.parts = parts
}

// attend has the feed read partitions, those from the given one on for the first time.
func (q *Queue) attend(parts []*stall, from int) error {
	assigned := make([]topic.TopicPartition, len(parts))
	for n, s := range parts {
		assigned[n] = s.at()
	}
	if err := q.feed.Assign(assigned...); err != nil {
		return err
	}
	for _, s := range parts[from:] {
		if err := q.feed.Seek(s.at(), s.share.end); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) key(partition int32) shareKey { return shareKey{q.id.name, q.id.topic, partition} }

func (s *stall) at() topic.TopicPartition {
	return topic.TopicPartition{Topic: s.q.topic.Name(), Partition: s.part.ID()}
}

// openStall opens a partition of a queue that exists, or is made now.
func (q *Queue) openStall(ctx context.Context, n int32, exists bool) (*stall, error) {
	part, err := q.topic.Partition(n)
	if err != nil {
		return nil, err
	}
	if err := warm(ctx, part); err != nil && ctx.Err() != nil { // what else is wrong with it the reading says
		return nil, err
	}
	s := &stall{q: q, part: part, key: q.key(n), staged: map[int64]stateRun{}, stories: map[int64]story{}}
	if s.log, err = q.hub.stateLog(ctx, s.key); err != nil {
		return nil, err
	}
	if s.state = s.log.state(s.key); s.state == nil || !exists {
		start, err := q.beginning(ctx, part, exists)
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

// beginning is where a new queue begins in a partition, or one that exists in a new partition.
func (q *Queue) beginning(ctx context.Context, p *topic.Partition, exists bool) (int64, error) {
	switch {
	case exists || q.cfg.start == topic.Earliest:
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
func (q *Queue) Flush() error { return q.flush(context.Background()) }

func (q *Queue) flush(ctx context.Context) error {
	if q.hub == nil {
		return unmade("Queue")
	}
	var faults []error
	for _, d := range q.debts() {
		faults = append(faults, d.stall.commit(ctx, d.seq))
	}
	return errors.Join(faults...)
}

// debts are what is staged.
func (q *Queue) debts() (list []debt) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unstored = slices.DeleteFunc(q.unstored, func(s *stall) bool {
		if s.dirty = s.stored < s.seq; s.dirty {
			list = append(list, debt{s, s.seq})
		}
		return !s.dirty
	})
	return list
}

// Close ends the queue at once: loops and Runs end, what was acknowledged is made durable, what is held is given back; later answers are
// refused. The contexts of a Run's handlers end, and they are not waited for: what they do is done again. [Queue.Shutdown] and [Queue.Drain]
// wait. Close again does nothing. Its error says what may be delivered again though it was acknowledged.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	return q.close(context.Background(), topic.ErrClosed)
}

// close ends the queue, and waits until what it was told is durable, or a while after ctx has ended: then that goes on in the background,
// and the queue cannot be opened before its end.
func (q *Queue) close(ctx context.Context, why error) error {
	if q.hub == nil {
		return unmade("Queue")
	}
	if !q.finish(why) {
		return nil
	}
	within, stop := withGrace(ctx, endGrace)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- errors.Join(q.Flush(), q.quit()) }()
	select {
	case err := <-done:
		return err
	case <-within.Done():
		return q.uncertain(ctx)
	}
}

// flushAtEnd is what a loop that ends makes durable, if it can within a while after ctx has ended; what it cannot stays staged.
func (q *Queue) flushAtEnd(ctx context.Context) error {
	within, stop := withGrace(ctx, endGrace)
	defer stop()
	err := q.flush(within)
	if within.Err() != nil {
		return q.uncertain(ctx)
	}
	return err
}

// uncertain is what a caller is told that leaves before the queue has stored all answers.
func (q *Queue) uncertain(ctx context.Context) error {
	return fmt.Errorf("%w: answers of queue %q: %w", topic.ErrUncertain, q.id.name, bounded.Cause(ctx))
}

// finish ends the queue for everybody; false when it had ended. It does not wait.
func (q *Queue) finish(why error) bool {
	q.mu.Lock()
	if q.end != nil {
		q.mu.Unlock()
		return false
	}
	q.end = why
	loops := slices.Collect(maps.Keys(q.loops))
	q.mu.Unlock()
	for _, r := range loops {
		r.stop(why)
	}
	return true
}

// quit gives up what a queue that has ended holds.
func (q *Queue) quit() error {
	var err error
	if q.feed != nil { // a queue may end while it is opened
		err = q.feed.Close()
	}
	for _, s := range q.stalls() {
		if s.unwatch != nil {
			s.unwatch()
		}
		s.seal()
	}
	q.hub.leave(q)
	return err
}
