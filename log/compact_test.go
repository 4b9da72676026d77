package log

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
	"github.com/stretchr/testify/require"
)

// kv is a record for a compacted log: key, and value or, if it is "-", a tombstone.
type kv struct{ key, value string }

func (r kv) String() string { return r.key + "=" + r.value }

// kvs makes records of "key=value" words.
func kvs(words ...string) (list []kv) {
	for _, w := range words {
		for i := range w {
			if w[i] == '=' {
				list = append(list, kv{w[:i], w[i+1:]})
			}
		}
	}
	return list
}

func kvBatch(t testing.TB, cfg record.BuilderConfig, list ...kv) record.Batch {
	t.Helper()
	b := record.NewBuilder(cfg)
	for i, r := range list {
		rec := record.Record{Timestamp: 1000 + int64(i), Key: []byte(r.key), Value: []byte(r.value)}
		if r.value == "-" {
			rec.Value = nil
		}
		require.NoError(t, b.Add(&rec))
	}
	sealed, err := b.Seal()
	require.NoError(t, err)
	return append(record.Batch(nil), sealed...)
}

// putKV appends one batch.
func putKV(t testing.TB, l *Log, words ...string) Appended {
	t.Helper()
	a, err := l.Append(context.Background(), kvBatch(t, record.BuilderConfig{}, kvs(words...)...), AppendOptions{})
	require.NoError(t, err)
	return a
}

// roll begins a new segment.
func roll(t testing.TB, l *Log) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NoError(t, l.beginWritingLocked())
	_, err := l.rollLocked(l.cfg.Load(), l.end.Load())
	require.NoError(t, err)
}

// keyed reads the user's records: "offset:key=value".
func keyed(l *Log, b Bound) (list []string, err error) {
	var run []byte
	var d record.Decoder
	for place := At(l.Start()); ; {
		if run, place, err = l.Read(run, place, ReadOptions{Bound: b, Check: true, MaxBytes: 600}); err != nil || len(run) == 0 {
			return list, err
		}
		for b, err := range record.Batches(run) {
			if err != nil {
				return list, err
			}
			if b.Control() {
				continue
			}
			if err := d.Reset(b, 0); err != nil {
				return list, err
			}
			for r := new(record.Record); d.Next(r); {
				value := string(r.Value)
				if r.Value == nil {
					value = "-"
				}
				list = append(list, fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, value))
			}
			if err := d.Err(); err != nil {
				return list, err
			}
		}
	}
}

func requireKeyed(t testing.TB, l *Log, want ...string) {
	t.Helper()
	list, err := keyed(l, High)
	require.NoError(t, err)
	require.Equal(t, want, list)
}

func compactAt(t testing.TB, l *Log, now time.Time) Compacted {
	t.Helper()
	c, err := l.Compact(context.Background(), CompactOptions{Now: now, Memory: 1 << 20})
	require.NoError(t, err)
	return c
}

// headers tells every batch: offsets, number of records, size, and what its attributes say.
func headers(t testing.TB, l *Log) (list []string) {
	t.Helper()
	for _, s := range l.view.Load().segments {
		list = append(list, fmt.Sprintf("segment %d", s.Base()))
		var run []byte
		for place := At(s.Base()); ; {
			var err error
			run, place, err = s.Read(run, place, s.Next(), 1<<20)
			require.NoError(t, err)
			if len(run) == 0 {
				break
			}
			for b, err := range record.Batches(run) {
				require.NoError(t, err)
				require.NoError(t, b.Check())
				text := fmt.Sprintf("[%d,%d] n=%d", b.BaseOffset(), b.LastOffset(), b.Count())
				if b.Control() {
					text += " control"
				}
				if b.HasDeleteHorizon() {
					text += fmt.Sprintf(" horizon=%d", b.BaseTimestamp())
				}
				list = append(list, text)
			}
		}
	}
	return list
}

var compacted = Config{Compacted: true, DeleteRetention: time.Hour}

func TestCompactKeepsTheNewestOfEachKey(t *testing.T) {
	for _, codec := range []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			disk := vfs.NewMem()
			l := openLog(t, disk, &compacted)
			add := func(words ...string) {
				_, err := l.Append(t.Context(), kvBatch(t, record.BuilderConfig{Codec: codec}, kvs(words...)...), AppendOptions{})
				require.NoError(t, err)
			}
			add("a=1", "b=1", "c=1")
			add("a=2")
			roll(t, l)
			add("b=2", "d=1")
			add("e=1")
			roll(t, l)
			add("a=3", "e=2")
			c := compactAt(t, l, time.UnixMilli(10_000))
			requireKeyed(t, l, "2:c=1", "3:a=2", "4:b=2", "5:d=1", "6:e=1", "7:a=3", "8:e=2")
			require.Equal(t, []string{"segment 0", "[0,2] n=1", "[3,3] n=1", "[4,5] n=2", "[6,6] n=1", "segment 7", "[7,8] n=2"}, headers(t, l))
			require.EqualValues(t, 7, c.Checkpoint)
			require.EqualValues(t, 7, l.FirstDirty())
			require.Equal(t, 2, c.SegmentsIn)
			require.Equal(t, 1, c.SegmentsOut)
			require.EqualValues(t, 5, c.Kept)
			require.EqualValues(t, 2, c.Dropped)
			require.Equal(t, 5, c.MapEntries)

			require.NoError(t, l.Close())
			again, rep, err := Open(disk, testDir, &compacted, OpenState{Cleaned: c.Checkpoint})
			require.NoError(t, err)
			require.True(t, rep.Clean)
			l = again
			requireKeyed(t, l, "2:c=1", "3:a=2", "4:b=2", "5:d=1", "6:e=1", "7:a=3", "8:e=2")
			for _, s := range l.view.Load().segments[:1] {
				require.NoError(t, s.Verify())
			}
			roll(t, l)
			c = compactAt(t, l, time.UnixMilli(10_000))
			require.EqualValues(t, 7, c.From)
			requireKeyed(t, l, "2:c=1", "4:b=2", "5:d=1", "7:a=3", "8:e=2")
			require.NoError(t, l.Close())
		})
	}
}

func TestCompactLeavesWhatDoesNotChange(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &compacted)
	putKV(t, l, "a=1", "b=1")
	roll(t, l)
	before := l.view.Load().segments[0]
	c := compactAt(t, l, time.UnixMilli(10_000))
	require.Zero(t, c.Groups)
	require.EqualValues(t, 2, c.Checkpoint)
	require.Same(t, before, l.view.Load().segments[0])
	for _, name := range names(t, l.fs) {
		_, kind, ok := segment.ParseName(name)
		require.False(t, ok && kind.Mark() != 0, name)
	}
	require.NoError(t, l.Close())
}

// A tombstone is dropped by the first pass after its horizon, which the first pass that
// meets it has set by its own clock.
func TestTombstonesGoInTwoPhases(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &compacted)
	putKV(t, l, "a=1", "b=1")
	putKV(t, l, "a=-", "c=1")
	roll(t, l)
	now := time.UnixMilli(50_000_000)
	compactAt(t, l, now)
	horizon := now.Add(time.Hour).UnixMilli()
	require.Equal(t, []string{"segment 0", "[0,1] n=1", fmt.Sprintf("[2,3] n=2 horizon=%d", horizon), "segment 4"}, headers(t, l))
	requireKeyed(t, l, "1:b=1", "2:a=-", "3:c=1")

	compactAt(t, l, now.Add(time.Hour-time.Millisecond))
	requireKeyed(t, l, "1:b=1", "2:a=-", "3:c=1")
	require.Contains(t, headers(t, l), fmt.Sprintf("[2,3] n=2 horizon=%d", horizon), "a horizon does not move")

	compactAt(t, l, now.Add(time.Hour))
	requireKeyed(t, l, "1:b=1", "3:c=1")
	r, err := l.Get(new(Finder), 3, High)
	require.NoError(t, err)
	require.EqualValues(t, 1001, r.Timestamp, "timestamps are what they were")
	_, err = l.Get(new(Finder), 2, High)
	require.ErrorIs(t, err, ErrNoRecord)
	require.NoError(t, l.Close())
}

// The last batch of a round stays, even without records, so that the end is known.
func TestTheLastBatchSurvivesEmpty(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &compacted)
	putKV(t, l, "a=1")
	putKV(t, l, "a=-")
	roll(t, l)
	now := time.UnixMilli(50_000_000)
	compactAt(t, l, now)
	compactAt(t, l, now.Add(2*time.Hour))
	require.Equal(t, []string{"segment 0", "[1,1] n=0", "segment 2"}, headers(t, l))
	require.EqualValues(t, 61, l.view.Load().segments[0].Size())
	requireKeyed(t, l)
	putKV(t, l, "b=1")
	requireKeyed(t, l, "2:b=1")
	require.NoError(t, l.Close())
}

func TestKeylessRecordsGo(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk, &Config{})
	b := record.NewBuilder(record.BuilderConfig{})
	require.NoError(t, b.Add(&record.Record{Timestamp: 1, Value: []byte("no key")}))
	require.NoError(t, b.Add(&record.Record{Timestamp: 1, Key: []byte("a"), Value: []byte("1")}))
	sealed, err := b.Seal()
	require.NoError(t, err)
	_, err = l.Append(t.Context(), sealed, AppendOptions{})
	require.NoError(t, err)
	roll(t, l)
	require.NoError(t, l.Configure(&Config{Compacted: true}))
	c := compactAt(t, l, time.UnixMilli(9))
	require.EqualValues(t, 1, c.Keyless)
	requireKeyed(t, l, "1:a=1")
	require.NoError(t, l.Close())
}

// A map that is too small is filled as far as it goes; the segment where that happened is
// rewritten too, and what it holds beyond stays.
func TestPartlyMappedSegment(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &compacted)
	for i := range 6 {
		putKV(t, l, fmt.Sprintf("k%d=old", i))
	}
	roll(t, l)
	for i := range 6 {
		putKV(t, l, fmt.Sprintf("k%d=new", i))
	}
	roll(t, l)
	c, err := l.Compact(t.Context(), CompactOptions{Memory: 10 * entryBytes}) // nine keys by the load factor
	require.NoError(t, err)
	require.False(t, c.MapFull)

	l2 := openLog(t, vfs.NewMem(), &compacted)
	for i := range 12 {
		putKV(t, l2, fmt.Sprintf("k%d=old", i%8))
		if i == 5 {
			roll(t, l2)
		}
	}
	roll(t, l2)
	c, err = l2.Compact(t.Context(), CompactOptions{Memory: 5 * entryBytes}) // four keys
	require.NoError(t, err)
	require.True(t, c.MapFull)
	require.Equal(t, 4, c.MapEntries)
	require.EqualValues(t, 4, c.Checkpoint)
	for range 10 {
		c, err = l2.Compact(t.Context(), CompactOptions{Memory: 5 * entryBytes})
		require.NoError(t, err)
	}
	require.EqualValues(t, 12, c.Checkpoint)
	requireKeyed(t, l2, "4:k4=old", "5:k5=old", "6:k6=old", "7:k7=old", "8:k0=old", "9:k1=old", "10:k2=old", "11:k3=old")
	_, err = l2.Compact(t.Context(), CompactOptions{Memory: 10})
	require.ErrorContains(t, err, "too few")
	require.NoError(t, l.Close())
	require.NoError(t, l2.Close())
}

// The cases of Kafka's cleanable range and ratio.
func TestCleanable(t *testing.T) {
	cfg := &Config{Compacted: true, MinDirtyRatio: 0.5}
	l := openLog(t, vfs.NewMem(), cfg)
	c, err := l.Cleanable(time.Now())
	require.NoError(t, err)
	require.False(t, c.Wanted(cfg))
	putKV(t, l, "a=1")
	c, err = l.Cleanable(time.Now())
	require.NoError(t, err)
	require.EqualValues(t, 0, c.FirstUncleanable, "the active segment is never cleaned")
	require.Zero(t, c.Dirty)
	roll(t, l)
	putKV(t, l, "a=2")
	roll(t, l)
	bytes := l.Segments()[0].Bytes
	c, err = l.Cleanable(time.Now())
	require.NoError(t, err)
	require.Equal(t, Cleanable{FirstDirty: 0, FirstUncleanable: 2, Dirty: 2 * bytes, Ratio: 1}, c)
	require.True(t, c.Wanted(cfg))
	compactAt(t, l, time.UnixMilli(5000))
	clean := l.Segments()[0].Bytes
	putKV(t, l, "a=3")
	roll(t, l)
	c, err = l.Cleanable(time.Now())
	require.NoError(t, err)
	require.Equal(t, Cleanable{FirstDirty: 2, FirstUncleanable: 3, Clean: clean, Dirty: bytes, Ratio: 0.5}, c)
	require.False(t, c.Wanted(cfg), "the ratio must be above the least one")
	require.True(t, c.Wanted(&Config{MinDirtyRatio: -1}))

	// Lags, by the records' times (1000).
	require.NoError(t, l.Configure(&Config{Compacted: true, MinCompactionLag: time.Second, MaxCompactionLag: 3 * time.Second}))
	c, err = l.Cleanable(time.UnixMilli(1999))
	require.NoError(t, err)
	require.EqualValues(t, 2, c.FirstUncleanable)
	c, err = l.Cleanable(time.UnixMilli(2000))
	require.NoError(t, err)
	require.EqualValues(t, 3, c.FirstUncleanable)
	require.Equal(t, time.UnixMilli(4001), c.DueAt)
	require.False(t, c.Wanted(l.Config()))
	c, err = l.Cleanable(time.UnixMilli(4001))
	require.NoError(t, err)
	require.True(t, c.Wanted(l.Config()))
	require.NoError(t, l.Close())
	_, err = l.Cleanable(time.Now())
	require.ErrorIs(t, err, ErrClosed)
}

// model is what a compacted log must hold: for every key the newest record, plus whatever
// lies behind the checkpoint.
func TestCompactAgainstAModel(t *testing.T) {
	runs := 60
	if invariant.Enabled {
		runs = 12
	}
	for seed := range runs {
		rng := rand.New(rand.NewPCG(uint64(seed), 7))
		cfg := &Config{Compacted: true, DeleteRetention: time.Minute, SegmentBytes: 300 + rng.Int64N(3000),
			IndexInterval: 1 + rng.IntN(300), PreWrite: -1}
		disk := vfs.NewMem()
		l := openLog(t, disk, cfg)
		codecs := []compress.Codec{compress.None, compress.LZ4, compress.Zstd}
		var written []kv // by offset
		newest := map[string]int64{}
		now := time.UnixMilli(1_000_000)
		for step := range 60 {
			var list []kv
			for range 1 + rng.IntN(6) {
				r := kv{fmt.Sprintf("k%d", rng.IntN(12)), fmt.Sprintf("v%d", step)}
				if rng.IntN(5) == 0 {
					r.value = "-"
				}
				list = append(list, r)
			}
			a, err := l.Append(t.Context(), kvBatch(t, record.BuilderConfig{Codec: codecs[rng.IntN(3)]}, list...), AppendOptions{})
			require.NoError(t, err)
			for i, r := range list {
				written = append(written, r)
				newest[r.key] = a.Base + int64(i)
			}
			now = now.Add(time.Duration(rng.IntN(20_000)) * time.Millisecond)
			if rng.IntN(4) == 0 {
				_, err := l.Compact(t.Context(), CompactOptions{Now: now, Memory: int64(3+rng.IntN(30)) * entryBytes})
				require.NoError(t, err)
			}
			if rng.IntN(10) == 0 {
				checkpoint := l.FirstDirty()
				require.NoError(t, l.Close())
				l, _, err = Open(disk, testDir, cfg, OpenState{Cleaned: checkpoint})
				require.NoError(t, err)
			}
		}
		list, err := keyed(l, High)
		require.NoError(t, err)
		final, last := map[string]kv{}, int64(-1)
		for _, text := range list {
			var offset int64
			var rest string
			_, err := fmt.Sscanf(text, "%d:%s", &offset, &rest)
			require.NoError(t, err)
			require.Greater(t, offset, last, "seed %d: order", seed)
			last = offset
			require.Equal(t, written[offset].String(), rest, "seed %d: offset %d", seed, offset)
			final[written[offset].key] = written[offset]
		}
		for key, offset := range newest {
			r := written[offset]
			if got, there := final[key]; r.value == "-" {
				require.True(t, !there || got.value == "-", "seed %d: deleted key %s came back as %s", seed, key, got)
			} else {
				require.Equal(t, r, got, "seed %d: key %s", seed, key)
			}
		}
		// One more pass with a large map leaves exactly the newest of each key in the sealed part.
		roll(t, l)
		compactAt(t, l, now)
		list, err = keyed(l, High)
		require.NoError(t, err)
		require.LessOrEqual(t, len(list), len(newest), "seed %d", seed)
		for _, s := range l.view.Load().segments[:len(l.view.Load().segments)-1] {
			require.NoError(t, s.Verify())
		}
		require.NoError(t, l.Close())
	}
}

// Readers that run through the log while it is compacted see every surviving record, once and in order.
func TestReadWhileCompacting(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{Compacted: true, SegmentBytes: 600, DeleteRetention: time.Hour, IndexInterval: 100})
	const keys = 20
	for i := range 300 {
		putKV(t, l, fmt.Sprintf("k%d=%d", i%keys, i))
	}
	var final []string // these survive whatever happens below
	for i := range keys {
		a := putKV(t, l, fmt.Sprintf("last%d=x", i))
		final = append(final, fmt.Sprintf("%d:last%d=x", a.Base, i))
	}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				list, err := keyed(l, High)
				if err != nil {
					t.Error(err)
					return
				}
				checkSeen(t, list, final)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	writers.Go(func() {
		for i := range 200 {
			putKV(t, l, fmt.Sprintf("k%d=again%d", i%keys, i))
		}
	})
	for range 25 {
		_, err := l.Compact(t.Context(), CompactOptions{Memory: 1 << 16})
		require.NoError(t, err)
	}
	writers.Wait()
	compactAt(t, l, time.Now())
	close(stop)
	readers.Wait()
	require.NoError(t, l.Close())
}

func checkSeen(t *testing.T, list, final []string) {
	last := int64(-1)
	seen := 0
	for _, text := range list {
		var offset int64
		_, _ = fmt.Sscanf(text, "%d:", &offset)
		if offset <= last {
			t.Errorf("%s after offset %d", text, last)
		}
		last = offset
		if seen < len(final) && text == final[seen] {
			seen++
		}
	}
	if seen != len(final) {
		t.Errorf("saw %d of %d surviving records", seen, len(final))
	}
}

func TestOnePassAtATime(t *testing.T) {
	for name, urgent := range map[string]bool{"truncation": false, "urgent retention": true} {
		t.Run(name, func(t *testing.T) { onePassAtATime(t, urgent) })
	}
}

func onePassAtATime(t *testing.T, urgent bool) {
	l := openLog(t, vfs.NewMem(), &compacted)
	for i := range 2000 {
		putKV(t, l, fmt.Sprintf("k%d=%01000d", i%3, i))
	}
	roll(t, l)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	done := make(chan error)
	go func() {
		_, err := l.Compact(context.Background(), CompactOptions{Throttle: func(ctx context.Context, _ int) error {
			once.Do(func() { close(entered) })
			select {
			case <-leave:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}})
		done <- err
	}()
	<-entered
	_, err := l.Compact(t.Context(), CompactOptions{})
	require.ErrorIs(t, err, ErrBusy)
	rules := &Retention{Records: -1, Urgent: urgent}
	removed, err := l.ApplyRetention(t.Context(), time.Now(), rules)
	if urgent {
		require.NoError(t, err)
		require.NotZero(t, removed.Segments)
		require.ErrorIs(t, <-done, ErrBusy)
		close(leave)
		compactAt(t, l, time.Now())
		require.NoError(t, l.Close())
		return
	}
	require.ErrorIs(t, err, ErrBusy)
	require.NoError(t, l.TruncateFully(5))
	require.ErrorIs(t, <-done, ErrTruncated)
	close(leave)
	require.EqualValues(t, 5, l.FirstDirty())
	putKV(t, l, "a=1")
	roll(t, l)
	compactAt(t, l, time.Now())
	requireKeyed(t, l, "5:a=1")
	require.NoError(t, l.Close())
	_, err = l.Compact(t.Context(), CompactOptions{})
	require.ErrorIs(t, err, ErrClosed)
}

func TestStrategies(t *testing.T) {
	header := func(v int64) []record.Header {
		b := make([]byte, 8)
		b[7] = byte(v)
		return []record.Header{{Key: "version", Value: b}}
	}
	l := openLog(t, vfs.NewMem(), &compacted)
	add := func(key, value string, version, ts int64) {
		b := record.NewBuilder(record.BuilderConfig{})
		r := record.Record{Timestamp: ts, Key: []byte(key), Value: []byte(value)}
		if version >= 0 {
			r.Headers = header(version)
		}
		require.NoError(t, b.Add(&r))
		sealed, err := b.Seal()
		require.NoError(t, err)
		_, err = l.Append(t.Context(), sealed, AppendOptions{})
		require.NoError(t, err)
	}
	add("a", "high", 7, 1)
	add("a", "low", 3, 9)
	add("b", "first", 4, 5)
	add("b", "second", 4, 5)
	add("c", "none", -1, 8)
	add("c", "late", 0, 2)
	roll(t, l)
	_, err := l.Compact(t.Context(), CompactOptions{Strategy: ByHeader("version")})
	require.NoError(t, err)
	requireKeyed(t, l, "0:a=high", "3:b=second", "5:c=late")
	// What was kept before still outranks what comes later.
	add("a", "lower", 6, 10)
	roll(t, l)
	_, err = l.Compact(t.Context(), CompactOptions{Strategy: ByHeader("version")})
	require.NoError(t, err)
	list, err := keyed(l, High)
	require.NoError(t, err)
	require.Equal(t, []string{"0:a=high", "3:b=second", "5:c=late"}, list)
	add("a", "same", 7, 0)
	roll(t, l)
	_, err = l.Compact(t.Context(), CompactOptions{Strategy: ByTimestamp()})
	require.NoError(t, err)
	list, err = keyed(l, High)
	require.NoError(t, err)
	require.True(t, slices.Contains(list, "0:a=high"), "%v", list)
	require.NoError(t, l.Close())
}

// Damage is never given a new checksum: a pass that meets it stops, tells where, and leaves the segment as it is.
func TestCompactionDoesNotLaunderDamage(t *testing.T) {
	whole := vfs.NewMem()
	build := func(disk vfs.FS) int64 {
		l := openLog(t, disk, &compacted)
		for i := range 6 {
			putKV(t, l, fmt.Sprintf("k%d=%d", i%3, i))
		}
		roll(t, l)
		require.NoError(t, l.Close())
		return l.FirstDirty()
	}
	build(whole)
	path := testDir + "/" + segment.FileName(0, segment.LogSuffix)
	info, err := whole.Stat(path)
	require.NoError(t, err)
	for bit := range info.Size * 8 {
		if bit%13 != 0 {
			continue
		}
		disk := vfs.NewMem()
		build(disk)
		f, err := disk.Open(path)
		require.NoError(t, err)
		var b [1]byte
		_, err = f.ReadAt(b[:], bit/8)
		require.NoError(t, err)
		b[0] ^= 1 << (bit % 8)
		_, err = f.WriteAt(b[:], bit/8)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		before := files(t, disk)[segment.FileName(0, segment.LogSuffix)]
		l := openLog(t, disk, &compacted)
		_, err = l.Compact(t.Context(), CompactOptions{})
		var damage *CorruptionError
		require.ErrorAs(t, err, &damage, "bit %d", bit)
		require.NoError(t, l.Close())
		require.Equal(t, before, files(t, disk)[segment.FileName(0, segment.LogSuffix)], "bit %d", bit)
	}
}

// Everything at once: readers of every kind, appends, deletions and compactions.
func TestEverythingWhileCompacting(t *testing.T) {
	x := newKeyedTxns(t, &Config{Compacted: true, SegmentBytes: 500, DeleteRetention: time.Nanosecond, IndexInterval: 50, FileDeleteDelay: -1})
	l := x.l
	for i := range 60 {
		x.send(1, fmt.Sprintf("a%d=%d", i%5, i))
		x.end(1, record.ControlType(i%2))
		x.produce(2, false, fmt.Sprintf("b%d=%d", i%5, i))
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	loop := func(f func(rng *rand.Rand) error) {
		all.Go(func() {
			for rng := rand.New(rand.NewPCG(1, 2)); ; {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(rng); err != nil && !errors.Is(err, ErrOffsetOutOfRange) && !errors.Is(err, ErrNoRecord) && !errors.Is(err, ErrBusy) {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(func(*rand.Rand) error { return slicedInOrder(l) })
	loop(func(*rand.Rand) error { _, err := l.AbortedIn(l.Start(), l.End()); return err })
	loop(func(rng *rand.Rand) error { _, err := l.Get(new(Finder), rng.Int64N(l.High()), High); return err })
	loop(func(rng *rand.Rand) error { _, _, err := l.OffsetFor(995+rng.Int64N(10), High); return err })
	loop(func(*rand.Rand) error { _, err := l.Compact(t.Context(), CompactOptions{}); return err })
	loop(func(*rand.Rand) error {
		v, err := Verify(l.fs, testDir, l.cfg.Load(), VerifyOptions{Gaps: true})
		if err == nil && len(v.Faults) > 0 {
			err = &v.Faults[0]
		}
		return err
	})
	loop(func(*rand.Rand) error { _, _, err := l.OffsetFor(TimeMax, High); return err })
	loop(func(rng *rand.Rand) error {
		_, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Records: 100 + rng.Int64N(50)})
		return err
	})
	for i := range 60 {
		x.send(1, fmt.Sprintf("a%d=%d", i%5, i))
		x.end(1, record.ControlType(i%2))
		x.produce(2, false, fmt.Sprintf("b%d=%d", i%5, i))
	}
	_, err := l.DeleteRecords(l.Start() + 30)
	require.NoError(t, err)
	close(stop)
	all.Wait()
	require.NoError(t, l.Close())
	reopened, rep := reopen(t, l.fs, &Config{Compacted: true})
	require.True(t, rep.Clean)
	require.NoError(t, slicedInOrder(reopened))
	require.NoError(t, reopened.Close())
}

// slicedInOrder runs through the log by Slice, as a server would.
func slicedInOrder(l *Log) error {
	next := l.Start()
	for {
		s, err := l.Slice(next, ReadOptions{MaxBytes: 400})
		if err != nil {
			return err
		}
		raw, err := s.AppendTo(nil)
		s.Release()
		if err != nil || len(raw) == 0 {
			return err
		}
		for b, err := range record.Batches(raw) {
			if err == nil {
				err = b.Check()
			}
			if err == nil && b.NextOffset() <= next {
				err = fmt.Errorf("batch [%d, %d] again, next was %d", b.BaseOffset(), b.LastOffset(), next)
			}
			if err != nil {
				return err
			}
			next = b.NextOffset()
		}
	}
}
