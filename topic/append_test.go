package topic

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stored decodes everything visible in a partition.
func stored(t testing.TB, p *Partition) (list []record.Record) {
	t.Helper()
	start, err := p.Start()
	require.NoError(t, err)
	high, err := p.High()
	require.NoError(t, err)
	for offset := start; offset < high; {
		raw, err := p.FetchRaw(context.Background(), offset, Fetch{})
		require.NoError(t, err)
		require.Positive(t, raw.Len())
		for b, err := range raw.Batches() {
			require.NoError(t, err)
			var d record.Decoder
			require.NoError(t, d.Reset(b, 0))
			var r record.Record
			for d.Next(&r) {
				if r.Offset >= offset {
					r.Headers = append([]record.Header(nil), r.Headers...)
					list = append(list, r)
				}
			}
			require.NoError(t, d.Err())
			offset = b.NextOffset()
		}
		raw.Release()
	}
	return list
}

func partitionOf(t testing.TB, tp *Topic, n int32) *Partition {
	t.Helper()
	p, err := tp.Partition(n)
	require.NoError(t, err)
	return p
}

func TestAppendStoresRecord(t *testing.T) {
	for _, codec := range []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "orders", quick(), Compression(codec))
		at := time.UnixMilli(1234567)
		want := Record{Time: at, Key: []byte("k"), Value: []byte("v"), Headers: []Header{{Key: "h", Value: nil}, {Key: "h", Value: []byte{}}}}
		pos, err := tp.Append(t.Context(), want)
		require.NoError(t, err)
		assert.Equal(t, Position{Topic: "orders", Partition: 0, Offset: 0}, pos)
		_, err = tp.Append(t.Context(), Record{Value: []byte{}})
		require.NoError(t, err)

		got := stored(t, partitionOf(t, tp, 0))
		require.Len(t, got, 2, codec)
		assert.Equal(t, at.UnixMilli(), got[0].Timestamp)
		assert.Equal(t, want.Headers, got[0].Headers)
		assert.Nil(t, got[1].Key)
		assert.NotNil(t, got[1].Value, "an empty value is not a tombstone")
		assert.WithinDuration(t, time.Now(), timeOf(got[1].Timestamp), time.Minute, "a zero time means now")
	}
}

func TestAppendChoosesPartition(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", quick(), Partitions(4))
	seen := map[int32]int{}
	for i := range 40 {
		key := []byte(fmt.Sprint("key-", i%10))
		pos, err := tp.Append(t.Context(), Record{Key: key})
		require.NoError(t, err)
		assert.Equal(t, PartitionForKey(key, 4), pos.Partition)
		pos, err = tp.Append(t.Context(), Record{})
		require.NoError(t, err)
		seen[pos.Partition]++
	}
	assert.Equal(t, map[int32]int{0: 10, 1: 10, 2: 10, 3: 10}, seen, "records without a key go round")
	pos, err := tp.Append(t.Context(), Record{Key: []byte("x")}, AppendTo(3))
	require.NoError(t, err)
	assert.EqualValues(t, 3, pos.Partition)
	for _, n := range []int32{4, -2} {
		_, err = tp.Append(t.Context(), Record{}, AppendTo(n))
		assert.ErrorIs(t, err, ErrNotFound)
	}
}

func TestAppendRefuses(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", quick(), MaxMessageBytes(1000))
	p := partitionOf(t, tp, 0)
	cases := map[string]struct {
		rec  Record
		want error
	}{
		"too large":     {Record{Value: make([]byte, 1000)}, ErrTooLarge},
		"before 1970":   {Record{Time: time.UnixMilli(-5)}, ErrInvalidTimestamp},
		"too far back":  {Record{Time: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)}, ErrInvalidTimestamp},
		"large headers": {Record{Headers: []Header{{Key: strings.Repeat("h", 5000)}}}, ErrTooLarge},
	}
	for name, c := range cases {
		_, err := tp.Append(t.Context(), c.rec)
		assert.ErrorIs(t, err, c.want, name)
		assert.NotErrorIs(t, err, ErrUncertain, name)
		assert.ErrorContains(t, err, "orders/0", name)
	}
	_, err := p.Append(t.Context())
	assert.ErrorIs(t, err, ErrInvalid)
	high, err := p.High()
	require.NoError(t, err)
	assert.Zero(t, high)
	_, err = tp.Append(t.Context(), Record{Value: make([]byte, 800)})
	assert.NoError(t, err)
	assert.Equal(t, int64(2), e.Metrics().Total.AppendErrors, "those that the log refused")
}

func TestPartitionAppendIsOneBatch(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders", MaxMessageBytes(1000)), 0)
	pos, err := p.Append(t.Context(), Record{Value: []byte("a")}, Record{Value: []byte("b")}, Record{Value: []byte("c")})
	require.NoError(t, err)
	assert.EqualValues(t, 0, pos.Offset)
	_, err = p.Append(t.Context(), Record{Value: []byte("d")}, Record{Value: make([]byte, 1000)})
	assert.ErrorIs(t, err, ErrTooLarge)
	assert.Len(t, stored(t, p), 3, "all or nothing")
	assert.Equal(t, int64(1), e.Metrics().Total.BatchesIn)
}

func TestAppendBatch(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", Partitions(3), MaxMessageBytes(1000))
	var recs []Record
	for i := range 30 {
		recs = append(recs, Record{Key: []byte(fmt.Sprint(i))})
	}
	positions, err := tp.AppendBatch(t.Context(), recs)
	require.NoError(t, err)
	for i, pos := range positions {
		got := stored(t, partitionOf(t, tp, pos.Partition))
		assert.Equal(t, recs[i].Key, got[pos.Offset].Key)
	}
	bad := append(recs[:3:3], Record{Value: make([]byte, 2000), Key: recs[0].Key})
	positions, err = tp.AppendBatch(t.Context(), bad, Synced())
	assert.ErrorIs(t, err, ErrTooLarge)
	failed := positions[0].Partition
	for _, pos := range positions {
		if pos.Partition == failed {
			assert.EqualValues(t, -1, pos.Offset)
		} else {
			assert.Positive(t, pos.Offset)
		}
	}
	positions, err = tp.AppendBatch(t.Context(), nil)
	assert.NoError(t, err)
	assert.Empty(t, positions)
}

// An append at the default level is on disk when it returns: a power cut takes nothing back.
func TestAppendIsDurable(t *testing.T) {
	disk := vfs.NewCrash()
	e := openOn(t, disk)
	tp := openTopic(t, e, "orders")
	lazy := openTopic(t, e, "lazy", NoSync())
	for i := range 5 {
		_, err := tp.Append(t.Context(), Record{Value: []byte{byte(i)}})
		require.NoError(t, err)
	}
	_, err := lazy.Append(t.Context(), Record{Value: []byte("synced")}, Synced())
	require.NoError(t, err)
	_, err = lazy.AppendBatch(t.Context(), make([]Record, 3), Synced())
	require.NoError(t, err)
	after := openOn(t, disk.After(vfs.KeepNone, 0))
	assert.Len(t, stored(t, partitionOf(t, openTopic(t, after, "orders"), 0)), 5)
	assert.Len(t, stored(t, partitionOf(t, openTopic(t, after, "lazy"), 0)), 4)
}

// A full disk, a quota that is used up and a limit on file sizes are one and the same to a caller.
func TestAppendOnFullDisk(t *testing.T) {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		fault := vfs.NewFault(vfs.NewMem())
		e := openOn(t, fault)
		tp := openTopic(t, e, "orders", quick())
		_, err := tp.Append(t.Context(), Record{Value: []byte("1")})
		require.NoError(t, err)
		fault.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Err: full, Short: 10})
		_, err = tp.Append(t.Context(), Record{Value: []byte("2")})
		require.ErrorIs(t, err, ErrNoSpace)
		require.ErrorIs(t, err, full)
		assert.NotErrorIs(t, err, ErrUncertain)
		_, err = tp.Append(t.Context(), Record{Value: []byte("3")})
		require.NoError(t, err, "there is space again")
		assert.Len(t, stored(t, partitionOf(t, tp, 0)), 2)

		// A roll needs space as well, in more files; while there is none nothing is lost and nothing fenced.
		rolling := openTopic(t, e, "rolling", SegmentBytes(200))
		fill := Record{Value: make([]byte, 100)}
		_, err = rolling.Append(t.Context(), fill)
		require.NoError(t, err)
		for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpCreate} {
			fault.Add(vfs.Rule{Op: op, Path: "rolling-0", Count: vfs.Forever, Err: full})
			for range 3 {
				_, err = rolling.Append(t.Context(), fill)
				require.ErrorIs(t, err, ErrNoSpace)
				assert.NotErrorIs(t, err, ErrUncertain)
			}
			fault.Clear()
			_, err = rolling.Append(t.Context(), fill)
			require.NoError(t, err)
		}
		assert.Len(t, stored(t, partitionOf(t, rolling, 0)), 3)
	}
}

func TestFailedSyncFences(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	fenced := make(chan PartitionFault, 1)
	e := openOn(t, fault, WithEvents(Events{Fenced: func(f PartitionFault) { fenced <- f }}))
	tp := openTopic(t, e, "orders")
	_, err := tp.Append(t.Context(), Record{Value: []byte("1")})
	require.NoError(t, err)
	fault.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log", Err: syscall.EIO})
	_, err = tp.Append(t.Context(), Record{Value: []byte("2")})
	require.ErrorIs(t, err, ErrUncertain)
	require.ErrorIs(t, err, syscall.EIO)
	assert.Equal(t, "orders", (<-fenced).Topic)
	_, err = tp.Append(t.Context(), Record{Value: []byte("3")})
	require.ErrorIs(t, err, ErrFenced, "no fsync is ever tried again")
	p := partitionOf(t, tp, 0)
	assert.ErrorIs(t, p.Fenced(), ErrFenced)
	lifted, err := p.Unfence()
	assert.NoError(t, err)
	assert.False(t, lifted)
	assert.Len(t, stored(t, p), 1, "what is durable stays readable")
	assert.Error(t, e.Close())
}

func TestFenceByHand(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", quick())
	p := partitionOf(t, tp, 0)
	assert.NoError(t, p.Fenced())
	assert.ErrorIs(t, p.Fence(nil), ErrInvalid)
	require.NoError(t, p.Fence(ErrQuota))
	_, err := tp.Append(t.Context(), Record{})
	assert.ErrorIs(t, err, ErrFenced)
	assert.ErrorIs(t, err, ErrQuota)
	lifted, err := p.Unfence()
	require.NoError(t, err)
	assert.True(t, lifted)
	_, err = tp.Append(t.Context(), Record{})
	assert.NoError(t, err)
}

func TestAppendConcurrently(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	tp := openTopic(t, e, "orders", Partitions(2))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 25 {
				_, err := tp.Append(t.Context(), Record{Key: []byte(fmt.Sprint(g)), Value: []byte{byte(i)}})
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	next := map[string]byte{}
	for n := range int32(2) {
		for _, r := range stored(t, partitionOf(t, tp, n)) {
			assert.Equal(t, next[string(r.Key)], r.Value[0], "order of key %s", r.Key)
			next[string(r.Key)]++
		}
	}
	assert.Len(t, next, 8)
}

func TestAppendAllocatesNothing(t *testing.T) {
	if invariant.Enabled {
		return // assertions and the race detector allocate
	}
	eng, err := Open(t.TempDir())
	require.NoError(t, err)
	defer eng.Close()
	tp := openTopic(t, eng, "orders", quick(), Partitions(2))
	rec := Record{Key: []byte("key"), Value: make([]byte, 100), Headers: []Header{{Key: "h", Value: []byte("x")}}}
	ctx := context.Background() // with one that can end the log writes a copy, in a goroutine of its own
	got := testing.AllocsPerRun(200, func() {
		if _, err := tp.Append(ctx, rec); err != nil {
			t.Fatal(err)
		}
	})
	assert.Zero(t, got, "allocations per append")
}

func BenchmarkTopicAppend(b *testing.B) {
	for _, level := range []log.Durability{log.Sync, log.OS} {
		b.Run(level.String(), func(b *testing.B) {
			eng, err := Open(b.TempDir())
			require.NoError(b, err)
			defer eng.Close()
			tp, err := eng.Topic(b.Context(), "orders", Set(KeyDurability, level.String()))
			require.NoError(b, err)
			rec := Record{Value: make([]byte, 100)}
			b.SetBytes(100)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tp.Append(b.Context(), rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What compresses well could be stored although no reader would expand it again.
func TestAppendIsReadable(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Compression(compress.Zstd), Set("max.message.bytes", "2147483647"))
	_, err := top.Append(t.Context(), Record{Value: make([]byte, decodeLimit)})
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = e.NewProducer(MaxRequestSize(decodeLimit + 1))
	require.ErrorIs(t, err, ErrInvalid)
	_, err = e.NewProducer(BatchSize(decodeLimit+1), BufferMemory(1<<40))
	require.ErrorIs(t, err, ErrInvalid)
}
