package group

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// membership is a Consumer's side of the classic protocol. Joining and learning what is assigned are quick steps, which anybody takes: the
// loop, or, while a batch is in hand or no loop runs, a timer. What calls back, or waits for handlers, is due then, and is the loop's to do.
type membership struct {
	c     *Consumer
	steer chan struct{} // room for one token: who has it may use what follows

	called  chan struct{} // room for one token: there is something for the loop to do
	joining chan answer   // the answer to a join that waits, or nil
	syncing chan answer   // to a sync
	in      bool          // in a generation, with its assignment
	due     func(context.Context) error
	fault   error     // of a step that the loop did not take; it returns it
	began   time.Time // when it began to take part in the rebalance that is on

	last  []topic.TopicPartition // what was had before the last rebalance
	subs  []string               // the topics subscribed to
	leads bool                   // this generation

	snapshot atomic.Pointer[map[string]topicFact] // what the leader's plan was made from
}

type topicFact struct {
	id         topic.ID
	partitions int32
}

// join asks to be in the next generation.
func (m *membership) join(ctx context.Context) error {
	c := m.c
	m.begin()
	c.topics.Store(false)
	m.subs, m.in, m.syncing = c.cfg.wants(c.coord.metadata), false, nil
	c.mu.Lock()
	held, id := c.heldLocked(), c.id
	c.mu.Unlock()
	if len(held) > 0 {
		m.last = held
	}
	s := assignor.Subscription{Topics: m.subs, Rack: c.cfg.rack, Generation: assignor.NoGeneration}
	if id.member != "" {
		s.Generation = id.generation
	}
	if c.cfg.cooperative() {
		s.Owned = held
	}
	req := JoinRequest{
		MemberID: id.member, InstanceID: c.cfg.instance, ClientID: c.cfg.clientID, ClientHost: localHost, SessionTimeout: c.cfg.session,
		RebalanceTimeout: c.cfg.late, ProtocolType: assignor.ProtocolType, SkipsAssignment: true, Fresh: freshID(), local: true,
	}
	c.noteCandidate(req)
	for _, a := range c.cfg.assignors {
		s.UserData = nil
		if d, ok := a.(assignor.MemberDataAssignor); ok {
			s.UserData = d.UserData(m.last, s.Generation)
		}
		req.Protocols = append(req.Protocols, Protocol{a.Name(), assignor.AppendSubscription(nil, assignor.NewestSubscription, s)})
	}
	var err error
	m.joining, err = m.send(ctx, req)
	return err
}

// send brings a request whose answer may take its time.
func (m *membership) send(ctx context.Context, req any) (chan answer, error) {
	answers := make(chan answer, 1)
	err := m.c.coord.bring(ctx, m.c.group, req, m.c, func(a answer) {
		answers <- a
		m.c.stir()
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// attend does what has become due: answers that have come, word from the coordinator, topics that changed. It is the loop's.
func (m *membership) attend(ctx context.Context) error {
	for {
		m.c.missed.Store(false)
		err := m.settle(ctx)
		if err != nil || !m.c.missed.Load() {
			return err
		}
	}
}

// settle takes steps, and does what they make due, until nothing is left.
func (m *membership) settle(ctx context.Context) error {
	select {
	case m.steer <- struct{}{}:
	case <-ctx.Done():
		return bounded.Cause(ctx)
	}
	defer func() { <-m.steer }()
	for {
		if err := m.fault; err != nil {
			m.fault = nil
			return err
		}
		again, err := m.step(ctx)
		if err == nil && m.due != nil {
			err = m.carryOut(ctx)
			again = true
		}
		if err != nil || !again {
			return err
		}
	}
}

// carryOut does what is due. What a callback cuts short by ending the goroutine, the next loop finds out by joining anew.
func (m *membership) carryOut(ctx context.Context) (err error) {
	due := m.due
	m.due = nil
	returned := false
	defer func() {
		if !returned {
			m.in = false
		}
	}()
	err = due(ctx)
	returned = true
	if ctx.Err() != nil {
		if m.due == nil {
			m.due = due // the next loop does it
		}
		if err == nil {
			err = bounded.Cause(ctx)
		}
	}
	return err
}

// steerAway takes the quick steps while the loop is elsewhere.
func (c *Consumer) steerAway() {
	if !c.member.trySteer() {
		c.missed.Store(true) // whoever is at it looks again, or has just left
		if !c.member.trySteer() {
			return
		}
	}
	defer func() { <-c.member.steer }()
	c.member.quickly(context.Background())
	if c.member.due != nil || c.member.fault != nil {
		select {
		case c.member.called <- struct{}{}:
		default:
		}
	}
}

func (m *membership) trySteer() bool {
	select {
	case m.steer <- struct{}{}:
		return true
	default:
		return false
	}
}

func (m *membership) quickly(ctx context.Context) {
	for m.fault == nil && m.due == nil {
		again, err := m.step(ctx)
		if err != nil && !errors.Is(err, errClosing) && ctx.Err() == nil {
			m.fault = err
		}
		if err != nil || !again {
			return
		}
	}
}

// step does one thing, and tells whether to look again.
func (m *membership) step(ctx context.Context) (again bool, err error) {
	c := m.c
	c.mu.Lock()
	closing, late, ended := c.closing, c.late, c.ended
	c.mu.Unlock()
	switch {
	case ended != nil:
		return false, ended
	case closing:
		return false, errClosing
	case late:
		m.joining, m.syncing = nil, nil
		m.due = func(ctx context.Context) error {
			c.mu.Lock()
			held := c.heldLocked()
			c.late = false
			c.mu.Unlock()
			return m.startOver(ctx, held, ErrLate)
		}
		return true, nil
	case m.due != nil:
		return false, nil
	case m.joining != nil:
		select {
		case a := <-m.joining:
			m.joining = nil
			return true, m.joined(ctx, a.(JoinResponse))
		default:
			return false, nil
		}
	case m.syncing != nil:
		select {
		case a := <-m.syncing:
			m.syncing = nil
			return true, m.synced(ctx, a.(SyncResponse))
		default:
			return false, nil
		}
	case !m.in:
		return true, m.join(ctx)
	case c.poked.Swap(false):
		return true, m.look(ctx)
	case c.topics.Swap(false):
		if m.stale() {
			return true, m.rejoin(ctx)
		}
	}
	return false, nil
}

// errClosing ends the loop in good order.
var errClosing = errors.New("group: consumer is closing")

// startOver is a new member's beginning; what it had is lost.
func (m *membership) startOver(ctx context.Context, held []topic.TopicPartition, why error) error {
	c := m.c
	defer func() { // also when a callback ends the goroutine
		c.mu.Lock()
		c.id = identity{}
		c.mu.Unlock()
		m.in, m.last = false, nil
	}()
	return m.lose(ctx, held, why)
}

// look asks whether the member is still in the group's generation.
func (m *membership) look(ctx context.Context) error {
	c := m.c
	c.stats.looks.Add(1)
	c.mu.Lock()
	id, held := c.id, c.heldLocked()
	c.mu.Unlock()
	req := HeartbeatRequest{MemberID: id.member, InstanceID: c.cfg.instance, Generation: id.generation}
	return m.outcome(ctx, request[HeartbeatResponse](ctx, c.coord, c.group, req, c).Err, held)
}

// outcome goes on after the coordinator's answer: nil is well, and what cannot be helped is returned.
func (m *membership) outcome(ctx context.Context, err error, held []topic.TopicPartition) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrRebalanceInProgress):
		return m.rejoin(ctx)
	case errors.Is(err, ErrUnknownMember), errors.Is(err, ErrIllegalGeneration):
		m.dueLoss(held, nil)
		return nil
	case errors.Is(err, ErrFencedInstance), errors.Is(err, ErrGroupFull):
		m.dueLoss(held, err)
		return nil
	default:
		m.c.poked.Store(true) // the next loop looks again
		return err
	}
}

// dueLoss has the loop give up what the member had, and end with why.
func (m *membership) dueLoss(held []topic.TopicPartition, why error) {
	m.in = false
	m.c.withdraw(held, ErrLost)
	m.due = func(ctx context.Context) error { return errors.Join(why, m.startOver(ctx, held, ErrLost)) }
}

// rejoin takes part in the next generation. An eager member lets go of everything first.
func (m *membership) rejoin(ctx context.Context) error {
	c := m.c
	m.begin()
	c.mu.Lock()
	held := c.heldLocked()
	c.mu.Unlock()
	if c.cfg.cooperative() || len(held) == 0 {
		return m.join(ctx)
	}
	m.last = held
	c.withdraw(held, ErrRevoked)
	m.due = func(ctx context.Context) error {
		fault := m.revoke(ctx, held, ErrRevoked)
		if ctx.Err() != nil {
			return fault
		}
		return errors.Join(fault, m.join(ctx))
	}
	return nil
}

// joined takes the answer to a join; the leader assigns.
func (m *membership) joined(ctx context.Context, r JoinResponse) error {
	c := m.c
	c.mu.Lock()
	held := c.heldLocked()
	if r.Err == nil {
		c.id = identity{r.MemberID, r.Generation}
	}
	c.mu.Unlock()
	if r.Err != nil {
		if errors.Is(r.Err, ErrRebalanceInProgress) {
			return nil // it joins again
		}
		return m.outcome(ctx, r.Err, held)
	}
	req := SyncRequest{
		MemberID: r.MemberID, InstanceID: c.cfg.instance, Generation: r.Generation, ProtocolType: r.ProtocolType, Protocol: r.Protocol,
	}
	m.leads = r.Leader == r.MemberID
	if m.leads && len(r.Members) > 0 {
		plan, err := m.assign(r)
		if err != nil {
			return err
		}
		if !r.SkipAssignment {
			req.Assignments = plan
		}
	}
	var err error
	m.syncing, err = m.send(ctx, req)
	return err
}

// assign is the leader's work.
func (m *membership) assign(r JoinResponse) (map[string][]byte, error) {
	c := m.c
	at := slices.IndexFunc(c.cfg.assignors, func(a assignor.Assignor) bool { return a.Name() == r.Protocol })
	if at < 0 {
		return nil, ErrInconsistentProtocol
	}
	meta, facts := assignor.Metadata{}, map[string]topicFact{}
	var members []assignor.Subscriber
	for _, j := range r.Members {
		s, err := assignor.ParseSubscription(j.Metadata)
		if err != nil {
			return nil, err
		}
		members = append(members, assignor.Subscriber{MemberID: j.MemberID, InstanceID: j.InstanceID, Subscription: s})
		for _, name := range s.Topics {
			if _, known := facts[name]; known {
				continue
			}
			info := c.coord.info(name)
			if facts[name] = (topicFact{info.ID, info.Partitions}); info.Partitions > 0 {
				meta[name] = info
			}
		}
	}
	m.snapshot.Store(&facts)
	c.topics.Store(true) // what has changed before the facts were known is found by a look at them
	plan, err := c.cfg.assignors[at].Assign(meta, members)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(plan))
	for id, parts := range plan {
		out[id] = assignor.AppendAssignment(nil, assignor.NewestSubscription, parts, nil)
	}
	return out, nil
}

// stale tells whether topics have changed so that the group must share anew: the member's own, or the leader's plan.
func (m *membership) stale() bool {
	if !slices.Equal(m.subs, m.c.cfg.wants(m.c.coord.metadata)) {
		return true
	}
	facts := m.snapshot.Load()
	if !m.leads || facts == nil {
		return false
	}
	for name, fact := range *facts {
		if now := m.c.coord.info(name); fact != (topicFact{now.ID, now.Partitions}) {
			return true
		}
	}
	return false
}

// synced takes the assignment.
func (m *membership) synced(ctx context.Context, r SyncResponse) error {
	c := m.c
	c.mu.Lock()
	held := c.heldLocked()
	c.mu.Unlock()
	if r.Err != nil {
		if errors.Is(r.Err, ErrRebalanceInProgress) {
			return m.rejoin(ctx)
		}
		return m.outcome(ctx, r.Err, held)
	}
	assigned, _, err := assignor.ParseAssignment(r.Assignment)
	if err != nil {
		return err
	}
	gone, come := partsWithout(held, assigned), partsWithout(assigned, held)
	m.in = true
	c.poked.Store(true) // something may have happened since
	if len(gone)+len(come) > 0 {
		c.withdraw(gone, ErrRevoked)
		m.due = func(ctx context.Context) error { return m.change(ctx, gone, come) }
		return nil
	}
	m.arrived()
	return nil
}

// partsWithout is those of a that are not in b.
func partsWithout(a, b []topic.TopicPartition) []topic.TopicPartition {
	in := setOf(b)
	return slices.DeleteFunc(slices.Clone(a), func(tp topic.TopicPartition) bool { return in[tp] })
}

func setOf(parts []topic.TopicPartition) map[topic.TopicPartition]bool {
	set := make(map[topic.TopicPartition]bool, len(parts))
	for _, tp := range parts {
		set[tp] = true
	}
	return set
}

// begin and arrived take the time of a rebalance.
func (m *membership) begin() {
	if m.began.IsZero() {
		m.began = time.Now()
	}
}

func (m *membership) arrived() {
	m.c.room.found()
	m.c.stats.rebalanced(time.Since(m.began))
	m.began = time.Time{}
}

// change does what a new assignment asks for.
func (m *membership) change(ctx context.Context, gone, come []topic.TopicPartition) error {
	fault := m.revoke(ctx, gone, ErrRevoked)
	if ctx.Err() != nil {
		return fault
	}
	fault = errors.Join(fault, m.adopt(ctx, come))
	m.arrived()
	if len(gone) > 0 { // so that others get them
		fault = errors.Join(fault, m.join(ctx))
	}
	return fault
}
