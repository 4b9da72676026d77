package topic

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/topic/internal/fetch"
)

// Defaults of a consumer, Apache Kafka's.
const (
	DefaultMaxPollRecords    = 500
	DefaultMinBytes          = 1
	DefaultMaxWait           = 500 * time.Millisecond
	DefaultMaxBytes          = 50 << 20
	DefaultMaxPartitionBytes = 1 << 20
)

// ConsumerOption is a choice for [Engine.NewConsumer].
type ConsumerOption func(*consumerConfig)

type consumerConfig struct {
	fetch.Config
	isolation      IsolationLevel
	maxPollRecords int
	minBytes       int
	maxWait        time.Duration
	maxBytes       int
	interceptors   []ConsumerInterceptor
}

func newConsumerConfig(opts []ConsumerOption) (*consumerConfig, error) {
	c := &consumerConfig{
		Config: defaultFetch(), maxPollRecords: DefaultMaxPollRecords,
		minBytes: DefaultMinBytes, maxWait: DefaultMaxWait, maxBytes: DefaultMaxBytes,
	}
	return c, errors.Join(choice.Apply(c, opts, ErrInvalid), c.validate())
}

// MaxPollRecords is the most records one Poll returns. Default 500.
func MaxPollRecords(n int) ConsumerOption { return func(c *consumerConfig) { c.maxPollRecords = n } }

// MinBytes is how many bytes of batches a Poll waits for, at most [MaxWait] long. Default 1: return as soon
// as there is anything.
func MinBytes(n int) ConsumerOption { return func(c *consumerConfig) { c.minBytes = n } }

// MaxWait is how long a Poll waits for [MinBytes]; then it returns what there is, maybe nothing. Default
// 500 ms. With [Forever] it waits for the first record without a timer, and then no longer than that.
func MaxWait(d time.Duration) ConsumerOption { return func(c *consumerConfig) { c.maxWait = d } }

// MaxBytes is about how many bytes of batches one Poll takes from all partitions together. Default 50 MiB.
func MaxBytes(n int) ConsumerOption { return func(c *consumerConfig) { c.maxBytes = n } }

// MaxPartitionBytes is the most that is read from one partition at a time; a batch that is larger comes
// whole, so that there is always progress. Default 1 MiB.
func MaxPartitionBytes(n int) ConsumerOption {
	return func(c *consumerConfig) { c.MaxPartitionBytes = n }
}

// Isolation says how far the consumer sees. Default [ReadUncommitted].
func Isolation(level IsolationLevel) ConsumerOption {
	return func(c *consumerConfig) { c.isolation, c.Bound = level, level.bound() }
}

// CheckCRCs says whether the checksum of every batch is verified when it is read. Default true.
func CheckCRCs(on bool) ConsumerOption { return func(c *consumerConfig) { c.SkipChecksums = !on } }

// OnOutOfRange says what happens when a position is not in the partition. Default [Earliest].
func OnOutOfRange(p ResetPolicy) ConsumerOption { return func(c *consumerConfig) { c.Reset = p } }

// InterceptConsumed adds interceptors, called in the order given.
func InterceptConsumed(list ...ConsumerInterceptor) ConsumerOption {
	return func(c *consumerConfig) { c.interceptors = append(c.interceptors, list...) }
}

func (c *consumerConfig) validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	check(c.maxPollRecords > 0, "max poll records %d is not positive", c.maxPollRecords)
	check(c.minBytes >= 0, "min bytes %d is negative", c.minBytes)
	check(c.maxWait >= 0, "max wait %v is negative", c.maxWait)
	check(c.maxBytes > 0, "max bytes %d is not positive", c.maxBytes)
	check(c.MaxPartitionBytes > 0 && c.MaxPartitionBytes <= math.MaxInt32, "max partition bytes %d is not in [1, 2^31)", c.MaxPartitionBytes)
	check(c.isolation == ReadUncommitted || c.isolation == ReadCommitted, "unknown isolation level %d", c.isolation)
	check(c.Reset >= Fail, "unknown reset policy %d", c.Reset)
	return errors.Join(faults...)
}
