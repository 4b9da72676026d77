package topic

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
	"github.com/quirelog/quire/log/record"
)

// ErrInCallback: a call that waits for callbacks was made inside one, where it would wait for itself.
var ErrInCallback = errors.New("topic: not possible inside a producer's callback")

// Producer sends records in batches: one is filled while those before it are written and synced. Make one
// with [Engine.NewProducer]; it ends with Close, Shutdown, or its engine. All methods may be called from any
// goroutine.
//
// Every record that Send accepts has exactly one outcome, told to its callback, and counted by Close if there is
// nothing else to tell it to: it is stored, it is definitely not stored, or (an error that matches [ErrUncertain]) that is not known. Outcomes of one
// partition come in the order of its Sends, each callback after the one before it has returned, on a
// goroutine of the producer that holds no lock and is one of a few, however many partitions there are: about a hundred
// callbacks that do not return stop the producer. So a callback should be quick; it may Send (which does not
// wait there for memory: it may overdraw the buffer by as much as its size) and it may Close. Flush,
// Shutdown and SendSync inside a callback are [ErrInCallback]. A panic in a callback is logged and ends that
// callback only.
type Producer struct {
	eng     *Engine
	cfg     *producerConfig
	memory  *budget
	buffers *bufferPool
	routes  atomic.Pointer[map[string]*route] // by topic; replaced under mu

	closed    atomic.Bool   // no more records come in
	aborting  chan struct{} // closed when what is queued is to fail
	life      context.Context
	end       context.CancelCauseFunc // gives up what waits for the disk
	firing    atomic.Int64            // callbacks that run now
	workers   workers
	senders   *senderPool
	late      *senderPool // tells outcomes that timeouts have given, whatever the senders are stuck in
	later     delayedSends
	lingering lingering

	lost losses

	mu         sync.Mutex
	aborted    bool
	lanes      []*lane // all that ever took a record and may have some left
	spare      []*batch
	identity   int64 // producer id, -1 until the first batch needs one
	unregister func()
}

// NewProducer makes a producer. The error reports every fault of the options at once and matches ErrInvalid;
// ErrClosed and ErrReadOnly are the engine's.
func (e *Engine) NewProducer(opts ...ProducerOption) (*Producer, error) {
	cfg, err := newProducerConfig(opts)
	if err != nil {
		return nil, err
	}
	if e.readOnly {
		return nil, ErrReadOnly
	}
	p := &Producer{eng: e, cfg: cfg, memory: newBudget(cfg.bufferMemory), buffers: newBufferPool(cfg.batchSize, cfg.bufferMemory/4),
		aborting: make(chan struct{}), identity: record.NoProducer}
	p.senders, p.late = newSenderPool(p), newSenderPool(p)
	p.routes.Store(&map[string]*route{})
	p.life, p.end = context.WithCancelCause(context.Background())
	unregister, err := e.register(p)
	if err != nil {
		p.end(err)
		return nil, err
	}
	p.mu.Lock()
	p.unregister = unregister
	p.mu.Unlock()
	return p, nil
}

// Send queues a record for its topic and returns; it waits only when the buffer memory is used up, for at
// most [MaxBlock] and while ctx lasts. The record's bytes are copied: they are the caller's again when Send
// returns. cb, if not nil, is told the outcome later; after an error from Send it is not called.
//
// Of the options only [DeliverAt] and [DeliverAfter] are possible, others are ErrInvalid: the record is stored until then, and its outcome, told
// apart from those of other records, is a position for [Topic.Cancel].
//
// Errors: [ErrClosed], [ErrNotFound] (topics are not created by sending), [ErrTooLarge] (above
// [MaxRequestSize] or the whole buffer), [ErrBufferFull], [ErrInvalid], the context's cause.
func (p *Producer) Send(ctx context.Context, topic string, rec Record, cb func(Position, error), opts ...AppendOption) error {
	if p.eng == nil {
		return unmade("Producer")
	}
	var partition int32
	var err error
	switch due, fault := delayOf(opts); {
	case fault != nil:
		partition, err = AnyPartition, fault
	case due.IsZero():
		partition, err = p.send(ctx, topic, rec, cb)
	default:
		partition, err = p.sendLater(ctx, topic, rec, cb, due)
	}
	if err != nil && len(p.cfg.interceptors) > 0 {
		p.onAck(Position{Topic: topic, Partition: partition, Offset: -1, Epoch: -1}, err)
	}
	return err
}

func (p *Producer) send(ctx context.Context, topic string, rec Record, cb func(Position, error)) (int32, error) {
	if p.closed.Load() {
		return AnyPartition, ErrClosed
	}
	if ctx.Err() != nil {
		return AnyPartition, bounded.Cause(ctx)
	}
	rec.Topic = topic
	if len(p.cfg.interceptors) > 0 {
		rec = p.onSend(topic, rec)
	}
	now := time.Now()
	var enc record.Record
	rec.stored(&enc, now)
	bound := record.RecordSizeBound(&enc) + record.HeaderSize
	if bound > p.cfg.maxRequestSize || int64(bound) > p.cfg.bufferMemory {
		return AnyPartition, p.tooLarge(topic, bound)
	}
	for {
		r, err := p.route(topic)
		if err != nil {
			return AnyPartition, err
		}
		l, loose, err := r.choose(rec, bound)
		if err != nil {
			return AnyPartition, err
		}
		at, err := l.add(ctx, &enc, bound, now, cb)
		if err == errRetired {
			continue // the topic went away under this route: look again
		}
		if err == nil && loose {
			r.noteLoose(at)
		}
		return l.id, err
	}
}

func (p *Producer) tooLarge(topic string, bound int) error {
	limit := min(int64(p.cfg.maxRequestSize), p.cfg.bufferMemory)
	return fmt.Errorf("topic: %s: record of up to %d bytes, limit %d: %w", topic, bound, limit, ErrTooLarge)
}

// SendSync is Send and waits for the outcome. When ctx ends while it waits, the error matches
// [ErrUncertain] and the context's cause: the record is still on its way.
func (p *Producer) SendSync(ctx context.Context, topic string, rec Record, opts ...AppendOption) (Position, error) {
	none := Position{Topic: topic, Partition: AnyPartition, Offset: -1, Epoch: -1}
	if p.inCallback() {
		return none, ErrInCallback
	}
	type outcome struct {
		pos Position
		err error
	}
	done := make(chan outcome, 1)
	err := p.Send(ctx, topic, rec, func(pos Position, err error) { done <- outcome{pos, err} }, opts...)
	if err != nil {
		return none, err
	}
	select {
	case o := <-done:
		return o.pos, o.err
	case <-ctx.Done():
		return none, fmt.Errorf("%w: %w", ErrUncertain, bounded.Cause(ctx))
	}
}

// Flush sends what lingers and waits until everything sent before it has its outcome and the callbacks have
// run, or until ctx ends, which is its only error beside [ErrInCallback]. Outcomes are not errors of Flush;
// those of records that had nothing to tell them to are errors of Close.
func (p *Producer) Flush(ctx context.Context) error {
	if p.eng == nil {
		return unmade("Producer")
	}
	if p.inCallback() {
		return ErrInCallback
	}
	type target struct {
		l    *lane
		mark int64
	}
	var targets []target
	for _, l := range p.everyLane() {
		if mark := l.press(); l.done.Load() < mark {
			targets = append(targets, target{l, mark})
		}
	}
	for _, t := range targets {
		if err := t.l.done.Wait(ctx, t.mark); err != nil {
			return err
		}
	}
	return p.later.flush(ctx)
}

func (p *Producer) isAborting() bool {
	select {
	case <-p.aborting:
		return true
	default:
		return false
	}
}

func (p *Producer) everyLane() []*lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*lane(nil), p.lanes...)
}

// route finds the way to a topic.
func (p *Producer) route(topic string) (*route, error) {
	if r := (*p.routes.Load())[topic]; r != nil {
		return r, nil
	}
	t, err := p.eng.lookup(topic)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := *p.routes.Load()
	if r := old[topic]; r != nil && r.topic == t {
		return r, nil
	}
	r := newRoute(p, t)
	fresh := maps.Clone(old)
	fresh[topic] = r
	p.routes.Store(&fresh)
	return r, nil
}

// topicDeleted is the engine's word that a topic is gone: what was accepted for it fails, and nothing of it is kept.
func (p *Producer) topicDeleted(t *Topic) {
	if r := (*p.routes.Load())[t.name]; r != nil && r.topic == t {
		p.retire(r)
	}
}

// retire forgets a route whose topic is gone. Its lanes take no more records, and what lingers in them fails; a Send that comes now looks
// the topic up again and finds either nothing or a new topic of the same name.
func (p *Producer) retire(r *route) {
	if r.retired.Swap(true) {
		return
	}
	p.mu.Lock()
	old := *p.routes.Load()
	if old[r.name] == r {
		fresh := maps.Clone(old)
		delete(fresh, r.name)
		p.routes.Store(&fresh)
	}
	lanes := slices.Clone(p.lanes)
	p.mu.Unlock()
	// A lane's lock comes before the producer's, so the lanes are asked in between.
	spent := make(map[*lane]bool)
	for _, l := range lanes {
		if l.route == r {
			l.refuse(errRetired)
			l.press()
		}
		if l.spent() {
			spent[l] = true
		}
	}
	p.mu.Lock()
	p.lanes = slices.DeleteFunc(p.lanes, func(l *lane) bool { return spent[l] })
	p.mu.Unlock()
}

// producerID is the id all of the producer's batches carry, asked from the engine at first use.
func (p *Producer) producerID() (int64, error) {
	p.mu.Lock()
	id := p.identity
	p.mu.Unlock()
	if id != record.NoProducer {
		return id, nil
	}
	id, err := p.eng.nextProducerID()
	if err != nil {
		return id, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.identity == record.NoProducer {
		p.identity = id // two lanes may ask at once: one id of the block stays unused
	}
	return p.identity, nil
}
