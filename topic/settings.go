package topic

import (
	"math"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// Forever is a duration without end, Kafka's 9223372036854775807 milliseconds.
const Forever = time.Duration(math.MaxInt64)

// Settings is what rules one topic. [Topic.Settings] gives all of them as they act, defaults filled in. As
// an argument of [With], a zero field means "not given".
//
// The names behind the fields are Apache Kafka's topic settings, with Kafka's defaults; names
// that begin with "quire." are this library's own. Every setting is checked and stored. Those marked "kept" have no
// effect beyond that: they are about replication and remote storage, or have a better way here.
//
// One default is not Kafka's: records are kept for ever. Kafka's 7 days, for all topics of a broker, are [Defaults]([Retention](7 * 24 *
// time.Hour)); they count from a record's time, which its sender may have set.
type Settings struct {
	Durability   log.Durability // quire.durability: sync (default), interval, os
	SyncInterval time.Duration  // quire.sync.interval.ms: longest unsynced time at level interval; default 100 ms
	SyncBytes    int64          // quire.sync.interval.bytes: most unsynced bytes at level interval; default 0, no bound

	SegmentBytes  int64         // segment.bytes: 14 to 2^31-1; default 1 GiB
	SegmentAge    time.Duration // segment.ms: at least 1 ms; default 7 days
	SegmentJitter time.Duration // segment.jitter.ms: default 0
	IndexBytes    int64         // segment.index.bytes: at least 4; default 10 MiB
	IndexInterval int64         // index.interval.bytes: default 4096
	Preallocate   bool          // preallocate: write segment files ahead in larger steps; default false

	Compression      string // compression.type: producer (default), uncompressed, gzip, snappy, lz4, zstd
	CompressionGzip  int    // compression.gzip.level: 1 to 9, or -1 for the codec's own; default -1
	CompressionLZ4   int    // compression.lz4.level: 1 to 17; default 9
	CompressionZstd  int    // compression.zstd.level: -131072 to 22; default 3
	MaxMessageBytes  int64  // max.message.bytes: largest batch with its 12 bytes of overhead; default 1,048,588
	MaxDecompressed  int64  // quire.max.decompressed.bytes: of a compressed batch's records; default -1, 64 times max.message.bytes
	Timestamps       record.TimestampType
	TimestampsBefore time.Duration // message.timestamp.before.max.ms: default Forever
	TimestampsAfter  time.Duration // message.timestamp.after.max.ms: default Forever (an hour in Kafka 4)

	Cleanup              Cleanup       // cleanup.policy: delete (default), compact, or both
	deleteFirst          bool          // of both, delete was named first
	Retention            time.Duration // retention.ms: negative for ever, the default (7 days in Kafka)
	RetentionBytes       int64         // retention.bytes: per partition, negative no bound; default -1
	RetentionRecords     int64         // quire.retention.records: per partition, negative no bound; default -1
	RetentionGroups      string        // quire.retention.groups: records go once these groups, by commas, have acknowledged them; default none
	FileDeleteDelay      time.Duration // file.delete.delay.ms: how long files of removed segments stay; default 1 minute
	Budget               int64         // quire.budget.bytes: of the topic's data files, negative no bound; default -1
	BudgetFull           WhenFull      // quire.budget.full: refuse (default), drop, block
	DeleteRetention      time.Duration // delete.retention.ms: how long a tombstone stays; default 1 day
	MinDirtyRatio        float64       // min.cleanable.dirty.ratio: 0 to 1; default 0.5
	MinCompactionLag     time.Duration // min.compaction.lag.ms: how long a record is out of reach of compaction; default 0
	MaxCompactionLag     time.Duration // max.compaction.lag.ms: how long a record may wait for it, at least the smallest; default Forever
	CompactionStrategy   string        // quire.compaction.strategy: offset (default), timestamp, header=<name>, or one's own, see CompactBy
	FlushMessages        int64         // flush.messages: default 2^63-1 (kept; use quire.durability)
	FlushInterval        time.Duration // flush.ms: default Forever (kept; use quire.durability)
	MinInSync            int64         // min.insync.replicas: at least 1; default 1 (kept)
	UncleanElection      bool          // unclean.leader.election.enable: default false (kept)
	ProducerExpiry       time.Duration // quire.producer.id.expiration.ms: default 1 day (Kafka sets it per broker)
	FollowerThrottle     string        // follower.replication.throttled.replicas: default empty (kept)
	LeaderThrottle       string        // leader.replication.throttled.replicas: default empty (kept)
	RemoteStorage        bool          // remote.storage.enable: only false is accepted
	LocalRetention       time.Duration // local.retention.ms: -2 ms means as retention.ms; default -2 ms (kept)
	LocalRetentionBytes  int64         // local.retention.bytes: -2 means as retention.bytes; default -2 (kept)
	MessageDownconverted bool          // message.downconversion.enable: default true (kept; only magic 2 is stored)
}

// Cleanup says what happens to old records: a set of the two ways.
type Cleanup int8

const (
	// CleanupDelete drops old segments by age and size.
	CleanupDelete Cleanup = 1 << iota
	// CleanupCompact keeps the newest record of each key.
	CleanupCompact
)

// String is Kafka's form: delete, compact, or compact,delete.
func (c Cleanup) String() string {
	switch c {
	case CleanupDelete:
		return "delete"
	case CleanupCompact:
		return "compact"
	case CleanupDelete | CleanupCompact:
		return "compact,delete"
	}
	return ""
}

// producerCodec is the value of compression.type that leaves the choice to the producer.
const producerCodec = "producer"

// codec is the compression of batches that the engine itself builds for the topic, and its level.
func (s *Settings) codec() (compress.Codec, int) {
	c, err := compress.Parse(s.Compression)
	if err != nil { // "producer": nobody chose
		return compress.None, compress.DefaultLevel
	}
	return c, s.level(c)
}

// level is the compression level of a codec for this topic.
func (s *Settings) level(c compress.Codec) int {
	switch c {
	case compress.Gzip:
		if s.CompressionGzip != -1 {
			return s.CompressionGzip
		}
	case compress.LZ4:
		return s.CompressionLZ4
	case compress.Zstd:
		return s.CompressionZstd
	}
	return compress.DefaultLevel
}

// preallocateBytes is how far ahead segment files are written when "preallocate" is on.
const preallocateBytes = 16 << 20

// logConfig is the settings as the partitions' logs take them; one for all partitions of the topic.
func (s *Settings) logConfig(id ID, indexes *log.IndexBudget) *log.Config {
	codec, level := s.codec()
	cfg := &log.Config{
		Durability:         s.Durability,
		SyncInterval:       s.SyncInterval,
		SyncBytes:          s.SyncBytes,
		SegmentBytes:       s.SegmentBytes,
		SegmentAge:         s.SegmentAge,
		SegmentJitter:      s.SegmentJitter,
		IndexBytes:         int(s.IndexBytes),
		IndexInterval:      int(max(s.IndexInterval, 1)),
		Indexes:            indexes,
		MaxBatchBytes:      int(max(s.MaxMessageBytes, 1)),
		DecodeLimit:        int(max(s.MaxDecompressed, 0)),
		Timestamps:         s.Timestamps,
		TimestampBeforeMax: unbounded(s.TimestampsBefore),
		TimestampAfterMax:  unbounded(s.TimestampsAfter),
		Recompress:         s.Compression != producerCodec,
		Codec:              codec,
		Level:              level,
		Compacted:          s.Cleanup&CleanupCompact != 0,
		ProducerExpiry:     s.ProducerExpiry,
		FileDeleteDelay:    orNone(s.FileDeleteDelay),
		DeleteRetention:    orNone(s.DeleteRetention),
		MinDirtyRatio:      s.MinDirtyRatio,
		MinCompactionLag:   s.MinCompactionLag,
		MaxCompactionLag:   unbounded(s.MaxCompactionLag),
		TopicID:            id,
	}
	if s.MinDirtyRatio == 0 {
		cfg.MinDirtyRatio = -1
	}
	if s.Preallocate {
		cfg.PreWrite = preallocateBytes
	}
	return cfg
}

// orNone maps a duration of zero to the log's way to say so, where its zero means a default.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// unbounded maps Forever to the log's zero for "no bound"; a bound of zero becomes the smallest there is.
func unbounded(d time.Duration) time.Duration {
	if d == Forever {
		return 0
	}
	return max(d, time.Nanosecond)
}

// Map is the settings under their names, in text form; [Settings] and this form can be turned into each
// other without loss.
func (s *Settings) Map() map[string]string {
	m := make(map[string]string, len(settingKeys))
	for _, k := range settingKeys {
		m[k.name] = k.show(s)
	}
	return m
}

// DefaultSettings is what rules a topic for which nothing was chosen.
func DefaultSettings() Settings {
	var s Settings
	for _, k := range settingKeys {
		err := k.parse(&s, k.def)
		invariant.Check(err == nil, "topic: default of %s: %v", k.name, err)
	}
	return s
}
