package group

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/quirelog/quire/timingwheel"
	"github.com/quirelog/quire/topic"
)

// expiryPause is the least time between two looks for offsets that have expired: Kafka's offsets.retention.check.interval.ms.
const expiryPause = 10 * time.Minute

// A shard is one partition of the topic of the groups, and those groups' machines. It brings events to them one at a time and performs
// their effects; a goroutine exists only while something is being appended.
type shard struct {
	c    *Coordinator
	home *topic.Topic
	id   int32

	mu      sync.Mutex
	gone    error         // why it is of no use any more: the engine closes, or the topic was deleted
	ready   bool          // the partition has been read
	loading chan struct{} // closed when whoever reads it is done
	seats   map[string]*seat
	calls   uint64
	waiting map[uint64]func(answer)
	queue   []pendingAppend
	storing bool // the goroutine that appends exists
	expiry  timingwheel.Timer
	armed   bool // expiry is set, for what may expire at expiryAt

	expiryAt int64
}

// A seat is one group in its shard.
type seat struct {
	m      *machine
	topics uint64 // the coordinator's count of changes of topics that the machine has been told of
	dead   bool   // given up: what comes late for it is dropped
	timers map[timerName]*timingwheel.Timer
	locals map[*Consumer]struct{} // members of this process, to be told when something happens
	seen   phase                  // what they were told last
}

// phase is what members of this process have to know of their group.
type phase struct {
	born       uint64
	state      State
	generation int32
}

// pendingAppend is an append that a machine asked for.
type pendingAppend struct {
	seat    *seat
	seq     uint64
	entries []entry
}

func (c *Coordinator) newShard(home *topic.Topic, id int32) (*shard, error) {
	_, err := home.Partition(id)
	s := &shard{c: c, home: home, id: id, seats: map[string]*seat{}, waiting: map[uint64]func(answer){}}
	s.expiry.Value = s.expire
	return s, err
}

// bring brings an event to a group; see Coordinator.bring.
func (s *shard) bring(ctx context.Context, group string, event any, from *Consumer, got func(answer)) error {
	for {
		if err := s.load(ctx); err != nil {
			return err
		}
		if s.tryBring(group, event, from, got) {
			return nil
		}
	}
}

// tryBring is bring unless the shard has been given up since it was read.
func (s *shard) tryBring(group string, event any, from *Consumer, got func(answer)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return false
	}
	t := s.seatLocked(group)
	if from != nil {
		t.locals[from] = struct{}{}
	}
	s.calls++
	call := s.calls
	if got != nil {
		s.waiting[call] = got
	}
	s.stepLocked(t, call, event)
	return true
}

func (s *shard) seatLocked(group string) *seat {
	t := s.seats[group]
	if t == nil {
		t = &seat{m: newMachine(group, s.c.cfg, nil), timers: map[timerName]*timingwheel.Timer{}, locals: map[*Consumer]struct{}{}}
		s.seats[group] = t
	}
	return t
}

// stepLocked brings an event to a machine and performs the effects in their order.
func (s *shard) stepLocked(t *seat, call uint64, event any) {
	s.tellTopics(t, event)
	s.performLocked(t, t.m.step(time.Now().UnixMilli(), call, event))
	if t.dead {
		return
	}
	join, _ := event.(JoinRequest) // of a static member: it may take a place without a rebalance
	if now := t.phase(); now != t.seen || join.InstanceID != "" {
		t.seen = now
		t.poke()
	}
	if t.m.unused() && len(t.locals) == 0 {
		s.dropLocked(t)
		return
	}
	s.armExpiryLocked(t.m)
}

// tellTopics tells a machine what topics there are, if that has changed and may matter for an event.
func (s *shard) tellTopics(t *seat, event any) {
	now := s.c.changes.Load()
	_, joins := event.(ConsumerHeartbeatRequest)
	if t.topics == now || t.m.server == nil && !joins {
		return
	}
	switch event.(type) {
	case CommitRequest, FetchOffsetsRequest, stored:
		return
	}
	t.topics = now
	t.m.step(time.Now().UnixMilli(), 0, metadataChanged{s.c.metadata()})
}

func (s *shard) performLocked(t *seat, effects []effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case reply:
			if got := s.waiting[e.call]; got != nil {
				delete(s.waiting, e.call)
				got(e.answer)
			}
		case appendEntries:
			s.queue = append(s.queue, pendingAppend{t, e.seq, e.entries})
			s.storeSoonLocked()
		case startTimer:
			s.startTimerLocked(t, e)
		case stopTimer:
			if timer := t.timers[e.name]; timer != nil {
				s.c.timers.Stop(timer)
				delete(t.timers, e.name)
			}
		case abandon:
			s.dropLocked(t)
		}
	}
}

func (s *shard) startTimerLocked(t *seat, e startTimer) {
	if old := t.timers[e.name]; old != nil {
		s.c.timers.Stop(old)
	}
	timer := &timingwheel.Timer{}
	timer.Value = func() { s.fired(t, timer, fired{e.name, e.seq}) }
	t.timers[e.name] = timer
	s.c.timers.After(timer, e.after)
}

func (s *shard) fired(t *seat, timer *timingwheel.Timer, ev fired) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.dead || t.timers[ev.name] != timer {
		return
	}
	delete(t.timers, ev.name)
	s.stepLocked(t, 0, ev)
}

// dropLocked lets a group's machine go.
func (s *shard) dropLocked(t *seat) {
	t.dead = true
	for _, timer := range t.timers {
		s.c.timers.Stop(timer)
	}
	if s.seats[t.m.name] == t {
		delete(s.seats, t.m.name)
	}
	t.poke()
}

func (t *seat) phase() phase {
	if g := t.m.classic; g != nil {
		return phase{g.born, g.state, g.generation}
	}
	if s := t.m.server; s != nil && len(s.members) > 0 {
		return phase{state: Stable} // whatever its members do: those of this process are not among them
	}
	return phase{state: t.m.state()}
}

// poke has the members of this process look what has become of them.
func (t *seat) poke() {
	for c := range t.locals {
		c.poke()
	}
}

// forget ends what bring with a Consumer began: it is told nothing any more.
func (s *shard) forget(group string, c *Consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.seats[group]; t != nil {
		delete(t.locals, c)
		if t.m.unused() && len(t.locals) == 0 {
			s.dropLocked(t)
		}
	}
}

// fail gives up all groups of the shard. Everybody who waits is answered; the next call reads the partition anew.
func (s *shard) fail(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(why)
}

func (s *shard) failLocked(why error) {
	s.ready, s.queue = false, nil
	for _, t := range s.seats {
		t.m.out = nil
		t.m.abandon(why)
		s.performLocked(t, t.m.out)
	}
	s.c.timers.Stop(&s.expiry)
	s.armed = false
}

// end gives the shard up for good.
func (s *shard) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = why
	s.failLocked(why)
}

// each brings an event that is not a call to every group there is.
func (s *shard) each(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return
	}
	for _, t := range s.seatsLocked() {
		s.stepLocked(t, 0, event)
	}
}

func (s *shard) seatsLocked() []*seat {
	list := make([]*seat, 0, len(s.seats))
	for _, t := range s.seats {
		list = append(list, t)
	}
	return list
}

// expire drops what has expired and looks when something will next.
func (s *shard) expire() {
	closed := s.c.eng.Downtimes()
	s.mu.Lock()
	s.armed = false
	s.mu.Unlock()
	s.each(expire{closed})
}

// armExpiryLocked sets the timer for the first offset that may expire, after something happened to one group: the others stand as they
// did. Nothing to expire needs no timer.
func (s *shard) armExpiryLocked(m *machine) {
	first := m.nextExpiry()
	if first < 0 || s.armed && s.expiryAt <= first || s.c.eng.ReadOnly() {
		return
	}
	s.armed, s.expiryAt = true, first
	s.c.timers.After(&s.expiry, max(time.Until(time.UnixMilli(first)), expiryPause))
}

func (s *shard) String() string { return fmt.Sprintf("%s-%d", OffsetsTopic, s.id) }
