package topic

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// faultyEngine is an engine on a memory disk whose calls can be made to fail.
func faultyEngine(t testing.TB) (*Engine, *vfs.Fault) {
	t.Helper()
	disk := vfs.NewFault(vfs.NewMem())
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	t.Cleanup(func() { disk.Clear(); _ = e.Close() })
	return e, disk
}

func TestProducerFullDiskPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		top := clientTopic(t, e, "t")
		p := clientProducer(t, e)
		var got acks
		require.NoError(t, p.Send(t.Context(), "t", numbered(0), got.cb))
		require.NoError(t, p.Flush(t.Context()))
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Err: syscall.ENOSPC})
		start := time.Now()
		for i := 1; i < 50; i++ {
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), got.cb))
		}
		time.AfterFunc(5*time.Second, disk.Clear)
		require.NoError(t, p.Flush(t.Context()))
		took := time.Since(start)
		assert.GreaterOrEqual(t, took, 5*time.Second)
		assert.LessOrEqual(t, took, 6*time.Second+200*time.Millisecond, "waits grow to one second")
		for i, err := range got.errs {
			require.NoError(t, err)
			require.EqualValues(t, i, got.pos[i].Offset)
		}
		assert.Len(t, values(t, top)[0], 50, "each once")
		require.NoError(t, p.Close())
	})
}

func TestProducerBackoffGrows(t *testing.T) {
	p := &Producer{cfg: &producerConfig{backoff: 100 * time.Millisecond, backoffMax: time.Second}}
	ms := time.Millisecond
	for i, want := range []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1000 * ms, 1000 * ms} {
		assert.Equal(t, want, p.backoff(i, 0.5).Round(ms))
	}
	assert.Equal(t, 80*ms, p.backoff(0, 0).Round(ms))
	assert.Equal(t, 120*ms, p.backoff(0, 1).Round(ms))
	assert.Equal(t, time.Second, p.backoff(1<<30, 1))
}

func TestProducerDeliveryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		top := clientTopic(t, e, "t")
		p := clientProducer(t, e, DeliveryTimeout(7*time.Second))
		_, err := p.SendSync(t.Context(), "t", numbered(0))
		require.NoError(t, err)
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Err: syscall.ENOSPC})
		start := time.Now()
		_, err = p.SendSync(t.Context(), "t", numbered(1))
		assert.Equal(t, 7*time.Second, time.Since(start))
		var late *DeliveryError
		require.ErrorAs(t, err, &late)
		assert.ErrorIs(t, err, ErrDeliveryTimeout)
		assert.ErrorIs(t, err, ErrNoSpace)
		assert.NotErrorIs(t, err, ErrUncertain)
		assert.Equal(t, 7*time.Second, late.After)
		assert.Greater(t, late.Tries, 5)
		assert.Equal(t, 1, strings.Count(err.Error(), "t/0"), "the place is named once: %v", err)
		// No gap in the sequence numbers: the next record goes through.
		disk.Clear()
		_, err = p.SendSync(t.Context(), "t", numbered(2))
		require.NoError(t, err)
		assert.Equal(t, []string{"0", "2"}, values(t, top)[0])
		require.NoError(t, p.Close())
	})
}

func TestProducerRetriesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, retries := range []int{0, 1, 3} {
			e, disk := faultyEngine(t)
			clientTopic(t, e, "t")
			p := clientProducer(t, e, Retries(retries))
			_, err := p.SendSync(t.Context(), "t", numbered(0))
			require.NoError(t, err)
			disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Err: syscall.ENOSPC})
			before := e.Metrics().Total.AppendErrors
			_, err = p.SendSync(t.Context(), "t", numbered(1))
			assert.ErrorIs(t, err, ErrNoSpace)
			assert.EqualValues(t, retries+1, e.Metrics().Total.AppendErrors-before)
			require.NoError(t, p.Close())
		}
	})
}

func TestProducerFailedSyncIsUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		clientTopic(t, e, "t", Partitions(2))
		p := clientProducer(t, e, PartitionBy(Manual()))
		_, err := p.SendSync(t.Context(), "t", numbered(0))
		require.NoError(t, err)
		disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "t-0/*.log", Count: vfs.Forever, Err: syscall.EIO},
			vfs.Rule{Op: vfs.OpSync, Path: "t-0", Count: vfs.Forever, Err: syscall.EIO})
		var got acks
		start := time.Now()
		for i := 1; i < 4; i++ {
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), got.cb))
		}
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, 3, got.count())
		assert.ErrorIs(t, got.errs[0], ErrUncertain)
		_, err = p.SendSync(t.Context(), "t", numbered(9))
		assert.ErrorIs(t, err, ErrFenced, "definitely not there: the log refuses")
		assert.NotErrorIs(t, err, ErrUncertain)
		assert.Equal(t, start, time.Now(), "nothing is tried again on a disk that does not say what it did")
		pos, err := p.SendSync(t.Context(), "t", Record{Partition: 1})
		require.NoError(t, err, "other partitions go on")
		assert.Zero(t, pos.Offset)
		require.NoError(t, p.Close())
	})
}

// retriableFence is a reason that will pass.
type retriableFence struct{}

func (retriableFence) Error() string   { return "moving" }
func (retriableFence) Retriable() bool { return true }

func TestProducerWaitsForAFenceThatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t")
		p := clientProducer(t, e)
		part, _ := top.Partition(0)
		require.NoError(t, part.Fence(retriableFence{}))
		time.AfterFunc(2*time.Second, func() { _, _ = part.Unfence() })
		_, err := p.SendSync(t.Context(), "t", numbered(0))
		require.NoError(t, err)
		require.NoError(t, part.Fence(errors.New("for good")))
		_, err = p.SendSync(t.Context(), "t", numbered(1))
		assert.ErrorIs(t, err, ErrFenced)
		require.NoError(t, p.Close())
	})
}

// Another writer under the producer's own id and a higher epoch: the log refuses the numbers, definitely; the
// producer takes new ones and goes on.
func TestProducerNumbersAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clientEngine(t)
		top := clientTopic(t, e, "t")
		p := clientProducer(t, e)
		_, err := p.SendSync(t.Context(), "t", numbered(0))
		require.NoError(t, err)
		part, _ := top.Partition(0)
		for _, epoch := range []int16{0, 2} { // numbers out of order, then fenced
			b := record.NewBuilder(record.BuilderConfig{HasProducer: true, ProducerID: p.identity, ProducerEpoch: epoch, BaseSequence: int32(1 - epoch/2)})
			require.NoError(t, b.Add(&record.Record{Value: []byte("other")}))
			require.NoError(t, b.Add(&record.Record{Value: []byte("one")}))
			sealed, err := b.Seal()
			require.NoError(t, err)
			_, err = part.AppendRaw(t.Context(), sealed, RawAppend{})
			require.NoError(t, err)
			_, err = p.SendSync(t.Context(), "t", numbered(int(epoch)+1))
			require.NoError(t, err)
		}
		assert.Equal(t, []string{"0", "other", "one", "1", "other", "one", "3"}, values(t, top)[0])
		require.NoError(t, p.Close())
	})
}

func TestProducerSyncThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		top := clientTopic(t, e, "t")
		p := clientProducer(t, e, DeliveryTimeout(3*time.Second), MaxInFlight(2), BatchSize(200))
		_, err := p.SendSync(t.Context(), "t", numbered(0))
		require.NoError(t, err)
		release := make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "t-0", Count: vfs.Forever, Hook: func(vfs.Op, string) { <-release }})
		start := time.Now()
		var mu sync.Mutex
		var order []int
		var unknown, not int
		for i := 1; i <= 60; i++ {
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), func(_ Position, err error) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				assert.ErrorIs(t, err, ErrDeliveryTimeout)
				assert.Equal(t, 3*time.Second, time.Since(start))
				if errors.Is(err, ErrUncertain) {
					unknown++
					assert.Zero(t, not, "what was written comes first")
				} else {
					not++
				}
			}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.SendSync(ctx, "t", numbered(61))
		assert.ErrorIs(t, err, ErrUncertain, "the caller's own patience")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, p.Flush(t.Context()))
		require.Len(t, order, 60)
		for i := range order {
			require.Equal(t, i+1, order[i])
		}
		assert.Positive(t, unknown)
		assert.Positive(t, not)
		close(release)
		disk.Clear()
		synctest.Wait()
		_, err = p.SendSync(t.Context(), "t", numbered(99))
		require.NoError(t, err, "once the disk answers, the producer goes on")
		list := values(t, top)[0]
		assert.Equal(t, "99", list[len(list)-1])
		for i, v := range list[:len(list)-1] {
			require.Equal(t, strconv.Itoa(i), v, "what was of unknown outcome is there in order, or not at all")
		}
		assert.Len(t, list, unknown+2)
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
	})
}

// cutOff sends record 1, whose fsync takes a second, then the others, and cuts these off again before they are
// synced, as a change of leader would.
func cutOff(t *testing.T, disk *vfs.Fault, top *Topic, p *Producer, n int, cb func(Position, error)) {
	t.Helper()
	_, err := p.SendSync(t.Context(), "t", numbered(0))
	require.NoError(t, err)
	part, _ := top.Partition(0)
	l, err := part.open()
	require.NoError(t, err)
	disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "t-0", Hook: func(vfs.Op, string) { time.Sleep(time.Second) }})
	require.NoError(t, p.Send(t.Context(), "t", numbered(1), cb))
	synctest.Wait()
	for i := 2; i < n; i++ {
		require.NoError(t, p.Send(t.Context(), "t", numbered(i), cb))
	}
	synctest.Wait()
	require.Greater(t, l.End(), int64(2), "written while the sync runs")
	require.NoError(t, l.Truncate(2))
	require.NoError(t, p.Flush(t.Context()))
}

// The disk leaves an outcome open while the log still takes appends: the same bytes go in again, in order,
// each once.
func TestProducerSendsAgainWhatWasCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		top := clientTopic(t, e, "t")
		p := clientProducer(t, e, BatchSize(150))
		var got acks
		cutOff(t, disk, top, p, 100, got.cb)
		require.Equal(t, 99, got.count())
		for i, err := range got.errs {
			require.NoError(t, err)
			require.EqualValues(t, i+1, got.pos[i].Offset)
		}
		list := values(t, top)[0]
		require.Len(t, list, 100)
		for i, v := range list {
			require.Equal(t, strconv.Itoa(i), v)
		}
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
	})
}

// Without numbers the log would not know the batch again: the outcome stays unknown.
func TestProducerWithoutNumbersDoesNotSendAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		top := clientTopic(t, e, "t")
		p := clientProducer(t, e, Idempotent(false))
		var got acks
		cutOff(t, disk, top, p, 3, got.cb)
		require.Equal(t, 2, got.count())
		assert.NoError(t, got.errs[0])
		assert.ErrorIs(t, got.errs[1], ErrUncertain)
		_, err := p.SendSync(t.Context(), "t", numbered(3))
		require.NoError(t, err)
		assert.Equal(t, []string{"0", "1", "3"}, values(t, top)[0])
		require.NoError(t, p.Close())
	})
}

func TestProducerOnReadOnlyEngine(t *testing.T) {
	disk := vfs.NewMem()
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	put(t, clientTopic(t, e, "t"), 0, 0, 3, 1)
	require.NoError(t, e.Close())
	e, err = Open("data", On(disk), ReadOnlyMode())
	require.NoError(t, err)
	defer e.Close()
	_, err = e.NewProducer()
	assert.ErrorIs(t, err, ErrReadOnly)
	c := clientConsumer(t, e)
	require.NoError(t, c.AssignTopics("t"))
	assert.Len(t, poll1(t, c), 3)
}
