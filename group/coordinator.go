package group

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/timingwheel"
	"github.com/quirelog/quire/topic"
)

// A Coordinator runs the groups of an engine. A broker calls it with the requests of its clients, members of this process ([Join]) use it
// directly; both may be members of one group. An engine has one: [On] gives it, [NewCoordinator] makes it with a Config.
//
// What groups are and have committed are records of [OffsetsTopic], in Kafka's formats, in the partition that Kafka would choose. The topic
// is made by the first call that stores something: compacted, [topic.InternalPartitions] partitions, synced with every append. A partition is read
// when one of its groups is asked for the first time; until then, and while nobody is a member and nothing expires, it costs nothing.
// An answer that tells of a change comes after the change is on disk.
//
// When something cannot be stored, everybody who waits for that partition's groups gets [ErrNotAvailable] with the cause, and the next call
// reads the partition anew; members of this process then join again.
//
// All methods may be called at once from any goroutine. An answer's Err is nil, a [Code] or wraps one, the context's cause when it ended
// first (what was asked may be done all the same), or an error of the engine such as topic.ErrClosed. The coordinator ends with its engine:
// whoever waits gets topic.ErrClosed.
type Coordinator struct {
	eng    *topic.Engine
	cfg    *Config
	timers *timingwheel.Runner
	closed atomic.Bool
	calls  bounded.Calls

	changes atomic.Uint64 // of topics
	stale   atomic.Bool   // topics have changed since meta was made
	meta    atomic.Pointer[assignor.Metadata]

	mu     sync.Mutex // guards what follows; taken before a shard's
	home   *topic.Topic
	shards []*shard
	known  map[string]topic.ID    // the topics that topicsChanged saw last
	locals map[*Consumer]struct{} // those that are open
	begun  map[string]*beginning  // of the groups that have such members
}

// lodgerKey is the coordinator's place in its engine.
type lodgerKey struct{}

// lodger keeps the engine's calls out of the Coordinator's methods.
type lodger struct{ c *Coordinator }

func (l lodger) TopicsChanged(names []string)    { l.c.topicsChanged(names) }
func (l lodger) Drain(ctx context.Context) error { return l.c.drain(ctx) }
func (l lodger) EngineClosing()                  { l.c.engineClosing() }
func (l lodger) Settle(context.Context) error    { return nil } // a commit under way is answered, or its outcome is not known

// On gives the engine's coordinator; the first call makes it, with the zero Config, unless NewCoordinator did. It fails with
// topic.ErrClosed only.
func On(eng *topic.Engine) (*Coordinator, error) {
	l, err := eng.Lodge(lodgerKey{}, func() topic.Lodger { return lodger{newCoordinator(eng, Config{})} })
	if err != nil {
		return nil, err
	}
	return l.(lodger).c, nil
}

// NewCoordinator makes the engine's coordinator with rules of your choice. An engine has one only: topic.ErrExists when it has one already,
// also one that [On] or [Join] made.
func NewCoordinator(eng *topic.Engine, cfg Config) (*Coordinator, error) {
	c := newCoordinator(eng, cfg)
	l, err := eng.Lodge(lodgerKey{}, func() topic.Lodger { return lodger{c} })
	switch {
	case err != nil:
		return nil, err
	case l.(lodger).c != c:
		return nil, fmt.Errorf("%w: the engine has a coordinator", topic.ErrExists)
	}
	return c, nil
}

func newCoordinator(eng *topic.Engine, cfg Config) *Coordinator {
	cfg = cfg.withDefaults()
	c := &Coordinator{eng: eng, cfg: &cfg, timers: timingwheel.NewRunner(timingwheel.RunnerConfig{Go: eng.Go}), locals: map[*Consumer]struct{}{},
		begun: map[string]*beginning{}}
	c.stale.Store(true)
	c.changes.Store(1)
	return c
}

// findHome gives the topic of the groups, nil when there is none.
func (c *Coordinator) findHome() (*topic.Topic, error) {
	p, err := c.eng.Partition(OffsetsTopic, 0)
	switch {
	case errors.Is(err, topic.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return p.Topic(), nil
}

// makeHome creates the topic of the groups.
func (c *Coordinator) makeHome(ctx context.Context) (*topic.Topic, error) {
	settings := topic.InternalSettings(OffsetsTopic)
	return c.eng.Topic(ctx, OffsetsTopic, append(settings, topic.Partitions(c.eng.InternalPartitions()))...)
}

// shardOf gives the shard of a group; nil when there is no topic and none is to be made.
func (c *Coordinator) shardOf(ctx context.Context, group string, create bool) (*shard, error) {
	shards, err := c.allShards(ctx, create)
	if len(shards) == 0 || err != nil {
		return nil, err
	}
	return shards[PartitionFor(group, int32(len(shards)))], nil
}

// allShards gives the shards, none when there is no topic and none is to be made.
func (c *Coordinator) allShards(ctx context.Context, create bool) ([]*shard, error) {
	if c.eng == nil {
		return nil, unmade("Coordinator")
	}
	if c.closed.Load() {
		return nil, topic.ErrClosed
	}
	if err := bounded.Cause(ctx); err != nil {
		return nil, err
	}
	home, err := c.findHome()
	if home == nil && err == nil && create {
		home, err = c.makeHome(ctx)
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if home == c.home {
		return c.shards, nil
	}
	for _, s := range c.shards { // the topic was deleted under us
		s.fail(topic.ErrNotFound)
	}
	c.home, c.shards = home, nil
	if home != nil {
		c.known = idsOf(c.metadata())
		c.shards = make([]*shard, home.Partitions())
		for i := range c.shards {
			if c.shards[i], err = c.newShard(home, int32(i)); err != nil {
				c.home, c.shards = nil, nil
				return nil, err
			}
		}
	}
	return c.shards, nil
}

// openShards gives the shards there are already, without a look at the topic.
func (c *Coordinator) openShards() []*shard {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shards
}

// creates tells the calls that store something although there is no group yet.
func creates(event any) bool {
	switch event.(type) {
	case JoinRequest, ConsumerHeartbeatRequest, CommitRequest:
		return true
	}
	return false
}

// request brings an event to a group and waits for the answer.
func request[A answer](ctx context.Context, c *Coordinator, group string, event any, from *Consumer) A {
	var none A
	done := make(chan answer, 1)
	if err := c.bring(ctx, group, event, from, func(a answer) { done <- a }); err != nil {
		return none.refused(err).(A)
	}
	select {
	case a := <-done:
		return a.(A)
	case <-ctx.Done():
		return none.refused(bounded.Cause(ctx)).(A)
	}
}

// bring brings an event to a group. got is called once with the answer, possibly with the shard's lock held: it must not wait, nor call
// the coordinator. With an error it is not called.
func (c *Coordinator) bring(ctx context.Context, group string, event any, from *Consumer, got func(answer)) error {
	s, err := c.shardOf(ctx, group, group != "" && creates(event))
	if err != nil {
		return err
	}
	if s == nil { // there are no groups: one that does not exist answers
		for _, e := range newMachine(group, c.cfg, nil).step(0, 0, event) {
			if r, ok := e.(reply); ok {
				got(r.answer)
			}
		}
		return nil
	}
	return s.bring(ctx, group, event, from, got)
}

// Join is Kafka's JoinGroup. It waits until the next generation begins. Fresh may be left empty. Waiting ends with ctx; the member then
// is in the group all the same until its session ends, as one whose connection broke.
func (c *Coordinator) Join(ctx context.Context, group string, req JoinRequest) JoinResponse {
	if req.Fresh == "" {
		req.Fresh = freshID()
	}
	return request[JoinResponse](ctx, c, group, req, nil)
}

// Sync is Kafka's SyncGroup. It waits for the leader's assignment.
func (c *Coordinator) Sync(ctx context.Context, group string, req SyncRequest) SyncResponse {
	return request[SyncResponse](ctx, c, group, req, nil)
}

// Heartbeat is Kafka's Heartbeat.
func (c *Coordinator) Heartbeat(ctx context.Context, group string, req HeartbeatRequest) HeartbeatResponse {
	return request[HeartbeatResponse](ctx, c, group, req, nil)
}

// Leave is Kafka's LeaveGroup.
func (c *Coordinator) Leave(ctx context.Context, group string, req LeaveRequest) LeaveResponse {
	return request[LeaveResponse](ctx, c, group, req, nil)
}

// ConsumerHeartbeat is Kafka's ConsumerGroupHeartbeat, the call of the server-side protocol. Fresh may be left empty. A group with members
// of this process ([Join]) speaks the classic protocol and refuses it.
func (c *Coordinator) ConsumerHeartbeat(ctx context.Context, group string, req ConsumerHeartbeatRequest) ConsumerHeartbeatResponse {
	if req.Fresh == "" {
		req.Fresh = freshID()
	}
	return request[ConsumerHeartbeatResponse](ctx, c, group, req, nil)
}

// Commit is Kafka's OffsetCommit; ProducerID must be negative: commits within a transaction are refused with ErrInvalidRequest, those that
// Kafka wrote are read. Offsets of partitions that do not exist, or beyond their ends, are stored as they are, as Kafka does.
func (c *Coordinator) Commit(ctx context.Context, group string, req CommitRequest) CommitResponse {
	if req.ProducerID >= 0 && c.eng != nil {
		return CommitResponse{Err: refuse(ErrInvalidRequest, "a commit that is part of a transaction")}
	}
	return request[CommitResponse](ctx, c, group, req, nil)
}

// FetchOffsets is Kafka's OffsetFetch. A group that does not exist has committed nothing.
func (c *Coordinator) FetchOffsets(ctx context.Context, group string, req FetchOffsetsRequest) FetchOffsetsResponse {
	return request[FetchOffsetsResponse](ctx, c, group, req, nil)
}

// DeleteOffsets is Kafka's OffsetDelete.
func (c *Coordinator) DeleteOffsets(ctx context.Context, group string, req DeleteOffsetsRequest) DeleteOffsetsResponse {
	return request[DeleteOffsetsResponse](ctx, c, group, req, nil)
}

// freshID is a random version 4 UUID.
func freshID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
