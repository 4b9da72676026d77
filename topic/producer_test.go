package topic

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
)

// clientEngine is an engine in memory that ends with the test.
func clientEngine(t testing.TB, opts ...Option) *Engine {
	t.Helper()
	e, err := Open("", append([]Option{InMemory()}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func clientTopic(t testing.TB, e *Engine, name string, opts ...TopicOption) *Topic {
	t.Helper()
	top, err := e.Topic(t.Context(), name, opts...)
	require.NoError(t, err)
	return top
}

func clientProducer(t testing.TB, e *Engine, opts ...ProducerOption) *Producer {
	t.Helper()
	p, err := e.NewProducer(opts...)
	require.NoError(t, err)
	return p
}

// acks gathers outcomes in the order they come.
type acks struct {
	mu   sync.Mutex
	pos  []Position
	errs []error
}

func (a *acks) cb(pos Position, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pos = append(a.pos, pos)
	a.errs = append(a.errs, err)
}

func (a *acks) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.pos)
}

// values reads everything a topic holds, by partition.
func values(t testing.TB, top *Topic) map[int32][]string {
	t.Helper()
	got := map[int32][]string{}
	for rec, err := range top.Read(context.Background(), UntilEnd()) {
		require.NoError(t, err)
		got[rec.Partition] = append(got[rec.Partition], string(rec.Value))
	}
	return got
}

func numbered(i int) Record { return Record{Value: []byte(strconv.Itoa(i))} }

func TestProducerDeliversInOrder(t *testing.T) {
	for _, codec := range []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			e := clientEngine(t)
			top := clientTopic(t, e, "t", Partitions(3))
			p := clientProducer(t, e, Compress(codec), BatchSize(500))
			var got acks
			sent := map[int32][]string{}
			for i := range 1000 {
				key := []byte(strconv.Itoa(i % 7))
				n := PartitionForKey(key, 3)
				sent[n] = append(sent[n], strconv.Itoa(i))
				require.NoError(t, p.Send(t.Context(), "t", Record{Key: key, Value: []byte(strconv.Itoa(i))}, got.cb))
			}
			require.NoError(t, p.Flush(t.Context()))
			require.Equal(t, 1000, got.count())
			next := map[int32]int64{}
			for i, pos := range got.pos {
				require.NoError(t, got.errs[i])
				require.Equal(t, next[pos.Partition], pos.Offset, "callbacks come in the order of the offsets")
				next[pos.Partition]++
			}
			assert.Equal(t, sent, values(t, top))
			require.NoError(t, p.Close())
			assert.Zero(t, p.memory.used())
		})
	}
}

func TestProducerSendSync(t *testing.T) {
	e := clientEngine(t)
	clientTopic(t, e, "t")
	p := clientProducer(t, e)
	for i := range int64(5) {
		pos, err := p.SendSync(t.Context(), "t", numbered(int(i)))
		require.NoError(t, err)
		assert.Equal(t, Position{Topic: "t", Offset: i, Epoch: pos.Epoch}, pos)
	}
	require.NoError(t, p.Close())
	_, err := p.SendSync(t.Context(), "t", numbered(9))
	assert.ErrorIs(t, err, ErrClosed)
}

func TestProducerRefusesAtOnce(t *testing.T) {
	e := clientEngine(t)
	clientTopic(t, e, "t", Partitions(2))
	never := func(Position, error) { t.Error("a refused record has no callback") }
	p := clientProducer(t, e, MaxRequestSize(1000), PartitionBy(Manual()))
	defer p.Close()
	assert.ErrorIs(t, p.Send(t.Context(), "none", Record{}, never), ErrNotFound)
	assert.ErrorIs(t, p.Send(t.Context(), "t", Record{Value: make([]byte, 1000)}, never), ErrTooLarge)
	assert.ErrorIs(t, p.Send(t.Context(), "t", Record{Partition: 2}, never), ErrInvalid)
	assert.ErrorIs(t, p.Send(t.Context(), "t", Record{Time: time.UnixMilli(-5)}, never), ErrInvalidTimestamp)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("gone")
	cancel(cause)
	assert.ErrorIs(t, p.Send(ctx, "t", Record{}, never), cause)
	assert.Zero(t, p.memory.used())
	small := clientProducer(t, e, BufferMemory(600), BatchSize(600))
	defer small.Close()
	assert.ErrorIs(t, small.Send(t.Context(), "t", Record{Value: make([]byte, 700)}, never), ErrTooLarge)
}

func TestProducerConfigFaults(t *testing.T) {
	e := clientEngine(t)
	_, err := e.NewProducer(Linger(-1), BatchSize(0), BufferMemory(-1), MaxInFlight(0), Acks(7), PartitionBy(nil))
	require.ErrorIs(t, err, ErrInvalid)
	for _, text := range []string{"linger", "batch size", "buffer memory", "in flight", "acks", "partitioner"} {
		assert.ErrorContains(t, err, text)
	}
	for name, c := range map[string]struct {
		opts []ProducerOption
		want bool // idempotent; an error if nil
		ok   bool
	}{
		"default":                  {nil, true, true},
		"asked for":                {[]ProducerOption{Idempotent(true)}, true, true},
		"acks leader switches off": {[]ProducerOption{Acks(Leader)}, false, true},
		"no retries switches off":  {[]ProducerOption{Retries(0)}, false, true},
		"acks none, asked for":     {[]ProducerOption{Acks(None), Idempotent(true)}, false, false},
		"no retries, asked for":    {[]ProducerOption{Retries(0), Idempotent(true)}, false, false},
		"six in flight":            {[]ProducerOption{MaxInFlight(6)}, false, false},
		"six in flight without":    {[]ProducerOption{MaxInFlight(6), Idempotent(false)}, false, true},
	} {
		cfg, err := newProducerConfig(c.opts)
		if !c.ok {
			assert.ErrorIs(t, err, ErrInvalid, name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, c.want, cfg.idempotent, name)
	}
}

func TestProducerLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e, Linger(20*time.Millisecond))
		start := time.Now()
		var at []time.Duration
		var offsets []int64
		cb := func(pos Position, err error) {
			assert.NoError(t, err)
			at, offsets = append(at, time.Since(start)), append(offsets, pos.Offset)
		}
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), cb))
		time.Sleep(15 * time.Millisecond)
		require.NoError(t, p.Send(t.Context(), "t", numbered(1), cb))
		time.Sleep(10 * time.Millisecond)
		require.NoError(t, p.Send(t.Context(), "t", numbered(2), cb))
		time.Sleep(time.Second)
		synctest.Wait()
		ms := time.Millisecond
		assert.Equal(t, []time.Duration{20 * ms, 20 * ms, 45 * ms}, at)
		assert.Equal(t, []int64{0, 1, 2}, offsets)
		batches := e.Metrics().Total.BatchesIn
		assert.EqualValues(t, 2, batches)

		require.NoError(t, p.Send(t.Context(), "t", numbered(3), cb))
		before := time.Now()
		require.NoError(t, p.Flush(t.Context()))
		assert.Equal(t, before, time.Now(), "a flush does not linger")
		for i := range 2000 { // neither does a full batch
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), nil))
		}
		synctest.Wait()
		assert.Greater(t, e.Metrics().Total.BatchesIn, batches+1)
		require.NoError(t, p.Close())
	})
}

func TestProducerWithoutLingerWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e)
		start := time.Now()
		_, err := p.SendSync(t.Context(), "t", numbered(0))
		require.NoError(t, err)
		assert.Equal(t, start, time.Now())
		require.NoError(t, p.Close())
	})
}

func TestProducerFlushWaitsForEarlierSends(t *testing.T) {
	e := clientEngine(t)
	clientTopic(t, e, "t", Partitions(8))
	p := clientProducer(t, e, Linger(time.Hour), DeliveryTimeout(2*time.Hour))
	var done atomic.Int64
	for i := range 300 {
		require.NoError(t, p.Send(t.Context(), "t", Record{Key: []byte(strconv.Itoa(i))}, func(Position, error) { done.Add(1) }))
	}
	require.NoError(t, p.Flush(t.Context()))
	assert.EqualValues(t, 300, done.Load())
	require.NoError(t, p.Flush(t.Context()))
	require.NoError(t, p.Close())
}

func TestProducerBlocksOnMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t")
		release := make(chan struct{})
		p := clientProducer(t, e, BatchSize(1000), BufferMemory(2000), MaxBlock(3*time.Second))
		var got acks
		block := func(pos Position, err error) { <-release; got.cb(pos, err) }
		// The first batch's callback holds the completer; memory of later ones stays taken.
		require.NoError(t, p.Send(t.Context(), "t", Record{Value: make([]byte, 900)}, block))
		synctest.Wait()
		var err error
		sent := 1
		start := time.Now()
		for err == nil {
			if err = p.Send(t.Context(), "t", Record{Value: make([]byte, 900)}, got.cb); err == nil {
				sent++
			}
		}
		assert.ErrorIs(t, err, ErrBufferFull)
		assert.Equal(t, 3*time.Second, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, p.Send(ctx, "t", numbered(1), nil), context.DeadlineExceeded)
		close(release)
		require.NoError(t, p.Flush(t.Context()))
		assert.Equal(t, sent, got.count())
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
	})
}

func TestProducerWaitingForMemoryEndsALinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		clientTopic(t, e, "t", Partitions(2))
		p := clientProducer(t, e, BatchSize(1000), BufferMemory(1000), Linger(time.Minute), PartitionBy(Manual()))
		start := time.Now()
		for i := range 6 {
			require.NoError(t, p.Send(t.Context(), "t", Record{Partition: int32(i % 2)}, nil))
		}
		assert.Equal(t, start, time.Now())
		require.NoError(t, p.Close())
	})
}

func TestProducerSplitsWhatTheLogFindsTooLarge(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", MaxMessageBytes(2000))
	p := clientProducer(t, e, BatchSize(60_000), Linger(time.Hour), DeliveryTimeout(2*time.Hour))
	var got acks
	for i := range 400 {
		v := fmt.Appendf(nil, "%0100d", i)
		require.NoError(t, p.Send(t.Context(), "t", Record{Value: v, Headers: []Header{{Key: "h", Value: v[:3]}}}, got.cb))
	}
	require.NoError(t, p.Send(t.Context(), "t", Record{Value: make([]byte, 3000)}, got.cb))
	require.NoError(t, p.Send(t.Context(), "t", Record{Value: fmt.Appendf(nil, "%0100d", 400)}, got.cb))
	require.NoError(t, p.Flush(t.Context()))
	require.Equal(t, 402, got.count())
	for i, err := range got.errs {
		if i == 400 {
			assert.ErrorIs(t, err, ErrTooLarge, "alone and still too large")
			assert.EqualValues(t, -1, got.pos[i].Offset)
			continue
		}
		require.NoError(t, err, i)
	}
	list := values(t, top)[0]
	require.Len(t, list, 401)
	for i, v := range list {
		require.Equal(t, fmt.Sprintf("%0100d", i), v)
	}
	require.NoError(t, p.Close())
	assert.Zero(t, p.memory.used())
}

func TestProducerAcksNoneDoesNotSync(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	p := clientProducer(t, e, Acks(None))
	pos, err := p.SendSync(t.Context(), "t", numbered(1))
	require.NoError(t, err)
	assert.EqualValues(t, 0, pos.Offset)
	part, err := top.Partition(0)
	require.NoError(t, err)
	l, err := part.open()
	require.NoError(t, err)
	assert.EqualValues(t, 1, l.End())
	assert.Zero(t, l.Durable())
	require.NoError(t, p.Close())
}

func TestProducerInterceptors(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	var log []string
	p := clientProducer(t, e, Intercept(
		ProducerInterceptor{OnSend: func(rec Record) Record { rec.Value = append([]byte("1"), rec.Value...); return rec },
			OnAck: func(pos Position, err error) { log = append(log, fmt.Sprint("ack ", pos, " ", err)) }},
		ProducerInterceptor{OnSend: func(Record) Record { panic("never mind") }, OnAck: func(Position, error) { panic("nor this") }},
		ProducerInterceptor{OnSend: func(rec Record) Record { rec.Value = append([]byte("3"), rec.Value...); return rec }},
	))
	err := p.Send(t.Context(), "t", Record{Value: []byte("v")}, func(Position, error) { log = append(log, "callback") })
	require.NoError(t, err)
	require.NoError(t, p.Flush(t.Context()))
	assert.Equal(t, []string{"ack t/0@0 <nil>", "callback"}, log)
	assert.Equal(t, map[int32][]string{0: {"31v"}}, values(t, top))
	log = nil
	assert.Error(t, p.Send(t.Context(), "none", Record{}, nil))
	require.Len(t, log, 1)
	assert.Contains(t, log[0], "none/-1@-1")
	require.NoError(t, p.Close())
}

func TestProducerAddsPartitionsAsTheyCome(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	p := clientProducer(t, e, PartitionBy(Manual()))
	_, err := p.SendSync(t.Context(), "t", Record{Partition: 1})
	require.ErrorIs(t, err, ErrInvalid)
	err = e.AlterTopic(t.Context(), "t", Partitions(4))
	require.NoError(t, err)
	pos, err := p.SendSync(t.Context(), "t", Record{Partition: 3})
	require.NoError(t, err)
	assert.EqualValues(t, 3, pos.Partition)
	assert.Equal(t, 4, top.Partitions())
	require.NoError(t, p.Close())
}

func TestProducerTopicDeletedAndMadeAgain(t *testing.T) {
	e := clientEngine(t)
	clientTopic(t, e, "t")
	p := clientProducer(t, e)
	_, err := p.SendSync(t.Context(), "t", numbered(0))
	require.NoError(t, err)
	require.NoError(t, e.DeleteTopic(t.Context(), "t"))
	_, err = p.SendSync(t.Context(), "t", numbered(1))
	assert.ErrorIs(t, err, ErrNotFound)
	_, err = p.SendSync(t.Context(), "t", numbered(2))
	assert.ErrorIs(t, err, ErrNotFound)
	top := clientTopic(t, e, "t")
	pos, err := p.SendSync(t.Context(), "t", numbered(3))
	require.NoError(t, err)
	assert.Zero(t, pos.Offset)
	assert.Equal(t, map[int32][]string{0: {"3"}}, values(t, top))
	require.NoError(t, p.Close())
}

func TestProducerSpreadsLooseRecords(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(4), NoSync())
	p := clientProducer(t, e, BatchSize(1000))
	for range 4000 {
		require.NoError(t, p.Send(t.Context(), "t", Record{Value: make([]byte, 50)}, nil))
	}
	require.NoError(t, p.Flush(t.Context()))
	total := 0
	for n, list := range values(t, top) {
		assert.Greater(t, len(list), 300, "partition %d", n)
		total += len(list)
	}
	assert.Equal(t, 4000, total)
	require.NoError(t, p.Close())
}
