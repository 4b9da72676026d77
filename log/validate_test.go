package log

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// Every batch that a leader refuses gives a typed error, and leaves the log and the batch as they were.
func TestRefusedBatches(t *testing.T) {
	const now = 10_000_000
	good := batchOf(t, "a", "b")
	spoiled := func(i int) record.Batch {
		b := slices.Clone(good)
		b[(i+len(b))%len(b)] ^= 1
		return b
	}
	claims := func(b record.Batch) record.Batch {
		b = slices.Clone(b)
		b.SetTimestamps(record.LogAppendTime, 77)
		return b
	}
	keyless := timed(t, 1000)
	thinned := record.NewBuilder(record.BuilderConfig{})
	require.NoError(t, thinned.AddAt(0, &record.Record{Timestamp: 1}))
	require.NoError(t, thinned.AddAt(2, &record.Record{Timestamp: 1}))
	gappy, err := thinned.Seal()
	require.NoError(t, err)
	control, err := record.ControlBatch(record.BuilderConfig{}, record.LeaderChange, 1, make([]byte, 8))
	require.NoError(t, err)
	bomb := build(t, record.BuilderConfig{Codec: compress.Gzip}, strings.Repeat("x", 1<<20))
	nonsense := slices.Clone(build(t, record.BuilderConfig{Codec: compress.Gzip}, "aaaa"))
	copy(nonsense[record.HeaderSize:], "not gzip at all")
	nonsense.SetTimestamps(record.CreateTime, 5) // mends the checksum

	window := &Config{TimestampBeforeMax: time.Second, TimestampAfterMax: time.Minute}
	for _, tc := range []struct {
		name string
		cfg  *Config
		b    record.Batch
		err  error
	}{
		{"nothing", &Config{}, nil, ErrCorrupt},
		{"a few bytes", &Config{}, record.Batch("abc"), ErrCorrupt},
		{"cut off", &Config{}, good[:len(good)-1], ErrCorrupt},
		{"flipped in the records", &Config{}, spoiled(-1), ErrCorrupt},
		{"flipped in the header", &Config{}, spoiled(30), ErrCorrupt},
		{"flipped in the length", &Config{}, spoiled(10), ErrCorrupt},
		{"flipped magic", &Config{}, spoiled(16), ErrCorrupt},
		{"two batches", &Config{}, slices.Concat(good, good), ErrInvalidRecord},
		{"bytes behind it", &Config{}, append(slices.Clone(good), 0), ErrInvalidRecord},
		{"base offset", &Config{}, at(good, 1, -1), ErrInvalidRecord},
		{"too large", &Config{MaxBatchBytes: len(good) - 1}, good, ErrTooLarge},
		{"larger than a segment", &Config{SegmentBytes: int64(len(good)) - 1}, good, ErrTooLarge},
		{"too large when stored without compression", &Config{Recompress: true, MaxBatchBytes: 1 << 19}, bomb, ErrTooLarge},
		{"control batch", &Config{}, control, ErrInvalidRecord},
		{"marker", &Config{}, record.EndTxnMarker(record.Commit, 1, 0, 0, 5), ErrInvalidRecord},
		{"gaps", &Config{}, gappy, ErrInvalidRecord},
		{"emptied", &Config{}, good.Emptied(), ErrInvalidRecord},
		{"delete horizon", &Config{}, build(t, record.BuilderConfig{DeleteHorizon: 500}, "a"), ErrInvalidRecord},
		{"producer without sequence", &Config{}, sent{9, 0, noSequence, 1, 0, false}.batch(t), ErrInvalidRecord},
		{"no key in a compacted log", &Config{Compacted: true}, keyless, ErrInvalidRecord},
		{"content is not its codec's", &Config{}, nonsense, ErrCorrupt},
		{"too old", window, timed(t, now, now-1001), ErrInvalidTimestamp},
		{"too young", window, timed(t, now, now+60_001), ErrInvalidTimestamp},
		{"far future", window, timed(t, math.MaxInt64), ErrInvalidTimestamp},
		{"claims log append time", &Config{Timestamps: record.LogAppendTime}, claims(good), ErrInvalidTimestamp},
		{"claims it and is recompressed", &Config{Timestamps: record.LogAppendTime, Recompress: true, Codec: compress.LZ4, Level: compress.DefaultLevel},
			claims(good), ErrInvalidTimestamp},
		{"claims it without times of its own", &Config{}, claims(timed(t, record.NoTimestamp)), ErrInvalidTimestamp},
	} {
		t.Run(tc.name, func(t *testing.T) {
			disk := vfs.NewMem()
			l := openLog(t, disk, tc.cfg)
			before, bytes := files(t, disk), slices.Clone(tc.b)
			_, err := l.Append(t.Context(), tc.b, AppendOptions{Now: now})
			require.ErrorIs(t, err, tc.err)
			require.NotErrorIs(t, err, ErrUncertain)
			require.Equal(t, bytes, tc.b)
			require.Zero(t, l.End())
			require.Equal(t, before, files(t, disk))
		})
	}
}

func TestAcceptedBatches(t *testing.T) {
	const now = 10_000_000
	window := &Config{TimestampBeforeMax: time.Second, TimestampAfterMax: time.Minute}
	claims := slices.Clone(batchOf(t, "a", "b"))
	claims.SetTimestamps(record.LogAppendTime, 77)
	lies := slices.Clone(batchOf(t, "a", "b"))
	lies.SetTimestamps(record.CreateTime, 99)
	for _, tc := range []struct {
		name string
		cfg  *Config
		b    record.Batch
		max  int64
	}{
		{"at both ends of the window", window, timed(t, now-1000, now+60_000), now + 60_000},
		{"without a time", window, timed(t, record.NoTimestamp), -1},
		{"the bit is taken away", &Config{}, claims, 1001},
		{"the bit is taken away, recompressed", &Config{Recompress: true, Codec: compress.Zstd, Level: compress.DefaultLevel}, claims, 1001},
		{"the largest time is counted again", &Config{}, lies, 1001},
		{"keys in a compacted log", &Config{Compacted: true}, batchOf(t, "a"), 1000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := openLog(t, vfs.NewMem(), tc.cfg)
			_, err := l.Append(t.Context(), slices.Clone(tc.b), AppendOptions{Now: now})
			require.NoError(t, err)
			run, _, err := l.Read(nil, At(0), ReadOptions{Check: true})
			require.NoError(t, err)
			require.Equal(t, tc.max, record.Batch(run).MaxTimestamp())
			require.Equal(t, record.CreateTime, record.Batch(run).TimestampType())
		})
	}
}

func TestTrustedIsStillMeasured(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{MaxBatchBytes: 200, TimestampAfterMax: time.Second})
	o := AppendOptions{Trusted: true, Now: 5000}
	_, err := l.Append(context.Background(), nil, o)
	require.ErrorIs(t, err, ErrInvalidRecord)
	_, err = l.Append(t.Context(), batchOf(t, strings.Repeat("x", 200)), o)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = l.Append(t.Context(), timed(t, 6001), o)
	require.ErrorIs(t, err, ErrInvalidTimestamp)
	_, err = l.Append(t.Context(), timed(t, 6000), o)
	require.NoError(t, err)
}
