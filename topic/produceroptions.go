package topic

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/internal/choice"
)

// AckLevel is what must have happened before a producer's record counts as sent.
type AckLevel int8

const (
	// None: the batch was handed to the operating system; what the topic's durability level adds is not
	// waited for, and a record reported as sent may be lost even by a topic that syncs.
	None AckLevel = iota
	// Leader: the topic's durability level holds on the partition's leader.
	Leader
	// All: the topic's durability level holds on every in-sync copy. The default. On an engine that keeps
	// one copy this is the same as Leader.
	All
)

// String is Kafka's name of the level: 0, 1 or all.
func (a AckLevel) String() string {
	switch a {
	case None:
		return "0"
	case Leader:
		return "1"
	case All:
		return "all"
	}
	return fmt.Sprintf("acks(%d)", int8(a))
}

// Defaults of a producer, Apache Kafka's unless noted at the option.
const (
	DefaultBatchSize       = 16384
	DefaultBufferMemory    = 32 << 20
	DefaultMaxBlock        = time.Minute
	DefaultDeliveryTimeout = 2 * time.Minute
	DefaultRetryBackoff    = 100 * time.Millisecond
	DefaultRetryBackoffMax = time.Second
	DefaultMaxInFlight     = 5
	DefaultMaxRequestSize  = 1 << 20
)

// maxIdempotentInFlight is how many batches of a producer a log remembers, and so recognizes when they come
// a second time.
const maxIdempotentInFlight = 5

// ProducerOption is a choice for [Engine.NewProducer].
type ProducerOption func(*producerConfig)

type producerConfig struct {
	linger          time.Duration
	batchSize       int
	bufferMemory    int64
	maxBlock        time.Duration
	acks            AckLevel
	codec           compress.Codec
	codecGiven      bool
	level           int
	deliveryTimeout time.Duration
	retries         int
	backoff         time.Duration
	backoffMax      time.Duration
	idempotent      bool
	idempotentGiven bool
	maxInFlight     int
	maxRequestSize  int
	partitioner     Partitioner
	adaptive        bool
	interceptors    []ProducerInterceptor
	onError         func(Position, error)
}

func newProducerConfig(opts []ProducerOption) (*producerConfig, error) {
	c := &producerConfig{
		batchSize: DefaultBatchSize, bufferMemory: DefaultBufferMemory, maxBlock: DefaultMaxBlock,
		acks: All, level: compress.DefaultLevel, deliveryTimeout: DefaultDeliveryTimeout,
		retries: math.MaxInt32, backoff: DefaultRetryBackoff, backoffMax: DefaultRetryBackoffMax,
		idempotent: true, maxInFlight: DefaultMaxInFlight, maxRequestSize: DefaultMaxRequestSize,
		partitioner: byKey{}, adaptive: true,
	}
	if err := errors.Join(choice.Apply(c, opts, ErrInvalid), c.validate()); err != nil {
		return nil, err
	}
	return c, nil
}

// Linger is how long a batch that is not full waits for more records. Default 0: in one process batches
// form by themselves, from the records that come while the batch before is written and synced and while
// other partitions have their turns, so that waiting only adds delay. A linger pays where records trickle and each append costs an fsync.
func Linger(d time.Duration) ProducerOption { return func(c *producerConfig) { c.linger = d } }

// BatchSize is the size in bytes, before compression, at which a batch is full. A larger record makes a
// batch of its own. Default 16,384, at most 256 MiB.
func BatchSize(bytes int) ProducerOption { return func(c *producerConfig) { c.batchSize = bytes } }

// BufferMemory bounds the bytes of batches that are being filled or not yet acknowledged; a batch that is not full
// counts as what it has grown to, at least 1 KiB. A Send beyond it waits. Default 32 MiB.
func BufferMemory(bytes int64) ProducerOption {
	return func(c *producerConfig) { c.bufferMemory = bytes }
}

// MaxBlock is how long a Send may wait for buffer memory. Default 1 minute; 0: not at all.
func MaxBlock(d time.Duration) ProducerOption { return func(c *producerConfig) { c.maxBlock = d } }

// Acks is what must have happened before a record counts as sent. Default [All].
func Acks(a AckLevel) ProducerOption { return func(c *producerConfig) { c.acks = a } }

// Compress is the codec of the producer's batches. Default: none; a topic with a compression of its own
// compresses when it stores them.
func Compress(codec compress.Codec) ProducerOption {
	return func(c *producerConfig) { c.codec, c.codecGiven = codec, true }
}

// CompressLevel is the codec's level. Default: the codec's own.
func CompressLevel(level int) ProducerOption { return func(c *producerConfig) { c.level = level } }

// DeliveryTimeout bounds the time from a batch's first record to its callbacks: queueing, retries and
// waiting for the disk included. Default 2 minutes. It must be longer than the linger.
func DeliveryTimeout(d time.Duration) ProducerOption {
	return func(c *producerConfig) { c.deliveryTimeout = d }
}

// Retries is how often a batch whose append failed for a passing reason (no space, too many files) is tried
// again within the delivery timeout. Default: no bound.
func Retries(n int) ProducerOption { return func(c *producerConfig) { c.retries = n } }

// RetryBackoff is the wait before the first retry and the longest wait; each one is double the last, give
// or take 20 %. Default 100 ms and 1 s.
func RetryBackoff(first, most time.Duration) ProducerOption {
	return func(c *producerConfig) { c.backoff, c.backoffMax = first, most }
}

// Idempotent says whether batches carry a producer id and sequence numbers, by which the log recognizes a
// batch that comes again. Default true. Acks below All and no retries at all do not go with it: asked for
// together they are an error, otherwise they switch it off.
func Idempotent(on bool) ProducerOption {
	return func(c *producerConfig) { c.idempotent, c.idempotentGiven = on, true }
}

// MaxInFlight is how many batches of a partition may be written and not yet acknowledged. Default 5, which
// is also the most that goes with idempotence.
func MaxInFlight(n int) ProducerOption { return func(c *producerConfig) { c.maxInFlight = n } }

// MaxRequestSize is the largest record, in bytes before compression with a batch's header. Default 1 MiB, at
// most 256 MiB.
func MaxRequestSize(bytes int) ProducerOption {
	return func(c *producerConfig) { c.maxRequestSize = bytes }
}

// PartitionBy chooses partitions. Default [ByKey].
func PartitionBy(p Partitioner) ProducerOption {
	return func(c *producerConfig) { c.partitioner = p }
}

// Adaptive says whether records that may go to any partition go more often to those with shorter queues.
// Default true.
func Adaptive(on bool) ProducerOption { return func(c *producerConfig) { c.adaptive = on } }

// Intercept adds interceptors, called in the order given.
func Intercept(list ...ProducerInterceptor) ProducerOption {
	return func(c *producerConfig) { c.interceptors = append(c.interceptors, list...) }
}

// OnError is called for every record that failed after Send had accepted it, before the record's own
// callback, on the same goroutine and under the same rules.
func OnError(f func(Position, error)) ProducerOption {
	return func(c *producerConfig) { c.onError = f }
}

// validate reports every fault at once and settles whether the producer is idempotent.
func (c *producerConfig) validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	check(c.linger >= 0, "linger %v is negative", c.linger)
	check(c.batchSize > 0 && c.batchSize <= decodeLimit, "batch size %d is not in [1, 2^28]", c.batchSize)
	check(c.bufferMemory >= int64(c.batchSize), "buffer memory %d is below the batch size %d", c.bufferMemory, c.batchSize)
	check(c.maxBlock >= 0, "max block %v is negative", c.maxBlock)
	check(c.acks >= None && c.acks <= All, "unknown acks %d", c.acks)
	check(c.deliveryTimeout > c.linger, "delivery timeout %v is not above the linger %v", c.deliveryTimeout, c.linger)
	check(c.retries >= 0, "retries %d is negative", c.retries)
	check(c.backoff >= 0 && c.backoffMax >= c.backoff, "retry backoff %v to %v", c.backoff, c.backoffMax)
	check(c.maxInFlight > 0, "max in flight %d is not positive", c.maxInFlight)
	check(c.maxRequestSize > 0 && c.maxRequestSize <= decodeLimit, "max request size %d is not in [1, 2^28]", c.maxRequestSize)
	check(c.partitioner != nil, "the partitioner is nil")
	if err := compress.CheckLevel(c.codec, c.level); err != nil {
		check(false, "%w", err)
	}
	check(c.settleIdempotence(), "idempotence needs acks all, retries, and at most %d in flight", maxIdempotentInFlight)
	return errors.Join(faults...)
}

// settleIdempotence applies Kafka's rule: what does not go with idempotence switches it off if it was on by
// default, and is an error if it was asked for. More than five in flight is always an error with it.
func (c *producerConfig) settleIdempotence() bool {
	if !c.idempotent {
		return true
	}
	if c.acks != All || c.retries == 0 {
		c.idempotent = false
		return !c.idempotentGiven
	}
	return c.maxInFlight <= maxIdempotentInFlight
}
