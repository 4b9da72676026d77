package topic

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSettingsTable(t *testing.T) {
	assert.True(t, slices.IsSortedFunc(settingKeys, func(a, b settingKey) int { return strings.Compare(a.name, b.name) }))
	s := DefaultSettings()
	require.NoError(t, s.Validate())
	for _, k := range settingKeys {
		assert.Equal(t, k.def, k.show(&s), "default of %s must survive its text form", k.name)
		found, ok := findKey(k.name)
		assert.True(t, ok)
		assert.Equal(t, k.name, found.name)
	}
}

func TestSettingsDefaults(t *testing.T) {
	s := DefaultSettings()
	assert.Equal(t, log.Sync, s.Durability)
	assert.EqualValues(t, 1<<30, s.SegmentBytes)
	assert.Equal(t, 7*24*time.Hour, s.SegmentAge)
	assert.EqualValues(t, 1048588, s.MaxMessageBytes)
	assert.Equal(t, CleanupDelete, s.Cleanup)
	assert.Equal(t, Forever, s.MaxCompactionLag)
	assert.Equal(t, Forever, s.TimestampsBefore)
	assert.EqualValues(t, -1, s.RetentionBytes)
	assert.EqualValues(t, int64(math.MaxInt64), s.FlushMessages)
	cfg := s.logConfig(ID{1}, nil)
	require.NoError(t, cfg.Validate())
	assert.Zero(t, cfg.TimestampBeforeMax)
	assert.False(t, cfg.Recompress)
	assert.False(t, cfg.Compacted)
}

func TestParseSettings(t *testing.T) {
	s, err := ParseSettings(map[string]string{
		"cleanup.policy":                 "compact, delete",
		"segment.bytes":                  "14",
		"segment.ms":                     "9223372036854775807",
		"retention.ms":                   "-1",
		"compression.type":               "zstd",
		"message.timestamp.type":         "LogAppendTime",
		"message.timestamp.after.max.ms": "0",
		"min.cleanable.dirty.ratio":      "1",
		"preallocate":                    "TRUE",
		KeyDurability:                    "interval",
		KeySyncInterval:                  "5",
	})
	require.NoError(t, err)
	assert.Equal(t, CleanupCompact|CleanupDelete, s.Cleanup)
	assert.Equal(t, Forever, s.SegmentAge)
	assert.Negative(t, s.Retention)
	assert.Equal(t, record.LogAppendTime, s.Timestamps)
	assert.True(t, s.Preallocate)
	assert.Equal(t, 5*time.Millisecond, s.SyncInterval)
	codec, level := s.codec()
	assert.Equal(t, compress.Zstd, codec)
	assert.Equal(t, 3, level)

	cfg := s.logConfig(ID{1}, nil)
	require.NoError(t, cfg.Validate())
	assert.True(t, cfg.Compacted)
	assert.True(t, cfg.Recompress)
	assert.Positive(t, cfg.TimestampAfterMax, "a bound of zero is a bound")

	again, err := ParseSettings(s.Map())
	require.NoError(t, err)
	assert.Equal(t, s, again)
}

func TestParseSettingsFaults(t *testing.T) {
	bad := map[string]string{
		"segment.bytes":             "13",
		"segment.ms":                "0",
		"cleanup.policy":            "shred",
		"compression.type":          "rar",
		"min.cleanable.dirty.ratio": "NaN",
		"preallocate":               "maybe",
		"max.message.bytes":         "many",
		"retention.bytes":           "-2",
		"flush.messages":            "99999999999999999999",
		"message.timestamp.type":    "Never",
		"remote.storage.enable":     "true",
		"no.such.key":               "1",
		KeyDurability:               "maximal",
	}
	_, err := ParseSettings(bad)
	require.ErrorIs(t, err, ErrInvalid)
	for key := range bad {
		assert.Contains(t, err.Error(), key, "every fault is reported at once")
	}
	_, err = ParseSettings(map[string]string{"max.compaction.lag.ms": "5", "min.compaction.lag.ms": "6", "segment.ms": "5", "segment.jitter.ms": "6"})
	require.ErrorIs(t, err, ErrInvalid)
	assert.Contains(t, err.Error(), "max.compaction.lag.ms")
	assert.Contains(t, err.Error(), "segment.jitter.ms")
}

func TestTopicOptions(t *testing.T) {
	o := gather([]TopicOption{
		Partitions(4), SyncEvery(1500 * time.Microsecond), SegmentBytes(1 << 20), SegmentAge(time.Hour), Retention(-1),
		RetentionBytes(5), CleanupWith(CleanupCompact), Compression(compress.None), MaxMessageBytes(99),
		TimestampsAre(record.LogAppendTime), Set("flush.ms", "7"), With(Settings{IndexBytes: 4096, Preallocate: true}),
	})
	require.NoError(t, o.check())
	assert.Equal(t, 4, *o.partitions)
	assert.Equal(t, map[string]string{
		KeyDurability: "interval", KeySyncInterval: "2", "segment.bytes": "1048576", "segment.ms": "3600000", "retention.ms": "-1",
		"retention.bytes": "5", "cleanup.policy": "compact", "compression.type": "uncompressed", "max.message.bytes": "99",
		"message.timestamp.type": "LogAppendTime", "flush.ms": "7", "segment.index.bytes": "4096", "preallocate": "true",
	}, o.stored())
	assert.Nil(t, gather([]TopicOption{With(Settings{})}).stored())
	assert.ErrorIs(t, gather([]TopicOption{Partitions(0)}).check(), ErrInvalid)
}

func FuzzParseSettings(f *testing.F) {
	for _, k := range settingKeys {
		f.Add(k.name, k.def)
	}
	f.Add("segment.bytes", "-0")
	f.Fuzz(func(t *testing.T, key, value string) {
		s, err := ParseSettings(map[string]string{key: value})
		if err != nil {
			return
		}
		again, err := ParseSettings(s.Map())
		if err != nil || again != s {
			t.Errorf("%s=%q does not survive its text form: %v", key, value, err)
		}
		if err := s.logConfig(ID{1}, nil).Validate(); err != nil {
			t.Errorf("%s=%q: %v", key, value, err)
		}
	})
}
