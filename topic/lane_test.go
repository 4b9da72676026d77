package topic

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// A write that does not return: what it holds and all behind it is told when its time is over, and the producer goes on when
// the disk does.
func TestProducerWriteThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		top := clientTopic(t, e, "t")
		p := clientProducer(t, e, DeliveryTimeout(3*time.Second), BatchSize(200))
		_, err := p.SendSync(t.Context(), "t", numbered(0))
		require.NoError(t, err)
		told := e.Metrics().ProduceTime.Count
		release := make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: vfs.Forever, Hook: func(vfs.Op, string) { <-release }})
		start := time.Now()
		var got acks
		require.NoError(t, p.Send(t.Context(), "t", numbered(1), got.cb))
		synctest.Wait()
		for i := 2; i <= 40; i++ {
			require.NoError(t, p.Send(t.Context(), "t", numbered(i), got.cb))
		}
		require.NoError(t, p.Flush(t.Context()))
		assert.Equal(t, 3*time.Second, time.Since(start))
		require.Equal(t, 40, got.count())
		for i, err := range got.errs {
			require.ErrorIs(t, err, ErrDeliveryTimeout)
			require.Equal(t, i == 0, errors.Is(err, ErrUncertain), "record %d: only the first batch was in the log", i+1)
		}
		batches := e.Metrics().ProduceTime.Count - told
		close(release)
		disk.Clear()
		synctest.Wait()
		assert.Equal(t, batches, e.Metrics().ProduceTime.Count-told, "the batch that came back is not told again")
		_, err = p.SendSync(t.Context(), "t", numbered(99))
		require.NoError(t, err)
		assert.Equal(t, []string{"0", "1", "99"}, values(t, top)[0])
		require.NoError(t, p.Close())
		assert.Zero(t, p.memory.used())
	})
}

// No more batches are in the log without an outcome than the producer was told.
func TestProducerMaxInFlight(t *testing.T) {
	for _, most := range []int{1, 2, 5} {
		t.Run(strconv.Itoa(most), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, disk := faultyEngine(t)
				top := clientTopic(t, e, "t")
				p := clientProducer(t, e, MaxInFlight(most), BatchSize(200))
				_, err := p.SendSync(t.Context(), "t", numbered(0))
				require.NoError(t, err)
				release := make(chan struct{})
				disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "t-0", Count: vfs.Forever, Hook: func(vfs.Op, string) { <-release }})
				for i := 1; i <= 200; i++ {
					require.NoError(t, p.Send(t.Context(), "t", numbered(i), nil))
					synctest.Wait()
				}
				part, err := top.Partition(0)
				require.NoError(t, err)
				l, err := part.open()
				require.NoError(t, err)
				end := l.End()
				close(release)
				disk.Clear()
				require.NoError(t, p.Flush(t.Context()))
				inFlight := 0
				for b, err := range top.Batches(t.Context(), 0, UntilEnd()) {
					require.NoError(t, err)
					if b.BaseOffset() > 0 && b.BaseOffset() < end {
						inFlight++
					}
				}
				assert.Equal(t, most, inFlight)
				require.NoError(t, p.Close())
			})
		})
	}
}

// What is about to be taken back and sent again is the sender's: the completer waits for none of it, and a batch that waits
// for it under its number is not tried meanwhile.
func TestLaneTakesBackInOrder(t *testing.T) {
	l := &lane{p: &Producer{cfg: &producerConfig{maxInFlight: 5}}}
	flown, behind := &batch{mark: 1}, &batch{mark: 2}
	l.flight = []*batch{flown}
	l.ready.push(behind)
	l.completing, l.sending = true, true
	assert.True(t, l.holdBack())
	assert.Nil(t, nextOf(l), "held until what is in flight has its outcome")
	assert.False(t, l.sending)
	l.rewind = true
	assert.Nil(t, l.head())
	assert.False(t, l.completing)
	assert.Same(t, flown, nextOf(l))
	assert.Same(t, behind, nextOf(l))
}

func nextOf(l *lane) *batch {
	b, _ := l.next()
	return b
}

// What an earlier attempt may have stored is never told as if it were not there.
func TestUnsureBatchStaysUncertain(t *testing.T) {
	l := &lane{p: &Producer{cfg: &producerConfig{}}, route: &route{name: "t"}}
	assert.ErrorIs(t, l.concludeLocked(&batch{unsure: true}, false, false, false).err, ErrUncertain)
	assert.True(t, l.renumber)
	assert.NotErrorIs(t, l.concludeLocked(&batch{}, false, false, false).err, ErrUncertain)
}

// A completer that the log lets go after another has told the outcomes of its batches leaves the lane alone.
func TestCompleterThatComesBackTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, disk := faultyEngine(t)
		clientTopic(t, e, "t")
		p := clientProducer(t, e)
		_, err := p.SendSync(t.Context(), "t", numbered(0))
		require.NoError(t, err)
		synced, written := make(chan struct{}), make(chan struct{})
		var got acks
		disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log", Hook: func(vfs.Op, string) { <-synced }})
		require.NoError(t, p.Send(t.Context(), "t", numbered(1), got.cb))
		synctest.Wait() // the completer waits for the sync
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Hook: func(vfs.Op, string) { <-written }})
		require.NoError(t, p.Send(t.Context(), "t", numbered(2), got.cb))
		synctest.Wait() // and the sender for the write
		p.everyLane()[0].overdue(true)
		synctest.Wait()
		require.Equal(t, 2, got.count())
		for _, err := range got.errs {
			require.ErrorIs(t, err, ErrUncertain)
		}
		close(synced)
		synctest.Wait()
		close(written)
		synctest.Wait()
		_, err = p.SendSync(t.Context(), "t", numbered(3))
		require.NoError(t, err)
		require.NoError(t, p.Close())
	})
}
