package topic

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// Option is a choice for [Open].
type Option func(*options)

// options is what Open gathers; the zero value, completed by fill, is an engine on the real disk.
type options struct {
	fs           vfs.FS
	access       *vfs.Access // nil: not asked for
	memory       bool
	readOnly     bool
	acceptLoss   bool
	rebuild      bool
	mustExist    bool
	internal     int
	onOS         bool // the disk is the operating system's
	logger       *slog.Logger
	events       Events
	defaults     []TopicOption
	maxOpenFiles int
	indexMemory  int64
	checkpoint   time.Duration
	retention    time.Duration
	retainers    RetentionHooks
	budget       int64
	budgetFull   WhenFull
	reserve      int64
	cleanEvery   time.Duration
	cleanMemory  int64
	cleanRate    int64
	strategies   map[string]CompactionStrategy
	scrubEvery   time.Duration
	scrubRate    int64
	delayedNear  int
	wall         func() time.Time // the time of day; a test makes it jump
	fault        error            // of the last choice that cannot be
}

// Unless told otherwise an engine keeps three quarters of the files open that its process may have, at most
// mostOpenFiles; where it is not known how many that are, someOpenFiles.
const (
	someOpenFiles = 4096
	mostOpenFiles = 1 << 16
)

func defaultOpenFiles() int {
	n := vfs.Descriptors()
	if n == 0 {
		return someOpenFiles
	}
	return min(n/4*3, mostOpenFiles)
}

// DefaultIndexMemory is how many bytes of memory the indexes of sealed segments may take, unless told otherwise.
const DefaultIndexMemory = 64 << 20

// defaultCheckpointInterval is Kafka's log.flush.offset.checkpoint.interval.ms.
const defaultCheckpointInterval = time.Minute

// InMemory keeps everything in the process: the same engine on a memory disk of its own, gone after Close.
// The directory given to Open is a name within that disk; it may be empty.
func InMemory() Option {
	return func(o *options) { o.fs, o.memory = vfs.NewMem(), true }
}

// On keeps everything on the given file system instead of the operating system's.
func On(fs vfs.FS) Option { return func(o *options) { o.fs = fs } }

// ReadableBy says who may read the files that the engine makes on the operating system's disk. Default [vfs.OwnerOnly]:
// files 0600, directories 0700. With [On] or [InMemory], whose disk decides for itself, Open fails with ErrInvalid.
func ReadableBy(a vfs.Access) Option {
	return func(o *options) {
		o.access = &a
		if a < vfs.OwnerOnly || a > vfs.UmaskDecides {
			o.fault = fmt.Errorf("%w: files readable by %d", ErrInvalid, a)
		}
	}
}

// ReadOnlyMode opens the directory without its lock, beside a live writer if there is one, and changes
// nothing on disk. The engine sees what was durable when a partition is first used; everything that would
// write returns ErrReadOnly.
func ReadOnlyMode() Option { return func(o *options) { o.readOnly = true } }

// RebuildManifest lets Open go on when both generations of the manifest are damaged: topics are found again
// from the partition directories, with default settings. Nothing is deleted. Without it Open refuses with an
// error that matches ErrCorrupt.
func RebuildManifest() Option { return func(o *options) { o.rebuild = true } }

// MustExist makes Open refuse, with an error that matches [ErrNotData], a directory that is not a data directory yet: one that is missing, or empty
// because its volume is not mounted. Without it Open makes one, but never of a folder that holds other things or lies inside a data directory.
func MustExist() Option { return func(o *options) { o.mustExist = true } }

// InternalPartitions is how many partitions the topics that package group keeps its state in get when they are created, those of committed offsets
// and of queues. Default 4, which is enough in one process; Kafka's brokers take 50. Topics that exist keep theirs.
func InternalPartitions(n int) Option {
	return func(o *options) {
		o.internal = n
		if n < 1 || n > maxPartitions {
			o.fault = fmt.Errorf("%w: %d partitions of internal topics", ErrInvalid, n)
		}
	}
}

// defaultInternalPartitions is what an embedded program needs: groups spread over a few logs.
const defaultInternalPartitions = 4

// AcceptDataLoss lets a partition be used although records that were durable are gone or its directory is
// missing: what is left is served and the rest is reported, instead of an error that matches ErrDataLoss or
// ErrCorrupt at its first use.
func AcceptDataLoss() Option { return func(o *options) { o.acceptLoss = true } }

// Logger receives the engine's life-cycle at Info, what was repaired or degraded at Warn, and lost work at
// Error; nothing is logged per record. The keys of attributes are dir, topic, partition, offset, err.
// Default: nothing is logged.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithEvents calls the given functions when something happens; several WithEvents add up.
func WithEvents(ev Events) Option {
	return func(o *options) { o.events = TeeEvents(o.events, ev) }
}

// Defaults are applied to every topic created in this engine, before the options given with the topic. They
// are stored with the topic: changing them later changes no existing topic.
func Defaults(opts ...TopicOption) Option {
	return func(o *options) { o.defaults = append(o.defaults, opts...) }
}

// MaxOpenFiles bounds the descriptors kept open for segments and indexes; files beyond it are closed and
// opened again when needed, which costs some 10 us each time. On Linux none is synced for that, as long as no
// more than 32,768 such files of the process wait for a sync. Default three quarters of what the process may
// have (RLIMIT_NOFILE), at most 65,536; 4096 where that is not known. Values below 16 are raised to 16.
func MaxOpenFiles(n int) Option { return func(o *options) { o.maxOpenFiles = n } }

// IndexMemory bounds the memory for indexes of sealed segments, and for what reads of single records have found out about large batches, in
// bytes; indexes beyond it are searched on disk. Half as much again may go to where batches begin, and to the last bytes of logs that are
// followed. Default 64 MiB; negative: no bound.
func IndexMemory(bytes int64) Option { return func(o *options) { o.indexMemory = bytes } }

// CheckpointEvery is how often an engine that is written to notes its recovery points and start offsets in
// Kafka's checkpoint files, beside what Close writes. Default one minute.
func CheckpointEvery(d time.Duration) Option { return func(o *options) { o.checkpoint = d } }

// RetentionEvery is how often an engine that is written to looks for segments that need not be kept any more
// (Kafka's log.retention.check.interval.ms), the first time after 30 seconds at the latest. Default 5 minutes.
func RetentionEvery(d time.Duration) Option { return func(o *options) { o.retention = d } }

// WithRetention adds rules and an archive to what the topics' settings say of retention.
func WithRetention(h RetentionHooks) Option { return func(o *options) { o.retainers = h } }

// DiskBudget bounds the bytes of all topics' data files together and says what happens to an append for which there is no
// room. Indexes and the engine's small files are not counted; see [DiskReserve]. Default: no bound. A topic may have a
// budget of its own by [Budget].
func DiskBudget(bytes int64, full WhenFull) Option {
	return func(o *options) {
		o.budget, o.budgetFull = max(bytes, 1), full
		if full < RefuseAppends || full > BlockAppends {
			o.fault = fmt.Errorf("%w: disk budget with %v", ErrInvalid, full)
		}
	}
}

// DiskReserve is the size of the file quire.reserve, which the engine gives up when the disk is full so that
// checkpoints and deletions can be written down, and makes again later. Default 1 MiB with a [DiskBudget], else
// none; negative: none.
func DiskReserve(bytes int64) Option { return func(o *options) { o.reserve = bytes } }

// CompactEvery is how soon after a write to a compacted topic the cleaner looks whether there is something to
// compact, and how long it waits when it could not (Kafka's log.cleaner.backoff.ms). Default 15 seconds.
func CompactEvery(d time.Duration) Option { return func(o *options) { o.cleanEvery = d } }

// CompactionMemory is how many bytes the map of keys of one compaction may take (log.cleaner.dedupe.buffer.size):
// 36 are enough for each key, 48 where a strategy ranks records. It is taken while a compaction runs, and no more of it than the keys need.
// Default 128 MiB.
func CompactionMemory(bytes int64) Option { return func(o *options) { o.cleanMemory = bytes } }

// CompactionRate bounds what compactions read and write together, in bytes per second
// (log.cleaner.io.max.bytes.per.second). Default 0: no bound.
func CompactionRate(bytesPerSecond int64) Option {
	return func(o *options) { o.cleanRate = bytesPerSecond }
}

// WithCompactionStrategy gives a strategy of your own a name, for [CompactBy]: not one that means something already, and
// without spaces; else Open fails with an error that matches ErrInvalid, as for a nil strategy.
func WithCompactionStrategy(name string, s CompactionStrategy) Option {
	return func(o *options) {
		_, err := parseStrategy(name)
		if err != nil || s == nil || name == strategyOffset || name == strategyTimestamp || strings.HasPrefix(name, strategyHeader) {
			o.fault = fmt.Errorf("%w: %T as compaction strategy %q", ErrInvalid, s, clip(name))
		}
		if o.strategies == nil {
			o.strategies = map[string]CompactionStrategy{}
		}
		o.strategies[name] = s
	}
}

// DelayedInMemory is how many delayed messages of each of the 11 levels of delay an engine holds in memory, 48 bytes each;
// later ones are on disk only and are read as they come near. There may be twice as many for a while. Default
// 65,536; values below 8 are raised to 8.
func DelayedInMemory(n int) Option { return func(o *options) { o.delayedNear = n } }

// fillDisk chooses the disk.
func (o *options) fillDisk() {
	switch {
	case o.fs == nil && o.access == nil:
		o.fs = vfs.OS()
	case o.fs == nil:
		o.fs = vfs.OSFor(*o.access)
	case o.access != nil:
		o.fault = fmt.Errorf("%w: ReadableBy is for the operating system's disk", ErrInvalid)
	}
}

func (o *options) fill() {
	o.onOS = o.fs == nil
	if o.internal == 0 {
		o.internal = defaultInternalPartitions
	}
	if o.cleanEvery <= 0 {
		o.cleanEvery = defaultCleanInterval
	}
	if o.cleanMemory <= 0 {
		o.cleanMemory = log.DefaultMapMemory
	}
	if o.wall == nil {
		o.wall = time.Now
	}
	if o.delayedNear == 0 {
		o.delayedNear = nearMost
	}
	o.delayedNear = max(o.delayedNear, 8)
	o.fillDisk()
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	if o.maxOpenFiles == 0 {
		o.maxOpenFiles = defaultOpenFiles()
	}
	o.maxOpenFiles = max(o.maxOpenFiles, 16)
	if o.indexMemory == 0 {
		o.indexMemory = DefaultIndexMemory
	}
	if o.checkpoint <= 0 {
		o.checkpoint = defaultCheckpointInterval
	}
	if o.reserve == 0 && o.budget > 0 {
		o.reserve = defaultReserve
	}
	if o.retention <= 0 {
		o.retention = defaultRetentionInterval
	}
}

// TopicOption is a choice for a topic: at [Engine.Topic], [Engine.CreateTopic] and [Engine.AlterTopic].
type TopicOption func(*topicOptions)

// topicOptions is what was asked for explicitly: the rest keeps its default, or its stored value.
type topicOptions struct {
	partitions *int              // nil: not asked for
	overrides  map[string]string // by Kafka's names, as given
	reset      []string          // keys to put back to their defaults (AlterTopic)
	faults     []error           // in options that are not kept as text as they were given
}

func gather(lists ...[]TopicOption) *topicOptions {
	o := &topicOptions{overrides: map[string]string{}}
	for _, list := range lists {
		if err := choice.Apply(o, list, ErrInvalid); err != nil {
			o.faults = append(o.faults, err)
		}
	}
	return o
}

func (o *topicOptions) set(key, value string) { o.overrides[key] = value }

// Set gives a setting by Kafka's name and in Kafka's text form, such as Set("segment.bytes", "1048576").
// Unknown keys and bad values are reported, all at once, by the call the option is given to.
func Set(key, value string) TopicOption { return func(o *topicOptions) { o.set(key, value) } }

// Reset puts a setting back to its default; meant for [Engine.AlterTopic].
func Reset(key string) TopicOption {
	return func(o *topicOptions) {
		delete(o.overrides, key)
		o.reset = append(o.reset, key)
	}
}

// With gives every field of s that is not zero. Use Set for a value whose Go form is the zero value.
func With(s Settings) TopicOption {
	return func(o *topicOptions) {
		for _, k := range settingKeys {
			if v := k.show(&s); v != k.show(&Settings{}) {
				o.set(k.name, v)
			}
		}
	}
}

// Partitions is the number of partitions, at least 1. Default 1. It can be raised later by
// [Engine.AlterTopic], never lowered.
func Partitions(n int) TopicOption { return func(o *topicOptions) { o.partitions = &n } }

// Durable makes an append return after fsync: the default.
func Durable() TopicOption { return Set(KeyDurability, log.Sync.String()) }

// SyncEvery makes an append return once the operating system has it, and fsyncs at the latest d later. A
// power cut takes at most that window, always a suffix.
func SyncEvery(d time.Duration) TopicOption {
	return func(o *topicOptions) {
		o.set(KeyDurability, log.Interval.String())
		o.set(KeySyncInterval, showMillis(d))
	}
}

// NoSync makes an append return once the operating system has it: it survives a killed process, not a
// power cut.
func NoSync() TopicOption { return Set(KeyDurability, log.OS.String()) }

// SegmentBytes is the size at which a segment file is closed and the next begun.
func SegmentBytes(n int64) TopicOption { return Set("segment.bytes", showInt(n)) }

// SegmentAge is the span of record time after which a segment file is closed and the next begun.
func SegmentAge(d time.Duration) TopicOption { return Set("segment.ms", showMillis(d)) }

// Retention is how long records are kept, counted from the records' own times; negative: for ever, which is the default. Kafka's is 7 days.
// What is removed is whole segments; see [Engine.ApplyRetention].
func Retention(d time.Duration) TopicOption { return Set("retention.ms", showMillis(d)) }

// RetentionRecords is how many records a partition keeps at least; negative: no bound.
func RetentionRecords(n int64) TopicOption { return Set(KeyRetentionRecords, showInt(n)) }

// RetentionBytes is how many bytes a partition keeps; negative: no bound.
func RetentionBytes(n int64) TopicOption { return Set("retention.bytes", showInt(n)) }

// RetainUntilAcked keeps records until all the groups and queues named have finished them, and lets them go then: consumer groups by what
// they have committed, queues of package group by what is done. It stands for the setting quire.retention.groups and a [Retention] for ever;
// a Retention, [RetentionBytes] or [RetentionRecords] given behind it is a bound at which records go all the same. Names have no commas, and
// at least one is given: otherwise ErrInvalid.
//
// A name that has finished nothing, for it does not exist yet or any more, keeps everything: what a deleted or forgotten group no longer
// needs is released by [Engine.AlterTopic] with the names that remain, or with Reset([KeyRetentionGroups]) if none does, and the Retention
// that is to hold then. Retention asks where package group is in use: an engine in which nobody has joined a group or opened a queue
// since Open keeps all.
func RetainUntilAcked(groups ...string) TopicOption {
	return func(o *topicOptions) {
		for _, name := range groups {
			if strings.Contains(name, ",") || strings.TrimSpace(name) == "" {
				o.faults = append(o.faults, fmt.Errorf("%w: group %q to be waited for", ErrInvalid, clip(name)))
			}
		}
		if len(groups) == 0 {
			o.faults = append(o.faults, fmt.Errorf("%w: no group to be waited for", ErrInvalid))
		}
		o.set(KeyRetentionGroups, strings.Join(groups, ","))
		o.set("retention.ms", showMillis(-1))
	}
}

// Budget bounds the bytes of the topic's data files, all partitions together, and says what happens to an append for
// which there is no room; negative: no bound.
func Budget(bytes int64, full WhenFull) TopicOption {
	return func(o *topicOptions) {
		o.set(KeyBudget, showInt(bytes))
		o.set(KeyBudgetFull, full.String())
	}
}

// CleanupWith is the cleanup policy: CleanupDelete, CleanupCompact, or both.
func CleanupWith(c Cleanup) TopicOption { return Set("cleanup.policy", c.String()) }

// Compression is the codec that simple appends, and producers that choose none, compress with.
func Compression(c compress.Codec) TopicOption {
	if c == compress.None {
		return Set("compression.type", "uncompressed")
	}
	return Set("compression.type", c.String())
}

// MaxMessageBytes is the largest batch accepted, its 12 bytes of overhead included.
func MaxMessageBytes(n int) TopicOption { return Set("max.message.bytes", showInt(int64(n))) }

// MaxDecompressedBytes is the most bytes that the records of a compressed batch may take when they are decompressed,
// at most 256 MiB. A batch above it is refused with [ErrTooLarge], and read no more, without taking that room. Default:
// 64 times [MaxMessageBytes], at least 1 MiB.
func MaxDecompressedBytes(n int) TopicOption { return Set(KeyMaxDecompressed, showInt(int64(n))) }

// TimestampsAre says whose time a record carries: the producer's (record.CreateTime, the default) or the
// log's at append (record.LogAppendTime).
func TimestampsAre(t record.TimestampType) TopicOption {
	return Set("message.timestamp.type", timestampName(t))
}

// ListOption is a choice for [Engine.Topics].
type ListOption func(*listOptions)

type listOptions struct{ internal bool }

// WithInternal lists the engine's own topics too, those whose names begin with two underscores.
func WithInternal() ListOption { return func(o *listOptions) { o.internal = true } }

// AppendOption is a choice for one append.
type AppendOption func(*appendOptions)

type appendOptions struct {
	synced    bool
	partition int32     // AnyPartition: chosen by key
	due       time.Time // zero: at once
}

// AppendTo names the partition instead of the partitioner.
func AppendTo(partition int32) AppendOption {
	return func(o *appendOptions) { o.partition = partition }
}

// Synced makes this append durable when it returns, whatever the topic's level. There is no option for
// less than the topic's level.
func Synced() AppendOption { return func(o *appendOptions) { o.synced = true } }

// IsolationLevel says how far a reader sees.
type IsolationLevel int8

const (
	// ReadUncommitted reads up to the high watermark, open and aborted transactions included.
	ReadUncommitted IsolationLevel = iota
	// ReadCommitted reads up to the last stable offset and leaves out what was aborted.
	ReadCommitted
)

// String is Kafka's name of the level.
func (i IsolationLevel) String() string {
	if i == ReadCommitted {
		return "read_committed"
	}
	return "read_uncommitted"
}

// bound is the offset of the log a reader at this level stays below.
func (i IsolationLevel) bound() log.Bound {
	if i == ReadCommitted {
		return log.Stable
	}
	return log.High
}
