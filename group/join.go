package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/topic"
)

// mostReadAhead is the highest ReadAhead.
const mostReadAhead = 1_000_000

// A JoinOption is a choice for [Join].
type JoinOption func(*joinConfig)

type joinConfig struct {
	topics    []string
	pattern   *nameRegex
	regex     string
	instance  string
	clientID  string
	rack      string
	assignors []assignor.Assignor
	late      time.Duration
	session   time.Duration
	interval  time.Duration
	manual    bool
	source    []topic.ConsumerOption
	order     serving
	inFlight  int
	onAssign  Callback
	onRevoke  Callback
	onLost    Callback
	onCommit  func([]PartitionOffset, error)
	loop      string // what its loop is called, and how long it rests when the disk is full
	rests     rests
}

// A Callback is told of partitions that come or go. It runs in the goroutine of the loop ([Consumer.Batches], [Consumer.Run]), or in that
// of Close; ctx is the loop's. It may use the Consumer, but not begin a loop. An error ends the loop and comes out of it; what was to be done with the partitions is done
// all the same.
type Callback func(ctx context.Context, parts []topic.TopicPartition) error

// Topics are the topics to read. One that does not exist is read once it does. Internal topics may be named.
func Topics(names ...string) JoinOption {
	return func(c *joinConfig) { c.topics = append(c.topics, names...) }
}

// TopicsMatching reads all topics whose whole name matches a regular expression (RE2), also those that are created later; not those that
// the engine keeps for itself, such as [OffsetsTopic]. It may be used together with [Topics].
func TopicsMatching(expr string) JoinOption { return func(c *joinConfig) { c.regex = expr } }

// AssignWith are the assignors the member has, the one it likes best first; a group uses one that all its members have. With only
// cooperative ones members keep reading during a rebalance what stays theirs; otherwise everybody lets go of everything first (eager).
// Default CooperativeSticky.
func AssignWith(list ...assignor.Assignor) JoinOption {
	return func(c *joinConfig) { c.assignors = list }
}

// StaticMember names the member, for one that comes back: for as long as its session ([Session]) after it was closed, or its process
// ended, its partitions wait for it and nobody else gets them.
func StaticMember(instance string) JoinOption { return func(c *joinConfig) { c.instance = instance } }

// Session is how long a static member may be away. Default 45 s, within Config.MinSession and Config.MaxSession.
func Session(d time.Duration) JoinOption { return func(c *joinConfig) { c.session = d } }

// ClientID is a name for administrators to see, and the beginning of the member id. Default "quire".
func ClientID(id string) JoinOption { return func(c *joinConfig) { c.clientID = id } }

// Rack is where the member is, for assignors that look at it.
func Rack(rack string) JoinOption { return func(c *joinConfig) { c.rack = rack } }

// MaxPollInterval is how long a batch may take, a rebalance may wait for the member, and the member may be without a loop; then it is
// removed from the group, and what it had is lost to it (Kafka's max.poll.interval.ms). It joins again when it comes back. Default 5 min.
func MaxPollInterval(d time.Duration) JoinOption { return func(c *joinConfig) { c.late = d } }

// CommitEvery is how soon after a Mark what was marked is committed in the background (auto.commit.interval.ms); 0 is at once, what is
// marked while a commit is on its way going together into the next. Default 5 s.
func CommitEvery(d time.Duration) JoinOption {
	return func(c *joinConfig) { c.interval, c.manual = d, false }
}

// CommitByHand commits nothing in the background: what was marked is committed by [Consumer.Commit] and [Consumer.CommitAsync], and, as
// always, before partitions are handed over and by Close.
func CommitByHand() JoinOption { return func(c *joinConfig) { c.manual = true } }

// ReadWith are choices for the reading itself: topic.MaxPollRecords, which bounds a batch, topic.Isolation, topic.OnOutOfRange, which also
// says where a partition begins for which nothing was committed, and so on. (Partitions that come while the group has members in this
// process begin at their first record, whatever it says.) topic.MinBytes and topic.MaxWait have no effect.
func ReadWith(opts ...topic.ConsumerOption) JoinOption {
	return func(c *joinConfig) { c.source = append(c.source, opts...) }
}

// ReadAhead is how many records of a partition [Consumer.RunByKey] may have in hand, the finished ones behind an unfinished one included,
// before it reads no more of it, 1 to 1,000,000; one read ([topic.MaxPollRecords]) may go beyond. Default 5000.
func ReadAhead(n int) JoinOption { return func(c *joinConfig) { c.inFlight = n } }

// OnAssign is called with partitions that have come, their positions set, before anything of them is handed out. It may seek.
func OnAssign(f Callback) JoinOption { return func(c *joinConfig) { c.onAssign = f } }

// OnRevoke is called before partitions are given to others: nothing of them is handed out any more, the handlers of their batches have
// returned, and what is marked when it returns is committed next.
func OnRevoke(f Callback) JoinOption { return func(c *joinConfig) { c.onRevoke = f } }

// OnLost is called with partitions that are gone already: the member was removed from the group, or their topic deleted. Others may be
// reading them; nothing can be committed. Handlers may still be running, their contexts cancelled.
func OnLost(f Callback) JoinOption { return func(c *joinConfig) { c.onLost = f } }

// OnCommit is called with the outcome of every commit, in the order of the commits. It must be quick and must not use the Consumer or the
// Coordinator.
func OnCommit(f func([]PartitionOffset, error)) JoinOption {
	return func(c *joinConfig) { c.onCommit = f }
}

func newJoinConfig(group string, rules *Config, opts []JoinOption) (*joinConfig, error) {
	c := &joinConfig{clientID: "quire", late: 5 * time.Minute, interval: 5 * time.Second, session: 45 * time.Second, inFlight: 5000}
	c.loop, c.rests = "consumer", defaultRests
	faults := []error{choice.Apply(c, opts, topic.ErrInvalid)}
	if len(c.assignors) == 0 {
		c.assignors = []assignor.Assignor{assignor.CooperativeSticky()}
	}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("%w: "+format, append([]any{topic.ErrInvalid}, args...)...))
		}
	}
	check(!slices.Contains(c.assignors, nil), "a nil assignor")
	check(group != "", "the group has no name")
	check(len(c.topics) > 0 || c.regex != "", "a member of group %q names no topics", group)
	for _, name := range c.topics {
		err := topic.CheckName(name)
		check(err == nil, "%v", err)
	}
	var err error
	if c.regex != "" {
		c.pattern, err = compileRegex(c.regex)
		check(err == nil, "%v", err)
	}
	check(c.late > 0, "max poll interval %v is not positive", c.late)
	check(c.session >= rules.MinSession && c.session <= rules.MaxSession, "session %v is not in [%v, %v]", c.session, rules.MinSession, rules.MaxSession)
	check(c.inFlight >= 1 && c.inFlight <= mostReadAhead, "%d records in flight", c.inFlight)
	faults = append(faults, c.order.faults...)
	check(c.interval >= 0, "commit interval %v is negative", c.interval)
	return c, errors.Join(faults...)
}

// cooperative tells whether partitions are kept during a rebalance.
func (c *joinConfig) cooperative() bool {
	return !slices.ContainsFunc(c.assignors, func(a assignor.Assignor) bool { return !a.Cooperative() })
}

// wants lists the topics to subscribe to, sorted.
func (c *joinConfig) wants(meta func() assignor.Metadata) []string {
	list := slices.Clone(c.topics)
	if c.pattern != nil {
		for name, info := range meta() {
			if !info.Internal && c.pattern.matches(name) {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
