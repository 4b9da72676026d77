package log

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// Durability is how much must have happened before an append returns.
type Durability int8

const (
	// Sync: data (and, for a new file, its directory entry) is on disk. Survives a
	// power cut. Concurrent appends share one fsync. The default.
	Sync Durability = iota
	// Interval: written to the operating system; on disk at the latest after
	// [Config.SyncInterval] or [Config.SyncBytes]. A power cut takes at most that
	// window, always a suffix.
	Interval
	// OS: written to the operating system. Survives a killed process, not a power cut.
	OS
)

// String returns the level's name: sync, interval or os.
func (d Durability) String() string {
	switch d {
	case Sync:
		return "sync"
	case Interval:
		return "interval"
	case OS:
		return "os"
	}
	return fmt.Sprintf("durability(%d)", int8(d))
}

// Defaults of a [Config], Apache Kafka's where it has one.
const (
	DefaultSyncInterval   = 100 * time.Millisecond
	DefaultSegmentBytes   = 1 << 30
	DefaultSegmentAge     = 7 * 24 * time.Hour
	DefaultMaxBatchBytes  = 1048588
	DefaultProducerExpiry = 24 * time.Hour
	DefaultMinDirtyRatio  = 0.5
	// DefaultDeleteRetention is how long a tombstone stays.
	DefaultDeleteRetention = 24 * time.Hour
	defaultPreWrite        = 1 << 20
)

// IndexBudget bounds the memory for indexes of sealed segments; many logs may share one.
type IndexBudget = segment.IndexBudget

// NewIndexBudget makes a budget of this many bytes.
func NewIndexBudget(bytes int64) *IndexBudget { return segment.NewIndexBudget(bytes) }

// Config is the settings of a log. The zero value is safe and durable. One
// Config may serve many logs; it must not change once handed over (replace it
// by [Log.Configure]) and must not be copied.
type Config struct {
	// Durability of an append. Default Sync.
	Durability Durability
	// SyncInterval is the longest time written data stays unsynced at level
	// Interval. Default 100 ms.
	SyncInterval time.Duration
	// SyncBytes is the most unsynced bytes at level Interval: the append that passes
	// it waits for an fsync. 0: no such bound.
	SyncBytes int64

	// SegmentBytes is the size at which a segment is rolled. Default 1 GiB, at most 2 GiB - 1.
	SegmentBytes int64
	// SegmentAge is the span of record time after which a segment is rolled. Default 7 days.
	SegmentAge time.Duration
	// SegmentJitter is the most that is taken off SegmentAge, drawn anew for each segment. Default 0.
	SegmentJitter time.Duration
	// IndexBytes is the size at which an index is full. Default 10 MiB.
	IndexBytes int
	// IndexInterval is the distance in bytes between index entries. Default 4096.
	IndexInterval int
	// PreWrite is how far a segment file is kept written with zeros ahead of its end at
	// level Sync, which spares each fsync a change of the file's size. 0: 1 MiB; negative: not at all.
	PreWrite int64
	// Indexes bounds the memory for indexes of sealed segments; nil: no bound. With one,
	// and a quarter more, readers also remember where batches begin: a record read at
	// random is one read of the disk then.
	Indexes *IndexBudget

	// MaxBatchBytes is the largest batch accepted, its 12 bytes of overhead included. Default 1,048,588.
	MaxBatchBytes int
	// DecodeLimit is the most bytes that the records of a compressed batch may take when they are decompressed: more
	// is refused by an append, with ErrTooLarge and without taking that room, and not read. Default 64 times
	// MaxBatchBytes, between 1 MiB and record.MaxDecodeLimit, which is also the most.
	DecodeLimit int
	// Timestamps says whose time a record carries. Default record.CreateTime.
	Timestamps record.TimestampType
	// TimestampBeforeMax and TimestampAfterMax bound how far a record's own time may lie
	// in the past and in the future. 0: no bound.
	TimestampBeforeMax, TimestampAfterMax time.Duration
	// Recompress makes the log store every client batch with Codec at Level (0 is the
	// codec's default). Off by default: a batch keeps the producer's codec.
	Recompress bool
	Codec      record.Codec
	Level      int
	// Compacted says that the log is compacted by key: every record must have one.
	Compacted bool
	// MinDirtyRatio is the share of dirty bytes above which a compaction is wanted
	// (min.cleanable.dirty.ratio). 0: 0.5; negative: any dirty byte.
	MinDirtyRatio float64
	// MinCompactionLag is how long a record stays out of reach of compaction
	// (min.compaction.lag.ms). Default 0.
	MinCompactionLag time.Duration
	// MaxCompactionLag is how long a record may stay dirty: then a compaction is wanted
	// whatever the ratio, and segments roll at that age (max.compaction.lag.ms, KIP-354).
	// 0: for ever.
	MaxCompactionLag time.Duration
	// DeleteRetention is how long a tombstone stays after the first compaction that meets it
	// (delete.retention.ms). 0: 1 day; negative: not at all.
	DeleteRetention time.Duration
	// ProducerExpiry is how long an idle producer's sequence numbers are remembered. Default 24 h.
	ProducerExpiry time.Duration
	// FileDeleteDelay is how long the files of removed segments stay on disk, renamed, before they
	// are unlinked. 0: 1 minute; negative: no longer than readers hold them.
	FileDeleteDelay time.Duration
	// TopicID is the partition's identity, kept beside every sealed segment.
	TopicID [16]byte
	// Replicated says that the high watermark is moved from outside, by [Log.AdvanceHigh].
	Replicated bool

	derive  sync.Once
	segment segment.Config
}

// Validate returns every fault of the settings at once, or nil.
func (c *Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("log: "+format, args...))
		}
	}
	check(c.Durability >= Sync && c.Durability <= OS, "unknown durability %d", c.Durability)
	check(c.SyncInterval >= 0, "negative SyncInterval %v", c.SyncInterval)
	check(c.SyncBytes >= 0, "negative SyncBytes %d", c.SyncBytes)
	check(c.SegmentBytes >= 0 && c.SegmentBytes <= math.MaxInt32, "SegmentBytes %d not in [0, 2^31)", c.SegmentBytes)
	check(c.SegmentAge >= 0, "negative SegmentAge %v", c.SegmentAge)
	check(c.SegmentJitter >= 0, "negative SegmentJitter %v", c.SegmentJitter)
	check(c.IndexBytes >= 0 && c.IndexBytes <= math.MaxInt32, "IndexBytes %d not in [0, 2^31)", c.IndexBytes)
	check(c.IndexInterval >= 0 && c.IndexInterval <= math.MaxInt32, "IndexInterval %d not in [0, 2^31)", c.IndexInterval)
	check(c.MaxBatchBytes >= 0 && c.MaxBatchBytes <= math.MaxInt32, "MaxBatchBytes %d not in [0, 2^31)", c.MaxBatchBytes)
	check(c.TimestampBeforeMax >= 0, "negative TimestampBeforeMax %v", c.TimestampBeforeMax)
	check(c.TimestampAfterMax >= 0, "negative TimestampAfterMax %v", c.TimestampAfterMax)
	check(c.ProducerExpiry >= 0, "negative ProducerExpiry %v", c.ProducerExpiry)
	check(c.MinDirtyRatio <= 1, "MinDirtyRatio %v is above 1", c.MinDirtyRatio)
	check(c.MinCompactionLag >= 0, "negative MinCompactionLag %v", c.MinCompactionLag)
	check(c.MaxCompactionLag >= 0, "negative MaxCompactionLag %v", c.MaxCompactionLag)
	check(c.Timestamps == record.CreateTime || c.Timestamps == record.LogAppendTime, "unknown timestamp type %d", c.Timestamps)
	if c.Recompress {
		faults = append(faults, record.CheckLevel(c.Codec, orDefault(c.Level, math.MinInt32))) // which is package compress's default
	}
	return errors.Join(faults...)
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func (c *Config) segmentBytes() int64 { return orDefault(c.SegmentBytes, DefaultSegmentBytes) }
func (c *Config) maxBatchBytes() int  { return orDefault(c.MaxBatchBytes, DefaultMaxBatchBytes) }

// decodeShare is DecodeLimit's default in batches of the largest size.
const decodeShare = 64

func (c *Config) decodeLimit() int {
	if c.DecodeLimit > 0 {
		return min(c.DecodeLimit, record.MaxDecodeLimit)
	}
	return int(min(max(int64(c.maxBatchBytes())*decodeShare, 1<<20), record.MaxDecodeLimit))
}

// MaxDecoded is DecodeLimit, or its default.
func (c *Config) MaxDecoded() int { return c.decodeLimit() }

func (c *Config) segmentAge() time.Duration {
	age := orDefault(c.SegmentAge, DefaultSegmentAge)
	if c.Compacted && c.MaxCompactionLag > 0 {
		return min(age, c.MaxCompactionLag)
	}
	return age
}
func (c *Config) minDirtyRatio() float64 {
	switch {
	case c.MinDirtyRatio == 0:
		return DefaultMinDirtyRatio
	case c.MinDirtyRatio < 0:
		return 0
	}
	return c.MinDirtyRatio
}
func (c *Config) deleteRetention() time.Duration {
	return max(orDefault(c.DeleteRetention, DefaultDeleteRetention), 0)
}
func (c *Config) fileDeleteDelay() time.Duration {
	return orDefault(c.FileDeleteDelay, DefaultFileDeleteDelay)
}
func (c *Config) syncInterval() time.Duration {
	return orDefault(c.SyncInterval, DefaultSyncInterval)
}
func (c *Config) producerExpiry() time.Duration {
	return orDefault(c.ProducerExpiry, DefaultProducerExpiry)
}

// preWrite is how far segments of this log are written ahead; only level Sync gains from it.
func (c *Config) preWrite() int64 {
	if c.Durability != Sync || c.PreWrite < 0 {
		return 0
	}
	return min(orDefault(c.PreWrite, defaultPreWrite), c.segmentBytes())
}

// segmentConfig is what segments of this log share.
func (c *Config) segmentConfig() *segment.Config {
	c.derive.Do(func() {
		c.segment = segment.Config{
			IndexInterval: c.IndexInterval,
			IndexBytes:    c.IndexBytes,
			MaxBatchBytes: c.maxBatchBytes(),
			PreWrite:      c.preWrite(),
			Budget:        c.Indexes,
			TopicID:       c.TopicID,
		}
	})
	return &c.segment
}
