package group

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/internal/watermark"
	"github.com/quirelog/quire/timingwheel"
	"github.com/quirelog/quire/topic"
)

var (
	// ErrRevoked is why the context of a batch was cancelled whose partition goes to another member.
	ErrRevoked = errors.New("group: partition revoked")
	// ErrLost is why the context of a batch was cancelled whose partition is gone already: the member was removed from the group, or the
	// topic deleted.
	ErrLost = errors.New("group: partition lost")
	// ErrLate: a batch took longer than MaxPollInterval, or nobody looped for as long; the member was removed from the group.
	ErrLate = errors.New("group: member did not come back in time")
)

// A Consumer is a member of a group in this process. It reads the partitions that the group gives it, in the one loop that may run at a
// time: [Consumer.Batches] in the caller's goroutine, or [Consumer.Run] and [Consumer.RunByKey] with workers. Joining, rebalances and
// callbacks happen in the loop; between loops nothing does. There are no heartbeats: it is a member while it is open and comes back in time ([MaxPollInterval]).
//
// What was processed is marked, and what was marked is committed: in the background, before partitions go to others, and by Close. So after
// a crash, or when a member is removed, records that were not committed are read again; after a Close in good order those are none that
// were marked.
//
// Everything but a second loop may be called at once from any goroutine. It ends with Close or with its engine; it has no goroutine, and a
// timer only while it must come back or has something to commit.
type Consumer struct {
	coord  *Coordinator
	group  string
	cfg    *joinConfig
	src    *topic.Consumer
	origin assignor.Metadata // the topics when the group's first member joined

	looping  atomic.Bool // somebody has the loop, or is closing
	poked    atomic.Bool // look what has become of the group
	topics   atomic.Bool // topics have changed
	missed   atomic.Bool // somebody wanted to steer while somebody else did
	finished watermark.Mark
	stats    consumerStats
	room     roomWait

	member membership // the loop's

	away      timingwheel.Timer // nobody loops
	committer timingwheel.Timer // something is to be committed
	steering  timingwheel.Timer // the membership goes on without the loop
	turn      chan struct{}     // room for one token: who commits has it

	mu       sync.Mutex
	hold     map[topic.TopicPartition]*holding
	keyed    bool                         // RunByKey is the loop
	turns    turns                        // who is served next; its ranks are changed by the loop only
	out      map[*Batch]struct{}          // handed out
	busy     map[topic.TopicPartition]int // of those, by partition
	paused   map[topic.TopicPartition]bool
	fresh    []*holding // those that begin where the reading's own rule says, until that is known
	touched  []*holding // those of which the source may have to be told something
	dirty    []*holding // those of which a commit may have something to say
	looked   int        // how often one was looked at for either
	seeks    []seek
	id       identity
	asked    string        // the id of a member that has not been let in yet
	asyncs   []func(error) // who waits for the next commit in the background
	due      bool          // committer is set
	asleep   bool          // the loop waits for records
	closing  bool
	stopping chan struct{} // closed then
	ended    error         // why it is over
	over     chan struct{} // closed then
	late     bool          // removed from the group for not coming back
}

// identity is what the member says of itself when it commits.
type identity struct {
	member     string
	generation int32
}

// noteCandidate remembers what the coordinator is going to call a new member.
func (c *Consumer) noteCandidate(req JoinRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = ""
	switch {
	case req.MemberID != "":
	case req.InstanceID != "":
		c.asked = req.InstanceID + "-" + req.Fresh
	default:
		c.asked = req.ClientID + "-" + req.Fresh
	}
}

// memberLocked is the member's id, also while it is being let in.
func (c *Consumer) memberLocked() string { return cmp.Or(c.id.member, c.asked) }

// holding is a partition while it is the member's.
type holding struct {
	tp        topic.TopicPartition
	next      int64 // behind what was handed out
	from      int64 // what was handed out begins here
	mark      int64 // to be committed; -1 nothing
	committed int64 // as far as it matters for the next commit
	stored    int64 // what the group has committed; -1 nothing
	topic     topic.ID
	quiet     bool // the source is told not to read it
	touched   bool // quiet may be wrong
	dirty     bool // a commit may have something to say of it

	class  *class
	ready  []*Batch // read and not handed out
	inLine bool     // of its class
	out    int      // batches handed out
	window *window  // of RunByKey
	done   spans    // finished, and not read yet since
	noted  string   // of what is finished, with the last commit
}

type seek struct {
	tp     topic.TopicPartition
	offset int64
}

// Join makes a member of a group, which joins at once and is given partitions when its loop runs. Errors: topic.ErrInvalid with all faults
// of the options, topic.ErrClosed, the context's cause, and why the group's records could not be read.
func Join(ctx context.Context, eng *topic.Engine, group string, opts ...JoinOption) (*Consumer, error) {
	coord, err := On(eng)
	if err != nil {
		return nil, err
	}
	cfg, err := newJoinConfig(group, coord.cfg, opts)
	if err != nil {
		return nil, err
	}
	src, err := eng.NewConsumer(append(slices.Clone(cfg.source), topic.MinBytes(1), topic.MaxWait(topic.Forever))...)
	if err != nil {
		return nil, err
	}
	c := &Consumer{
		coord: coord, group: group, cfg: cfg, src: src, turn: make(chan struct{}, 1),
		over: make(chan struct{}), stopping: make(chan struct{}),
		hold: map[topic.TopicPartition]*holding{}, out: map[*Batch]struct{}{}, busy: map[topic.TopicPartition]int{},
		paused: map[topic.TopicPartition]bool{},
	}
	c.room.eng, c.room.loop, c.room.rests, c.room.over = eng, loopName{cfg.loop, group}, cfg.rests, c.stopping
	c.member = membership{c: c, steer: make(chan struct{}, 1), called: make(chan struct{}, 1)}
	c.away.Value, c.committer.Value, c.steering.Value = c.evict, c.commitDue, c.steerAway
	c.origin = coord.enroll(c)
	if err := c.begin(ctx); err != nil {
		c.retire(err)
		return nil, err
	}
	coord.timers.After(&c.away, cfg.late)
	return c, nil
}

// begin joins.
func (c *Consumer) begin(ctx context.Context) error {
	c.member.steer <- struct{}{}
	defer func() { <-c.member.steer }()
	if err := c.member.join(ctx); err != nil {
		return err
	}
	c.member.quickly(ctx)
	return nil
}

// Group is the group's name.
func (c *Consumer) Group() string { return c.group }

// Member is the member's id and generation, "" and NoGeneration while it has none.
func (c *Consumer) Member() (id string, generation int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.id.member == "" {
		return "", assignor.NoGeneration
	}
	return c.id.member, c.id.generation
}

// Assignment lists the partitions that are the member's now, in order.
func (c *Consumer) Assignment() []topic.TopicPartition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heldLocked()
}

func (c *Consumer) heldLocked() []topic.TopicPartition {
	list := make([]topic.TopicPartition, 0, len(c.hold))
	for tp := range c.hold {
		list = append(list, tp)
	}
	slices.SortFunc(list, topic.TopicPartition.Compare)
	return list
}

// poke has the loop look what has become of the group. It is called with locks held, and only leaves word.
func (c *Consumer) poke() {
	c.poked.Store(true)
	c.stir()
}

// stir sees that the membership goes on: by the loop if it sleeps, else by a timer.
func (c *Consumer) stir() {
	c.mu.Lock()
	asleep, over := c.asleep, c.ended != nil || c.closing
	c.mu.Unlock()
	c.src.Wakeup()
	if !asleep && !over {
		c.coord.timers.After(&c.steering, 0)
	}
}

// concerned tells whether any of the topics matters to the member: it subscribes to it, or has assigned its partitions to others.
func (c *Consumer) concerned(names []string) bool {
	facts := c.member.snapshot.Load()
	return slices.ContainsFunc(names, func(name string) bool {
		if facts != nil {
			if _, ok := (*facts)[name]; ok {
				return true
			}
		}
		return slices.Contains(c.cfg.topics, name) || c.cfg.pattern != nil && c.cfg.pattern.matches(name)
	})
}

func (c *Consumer) pokeTopics() {
	c.topics.Store(true)
	c.poke()
}

// evict removes a member that has not come back in time.
func (c *Consumer) evict() {
	c.mu.Lock()
	if c.ended != nil || c.closing || c.late {
		c.mu.Unlock()
		return
	}
	c.late = true
	c.stats.evictions.Add(1)
	for b := range c.out {
		b.cancel(ErrLate)
	}
	id := c.memberLocked()
	c.mu.Unlock()
	c.depart(id)
	c.src.Wakeup()
}

// depart takes the member out of the group, without waiting for the answer; a static one stays for as long as its session.
func (c *Consumer) depart(id string) {
	if id == "" {
		return
	}
	var event any = LeaveRequest{Members: []Leaver{{MemberID: id}}}
	if c.cfg.instance != "" {
		event = disowned{id}
	}
	// What cannot be brought has nobody to be brought to: the engine is closing, or the group's log cannot be read.
	_ = c.coord.bring(context.Background(), c.group, event, nil, nil)
}

// Close ends the member: nothing more is handed out, the contexts of batches are cancelled and their handlers awaited, OnRevoke is called,
// what was marked is committed, and the member leaves, so that others get its partitions at once (a static one is waited for). When a loop
// runs, it does all this as soon as its body or its workers have returned, and then ends without an error; Close does not wait for it, so
// that it can be called inside the loop, see [Consumer.Shutdown]. Close again does nothing.
func (c *Consumer) Close() error {
	if c.coord == nil {
		return unmade("Consumer")
	}
	c.startClosing(true)
	return c.finishUnlessLooping(context.Background())
}

// Shutdown is Close that waits for a loop to do its part, until ctx ends; what is left then, for a handler or a disk that hangs, goes on in
// the background.
func (c *Consumer) Shutdown(ctx context.Context) error { return c.windUp(ctx, true) }

// Drain is a soft Shutdown: nothing more is handed out, but the handlers at work are left in peace until they return, and what they have
// finished is committed. When ctx ends first, Drain becomes Close, which tells them, and returns why ctx ended.
func (c *Consumer) Drain(ctx context.Context) error { return c.windUp(ctx, false) }

func (c *Consumer) windUp(ctx context.Context, tell bool) error {
	if c.coord == nil {
		return unmade("Consumer")
	}
	c.startClosing(tell)
	err := c.finishUnlessLooping(ctx)
	select {
	case <-c.over: // also when ctx has ended since
		return err
	default:
	}
	select {
	case <-c.over:
		return err
	case <-ctx.Done():
		c.startClosing(true)
		return errors.Join(bounded.Cause(ctx), c.finishUnlessLooping(ctx))
	}
}

// finishUnlessLooping finishes, unless a loop does.
func (c *Consumer) finishUnlessLooping(ctx context.Context) error {
	if !c.looping.CompareAndSwap(false, true) {
		return nil
	}
	return c.finishApart(ctx)
}

// finishApart finishes for a caller that has the loop, and waits for that until a while after ctx has ended; what goes on then tells nothing.
func (c *Consumer) finishApart(ctx context.Context) error {
	within, stop := withGrace(ctx, endGrace)
	defer stop()
	out, err := bounded.Err(within, &c.coord.calls, 0, func() error {
		defer c.looping.Store(false)
		return c.finish(context.Background())
	})
	if out == bounded.NotBegun {
		c.looping.Store(false)
	}
	if out != bounded.Ended {
		return nil
	}
	return err
}

// startClosing has nothing more handed out; with tell the handlers at work are told to stop.
func (c *Consumer) startClosing(tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.closing = true
		close(c.stopping)
	}
	if tell {
		for b := range c.out {
			b.cancel(topic.ErrClosed)
		}
	}
	c.src.Wakeup()
}

// finish is the orderly end. Its caller has the loop.
func (c *Consumer) finish(ctx context.Context) error {
	c.mu.Lock()
	done, late := c.ended != nil, c.late
	held := c.heldLocked()
	c.mu.Unlock()
	if done {
		return nil
	}
	c.member.steer <- struct{}{}
	defer func() { <-c.member.steer }()
	defer c.leaveGroup(late) // also when a callback ends the goroutine
	switch {
	case late:
		return c.member.lose(ctx, held, ErrLate)
	case len(held) > 0:
		return c.member.revoke(ctx, held, topic.ErrClosed)
	}
	return nil
}

// leaveGroup is the last part of it.
func (c *Consumer) leaveGroup(late bool) {
	c.mu.Lock()
	id := c.memberLocked()
	c.mu.Unlock()
	if !late {
		c.depart(id)
	}
	c.retire(topic.ErrClosed)
}

// retire frees what the member holds in this process.
func (c *Consumer) retire(why error) {
	c.mu.Lock()
	if c.ended != nil {
		c.mu.Unlock()
		return
	}
	c.ended = why
	for b := range c.out {
		b.cancel(why)
	}
	c.mu.Unlock()
	c.coord.timers.Stop(&c.away)
	c.coord.timers.Stop(&c.committer)
	c.coord.timers.Stop(&c.steering)
	if shards := c.coord.strike(c); len(shards) > 0 {
		shards[PartitionFor(c.group, int32(len(shards)))].forget(c.group, c)
	}
	c.src.Close()
	close(c.over)
}

// engineClosing ends the member because its engine does: there is nothing left to commit to.
func (c *Consumer) engineClosing() { c.retire(topic.ErrClosed) }
