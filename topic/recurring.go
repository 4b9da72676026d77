package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/timingwheel"
)

// RecurringTopic is the internal topic of recurring messages. It is made by the first one. Its records are keyed by name;
// the value is a JSON object (recurringState), or null once the message was removed; the last record of a name counts. All of
// them are in memory while the engine is open.
const RecurringTopic = "__recurring"

// Recurring is a message that is appended again and again.
type Recurring struct {
	Name    string
	Record  Record // Topic and Partition say where it is appended; it has no Offset (-1) and no Time of its own
	When    Recurrence
	Since   time.Time // when it was set up
	Next    time.Time // when it is appended next; zero: never again
	Firings int64     // appends so far
	CatchUp bool
}

// RecurOption is a choice for [Topic.Recur].
type RecurOption func(*recurringState)

// CatchUp makes up for all firings that were missed, because no engine was open or the partition refused
// appends. By default only the last one of them is appended.
func CatchUp() RecurOption { return func(s *recurringState) { s.CatchUp = true } }

// RecurIn names the partition; by default it is chosen by key.
func RecurIn(partition int32) RecurOption { return func(s *recurringState) { s.Partition = partition } }

// recurringFormat is that of a state with Fired; others are written as delayFormat.
const recurringFormat = 2

// recurringState is what is stored of a recurring message. A firing is stored, durably, before it is appended: Firing is the
// newest one, numbered in the target log by Producer and Firings-1, so that after a crash the log tells whether
// it is there.
type recurringState struct {
	Format    int      `json:"format"`
	Topic     ID       `json:"topic"`
	TopicName string   `json:"topicName"`
	Partition int32    `json:"partition"`
	When      string   `json:"when"`
	CatchUp   bool     `json:"catchUp,omitempty"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers,omitempty"`
	Since     int64    `json:"since"` // ms since the epoch, as all times here
	Next      int64    `json:"next"`  // 0: never again
	Producer  int64    `json:"producer"`
	Firings   int64    `json:"firings"` // with the newest one
	Firing    *firing  `json:"firing,omitempty"`
	Run       int64    `json:"run,omitempty"` // due time of the first of the firings that led to the newest without a gap
	// Fired is runs of earlier due times that were appended: those to come when a clock that was ahead is put back. With it the format is 2.
	Fired []firedSpan `json:"fired,omitempty"`
}

// firing is the newest firing of a recurring message.
type firing struct {
	Due  int64 `json:"due"`
	From int64 `json:"from"` // end of the target log before it was appended
	// Settled: nothing more is to be done about it. That is noted after the append, without waiting for the disk.
	Settled bool `json:"settled,omitempty"`
}

// recurring is a recurring message in memory.
type recurring struct {
	name   string
	when   Recurrence
	state  recurringState
	open   bool      // the newest firing is not known to be in the target
	sure   bool      // and known not to be in it
	stale  bool      // it is settled, and that is not stored
	doubt  bool      // records of it may have been lost: firings that the state does not know of may be in the target
	tries  int       // failed appends of it
	retry  time.Time // not before
	unsure doubt     // while it is in doubt, or open and not sure
	gone   bool
}

// recurrences is an engine's recurring messages.
type recurrences struct {
	eng     *Engine
	timer   timingwheel.Timer
	opening chan struct{} // room for one token: whoever put it there may open, store, and change the table
	opened  atomic.Bool
	topic   *Topic
	looked  int64 // what the clock showed at the last look, in ms since the epoch; of who has the token

	mu      sync.Mutex // guards what follows
	table   map[string]*recurring
	held    map[string]struct{} // names of messages that this version cannot read: their records stay
	running bool
	stored  int64 // records since the log was written anew
}

func (c *recurrences) init(e *Engine) {
	c.eng, c.table, c.opening = e, map[string]*recurring{}, make(chan struct{}, 1)
	c.timer.Value, c.looked = c.wake, math.MaxInt64
}

// Recur appends the record to its partition each time the recurrence says, exactly once per firing, over any number of
// restarts, until it is removed by name. It is on disk at return. A record's time is that at which it was to be appended. Of
// firings that were missed the last is appended, or all of them with [CatchUp]. It follows a clock of the machine that is set, within
// five minutes: what was appended while that was ahead does not come again when its time comes.
//
// Setting up again what is there with the same content changes nothing, so a program may do it whenever it
// starts; with other content it replaces what was there. Names are the engine's: one that another topic uses is
// an ErrExists. Other errors: ErrInvalid (name, recurrence, one that never happens), and as in [Topic.Append].
func (t *Topic) Recur(ctx context.Context, name string, rec Record, when Recurrence, opts ...RecurOption) error {
	if t.eng == nil {
		return unmade("Topic")
	}
	c := &t.eng.recurring
	now := t.eng.wall()
	s := recurringState{Format: delayFormat, Topic: t.id, TopicName: t.name, Partition: AnyPartition, When: when.text, Since: now.UnixMilli()}
	if err := choice.Apply(&s, opts, ErrInvalid); err != nil {
		return err
	}
	s.Key, s.Value, s.Headers = rec.Key, rec.Value, rec.Headers
	if next := when.Next(now, now); next.IsZero() || name == "" || len(name) > maxNameLength {
		return errors.Join(fmt.Errorf("%w: recurring message %q, %s: a name and a time to come are needed", ErrInvalid, clip(name), when.text), when.fault)
	}
	p, err := t.choose(rec.Key, s.Partition)
	if err != nil {
		return err
	}
	s.Partition = p.id
	if err := c.take(ctx); err != nil {
		return err
	}
	lasting := context.WithoutCancel(ctx)
	rec = rec.clone() // the state may be written after the caller has left
	s.Key, s.Value, s.Headers = rec.Key, rec.Value, rec.Headers
	_, out, err := holding(ctx, c.eng, c.give, func() (struct{}, error) { return struct{}{}, c.set(lasting, name, when, s) })
	return unknown(out, err)
}

// set puts a message into the table. The caller holds the token.
func (c *recurrences) set(ctx context.Context, name string, when Recurrence, s recurringState) error {
	c.mu.Lock()
	old := c.table[name]
	c.mu.Unlock()
	if old != nil && old.state.Topic != s.Topic && !c.orphaned(old) {
		return fmt.Errorf("%w: recurring message %q of topic %q", ErrExists, name, old.state.TopicName)
	}
	if old != nil && old.state.same(&s) {
		return nil
	}
	start := time.UnixMilli(s.Since)
	s.Next = when.Next(start, start).UnixMilli()
	var err error
	if s.Producer, err = c.eng.nextProducerID(); err != nil {
		return err
	}
	if err := c.save(ctx, map[string]*recurringState{name: &s}); err != nil {
		return err
	}
	c.mu.Lock()
	if old != nil {
		old.gone = true
		old.unsure.clear()
	}
	c.table[name] = &recurring{name: name, when: when, state: s}
	delete(c.held, name)
	c.armLocked()
	c.mu.Unlock()
	return nil
}

// orphaned tells a message whose topic was deleted: its name is free.
func (c *recurrences) orphaned(r *recurring) bool {
	_, err := delayTarget{r.state.Topic, r.state.TopicName, r.state.Partition}.find(c.eng)
	return errors.Is(err, ErrNotFound)
}

// same tells whether two states say the same to whoever set them up.
func (s *recurringState) same(o *recurringState) bool {
	a, b := *s, *o
	for _, x := range []*recurringState{&a, &b} {
		x.Format, x.Since, x.Next, x.Producer, x.Firings, x.Firing, x.Run, x.Fired = 0, 0, 0, 0, 0, nil, 0, nil
	}
	aText, err := json.Marshal(&a)
	bText, err2 := json.Marshal(&b)
	return err == nil && err2 == nil && string(aText) == string(bText)
}

// StopRecurring removes a recurring message by name. It reports false when there is none of this topic. At return that
// is on disk; a firing that is under way comes to its end.
func (t *Topic) StopRecurring(ctx context.Context, name string) (bool, error) {
	if t.eng == nil {
		return false, unmade("Topic")
	}
	c := &t.eng.recurring
	if !c.exists() {
		return false, t.eng.usable(ctx)
	}
	if err := c.take(ctx); err != nil {
		return false, err
	}
	lasting := context.WithoutCancel(ctx)
	gone, out, err := holding(ctx, c.eng, c.give, func() (bool, error) { return c.remove(lasting, t, name) })
	return gone, unknown(out, err)
}

// remove takes a message from the table. The caller holds the token.
func (c *recurrences) remove(ctx context.Context, t *Topic, name string) (bool, error) {
	c.mu.Lock()
	r := c.table[name]
	c.mu.Unlock()
	if r == nil || r.state.Topic != t.id {
		return false, nil
	}
	if err := c.save(ctx, map[string]*recurringState{name: nil}); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.gone = true
	r.unsure.clear()
	delete(c.table, name)
	return true, nil
}

// Recurring is a loop over the recurring messages of the topic, by name. Each belongs to the caller. An error comes once, as
// the last pair.
func (t *Topic) Recurring(ctx context.Context) iter.Seq2[*Recurring, error] {
	return func(yield func(*Recurring, error) bool) {
		if t.eng == nil {
			yield(nil, unmade("Topic"))
			return
		}
		list, err := t.eng.recurring.list(ctx, t)
		for _, r := range list {
			if ctx.Err() != nil || !yield(r, nil) {
				return
			}
		}
		if err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

func (c *recurrences) list(ctx context.Context, t *Topic) ([]*Recurring, error) {
	if !c.exists() {
		return nil, t.eng.usable(ctx)
	}
	if err := c.take(ctx); err != nil {
		return nil, err
	}
	c.give()
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*Recurring
	for _, name := range slices.SortedFunc(maps.Keys(c.table), strings.Compare) {
		if r := c.table[name]; r.state.Topic == t.id {
			s := &r.state
			rec := Record{Topic: s.TopicName, Partition: s.Partition, Offset: -1, Key: s.Key, Value: s.Value, Headers: s.Headers}
			one := &Recurring{Name: name, Record: rec.clone(), When: r.when, Since: time.UnixMilli(s.Since), Firings: s.Firings, CatchUp: s.CatchUp}
			if s.Next > 0 {
				one.Next = time.UnixMilli(s.Next)
			}
			list = append(list, one)
		}
	}
	return list, nil
}

// weigh raises or clears the doubt about a message's partition. The caller holds the token.
func (c *recurrences) weigh(r *recurring) {
	if s := &r.state; r.doubt || r.open && !r.sure {
		r.unsure.raise(c.eng, delayTarget{s.Topic, s.TopicName, s.Partition})
		return
	}
	r.unsure.clear()
}

// exists tells whether there ever were recurring messages.
func (c *recurrences) exists() bool {
	_, err := c.eng.lookup(RecurringTopic)
	return err == nil
}

// take takes the token and sees that the table is open.
func (c *recurrences) take(ctx context.Context) error {
	if err := c.eng.usable(ctx); err != nil {
		return err
	}
	for {
		select {
		case c.opening <- struct{}{}:
		case <-ctx.Done():
			return bounded.Cause(ctx)
		case <-c.eng.closing:
			return ErrClosed
		}
		if c.opened.Load() {
			return nil
		}
		if _, _, err := holding(ctx, c.eng, c.give, func() (struct{}, error) { return struct{}{}, c.open(ctx) }); err != nil {
			return err
		}
	}
}

func (c *recurrences) give() { <-c.opening }

// open reads the table, making the topic if there is none.
func (c *recurrences) open(ctx context.Context) error {
	if c.eng.readOnly {
		return ErrReadOnly
	}
	t, _, err := c.eng.findOrCreate(ctx, RecurringTopic, InternalSettings(RecurringTopic)...)
	if err != nil {
		return err
	}
	r := recurringReader{table: map[string]*recurring{}, held: map[string]struct{}{}}
	if err := r.read(ctx, t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return bounded.Cause(ctx)
	}
	c.mu.Lock()
	c.topic, c.table, c.held, c.stored = t, r.table, r.held, r.stored
	for _, one := range c.table {
		c.weigh(one)
	}
	c.armLocked()
	c.mu.Unlock()
	c.opened.Store(true)
	return nil
}

// save stores states as one batch; on disk at return. The caller holds the token.
func (c *recurrences) save(ctx context.Context, states map[string]*recurringState) error {
	return c.store(ctx, states, true)
}

// store is save; what is not synced may be lost by a crash.
func (c *recurrences) store(ctx context.Context, states map[string]*recurringState, synced bool) error {
	recs := make([]Record, 0, len(states))
	for _, name := range slices.Sorted(maps.Keys(states)) {
		r := Record{Key: []byte(name)}
		if s := states[name]; s != nil {
			if s.Format = delayFormat; len(s.Fired) > 0 {
				s.Format = recurringFormat
			}
			value, err := json.Marshal(s)
			if err != nil {
				return err
			}
			r.Value = value
		}
		recs = append(recs, r)
	}
	part, err := c.topic.partition(0)
	if err != nil {
		return err
	}
	if err := part.appendNow(ctx, recs, synced); err != nil {
		return err
	}
	c.mu.Lock()
	c.stored += int64(len(recs))
	c.mu.Unlock()
	return nil
}

// appendNow appends records as one batch.
func (p *Partition) appendNow(ctx context.Context, recs []Record, synced bool) error {
	l, err := p.openWith(ctx)
	if err != nil {
		return err
	}
	b, err := p.pack(recs)
	if err != nil {
		return err
	}
	_, err = p.appendSealed(ctx, l, b.batch, log.AppendOptions{Synced: synced, Trusted: true, NoWait: !synced})
	p.topic.eng.putBuilder(b)
	return p.waitFault(ctx, err)
}

// appendOnce appends the newest firing to its target, unless it is there.
func (c *recurrences) appendOnce(r *recurring) error {
	target := delayTarget{r.state.Topic, r.state.TopicName, r.state.Partition}
	part, err := target.find(c.eng)
	if err != nil {
		return err
	}
	l, err := part.open()
	if err != nil {
		return err
	}
	number := int32((r.state.Firings - 1) & (1<<31 - 1))
	if !r.sure {
		if err := l.Flush(context.Background()); err != nil {
			return err
		}
		lane := delayLane{producer: r.state.Producer, sequence: number, from: r.state.Firing.From, ids: make([]delayKey, 1)}
		if there, err := lane.delivered(l); err != nil || there > 0 {
			return err
		}
		r.sure = true
	}
	b := c.eng.takeBuilder()
	defer c.eng.putBuilder(b)
	codec, level := part.topic.compression()
	b.now = time.Now()
	b.Reset(record.BuilderConfig{Codec: codec, Level: level, HasProducer: true, ProducerID: r.state.Producer, BaseSequence: number})
	b.rec = record.Record{Timestamp: r.state.Firing.Due, Key: r.state.Key, Value: r.state.Value, Headers: r.state.Headers}
	if err := b.Add(&b.rec); err != nil {
		return packFault(err, b.rec.Timestamp)
	}
	if b.batch, err = b.Seal(); err != nil {
		return packFault(err, 0)
	}
	_, err = part.appendSealed(context.Background(), l, b.batch, log.AppendOptions{Synced: true, Trusted: true})
	r.sure = !errors.Is(err, ErrUncertain)
	return part.fault(err)
}
