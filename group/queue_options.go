package group

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/topic"
)

// What a queue does unless it is told otherwise; lease and attempts are Kafka's group.share.record.lock.duration.ms and
// group.share.delivery.count.limit.
const (
	DefaultLease       = 30 * time.Second
	DefaultMaxAttempts = 5
	DefaultFirstRest   = time.Second
	DefaultLongestRest = time.Minute
	DefaultWindow      = 5000
	mostWindow         = 20000
)

// QueueOption is a choice for [OpenQueue]. The last one given of each kind counts.
type QueueOption func(*queueConfig)

type queueConfig struct {
	name       string
	lease      time.Duration
	attempts   int
	backoffMin time.Duration
	backoffMax time.Duration
	dead       string
	ordered    bool
	window     int
	start      topic.ResetPolicy
	key        func(*topic.Record) []byte
	priority   func(*topic.Record) int
	tenant     func(*topic.Record) string
	limits     limits
	wrong      []error // in options that are checked when they are given
}

// QueueName is the queue's name on its topic: each name has every record once. Default: the topic's name.
func QueueName(name string) QueueOption { return func(c *queueConfig) { c.name = name } }

// Lease is how long a delivery of [Queue.Deliveries] may take before the record is given to another; [Delivery.Renew] prolongs it.
// [Queue.Run] holds its records as long as its handlers run. It is also how long a record that is delivered alone (see Q7 of [Queue]), or
// waits to be, holds others up at most. Default 30 s.
func Lease(d time.Duration) QueueOption { return func(c *queueConfig) { c.lease = d } }

// MaxAttempts is how often a record is delivered at most, 1 to 32767. Default 5. What became of the first five attempts and of the last five
// is kept.
func MaxAttempts(n int) QueueOption { return func(c *queueConfig) { c.attempts = n } }

// Backoff is how long a record rests after a failed attempt: about first after the first one, twice as long after each further one, at
// most most. Each rest is drawn between half of that and all of it, so that records that failed together do not come back together.
// Default 1 s and 1 minute.
func Backoff(first, most time.Duration) QueueOption {
	return func(c *queueConfig) { c.backoffMin, c.backoffMax = first, most }
}

// DeadLetter is the topic that records go to which are rejected or have used up their attempts; it is created whenever it is missing. See
// [DeadRecord] for what they carry. Without it such records are done and counted, and that is all.
//
// A topic that the queue makes takes batches of the size that the queue's topic takes, and 64 KiB more. A letter that is refused all the same,
// too large or against a rule or a quota, is told ([topic.DeadLetterRefused]) and its record parked: it stays unfinished, up to 20000 of a
// partition beside the [Window], holds back no others, shows up in [Queue.Entries] with the reason, can be put back by [Queue.Redrive], and is
// tried again after a second, and ever more seldom, up to five minutes. So is a record that was a dead letter 16 times: queues that are each
// other's dead letters do not hand it on for ever.
func DeadLetter(topicName string) QueueOption { return func(c *queueConfig) { c.dead = topicName } }

// OrderByKey delivers the records of one key one after the other, in their order: the next only when the one before is acknowledged or
// dead. A record that rests after a failure holds back its key and nothing else, up to [Window]. Records without a key have no order.
func OrderByKey() QueueOption { return func(c *queueConfig) { c.ordered = true } }

// KeyBy makes a record's key for [OrderByKey], [MaxInFlightPerKey] and [RatePerKey], in the place of its own: a customer's number out of its
// value, say. nil is no key. f is called once for a record, under a lock: it must be quick and must not use the queue. After a panic in it the
// record's own key counts. The result is not kept.
func KeyBy(f func(*topic.Record) []byte) QueueOption { return func(c *queueConfig) { c.key = f } }

// Window is how many records of a partition may be unfinished behind its oldest unfinished one before no more are looked at, 1 to 20000:
// Kafka's group.share.partition.max.record.locks. Records are read up to 500 at a time, so that there may be so many more. Default 5000.
func Window(n int) QueueOption { return func(c *queueConfig) { c.window = n } }

// StartAt is where a queue that does not exist yet begins: [topic.Earliest], the default, [topic.Latest], or a [topic.ByDuration].
func StartAt(p topic.ResetPolicy) QueueOption { return func(c *queueConfig) { c.start = p } }

// MaxInFlight is how many records of the queue may be with somebody at a time: delivered, and neither answered for nor given up by the end
// of their lease. 0, the default, is no limit.
func MaxInFlight(n int) QueueOption {
	return func(c *queueConfig) { c.limits.most = n }
}

// MaxInFlightPerKey is MaxInFlight for each key on its own. A key at its limit holds back its own records, up to [Window], and no others.
// Records without a key have no such limit.
func MaxInFlightPerKey(n int) QueueOption {
	return func(c *queueConfig) { c.limits.keyMost = n }
}

// Rate is how many deliveries a second there may be, those of one record again included, and how many at once after a pause: a bucket of
// burst tokens into which one comes every 1/perSecond s, from which each delivery takes one. It starts full. No timer runs but while somebody
// waits for a token. Dead letters need none. Default: no limit.
func Rate(perSecond float64, burst int) QueueOption {
	return func(c *queueConfig) { c.limits.rate = c.pace("rate", perSecond, burst) }
}

// RatePerKey is Rate for each key on its own: a key without a token holds back its own records, up to [Window], and no others. Records
// without a key have no such limit. A key is remembered until its bucket is full again, and begins with a full one.
func RatePerKey(perSecond float64, burst int) QueueOption {
	return func(c *queueConfig) { c.limits.keyRate = c.pace("rate per key", perSecond, burst) }
}

func (c *queueConfig) pace(what string, perSecond float64, burst int) pace {
	p, ok := newPace(perSecond, burst)
	if !ok {
		c.wrong = append(c.wrong, fmt.Errorf("%w: %s of %v with bursts of %d", topic.ErrInvalid, what, perSecond, burst))
	}
	return p
}

// Priority delivers records with a higher number first, among those of the [Window]; with [OrderByKey] it chooses among keys. It is strict:
// as long as there are records of a higher number, those of a lower one starve. See [ByHeader] for numbers that producers choose.
//
// f is called once for a record, under a lock: it must be quick and must not use the queue. A panic in it counts as 0.
func Priority(f func(*topic.Record) int) QueueOption { return func(c *queueConfig) { c.priority = f } }

// ByHeader is for [Priority]: a record's priority is the decimal number in its last header of that name; 0 if there is none.
func ByHeader(name string) func(*topic.Record) int {
	return func(r *topic.Record) int {
		for i := len(r.Headers) - 1; i >= 0; i-- {
			if r.Headers[i].Key == name {
				n, _ := strconv.Atoi(string(r.Headers[i].Value))
				return n
			}
		}
		return 0
	}
}

// FairBy gives tenants turns: of those that have a record ready, each gets one delivered before any gets another, however many it has. f
// tells whose a record is. A tenant's own records keep their order; with [Priority], the tenants of the highest number take turns first.
// Limits of keys go before fairness: of a key's records that wait for them, only the first stands in its tenant's line.
//
// A queue looks ahead [Window] unfinished records in each partition, 20000 at most, and no further: all that it has looked at it keeps in
// memory, and all that is finished out of order is part of the stored state. A tenant that has filled a partition's window with its own
// holds up the others in that partition until some of those are done; where tenants may be that far ahead, give each a partition of its own
// by the records' keys.
//
// f is called once for a record, under a lock: it must be quick and must not use the queue. A panic in it makes the tenant "".
func FairBy(f func(*topic.Record) string) QueueOption { return func(c *queueConfig) { c.tenant = f } }

func newQueueConfig(topicName string, opts []QueueOption) (*queueConfig, error) {
	c := &queueConfig{
		name: topicName, lease: DefaultLease, attempts: DefaultMaxAttempts, backoffMin: DefaultFirstRest, backoffMax: DefaultLongestRest,
		window: DefaultWindow, start: topic.Earliest,
	}
	return c, errors.Join(choice.Apply(c, opts, topic.ErrInvalid), c.check(topicName))
}

func (c *queueConfig) check(topicName string) error {
	faults := c.wrong
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf("%w: "+format, append([]any{topic.ErrInvalid}, args...)...))
		}
	}
	bad(c.name == "" || len(c.name) > math.MaxInt16, "queue name of %d bytes", len(c.name))
	bad(c.lease <= 0, "lease of %v", c.lease)
	bad(c.attempts < 1 || c.attempts > math.MaxInt16, "%d attempts", c.attempts)
	bad(c.backoffMin < 0 || c.backoffMax < c.backoffMin, "backoff from %v to %v", c.backoffMin, c.backoffMax)
	bad(c.window < 1 || c.window > mostWindow, "window of %d records", c.window)
	bad(c.limits.most < 0, "%d records in flight", c.limits.most)
	bad(c.limits.keyMost < 0, "%d records in flight per key", c.limits.keyMost)
	bad(c.dead == topicName, "topic %q as its own dead letters", c.dead)
	if c.dead != "" {
		faults = append(faults, checkDestination(c.dead))
	}
	return errors.Join(faults...)
}

// rest is how long a record waits after its n-th attempt.
func (c *queueConfig) rest(n int) time.Duration {
	d := c.backoffMin
	for i := 1; i < n && d > 0 && d < c.backoffMax; i++ {
		if d > c.backoffMax/2 {
			d = c.backoffMax
			break
		}
		d *= 2
	}
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2+1)
}

// rank is a record's priority.
func (c *queueConfig) rank(r *topic.Record) (n int) {
	if c.priority == nil {
		return 0
	}
	defer func() { _ = recover() }()
	return c.priority(r)
}

// keyOf is the key by which a record is ordered and limited.
func (c *queueConfig) keyOf(r *topic.Record) (key []byte) {
	if c.key == nil {
		return r.Key
	}
	defer func() {
		if recover() != nil {
			key = r.Key
		}
	}()
	return c.key(r)
}

// owner is a record's tenant.
func (c *queueConfig) owner(r *topic.Record) (name string) {
	if c.tenant == nil {
		return ""
	}
	defer func() { _ = recover() }()
	return c.tenant(r)
}

// chooses tells whether records overtake each other: then all that the window has room for is looked at before one is chosen.
func (c *queueConfig) chooses() bool { return c.priority != nil || c.tenant != nil }
