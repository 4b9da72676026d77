package topic

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// Names of this library's own settings.
const (
	KeyDurability   = "quire.durability"
	KeySyncInterval = "quire.sync.interval.ms"
	KeySyncBytes    = "quire.sync.interval.bytes"
	KeyProducerID   = "quire.producer.id.expiration.ms"

	KeyBudget     = "quire.budget.bytes"
	KeyBudgetFull = "quire.budget.full"

	KeyCompactionStrategy = "quire.compaction.strategy"

	KeyMaxDecompressed = "quire.max.decompressed.bytes"

	KeyRetentionGroups  = "quire.retention.groups"
	KeyRetentionRecords = "quire.retention.records"
)

// settingKey is one row of the table of settings: its name, its default in text form, and the way between
// text and field. parse changes the field only when it succeeds.
type settingKey struct {
	name  string
	def   string
	parse func(s *Settings, v string) error
	show  func(s *Settings) string
}

const (
	keyCleanup   = "cleanup.policy"
	maxInt64Text = "9223372036854775807"
	dayMillis    = "86400000"
	weekMillis   = "604800000"
)

// settingKeys is the table, in the order in which settings are shown. It is never changed.
var settingKeys = []settingKey{
	cleanupKey(),
	intKey("compression.gzip.level", "-1", -1, 9, func(s *Settings) *int { return &s.CompressionGzip }),
	intKey("compression.lz4.level", "9", 1, 17, func(s *Settings) *int { return &s.CompressionLZ4 }),
	choiceKey("compression.type", producerCodec, parseCompression, plain, func(s *Settings) *string { return &s.Compression }),
	intKey("compression.zstd.level", "3", -131072, 22, func(s *Settings) *int { return &s.CompressionZstd }),
	millisKey("delete.retention.ms", dayMillis, 0, func(s *Settings) *time.Duration { return &s.DeleteRetention }),
	millisKey("file.delete.delay.ms", "60000", 0, func(s *Settings) *time.Duration { return &s.FileDeleteDelay }),
	intKey("flush.messages", maxInt64Text, 1, math.MaxInt64, func(s *Settings) *int64 { return &s.FlushMessages }),
	millisKey("flush.ms", maxInt64Text, 0, func(s *Settings) *time.Duration { return &s.FlushInterval }),
	choiceKey("follower.replication.throttled.replicas", "", parsePlain, plain, func(s *Settings) *string { return &s.FollowerThrottle }),
	intKey("index.interval.bytes", "4096", 0, math.MaxInt32, func(s *Settings) *int64 { return &s.IndexInterval }),
	choiceKey("leader.replication.throttled.replicas", "", parsePlain, plain, func(s *Settings) *string { return &s.LeaderThrottle }),
	intKey("local.retention.bytes", "-2", -2, math.MaxInt64, func(s *Settings) *int64 { return &s.LocalRetentionBytes }),
	millisKey("local.retention.ms", "-2", -2, func(s *Settings) *time.Duration { return &s.LocalRetention }),
	millisKey("max.compaction.lag.ms", maxInt64Text, 1, func(s *Settings) *time.Duration { return &s.MaxCompactionLag }),
	intKey("max.message.bytes", "1048588", 0, math.MaxInt32, func(s *Settings) *int64 { return &s.MaxMessageBytes }),
	boolKey("message.downconversion.enable", "true", func(s *Settings) *bool { return &s.MessageDownconverted }),
	millisKey("message.timestamp.after.max.ms", maxInt64Text, 0, func(s *Settings) *time.Duration { return &s.TimestampsAfter }),
	millisKey("message.timestamp.before.max.ms", maxInt64Text, 0, func(s *Settings) *time.Duration { return &s.TimestampsBefore }),
	choiceKey("message.timestamp.type", "CreateTime", parseTimestamps, timestampName, func(s *Settings) *record.TimestampType { return &s.Timestamps }),
	ratioKey("min.cleanable.dirty.ratio", "0.5", func(s *Settings) *float64 { return &s.MinDirtyRatio }),
	millisKey("min.compaction.lag.ms", "0", 0, func(s *Settings) *time.Duration { return &s.MinCompactionLag }),
	intKey("min.insync.replicas", "1", 1, math.MaxInt32, func(s *Settings) *int64 { return &s.MinInSync }),
	boolKey("preallocate", "false", func(s *Settings) *bool { return &s.Preallocate }),
	intKey(KeyBudget, "-1", -1, math.MaxInt64, func(s *Settings) *int64 { return &s.Budget }),
	choiceKey(KeyBudgetFull, "refuse", parseWhenFull, WhenFull.String, func(s *Settings) *WhenFull { return &s.BudgetFull }),
	choiceKey(KeyCompactionStrategy, strategyOffset, parseStrategy, plain, func(s *Settings) *string { return &s.CompactionStrategy }),
	choiceKey(KeyDurability, "sync", parseDurability, log.Durability.String, func(s *Settings) *log.Durability { return &s.Durability }),
	intKey(KeyMaxDecompressed, "-1", -1, record.MaxDecodeLimit, func(s *Settings) *int64 { return &s.MaxDecompressed }),
	millisKey(KeyProducerID, dayMillis, 1, func(s *Settings) *time.Duration { return &s.ProducerExpiry }),
	choiceKey(KeyRetentionGroups, "", parseGroups, plain, func(s *Settings) *string { return &s.RetentionGroups }),
	intKey(KeyRetentionRecords, "-1", -1, math.MaxInt64, func(s *Settings) *int64 { return &s.RetentionRecords }),
	intKey(KeySyncBytes, "0", 0, math.MaxInt64, func(s *Settings) *int64 { return &s.SyncBytes }),
	millisKey(KeySyncInterval, "100", 1, func(s *Settings) *time.Duration { return &s.SyncInterval }),
	choiceKey("remote.storage.enable", "false", parseOnlyFalse, strconv.FormatBool, func(s *Settings) *bool { return &s.RemoteStorage }),
	intKey("retention.bytes", "-1", -1, math.MaxInt64, func(s *Settings) *int64 { return &s.RetentionBytes }),
	millisKey("retention.ms", "-1", -1, func(s *Settings) *time.Duration { return &s.Retention }),
	intKey("segment.bytes", "1073741824", 14, math.MaxInt32, func(s *Settings) *int64 { return &s.SegmentBytes }),
	intKey("segment.index.bytes", "10485760", 4, math.MaxInt32, func(s *Settings) *int64 { return &s.IndexBytes }),
	millisKey("segment.jitter.ms", "0", 0, func(s *Settings) *time.Duration { return &s.SegmentJitter }),
	millisKey("segment.ms", weekMillis, 1, func(s *Settings) *time.Duration { return &s.SegmentAge }),
	boolKey("unclean.leader.election.enable", "false", func(s *Settings) *bool { return &s.UncleanElection }),
}

// findKey looks a setting up by name.
func findKey(name string) (settingKey, bool) {
	i, ok := slices.BinarySearchFunc(settingKeys, name, func(k settingKey, name string) int { return strings.Compare(k.name, name) })
	if !ok {
		return settingKey{}, false
	}
	return settingKeys[i], true
}

// ParseSettings reads settings from text by name; those not named have their defaults. Every fault is
// reported at once in an error that matches ErrInvalid: unknown names, values of a wrong form or out of
// range, and values that contradict each other.
func ParseSettings(m map[string]string) (Settings, error) {
	s := DefaultSettings()
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(m)) {
		k, ok := findKey(name)
		if !ok {
			faults = append(faults, fmt.Errorf("%w: setting %q is not known", ErrInvalid, clip(name)))
			continue
		}
		if err := k.parse(&s, m[name]); err != nil {
			faults = append(faults, fmt.Errorf("%w: setting %s: %w", ErrInvalid, name, err))
		}
	}
	faults = append(faults, s.contradictions()...)
	return s, errors.Join(faults...)
}

// Validate returns every fault of s at once, in an error that matches ErrInvalid, or nil.
func (s *Settings) Validate() error {
	_, err := ParseSettings(s.Map())
	return err
}

// contradictions lists what is wrong between settings that are fine alone.
func (s *Settings) contradictions() []error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("%w: settings: "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	check(s.MaxCompactionLag >= s.MinCompactionLag, "max.compaction.lag.ms %s is below min.compaction.lag.ms %s",
		showMillis(s.MaxCompactionLag), showMillis(s.MinCompactionLag))
	check(s.SegmentJitter <= s.SegmentAge, "segment.jitter.ms %s is above segment.ms %s",
		showMillis(s.SegmentJitter), showMillis(s.SegmentAge))
	check(s.Retention < 0 || s.LocalRetention <= s.Retention, "local.retention.ms %s is above retention.ms %s",
		showMillis(s.LocalRetention), showMillis(s.Retention))
	check(s.RetentionBytes < 0 || s.LocalRetentionBytes <= s.RetentionBytes, "local.retention.bytes %d is above retention.bytes %d",
		s.LocalRetentionBytes, s.RetentionBytes)
	check(s.CompressionGzip != 0, "compression.gzip.level 0 is not a level")
	return faults
}

// canonical gives a value the form that it is stored and compared in.
func canonical(name, v string) string {
	k, ok := findKey(name)
	if !ok {
		return v
	}
	var s Settings
	if k.parse(&s, v) != nil {
		return v
	}
	return k.show(&s)
}

func choiceKey[T any](name, def string, parse func(string) (T, error), show func(T) string, field func(*Settings) *T) settingKey {
	return settingKey{name: name, def: def,
		parse: func(s *Settings, v string) error {
			got, err := parse(v)
			if err == nil {
				*field(s) = got
			}
			return err
		},
		show: func(s *Settings) string { return show(*field(s)) },
	}
}

func intKey[T int | int64](name, def string, least, most int64, field func(*Settings) *T) settingKey {
	parse := func(v string) (T, error) {
		n, err := parseRange(v, least, most)
		return T(n), err
	}
	return choiceKey(name, def, parse, func(n T) string { return showInt(int64(n)) }, field)
}

func millisKey(name, def string, least int64, field func(*Settings) *time.Duration) settingKey {
	parse := func(v string) (time.Duration, error) {
		n, err := parseRange(v, least, math.MaxInt64)
		return fromMillis(n), err
	}
	return choiceKey(name, def, parse, showMillis, field)
}

func boolKey(name, def string, field func(*Settings) *bool) settingKey {
	return choiceKey(name, def, parseBool, strconv.FormatBool, field)
}

func ratioKey(name, def string, field func(*Settings) *float64) settingKey {
	parse := func(v string) (float64, error) {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || !(f >= 0 && f <= 1) {
			return 0, fmt.Errorf("%q is not a number from 0 to 1", clip(v))
		}
		return f, nil
	}
	show := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	return choiceKey(name, def, parse, show, field)
}

func parseRange(v string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, fmt.Errorf("%q is not a whole number", clip(v))
	}
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s is not in [%d, %d]", clip(v), least, most)
	}
	return n, nil
}

func showInt(n int64) string { return strconv.FormatInt(n, 10) }

// fromMillis saturates: what a Duration cannot hold is Forever.
func fromMillis(ms int64) time.Duration {
	if ms > int64(Forever/time.Millisecond) {
		return Forever
	}
	return time.Duration(ms) * time.Millisecond
}

// showMillis rounds up, so that a positive duration never becomes zero; any negative one becomes -1, except
// the -2 ms of the local retention.
func showMillis(d time.Duration) string {
	switch {
	case d == Forever:
		return maxInt64Text
	case d == -2*time.Millisecond:
		return "-2"
	case d < 0:
		return "-1"
	}
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond != 0 {
		ms++
	}
	return showInt(ms)
}

func plain(s string) string               { return s }
func parsePlain(s string) (string, error) { return s, nil }

// parseGroups reads a list of group names, and gives it without blanks and repetitions.
func parseGroups(v string) (string, error) {
	var list []string
	for _, name := range strings.Split(v, ",") {
		name = strings.TrimSpace(name)
		if name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return strings.Join(list, ","), nil
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", clip(v))
}

func parseOnlyFalse(v string) (bool, error) {
	on, err := parseBool(v)
	if err == nil && on {
		err = errors.New("tiered storage does not exist here; only false is accepted")
	}
	return false, err
}

func parseCompression(v string) (string, error) {
	if v == producerCodec {
		return v, nil
	}
	c, err := compress.Parse(v)
	if err != nil || v == "none" {
		return "", fmt.Errorf("%q is none of producer, uncompressed, gzip, snappy, lz4, zstd", clip(v))
	}
	if c == compress.None {
		return "uncompressed", nil
	}
	return c.String(), nil
}

// cleanupKey keeps the order of the ways, as Kafka does, though it means nothing.
func cleanupKey() settingKey {
	return settingKey{name: keyCleanup, def: "delete",
		parse: func(s *Settings, v string) (err error) {
			s.Cleanup, err = parseCleanup(v)
			s.deleteFirst = strings.HasPrefix(strings.TrimSpace(v), "delete")
			return err
		},
		show: func(s *Settings) string {
			if s.deleteFirst && s.Cleanup == CleanupDelete|CleanupCompact {
				return "delete,compact"
			}
			return s.Cleanup.String()
		},
	}
}

// sameSetting tells whether two values of a setting mean the same.
func sameSetting(key, a, b string) bool {
	if key != keyCleanup || a == b {
		return a == b
	}
	x, errA := parseCleanup(a)
	y, errB := parseCleanup(b)
	return x == y && errA == nil && errB == nil
}

func parseCleanup(v string) (Cleanup, error) {
	var c Cleanup
	for _, word := range strings.Split(v, ",") {
		switch strings.TrimSpace(word) {
		case "delete":
			c |= CleanupDelete
		case "compact":
			c |= CleanupCompact
		default:
			return 0, fmt.Errorf("%q is none of delete, compact, compact,delete", clip(v))
		}
	}
	return c, nil
}

func parseDurability(v string) (log.Durability, error) {
	for _, d := range []log.Durability{log.Sync, log.Interval, log.OS} {
		if v == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q is none of sync, interval, os", clip(v))
}

func parseTimestamps(v string) (record.TimestampType, error) {
	for _, t := range []record.TimestampType{record.CreateTime, record.LogAppendTime} {
		if v == timestampName(t) {
			return t, nil
		}
	}
	return 0, fmt.Errorf("%q is neither CreateTime nor LogAppendTime", clip(v))
}

func timestampName(t record.TimestampType) string {
	if t == record.LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}
