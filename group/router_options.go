package group

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/topic"
)

// What a router does unless it is told otherwise.
const (
	DefaultMaxHops      = 16
	DefaultFirstRetry   = 100 * time.Millisecond
	DefaultLongestRetry = 10 * time.Second
	DefaultPatience     = time.Hour
)

// RouterOption is a choice for [OpenRouter].
type RouterOption func(*routerConfig)

type routerConfig struct {
	bindings  []Binding
	join      []JoinOption
	key       func(*topic.Record) []byte
	alternate string
	mustExist bool
	create    []topic.TopicOption
	hops      int
	restamp   bool
	rests     rests

	members *joinConfig // what the options of joining come to
}

// From are the topics whose records are routed. One that does not exist is read once it does.
func From(topics ...string) RouterOption { return JoinWith(Topics(topics...)) }

// FromMatching routes the records of all topics whose whole name matches a regular expression (RE2), also those that are created later; not
// internal ones.
func FromMatching(expr string) RouterOption { return JoinWith(TopicsMatching(expr)) }

// Bind are bindings that the router begins with; [Router.Bind] adds others.
func Bind(list ...Binding) RouterOption {
	return func(c *routerConfig) { c.bindings = append(c.bindings, list...) }
}

// RoutingKey says what a record's routing key is. Default: its key, and no bytes for a record without one. f is called once for a record, by
// several goroutines at once; the bytes must stay as they are until the record is routed. A panic in it ends [Router.Run].
func RoutingKey(f func(rec *topic.Record) []byte) RouterOption {
	return func(c *routerConfig) { c.key = f }
}

// RoutingHeader takes the value of the first header of that name as the routing key, no bytes when there is none.
func RoutingHeader(name string) RouterOption {
	return RoutingKey(func(rec *topic.Record) []byte {
		for _, h := range rec.Headers {
			if h.Key == name {
				return h.Value
			}
		}
		return nil
	})
}

// Alternate is the topic for records that are not routed: to no binding, after too many hops ([MaxHops]), or refused by a topic for what they
// are (too large, a time outside its bounds, no key in a compacted topic); [Routed] tells which. Without it the first two are dropped and
// counted, and the third ends [Router.Run].
func Alternate(topicName string) RouterOption {
	return func(c *routerConfig) { c.alternate = topicName }
}

// CreateWith are the settings of topics that the router creates: those that copies go to are created when they are missing, at the time of
// binding, and when they turn out to be gone.
func CreateWith(opts ...topic.TopicOption) RouterOption {
	return func(c *routerConfig) { c.create = opts }
}

// MustExist creates no topics: binding one that is missing is a topic.ErrNotFound, and one that is gone later, or that a function names,
// ends [Router.Run] with that error.
func MustExist() RouterOption { return func(c *routerConfig) { c.mustExist = true } }

// MaxHops is how often a record may have been copied by routers, this one included: a record that came that far is not copied again, so that
// routers that lead into each other come to an end. Default 16.
func MaxHops(n int) RouterOption { return func(c *routerConfig) { c.hops = n } }

// StampCopies gives copies the time at which they are made. By default they keep that of their record.
func StampCopies() RouterOption { return func(c *routerConfig) { c.restamp = true } }

// RetryCopies is how long the router rests before it tries again to append copies for which there was no room, twice as long after each
// further try, at most most. Default 100 ms and 10 s.
func RetryCopies(first, most time.Duration) RouterOption {
	return func(c *routerConfig) { c.rests = rests{first, most} }
}

// JoinWith are choices for the router's membership in its group, as for [Join]: how soon progress is committed ([CommitEvery]), a static
// member, how many records are taken at once and where the reading begins ([ReadWith]), and so on. Unless told otherwise a router begins with
// the oldest records, reads committed ones only, and keeps its partitions for an hour ([MaxPollInterval]) while it waits for room on the disk:
// when it loses them, whoever gets them copies the batch in hand again.
func JoinWith(opts ...JoinOption) RouterOption {
	return func(c *routerConfig) { c.join = append(c.join, opts...) }
}

func newRouterConfig(name string, rules *Config, opts []RouterOption) (*routerConfig, error) {
	c := &routerConfig{hops: DefaultMaxHops, rests: defaultRests}
	fault := choice.Apply(c, opts, topic.ErrInvalid)
	ours := func(j *joinConfig) { j.loop, j.rests = "router", c.rests }
	c.join = append([]JoinOption{ReadWith(topic.Isolation(topic.ReadCommitted)), MaxPollInterval(DefaultPatience), ours}, c.join...)
	var err error
	c.members, err = newJoinConfig(name, rules, c.join)
	return c, errors.Join(fault, err, c.check())
}

func (c *routerConfig) check() error {
	var faults []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf("%w: "+format, append([]any{topic.ErrInvalid}, args...)...))
		}
	}
	bad(slices.ContainsFunc(c.create, func(o topic.TopicOption) bool { return o == nil }), "a nil option for the topics that it creates")
	bad(c.hops < 1, "%d hops", c.hops)
	bad(c.rests.first <= 0 || c.rests.most < c.rests.first, "rests from %v to %v", c.rests.first, c.rests.most)
	if c.alternate != "" {
		faults = append(faults, checkDestination(c.alternate), c.refuseLoop(c.alternate))
	}
	for _, b := range c.bindings {
		faults = append(faults, c.checkBinding(b))
	}
	return errors.Join(faults...)
}

// checkBinding says what is wrong with a binding of this router.
func (c *routerConfig) checkBinding(b Binding) error {
	if err := b.check(); err != nil || b.Kind == Function {
		return err
	}
	return c.refuseLoop(b.To)
}

// refuseLoop refuses to copy to a topic that is read.
func (c *routerConfig) refuseLoop(name string) error {
	m := c.members
	if slices.Contains(m.topics, name) || m.pattern != nil && m.pattern.matches(name) {
		return fmt.Errorf("%w: topic %q", ErrLoop, name)
	}
	return nil
}
