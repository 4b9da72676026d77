package group_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const (
	swarmMembers    = 8
	swarmPartitions = 12
	swarmLate       = 20 * time.Second
)

// swarm is eight members that crash, stall, come and go while they read the access log, and what must hold meanwhile.
type swarm struct {
	t   *testing.T
	eng *topic.Engine
	opt []group.JoinOption

	mu        sync.Mutex
	fault     error
	next      map[topic.TopicPartition]int64 // below it everything was processed
	committed map[topic.TopicPartition]int64
	owner     map[topic.TopicPartition]*swarmMember
	busy      map[topic.TopicPartition]*swarmMember
	given     map[string]*swarmMember // "generation partition": who was given it
	commits   int
	handovers int
	stop      bool
}

// swarmMember is one life of a member.
type swarmMember struct {
	s    *swarm
	rng  *rand.Rand
	c    *group.Consumer
	gone bool // it crashed or is stalled: others may have what it had
}

func (s *swarm) fail(format string, args ...any) {
	if s.fault == nil {
		s.fault = fmt.Errorf(format, args...)
	}
}

// process is what a member does with a record.
func (s *swarm) process(b *group.Batch, r topic.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := b.TopicPartition()
	if r.Offset > s.next[at] {
		s.fail("%s: offset %d came before %d", at, r.Offset, s.next[at])
	}
	s.next[at] = max(s.next[at], r.Offset+1)
}

func (s *swarm) onCommit(list []group.PartitionOffset, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return
	}
	s.commits++
	for _, o := range list {
		if o.Offset < s.committed[o.TopicPartition] {
			s.fail("%s: committed %d after %d", o.TopicPartition, o.Offset, s.committed[o.TopicPartition])
		}
		if o.Offset > s.next[o.TopicPartition] {
			s.fail("%s: committed %d, processed to %d", o.TopicPartition, o.Offset, s.next[o.TopicPartition])
		}
		s.committed[o.TopicPartition] = o.Offset
	}
}

func (m *swarmMember) assigned(_ context.Context, parts []topic.TopicPartition) error {
	_, generation := m.c.Member()
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	m.s.handovers++
	for _, at := range parts {
		if other := m.s.owner[at]; other != nil && other != m && !other.gone {
			m.s.fail("%s has two owners", at)
		}
		m.s.owner[at] = m
		key := fmt.Sprint(generation, " ", at)
		if other := m.s.given[key]; other != nil && other != m {
			m.s.fail("%s was given out twice in generation %d", at, generation)
		}
		m.s.given[key] = m
	}
	return nil
}

func (m *swarmMember) released(_ context.Context, parts []topic.TopicPartition) error {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	for _, at := range parts {
		if m.s.owner[at] == m {
			delete(m.s.owner, at)
		}
	}
	return nil
}

func (m *swarmMember) setGone(gone bool) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	m.gone = gone
}

// begin and end see that no two members work on one partition at a time, unless one of them does not come back in time.
func (s *swarm) begin(b *group.Batch, m *swarmMember) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.busy[b.TopicPartition()]; other != nil && other != m && !other.gone {
		s.fail("%s is in two hands", b.TopicPartition())
	}
	s.busy[b.TopicPartition()] = m
}

func (s *swarm) end(b *group.Batch, m *swarmMember) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[b.TopicPartition()] == m {
		delete(s.busy, b.TopicPartition())
	}
}

func (s *swarm) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop
}

// errCrash ends a member's life without a word.
var errCrash = errors.New("crash")

// handle processes a batch, in time or not, to its end or not.
func (m *swarmMember) handle(ctx context.Context, b *group.Batch) error {
	m.s.begin(b, m)
	defer m.s.end(b, m)
	calm := m.s.stopped()
	end := len(b.Records)
	dice := m.rng.IntN(100)
	if !calm && dice < 5 {
		end = m.rng.IntN(end)
	}
	for i, r := range b.Records[:end] {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m.s.process(b, r)
		if i%16 == 0 {
			b.MarkThrough(r.Offset)
			time.Sleep(time.Duration(m.rng.IntN(20)) * time.Millisecond)
		}
	}
	switch {
	case calm:
	case dice < 5:
		return errCrash
	case dice < 8: // stalled: it does not even look at its context
		m.setGone(true)
		time.Sleep(swarmLate + time.Duration(m.rng.IntN(20))*time.Second)
		defer m.setGone(false)
		return nil
	}
	b.Mark()
	return nil
}

// live is one life: true for a crash.
func (m *swarmMember) live(ctx context.Context) (crashed bool, err error) {
	opts := append([]group.JoinOption{
		group.Topics("visits"), group.MaxPollInterval(swarmLate), group.OnAssign(m.assigned), group.OnRevoke(m.released),
		group.OnLost(m.released), group.OnCommit(m.s.onCommit), group.CommitEvery(time.Duration(m.rng.IntN(1000)) * time.Millisecond),
		group.ReadWith(topic.MaxPollRecords(20 + m.rng.IntN(100))),
	}, m.s.opt...)
	// OnAssign runs in the loop, so c is there by then.
	if m.c, err = group.Join(ctx, m.s.eng, "swarm", opts...); err != nil {
		return false, err
	}
	life, cancel := context.WithTimeoutCause(ctx, time.Duration(m.rng.IntN(60))*time.Second, context.Canceled)
	defer cancel()
	if m.s.stopped() {
		life = ctx
	}
	if m.rng.IntN(2) == 0 {
		err = m.c.Run(life, 1, m.handle)
	} else {
		err = m.each(life)
	}
	switch {
	case errors.Is(err, errCrash):
		m.setGone(true)
		return true, nil
	case err != nil && life.Err() == nil:
		return false, err
	}
	return false, m.c.Close()
}

// each is Run by hand.
func (m *swarmMember) each(ctx context.Context) error {
	for b, err := range m.c.Batches(ctx) {
		if err != nil {
			return err
		}
		if err := m.handle(b.Context(), b); errors.Is(err, errCrash) {
			return err
		}
	}
	return nil
}

func runSwarm(t *testing.T, seed uint64, visits []examples.Visit) {
	rng := rand.New(rand.NewPCG(seed, 1))
	assignors := []assignor.Assignor{assignor.CooperativeSticky(), assignor.Range(), assignor.Sticky(), assignor.RoundRobin()}
	eng := open(t, vfs.NewMem())
	s := &swarm{
		t: t, eng: eng, opt: []group.JoinOption{group.AssignWith(assignors[rng.IntN(len(assignors))])},
		next: map[topic.TopicPartition]int64{}, committed: map[topic.TopicPartition]int64{}, owner: map[topic.TopicPartition]*swarmMember{},
		given: map[string]*swarmMember{}, busy: map[topic.TopicPartition]*swarmMember{},
	}
	tpc, err := eng.Topic(t.Context(), "visits", topic.Partitions(swarmPartitions), topic.NoSync())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range swarmMembers {
		r := rand.New(rand.NewPCG(rng.Uint64(), 2))
		wg.Go(func() { s.inhabit(ctx, r) })
	}
	for part := visits; len(part) > 0; { // the log grows while they read
		n := min(len(part), 200+rng.IntN(400))
		recs := make([]topic.Record, n)
		for i := range recs {
			recs[i] = topic.Record{Key: []byte(part[i].Client), Value: part[i].Text}
		}
		_, err := tpc.AppendBatch(ctx, recs)
		require.NoError(t, err)
		part = part[n:]
		time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
	}
	s.mu.Lock()
	s.stop = true
	s.mu.Unlock()
	time.Sleep(10 * time.Minute) // whoever crashed is missed, whoever stalled comes back, and all is read
	cancel()
	wg.Wait()
	s.check(seed, tpc)
}

// inhabit is one member's place: one life after the other.
func (s *swarm) inhabit(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		m := &swarmMember{s: s, rng: rng}
		_, err := m.live(ctx)
		if err != nil && ctx.Err() == nil {
			s.mu.Lock()
			s.fail("a member ended: %w", err)
			s.mu.Unlock()
			return
		}
		time.Sleep(time.Duration(rng.IntN(5000)) * time.Millisecond)
	}
}

func (s *swarm) check(seed uint64, tpc *topic.Topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NoError(s.t, s.fault, "seed %d", seed)
	require.Positive(s.t, s.handovers)
	require.Positive(s.t, s.commits)
	coord, err := group.On(s.eng)
	require.NoError(s.t, err)
	list, err := coord.Offsets(s.t.Context(), "swarm")
	require.NoError(s.t, err)
	stored := map[topic.TopicPartition]int64{}
	for _, o := range list {
		stored[o.TopicPartition] = o.Offset
	}
	for p := range int32(tpc.Partitions()) {
		part, err := tpc.Partition(p)
		require.NoError(s.t, err)
		end, err := part.End()
		require.NoError(s.t, err)
		require.Equal(s.t, end, s.next[tp("visits", p)], "seed %d: partition %d was read", seed, p)
		require.Equal(s.t, end, stored[tp("visits", p)], "seed %d: partition %d was committed", seed, p)
	}
}

var (
	swarmSeeds = flag.Int("swarm.seeds", 6, "how many swarms to let loose")
	swarmFirst = flag.Uint64("swarm.first", 1, "the first one's seed")
)

func TestSwarm(t *testing.T) {
	visits, err := examples.AccessLog()
	require.NoError(t, err)
	for i := range *swarmSeeds {
		synctest.Test(t, func(t *testing.T) { runSwarm(t, *swarmFirst+uint64(i), visits) })
		if t.Failed() {
			return
		}
	}
}
