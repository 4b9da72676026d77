package log

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRoundTripEveryCodec(t *testing.T) {
	codecs := []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}
	for _, from := range codecs {
		for _, to := range append(codecs, -1) {
			cfg := &Config{Durability: OS, Recompress: to >= 0, Codec: max(to, 0), Level: compress.DefaultLevel}
			disk := vfs.NewMem()
			l := openLog(t, disk, cfg)
			b := build(t, record.BuilderConfig{Codec: from, HasProducer: true, ProducerID: 7, ProducerEpoch: 1, BaseSequence: 3}, "a", "b", "c")
			a, err := l.Append(t.Context(), b, AppendOptions{})
			require.NoError(t, err)
			require.Equal(t, Appended{Base: 0, Last: 2, Timestamp: -1}, a)
			requireContents(t, l, "0:a", "1:b", "2:c")
			run, _, err := l.Read(nil, At(0), ReadOptions{Check: true})
			require.NoError(t, err)
			stored := record.Batch(run)
			want := to
			if to < 0 {
				want = from
			}
			require.Equal(t, want, stored.Codec())
			require.EqualValues(t, []int64{7, 1, 3, 1002}, []int64{stored.ProducerID(), int64(stored.ProducerEpoch()),
				int64(stored.BaseSequence()), stored.MaxTimestamp()})
			require.NoError(t, l.Close())
		}
	}
}

func TestAppendLogAppendTime(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{Timestamps: record.LogAppendTime, Durability: OS})
	b := batchOf(t, "a", "b")
	a, err := l.Append(t.Context(), b, AppendOptions{Now: 5000})
	require.NoError(t, err)
	require.EqualValues(t, 5000, a.Timestamp)
	found, ok, err := l.OffsetFor(4000, High)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, TimeOffset{Offset: 0, Timestamp: 5000}, found)
	run, _, err := l.Read(nil, At(0), ReadOptions{Check: true})
	require.NoError(t, err)
	require.Equal(t, record.LogAppendTime, record.Batch(run).TimestampType())
	require.EqualValues(t, 1000, record.Batch(run).BaseTimestamp())

	b.SetBaseOffset(0)
	_, err = l.Append(t.Context(), b, AppendOptions{Synced: true})
	require.ErrorIs(t, err, ErrInvalidTimestamp, "the client claims it")
	_, err = l.Append(t.Context(), b, AppendOptions{Synced: true, Trusted: true, Now: 6000})
	require.NoError(t, err, "the same process tries again")
}

func TestAppendAt(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk, &Config{})
	run := slices.Concat(at(batchOf(t, "a", "b"), 0, 0), at(batchOf(t, "c"), 2, 0), at(batchOf(t, "d"), 5, 2))
	require.NoError(t, l.AppendAt(t.Context(), run))
	require.EqualValues(t, 6, l.End())
	require.EqualValues(t, 6, l.High())
	want := []string{"0:a", "1:b", "2:c", "5:d"}
	requireContents(t, l, want...)
	require.EqualValues(t, 2, l.LeaderEpoch())
	epoch, end := l.EpochEnd(0)
	require.EqualValues(t, 0, epoch)
	require.EqualValues(t, 5, end)
	epoch, end = l.EpochEnd(2)
	require.EqualValues(t, 2, epoch)
	require.EqualValues(t, 6, end)

	whole := files(t, disk)
	damaged := at(batchOf(t, "z"), 6, 2)
	damaged[len(damaged)-1] ^= 1
	for name, tc := range map[string]struct {
		run []byte
		err error
	}{
		"nothing":        {nil, ErrInvalidRecord},
		"overlap":        {at(batchOf(t, "z"), 5, 2), ErrInvalidRecord},
		"below":          {at(batchOf(t, "z"), 0, 2), ErrInvalidRecord},
		"descending":     {slices.Concat(at(batchOf(t, "y"), 8, 2), at(batchOf(t, "z"), 7, 2)), ErrInvalidRecord},
		"same twice":     {slices.Concat(at(batchOf(t, "y", "y"), 8, 2), at(batchOf(t, "z"), 9, 2)), ErrInvalidRecord},
		"epoch back":     {at(batchOf(t, "z"), 6, 1), ErrInvalidRecord},
		"checksum":       {damaged, ErrCorrupt},
		"second damaged": {slices.Concat(at(batchOf(t, "y"), 6, 2), at(damaged, 7, 2)), ErrCorrupt},
		"cut off":        {at(batchOf(t, "z"), 6, 2)[:69], ErrCorrupt},
		"no header":      {[]byte("short"), ErrCorrupt},
	} {
		require.ErrorIs(t, l.AppendAt(t.Context(), tc.run), tc.err, name)
		require.EqualValues(t, 6, l.End(), name)
	}
	require.Equal(t, whole, files(t, disk), "unchanged")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, l.AppendAt(ctx, at(batchOf(t, "z"), 6, 2)), context.Canceled)

	a := put(t, l, "e")
	require.EqualValues(t, 6, a.Base)
	require.EqualValues(t, 2, a.Epoch)
	require.NoError(t, l.Close())
	l, rep := reopen(t, disk, &Config{})
	require.True(t, rep.Clean)
	requireContents(t, l, append(want, "6:e")...)
	require.EqualValues(t, 2, l.LeaderEpoch())
	// A kill: the gap is no damage.
	put(t, l, "f")
	l2, rep := reopen(t, disk, &Config{})
	require.False(t, rep.Clean)
	require.Empty(t, rep.Damage)
	requireContents(t, l2, append(want, "6:e", "7:f")...)
}

// Offsets that do not fit 32 bits relative to the segment start a new one, also behind an empty segment.
func TestAppendAtHugeOffsets(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	l := openLog(t, disk, &Config{PreWrite: -1})
	var want []string
	far := int64(math.MaxInt32)
	offsets := []int64{far + 10, far + 11, 2*far + 10, 2*far + 12, 3*far + 14, 1 << 60}
	for i, o := range offsets {
		if i == 4 { // the gap stays when the write behind it fails
			disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: segment.FileName(o, segment.LogSuffix)})
			require.Error(t, l.AppendAt(t.Context(), at(batchOf(t, "v"), o, 0)))
			require.EqualValues(t, o, l.End())
			require.Equal(t, l.End(), l.Durable())
		}
		require.NoError(t, l.AppendAt(t.Context(), at(batchOf(t, "v"), o, 0)), o)
		want = append(want, fmt.Sprintf("%d:v", o))
		requireContents(t, l, want...)
	}
	require.NoError(t, l.Close())
	l, rep := reopen(t, disk, &Config{})
	require.True(t, rep.Clean)
	requireContents(t, l, want...)
	put(t, l, "w")
	l, _ = reopen(t, disk, &Config{})
	requireContents(t, l, append(want, fmt.Sprintf("%d:w", int64(1<<60+1)))...)
	_, err := l.DeleteRecords(offsets[4])
	require.NoError(t, err)
	requireContents(t, l, want[4], want[5], fmt.Sprintf("%d:w", int64(1<<60+1)))
	require.NoError(t, l.AppendAt(t.Context(), at(batchOf(t, "v"), math.MaxInt64-10, 0)))
	_, err = l.Append(t.Context(), batchOf(t, "x"), AppendOptions{Synced: true})
	require.ErrorIs(t, err, ErrInvalidRecord)
}

func TestIdempotentProducer(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk, &Config{})
	send := func(s sent) (Appended, error) { return l.Append(t.Context(), s.batch(t), AppendOptions{Synced: true}) }
	must := func(s sent, base int64, dup bool) {
		t.Helper()
		a, err := send(s)
		require.NoError(t, err)
		require.Equal(t, base, a.Base)
		require.Equal(t, base+int64(s.n)-1, a.Last)
		require.Equal(t, dup, a.Duplicate)
	}
	for i := range 7 {
		must(sent{9, 0, int32(2 * i), 2, 0, false}, int64(2*i), false)
	}
	for i := 2; i < 7; i++ {
		must(sent{9, 0, int32(2 * i), 2, 0, false}, int64(2*i), true)
	}
	refused := func(s sent, want error) {
		t.Helper()
		end := l.End()
		_, err := send(s)
		require.ErrorIs(t, err, want)
		require.NotErrorIs(t, err, ErrUncertain)
		require.Equal(t, end, l.End())
	}
	refused(sent{9, 0, 2, 2, 0, false}, ErrOutOfOrderSequence)  // older than five
	refused(sent{9, 0, 13, 2, 0, false}, ErrOutOfOrderSequence) // overlaps
	refused(sent{9, 0, 16, 2, 0, false}, ErrOutOfOrderSequence) // a gap
	refused(sent{9, 1, 3, 1, 0, false}, ErrOutOfOrderSequence)  // a new epoch begins at 0
	must(sent{9, 1, 0, 1, 0, false}, 14, false)
	refused(sent{9, 0, 14, 1, 0, false}, ErrProducerFenced)

	must(sent{10, 0, math.MaxInt32 - 1, 2, 0, false}, 15, false)
	must(sent{10, 0, 0, 1, 0, false}, 17, false) // wrapped
	for _, kill := range []bool{false, true} {
		if !kill {
			require.NoError(t, l.Close())
		}
		l, _ = reopen(t, disk, &Config{})
		must(sent{9, 1, 0, 1, 0, false}, 14, true)
		must(sent{10, 0, 0, 1, 0, false}, 17, true)
		refused(sent{9, 0, 0, 1, 0, false}, ErrProducerFenced)
		refused(sent{10, 0, 2, 1, 0, false}, ErrOutOfOrderSequence)
		l.Fence(assert.AnError) // begin to write without writing: the clean stop is taken back
		must0, err := send(sent{10, 0, 0, 1, 0, false})
		require.ErrorIs(t, err, ErrFenced)
		require.Zero(t, must0)
		require.True(t, l.Unfence())
	}
	must(sent{10, 0, 1, 1, 0, false}, 18, false)
}

// The state of producers is never stale: neither after a truncation, a crash, nor both.
func TestProducersAfterTruncation(t *testing.T) {
	disk := vfs.NewCrash()
	require.NoError(t, disk.MkdirAll(testDir))
	require.NoError(t, disk.SyncDir("."))
	cfg := &Config{Replicated: true, SegmentBytes: 400}
	l := openLog(t, disk, cfg)
	send := func(id int64, seq int32) (Appended, error) {
		return l.Append(t.Context(), sent{id, 0, seq, 1, 0, false}.batch(t), AppendOptions{Synced: true})
	}
	_, err := send(1, 0)
	require.NoError(t, err)
	for range 9 {
		put(t, l, "v")
	}
	require.Len(t, l.Producers(), 1)
	require.Contains(t, names(t, disk), snapshotName(5), "taken at a roll")
	require.NoError(t, l.Truncate(3))
	require.NotContains(t, names(t, disk), snapshotName(5))
	_, err = send(2, 0) // lies below the old snapshot's offset
	require.NoError(t, err)
	for range 9 {
		put(t, l, "w")
	}
	l.AdvanceHigh(l.End())
	l, _ = reopen(t, disk.After(vfs.KeepNone, 0), cfg)
	a, err := send(2, 0)
	require.NoError(t, err)
	require.True(t, a.Duplicate)
	require.EqualValues(t, 3, a.Base)

	require.NoError(t, l.TruncateFully(5))
	require.Empty(t, l.Producers())
	a, err = send(2, 7)
	require.NoError(t, err, "forgotten")
	require.EqualValues(t, 5, a.Base)
	for range 9 {
		put(t, l, "x")
	}
	l, _ = reopen(t, l.fs, cfg) // killed: nothing of the old log's state comes back
	require.Len(t, l.Producers(), 1)
	require.EqualValues(t, 7, l.Producers()[0].LastSequence)
}

func TestAppendAllocatesNothing(t *testing.T) {
	if invariant.Enabled {
		t.Skip("allocations are counted without -race")
	}
	l, _, err := Open(vfs.OS(), t.TempDir(), &Config{Durability: OS}, OpenState{})
	require.NoError(t, err)
	defer l.Close()
	b := build(t, record.BuilderConfig{}, string(make([]byte, 90)))
	ctx := context.Background()
	o := AppendOptions{Trusted: true}
	assert.Zero(t, testing.AllocsPerRun(500, func() {
		if _, err := l.Append(ctx, b, o); err != nil {
			t.Fatal(err)
		}
	}))
	run := make([]byte, 0, 64<<10)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		var err error
		if run, _, err = l.Read(run, At(100), ReadOptions{MaxBytes: 4096}); err != nil || len(run) == 0 {
			t.Fatal(err)
		}
	}))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		var err error
		if run, _, err = l.Read(run, At(100), ReadOptions{MaxBytes: 4096, Check: true}); err != nil || len(run) == 0 {
			t.Fatal(err)
		}
	}))
}

// BenchmarkAppend is a trusted batch of 170 bytes at level OS; raw is the write alone.
func BenchmarkAppend(b *testing.B) {
	value := string(make([]byte, 95))
	batch := build(b, record.BuilderConfig{}, value)
	b.Run("log", func(b *testing.B) {
		l, _, err := Open(vfs.OS(), b.TempDir(), &Config{Durability: OS}, OpenState{})
		require.NoError(b, err)
		defer l.Close()
		ctx := context.Background()
		b.SetBytes(int64(len(batch)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Append(ctx, batch, AppendOptions{Trusted: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		f, err := vfs.OS().Create(filepath.Join(b.TempDir(), "raw"))
		require.NoError(b, err)
		defer f.Close()
		b.SetBytes(int64(len(batch)))
		var at int64
		for b.Loop() {
			if _, err := f.WriteAt(batch, at); err != nil {
				b.Fatal(err)
			}
			at += int64(len(batch))
		}
	})
}

func BenchmarkRead(b *testing.B) {
	batch := build(b, record.BuilderConfig{}, string(make([]byte, 95)))
	l, _, err := Open(vfs.OS(), b.TempDir(), &Config{Durability: OS}, OpenState{})
	require.NoError(b, err)
	defer l.Close()
	for range 100_000 {
		_, err := l.Append(context.Background(), batch, AppendOptions{Trusted: true})
		require.NoError(b, err)
	}
	for _, max := range []int{1, 64 << 10} {
		for _, check := range []bool{false, true} {
			b.Run(fmt.Sprintf("max=%d,check=%v", max, check), func(b *testing.B) {
				b.ReportAllocs()
				run := make([]byte, 0, 128<<10)
				place := At(0)
				for b.Loop() {
					var err error
					if run, place, err = l.Read(run, place, ReadOptions{MaxBytes: max, Check: check}); err != nil {
						b.Fatal(err)
					}
					b.SetBytes(int64(len(run)))
					if len(run) == 0 {
						place = At(0)
					}
				}
			})
		}
	}
}
