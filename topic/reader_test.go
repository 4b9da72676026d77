package topic

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

func readAll(t testing.TB, top *Topic, opts ...ReadOption) map[int32][]int64 {
	t.Helper()
	got := map[int32][]int64{}
	for rec, err := range top.Read(context.Background(), opts...) {
		require.NoError(t, err)
		got[rec.Partition] = append(got[rec.Partition], rec.Offset)
	}
	return got
}

func TestReadFromUntil(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(2))
	put(t, top, 0, 0, 50, 7)
	put(t, top, 1, 0, 30, 30)
	at := func(i int) time.Time { return time.UnixMilli(int64(1000 + i)) }
	type m = map[int32][]int64
	for name, c := range map[string]struct {
		opts []ReadOption
		want m
	}{
		"all":           {nil, m{0: span(0, 50), 1: span(0, 30)}},
		"from start":    {[]ReadOption{FromEnd(), FromStart()}, m{0: span(0, 50), 1: span(0, 30)}},
		"from end":      {[]ReadOption{FromEnd()}, m{}},
		"from offset":   {[]ReadOption{FromOffset(25)}, m{0: span(25, 50), 1: span(25, 30)}},
		"from time":     {[]ReadOption{FromTime(at(40))}, m{0: span(40, 50)}},
		"from late":     {[]ReadOption{FromTime(at(1000))}, m{}},
		"partition":     {[]ReadOption{OnPartitions(1)}, m{1: span(0, 30)}},
		"no partition":  {[]ReadOption{OnPartitions()}, m{}},
		"positions":     {[]ReadOption{FromPosition(Position{"t", 0, 45, 0})}, m{0: span(45, 50)}},
		"small pieces":  {[]ReadOption{ReadAhead(1)}, m{0: span(0, 50), 1: span(0, 30)}},
		"nothing at 50": {[]ReadOption{OnPartitions(0), FromOffset(50)}, m{}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, readAll(t, top, append(c.opts, UntilEnd())...))
		})
	}
	assert.Equal(t, m{0: span(0, 13), 1: span(0, 13)}, readAll(t, top, UntilOffset(13)))
	assert.Equal(t, m{0: span(10, 35), 1: span(10, 30)}, readAll(t, top, FromTime(at(10)), UntilTime(at(35))))
	assert.Equal(t, m{}, readAll(t, top, FromOffset(20), UntilOffset(10)))
}

func TestReadFaults(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	put(t, top, 0, 0, 5, 5)
	for name, c := range map[string]struct {
		opt  ReadOption
		want error
	}{
		"beyond":    {FromOffset(6), ErrOffsetOutOfRange},
		"negative":  {FromOffset(-1), ErrInvalid},
		"ahead":     {ReadAhead(0), ErrInvalid},
		"partition": {OnPartitions(3), ErrNotFound},
		"position":  {FromPosition(Position{Topic: "other"}), ErrInvalid},
	} {
		n := 0
		for rec, err := range top.Read(t.Context(), c.opt, UntilEnd()) {
			n++
			assert.Nil(t, rec, name)
			assert.ErrorIs(t, err, c.want, name)
		}
		assert.LessOrEqual(t, n, 1, name)
		if name != "beyond" {
			assert.Equal(t, 1, n, name)
		}
	}
}

func TestReadWaitsForMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t", Partitions(3))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for i := range 5 {
			time.AfterFunc(time.Duration(i+1)*time.Minute, func() { put(t, top, int32(i%3), i/3, 1, 1) })
		}
		start := time.Now()
		var at []time.Duration
		for rec, err := range top.Read(ctx) {
			require.NoError(t, err)
			require.NotNil(t, rec)
			at = append(at, time.Since(start))
		}
		m := time.Minute
		assert.Equal(t, []time.Duration{m, 2 * m, 3 * m, 4 * m, 5 * m}, at)
		assert.Equal(t, time.Hour, time.Since(start), "a done context ends the loop without a pair")
	})
}

func TestReadBreakReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t")
		put(t, top, 0, 0, 5, 1)
		time.AfterFunc(time.Second, func() { put(t, top, 0, 5, 1, 1) })
		for rec, err := range top.Read(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 5 {
				break
			}
		}
		read := top.Read(t.Context(), UntilOffset(3))
		for range 2 { // each range is a loop of its own
			n := 0
			for _, err := range read {
				require.NoError(t, err)
				n++
			}
			assert.Equal(t, 3, n)
		}
	})
}

func TestReadEngineClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t")
		time.AfterFunc(time.Second, func() { assert.NoError(t, e.Close()) })
		var errs []error
		for rec, err := range top.Read(t.Context()) {
			assert.Nil(t, rec)
			errs = append(errs, err)
		}
		require.Len(t, errs, 1)
		assert.ErrorIs(t, errs[0], ErrClosed)
	})
}

func TestReadTopicDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t")
		time.AfterFunc(time.Second, func() { assert.NoError(t, e.DeleteTopic(context.Background(), "t")) })
		var last error
		for _, err := range top.Read(t.Context()) {
			last = err
		}
		assert.ErrorIs(t, last, ErrNotFound)
		synctest.Wait() // the deletion
	})
}

func TestReadOvertakenByRetention(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	put(t, top, 0, 0, 20, 1)
	part, _ := top.Partition(0)
	cut := func(rec *Record) {
		if rec.Offset == 1 {
			_, err := part.DeleteRecords(t.Context(), 10)
			require.NoError(t, err)
		}
	}
	var got []int64
	var last error
	for rec, err := range top.Read(t.Context(), ReadAhead(1), UntilEnd()) {
		if last = err; err == nil {
			got = append(got, rec.Offset)
			cut(rec)
		}
	}
	var rng *OffsetRangeError
	require.ErrorAs(t, last, &rng)
	assert.Equal(t, OffsetRangeError{"t", 0, 2, 10, 20}, *rng)
	assert.Equal(t, span(0, 2), got)
	_, err := part.DeleteRecords(t.Context(), 12)
	require.NoError(t, err)
	assert.Equal(t, map[int32][]int64{0: span(12, 20)}, readAll(t, top, FromOffset(5), ResetTo(Earliest), UntilEnd()))
}

// The first record there is, of all or from a time on, is the first one that is there when it is read: the start may rise between.
func TestReadFromAStartThatRises(t *testing.T) {
	for name, c := range map[string]struct {
		from ReadOption
		err  error
	}{
		"start":      {FromStart(), nil},
		"time":       {FromTime(time.UnixMilli(1)), nil},
		"an offset":  {FromOffset(0), ErrOffsetOutOfRange},
		"a position": {FromPosition(Position{"t", 0, 0, -1}, Position{"t", 1, 0, -1}), ErrOffsetOutOfRange},
	} {
		t.Run(name, func(t *testing.T) {
			e := clientEngine(t)
			top := clientTopic(t, e, "t", Partitions(2))
			put(t, top, 0, 0, 5, 5)
			put(t, top, 1, 0, 20, 5)
			second, err := top.Partition(1)
			require.NoError(t, err)
			got := map[int32][]int64{}
			var last error
			for rec, err := range top.Read(t.Context(), c.from, UntilEnd()) {
				if last = err; err != nil {
					break
				}
				if rec.Partition == 0 && rec.Offset == 0 {
					_, err := second.DeleteRecords(t.Context(), 12)
					require.NoError(t, err)
				}
				got[rec.Partition] = append(got[rec.Partition], rec.Offset)
			}
			require.Equal(t, span(0, 5), got[0])
			if c.err != nil {
				require.ErrorIs(t, last, c.err)
				require.Empty(t, got[1])
				return
			}
			require.NoError(t, last)
			require.Equal(t, span(12, 20), got[1])
		})
	}
}

func TestReadDamage(t *testing.T) {
	disk := vfs.NewMem()
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	defer e.Close()
	top := clientTopic(t, e, "t")
	put(t, top, 0, 0, 30, 10)
	part, _ := top.Partition(0)
	l, err := part.open()
	require.NoError(t, err)
	run, _, err := l.Read(nil, log.At(10), log.ReadOptions{})
	require.NoError(t, err)
	whole, _, err := l.Read(nil, log.At(0), log.ReadOptions{})
	require.NoError(t, err)
	at := int64(len(whole) - len(run)) // where the second batch begins
	f, err := disk.Open("data/t-0/00000000000000000000.log")
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{0xff, 0xfe}, at+70)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	c := clientConsumer(t, e, MaxWait(0))
	tp := TopicPartition{"t", 0}
	require.NoError(t, c.Assign(tp))
	assert.Equal(t, span(0, 10), offsetsOf(poll1(t, c)))
	for range 2 {
		_, err = c.Poll(t.Context())
		var bad *CorruptionError
		require.ErrorAs(t, err, &bad)
		assert.ErrorIs(t, err, ErrCorrupt)
		var place *PartitionError
		require.ErrorAs(t, err, &place)
		assert.Equal(t, TopicPartition{"t", 0}, TopicPartition{place.Topic, place.Partition})
		assert.EqualValues(t, 10, bad.FirstOffset)
		assert.EqualValues(t, 20, bad.NextOffset)
		pos, err := c.Position(tp)
		require.NoError(t, err)
		assert.EqualValues(t, 10, pos)
	}
	require.NoError(t, c.Seek(tp, 20))
	assert.Equal(t, span(20, 30), offsetsOf(poll1(t, c)))

	var last error
	n := 0
	for _, last = range top.Read(t.Context(), UntilEnd()) {
		n++
	}
	assert.ErrorIs(t, last, ErrCorrupt)
	assert.Equal(t, 11, n)
}

func TestBatchesAreBorrowed(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(2), Compression(compress.LZ4))
	put(t, top, 1, 0, 100, 10)
	var bases []int64
	for b, err := range top.Batches(t.Context(), 1, FromOffset(25), UntilOffset(75)) {
		require.NoError(t, err)
		require.NoError(t, b.Check())
		bases = append(bases, b.BaseOffset())
	}
	assert.Equal(t, []int64{20, 30, 40, 50, 60, 70}, bases)
	for _, err := range top.Batches(t.Context(), 7, UntilEnd()) {
		assert.ErrorIs(t, err, ErrNotFound)
	}
}

func TestReadingAllocatesNothingPerRecord(t *testing.T) {
	if invariant.Enabled {
		t.Skip("counts of allocations mean nothing with assertions and the race detector")
	}
	e := clientEngine(t)
	top := clientTopic(t, e, "t", NoSync())
	put(t, top, 0, 0, 20_000, 100)
	batches := testing.AllocsPerRun(5, func() {
		for b, err := range top.Batches(t.Context(), 0, UntilEnd()) {
			if err != nil || len(b) == 0 {
				t.Error(err)
			}
		}
	})
	assert.Less(t, batches, 40.0, "for 200 batches")
	records := testing.AllocsPerRun(5, func() {
		for _, err := range top.Read(t.Context(), UntilEnd()) {
			if err != nil {
				t.Error(err)
			}
		}
	})
	assert.Less(t, records, 100.0, "for 20,000 records")
}

func TestReadIsCompleteWhileWritten(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(2), NoSync(), SegmentBytes(1<<20))
	p := clientProducer(t, e, PartitionBy(Manual()))
	const n = 20_000
	go func() {
		for i := range n {
			if err := p.Send(context.Background(), "t", Record{Partition: int32(i % 2), Value: []byte(strconv.Itoa(i / 2))}, nil); err != nil {
				panic(err)
			}
		}
	}()
	var next [2]int64
	for rec, err := range top.Read(t.Context(), UntilOffset(n/2)) {
		require.NoError(t, err)
		require.Equal(t, next[rec.Partition], rec.Offset)
		require.Equal(t, strconv.FormatInt(rec.Offset, 10), string(rec.Value))
		next[rec.Partition]++
	}
	assert.Equal(t, [2]int64{n / 2, n / 2}, next)
	require.NoError(t, p.Close())
}

var errPoison = errors.New("poison")

// Bytes that are sound by their checksum and are no records all the same.
func TestReadMalformedRecords(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	put(t, top, 0, 0, 3, 3)
	part, _ := top.Partition(0)
	l, err := part.open()
	require.NoError(t, err)
	b := record.NewBuilder(record.BuilderConfig{})
	for range 4 {
		require.NoError(t, b.Add(&record.Record{Value: []byte("value")}))
	}
	batch, err := b.Seal()
	require.NoError(t, err)
	batch[len(batch)-24] ^= 0x40 // the length of the third record
	batch.SetBaseOffset(3)
	batch.SetLeaderEpoch(l.LeaderEpoch())
	batch.SetProducer(1, 0, 0) // computes the checksum anew
	require.NoError(t, l.AppendAt(t.Context(), batch))
	put(t, top, 0, 7, 2, 2)

	c := clientConsumer(t, e, MaxWait(0))
	tp := TopicPartition{"t", 0}
	require.NoError(t, c.Assign(tp))
	recs := poll1(t, c)
	assert.Equal(t, span(0, int64(len(recs))), offsetsOf(recs))
	assert.Less(t, len(recs), 7)
	for range 2 {
		_, err = c.Poll(t.Context())
		var bad *CorruptionError
		require.ErrorAs(t, err, &bad)
		assert.EqualValues(t, len(recs), bad.FirstOffset)
		assert.EqualValues(t, 7, bad.NextOffset)
	}
	require.NoError(t, c.Seek(tp, 7))
	assert.Equal(t, span(7, 9), offsetsOf(poll1(t, c)))
}

func TestReadFromOutside(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(2))
	put(t, top, 0, 0, 10, 10)
	put(t, top, 1, 0, 5, 5)
	var fault error
	for rec, err := range top.Read(t.Context(), FromOffset(7), UntilEnd()) {
		assert.Nil(t, rec)
		fault = err
	}
	var rng *OffsetRangeError
	require.ErrorAs(t, fault, &rng, "also when nothing is wanted beyond the end")
	assert.Equal(t, OffsetRangeError{Topic: "t", Partition: 1, Offset: 7, First: 0, Next: 5}, *rng)
	assert.Equal(t, map[int32][]int64{0: span(7, 10), 1: span(0, 5)}, readAll(t, top, FromOffset(7), UntilEnd(), ResetTo(Earliest)))
	for _, err := range top.Read(t.Context(), OnPartitions(1, 0, 1), UntilEnd()) {
		require.ErrorIs(t, err, ErrInvalid)
	}
}
