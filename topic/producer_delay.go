package topic

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/watermark"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// delayedSends is what a producer is to store until it is due. One goroutine at a time stores what has gathered: one
// batch and one fsync a level for all of it.
type delayedSends struct {
	mu      sync.Mutex
	queue   []delayedSend
	telling []*delayedGroup // stored, or failed, and not yet told to all callbacks
	running bool
	refused bool  // no more come in
	mark    int64 // sends so far
	done    watermark.Mark
	tally   tally
}

type delayedSend struct {
	delayedRecord
	level uint8
	cost  int64 // of the producer's memory
	cb    func(Position, error)
}

// delayedGroup is the outcomes of one batch.
type delayedGroup struct {
	lane  lane // as callbacks are told by: a name, a partition and a producer
	batch batch
	cost  int64
	count int64
}

// sendLater is send for a record with a time of delivery.
func (p *Producer) sendLater(ctx context.Context, topic string, rec Record, cb func(Position, error), due time.Time) (int32, error) {
	if p.closed.Load() {
		return AnyPartition, ErrClosed
	}
	rec.Topic = topic
	if len(p.cfg.interceptors) > 0 {
		rec = p.onSend(topic, rec)
	}
	at, err := dueMillis(due)
	if err != nil {
		return AnyPartition, err
	}
	var enc record.Record
	rec.stored(&enc, time.Now())
	bound := record.RecordSizeBound(&enc) + record.HeaderSize
	if bound > p.cfg.maxRequestSize || int64(bound) > p.cfg.bufferMemory {
		return AnyPartition, p.tooLarge(topic, bound)
	}
	r, err := p.route(topic)
	if err != nil {
		return AnyPartition, err
	}
	l, _, err := r.choose(rec, bound)
	if err != nil {
		return AnyPartition, err
	}
	if !p.memory.try(int64(bound)) {
		if err := p.awaitMemory(ctx, int64(bound)); err != nil {
			return l.id, err
		}
	}
	s := delayedSend{delayedRecord{l.part, rec.clone(), at}, levelOf(time.Until(due)), int64(bound), cb}
	if !p.later.add(p, s) {
		p.memory.release(int64(bound))
		return l.id, ErrClosed
	}
	return l.id, nil
}

// clone copies the bytes of a record.
func (r *Record) clone() Record {
	c := *r
	c.Key, c.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	c.Headers = slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = slices.Clone(c.Headers[i].Value)
	}
	return c
}

// add queues a send; false once the producer takes no more.
func (q *delayedSends) add(p *Producer, s delayedSend) bool {
	q.mu.Lock()
	if q.refused {
		q.mu.Unlock()
		return false
	}
	q.queue = append(q.queue, s)
	q.mark++
	start := !q.running
	if start {
		q.running = true
		p.workers.join() // counts from here on, as the duties of a lane do (its L5)
	}
	q.mu.Unlock()
	if start {
		p.start(p.storeLater)
	}
	return true
}

func (q *delayedSends) refuse() {
	q.mu.Lock()
	q.refused = true
	q.mu.Unlock()
}

// pending is how many sends have no outcome yet.
func (q *delayedSends) pending() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mark - q.tally.told.Load()
}

// storeLater is the goroutine's work. A callback that ends it (runtime.Goexit) ends that callback only.
func (p *Producer) storeLater() {
	finished := false
	defer func() {
		if !finished {
			p.workers.join()
			p.start(p.storeLater)
		}
		p.workers.leave()
	}()
	for {
		p.tellLater()
		list := p.later.take()
		if list == nil {
			finished = true
			return
		}
		for level := range uint8(delayLevels) {
			p.storeLevel(level, list)
		}
	}
}

// take gives what has gathered, or nil, which ends the duty.
func (q *delayedSends) take() []delayedSend {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.queue
	q.queue = nil
	q.running = len(list) > 0
	return list
}

// delayedBatch bounds a batch of delayed sends. When it is due a message is read alone, which is the slower the larger its
// batch is.
const delayedBatch = 1 << 15

// storeLevel stores those of a level, in batches of a bounded size that share one wait for the disk.
func (p *Producer) storeLevel(level uint8, list []delayedSend) {
	var groups []*delayedGroup
	var batches [][]delayedRecord
	for _, s := range list {
		if s.level != level {
			continue
		}
		last := len(groups) - 1
		if last < 0 || groups[last].cost+s.cost > delayedBatch {
			groups, batches = append(groups, new(delayedGroup)), append(batches, nil)
			last++
		}
		g := groups[last]
		batches[last] = append(batches[last], s.delayedRecord)
		g.batch.calls = append(g.batch.calls, s.cb)
		g.cost += s.cost
		g.count++
	}
	if len(groups) == 0 {
		return
	}
	positions, faults := make([]Position, len(groups)), make([]error, len(groups))
	if p.isAborting() {
		for i := range faults {
			faults[i] = ErrClosed
		}
	} else {
		ctx, cancel := context.WithTimeoutCause(p.life, p.cfg.deliveryTimeout, ErrDeliveryTimeout)
		positions, faults = p.eng.delays.storeBatches(ctx, level, batches)
		cancel()
	}
	for i, g := range groups {
		g.lane.p, g.lane.route, g.lane.id, g.lane.tally = p, &route{name: DelayedTopic}, levelPart(level), &p.later.tally
		g.batch.err, g.batch.appended = faults[i], log.Appended{Base: positions[i].Offset, Epoch: positions[i].Epoch}
	}
	p.later.mu.Lock()
	defer p.later.mu.Unlock()
	p.later.telling = append(p.later.telling, groups...)
}

// tellLater calls the callbacks.
func (p *Producer) tellLater() {
	for g := p.later.head(); g != nil; g = p.later.head() {
		if g.cost > 0 {
			p.memory.release(g.cost)
			g.cost = 0
		}
		p.tellGroup(g)
		p.later.mu.Lock()
		p.later.telling = p.later.telling[1:]
		p.later.mu.Unlock()
		p.later.done.Store(p.later.done.Load() + g.count)
	}
}

func (p *Producer) tellGroup(g *delayedGroup) {
	p.firing.Add(1)
	defer p.firing.Add(-1)
	for g.batch.told < len(g.batch.calls) {
		g.lane.tell(&g.batch)
	}
}

func (q *delayedSends) head() *delayedGroup {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.telling) == 0 {
		return nil
	}
	return q.telling[0]
}

// flush waits until everything sent before has its outcome.
func (q *delayedSends) flush(ctx context.Context) error {
	q.mu.Lock()
	mark := q.mark
	q.mu.Unlock()
	return q.done.Wait(ctx, mark)
}
