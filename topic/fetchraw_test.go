package topic

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// batchOf seals a batch as a client would send it.
func batchOf(t testing.TB, cfg record.BuilderConfig, values ...string) []byte {
	t.Helper()
	b := record.NewBuilder(cfg)
	for _, v := range values {
		require.NoError(t, b.Add(&record.Record{Timestamp: 1000, Value: []byte(v)}))
	}
	batch, err := b.Seal()
	require.NoError(t, err)
	return bytes.Clone(batch)
}

func TestRawRoundTrip(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	sent := batchOf(t, record.BuilderConfig{}, "a", "b")
	_, err := p.AppendRaw(t.Context(), bytes.Clone(sent), RawAppend{})
	require.NoError(t, err)
	a, err := p.AppendRaw(t.Context(), sent, RawAppend{Synced: true})
	require.NoError(t, err)
	assert.Equal(t, Appended{First: 2, Last: 3, Timestamp: -1}, a)
	assert.EqualValues(t, 2, record.Batch(sent).BaseOffset(), "the caller's bytes have the offset now")

	raw, err := p.FetchRaw(t.Context(), 3, Fetch{})
	require.NoError(t, err)
	assert.Equal(t, len(sent), raw.Len())
	assert.EqualValues(t, 4, raw.HighWatermark)
	assert.EqualValues(t, 4, raw.LastStable)
	var out bytes.Buffer
	n, err := raw.WriteTo(&out)
	require.NoError(t, err)
	assert.EqualValues(t, len(sent), n)
	assert.Equal(t, sent, out.Bytes(), "stored as it came")
	for range raw.Batches() {
		break // leaves nothing behind
	}
	raw.Release()
	raw.Release()
	_, err = raw.WriteTo(io.Discard)
	assert.ErrorIs(t, err, ErrClosed)

	raw, err = p.FetchRaw(t.Context(), 0, Fetch{MaxBytes: 1})
	require.NoError(t, err)
	assert.Equal(t, len(sent), raw.Len(), "the first batch always comes whole")
	raw.Release()
}

func TestFetchRawToSocket(t *testing.T) {
	e, err := Open(t.TempDir())
	require.NoError(t, err)
	defer e.Close()
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	sent := batchOf(t, record.BuilderConfig{}, string(bytes.Repeat([]byte("x"), 300_000)))
	_, err = p.AppendRaw(t.Context(), sent, RawAppend{})
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	got := make(chan []byte, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			got <- nil
			return
		}
		defer conn.Close()
		data, _ := io.ReadAll(conn)
		got <- data
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	raw, err := p.FetchRaw(t.Context(), 0, Fetch{})
	require.NoError(t, err)
	_, err = raw.WriteTo(conn)
	require.NoError(t, err)
	raw.Release()
	conn.Close()
	assert.Equal(t, sent, <-got)
}

func TestAppendRawRefuses(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders", MaxMessageBytes(500)), 0)
	good := func() []byte { return batchOf(t, record.BuilderConfig{}, "value") }
	flip := func(i int) []byte {
		b := good()
		b[i] ^= 0x20
		return b
	}
	cases := map[string]struct {
		batch []byte
		want  error
	}{
		"nothing":   {nil, ErrCorrupt},
		"cut off":   {good()[:70], ErrCorrupt},
		"head only": {good()[:12], ErrCorrupt},
		"two":       {append(good(), good()...), ErrInvalidRecord},
		"bad value": {flip(68), ErrCorrupt},
		"bad magic": {flip(16), ErrCorrupt},
		"bad count": {flip(60), ErrCorrupt},
		"too large": {batchOf(t, record.BuilderConfig{}, string(make([]byte, 600))), ErrTooLarge},
	}
	for name, c := range cases {
		_, err := p.AppendRaw(t.Context(), c.batch, RawAppend{})
		assert.ErrorIs(t, err, c.want, name)
		assert.NotErrorIs(t, err, ErrUncertain, name)
	}
	high, err := p.High()
	require.NoError(t, err)
	assert.Zero(t, high)
}

func TestAppendRawStampsTime(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders", TimestampsAre(record.LogAppendTime)), 0)
	before := time.Now().UnixMilli()
	a, err := p.AppendRaw(t.Context(), batchOf(t, record.BuilderConfig{}, "v"), RawAppend{})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, a.Timestamp, before)
	claimed := batchOf(t, record.BuilderConfig{TimestampType: record.LogAppendTime, AppendTime: 5}, "v")
	_, err = p.AppendRaw(t.Context(), claimed, RawAppend{})
	assert.ErrorIs(t, err, ErrInvalidTimestamp)
}

func TestAppendRawIdempotent(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	cfg := record.BuilderConfig{ProducerID: 7, ProducerEpoch: 0, BaseSequence: 0}
	first, err := p.AppendRaw(t.Context(), batchOf(t, cfg, "a", "b"), RawAppend{})
	require.NoError(t, err)
	again, err := p.AppendRaw(t.Context(), batchOf(t, cfg, "a", "b"), RawAppend{})
	require.NoError(t, err)
	assert.True(t, again.Duplicate)
	assert.Equal(t, first.First, again.First)
	cfg.BaseSequence = 9
	_, err = p.AppendRaw(t.Context(), batchOf(t, cfg, "c"), RawAppend{})
	assert.ErrorIs(t, err, ErrOutOfOrderSequence)
	cfg.BaseSequence, cfg.ProducerEpoch = 0, 1
	_, err = p.AppendRaw(t.Context(), batchOf(t, cfg, "c"), RawAppend{})
	require.NoError(t, err)
	cfg.ProducerEpoch = 0
	_, err = p.AppendRaw(t.Context(), batchOf(t, cfg, "d"), RawAppend{})
	assert.ErrorIs(t, err, ErrProducerFenced)
}

func TestAppendRawNoWait(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	a, err := p.AppendRaw(t.Context(), batchOf(t, record.BuilderConfig{}, "a"), RawAppend{NoWait: true})
	require.NoError(t, err)
	require.NoError(t, p.Commit(t.Context(), a.Last+1))
	o, err := p.Offsets()
	require.NoError(t, err)
	assert.Equal(t, Offsets{Start: 0, Stable: 1, High: 1, End: 1, Durable: 1}, o)
}

// An append that does not wait has begun the sync: a reader sees it without an append or a tick behind it.
func TestAppendRawNoWaitBecomesVisibleAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		p := partitionOf(t, openTopic(t, e, "orders"), 0)
		for i := range int64(50) {
			_, err := p.AppendRaw(t.Context(), batchOf(t, record.BuilderConfig{}, "a"), RawAppend{NoWait: true})
			require.NoError(t, err)
			if i%7 == 0 {
				synctest.Wait()
				o, err := p.Offsets()
				require.NoError(t, err)
				assert.Equal(t, Offsets{Stable: i + 1, High: i + 1, End: i + 1, Durable: i + 1}, o)
			}
		}
		synctest.Wait()
		high, err := p.High()
		require.NoError(t, err)
		assert.EqualValues(t, 50, high)
		require.NoError(t, e.Close())
	})
}

func TestFetchRawRange(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	for range 3 {
		_, err := p.Append(t.Context(), Record{})
		require.NoError(t, err)
	}
	start, err := p.DeleteRecords(t.Context(), 2)
	require.NoError(t, err)
	assert.EqualValues(t, 2, start)
	for _, offset := range []int64{-1, 0, 1, 4, 1 << 60} {
		_, err := p.FetchRaw(t.Context(), offset, Fetch{MaxWait: time.Hour})
		var rng *OffsetRangeError
		require.ErrorAs(t, err, &rng, "%d", offset)
		assert.ErrorIs(t, err, ErrOffsetOutOfRange)
		assert.Equal(t, &OffsetRangeError{Topic: "orders", Offset: offset, First: 2, Next: 3}, rng)
	}
	_, err = p.DeleteRecords(t.Context(), 9)
	assert.ErrorIs(t, err, ErrOffsetOutOfRange)
	raw, err := p.FetchRaw(t.Context(), 3, Fetch{})
	require.NoError(t, err)
	assert.Zero(t, raw.Len(), "nothing yet is no error")
	for range raw.Batches() {
		t.Error("a batch of nothing")
	}
	raw.Release()
	_, err = p.FetchRaw(t.Context(), 2, Fetch{Epoch: 5})
	assert.ErrorIs(t, err, ErrUnknownEpoch)
}

func TestFetchRawWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Open("", InMemory())
		require.NoError(t, err)
		defer e.Close()
		tp, err := e.Topic(t.Context(), "orders")
		require.NoError(t, err)
		p := partitionOf(t, tp, 0)
		fetch := func(f Fetch, offset int64) (int, time.Duration, error) {
			began := time.Now()
			raw, err := p.FetchRaw(t.Context(), offset, f)
			if err != nil {
				return 0, time.Since(began), err
			}
			defer raw.Release()
			return raw.Len(), time.Since(began), nil
		}
		n, took, err := fetch(Fetch{MaxWait: time.Second}, 0)
		require.NoError(t, err)
		assert.Zero(t, n)
		assert.Equal(t, time.Second, took)

		go func() {
			time.Sleep(time.Minute)
			p.Append(context.Background(), Record{Value: make([]byte, 100)})
			time.Sleep(time.Minute)
			p.Append(context.Background(), Record{Value: make([]byte, 100)})
		}()
		n, took, err = fetch(Fetch{MaxWait: time.Hour}, 0)
		require.NoError(t, err)
		assert.Positive(t, n)
		assert.Equal(t, time.Minute, took, "woken by the append, not by a timer")
		n2, took, err := fetch(Fetch{MaxWait: time.Hour, MinBytes: 2 * n}, 0)
		require.NoError(t, err)
		assert.Equal(t, 2*n, n2)
		assert.Equal(t, time.Minute, took)
		n, took, err = fetch(Fetch{MaxWait: time.Hour, MinBytes: 1 << 20}, 0)
		require.NoError(t, err)
		assert.Equal(t, n2, n, "what there is when the time is over")
		assert.Equal(t, time.Hour, took)

		why := errors.New("gone home")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		_, err = p.FetchRaw(ctx, 2, Fetch{MaxWait: time.Hour})
		assert.ErrorIs(t, err, why)

		time.AfterFunc(time.Second, func() { e.Close() })
		_, took, err = fetch(Fetch{MaxWait: time.Hour}, 2)
		assert.ErrorIs(t, err, ErrClosed)
		assert.Equal(t, time.Second, took)
	})
}

// A slice that ends where its segment ends is returned without waiting for more.
func TestFetchRawAtSegmentEnd(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders", quick(), SegmentBytes(200)), 0)
	for range 6 {
		_, err := p.Append(t.Context(), Record{Value: make([]byte, 100)})
		require.NoError(t, err)
	}
	assert.Positive(t, p.Topic().Metrics().SegmentsRolled)
	began := time.Now()
	raw, err := p.FetchRaw(t.Context(), 0, Fetch{MinBytes: 1 << 20, MaxWait: time.Hour})
	require.NoError(t, err)
	assert.Positive(t, raw.Len())
	assert.Less(t, time.Since(began), time.Minute)
	raw.Release()
	assert.Len(t, stored(t, p), 6)
}

func TestFetchRawPinsDeletedTopic(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(dir)
	require.NoError(t, err)
	defer e.Close()
	tp := openTopic(t, e, "orders")
	p := partitionOf(t, tp, 0)
	_, err = p.Append(t.Context(), Record{Value: []byte("still here")})
	require.NoError(t, err)
	raw, err := p.FetchRaw(t.Context(), 0, Fetch{})
	require.NoError(t, err)
	require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
	matches, err := filepath.Glob(filepath.Join(dir, "orders*"))
	require.NoError(t, err)
	assert.Empty(t, matches)
	data, err := raw.AppendTo(nil)
	require.NoError(t, err)
	assert.Contains(t, string(data), "still here")
	raw.Release()
}

func TestOffsetForTime(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	day := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 5 {
		_, err := p.Append(t.Context(), Record{Time: day.Add(time.Duration(i) * time.Hour)})
		require.NoError(t, err)
	}
	pos, at, ok, err := p.OffsetForTime(t.Context(), day.Add(90*time.Minute))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.EqualValues(t, 2, pos.Offset)
	assert.True(t, at.Equal(day.Add(2*time.Hour)))
	_, _, ok, err = p.OffsetForTime(t.Context(), day.Add(24*time.Hour))
	require.NoError(t, err)
	assert.False(t, ok)
}

// A fetch that names a leader epoch is refused by a leader of another.
func TestFetchOfAnotherLeaderEpoch(t *testing.T) {
	l, err := partitionOf(t, openTopic(t, openOn(t, vfs.NewMem()), "orders"), 0).open()
	require.NoError(t, err)
	require.NoError(t, l.SetLeaderEpoch(3))
	for epoch, want := range map[int32]error{0: nil, 2: ErrStaleEpoch, 3: nil, 4: ErrUnknownEpoch} {
		assert.ErrorIs(t, checkEpoch(l, epoch), want, "epoch %d", epoch)
	}
}
