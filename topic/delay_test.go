package topic

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// delivered is what a topic holds now, partition after partition.
func delivered(t testing.TB, tp *Topic) (list []string) {
	t.Helper()
	for rec, err := range tp.Read(t.Context(), UntilEnd()) {
		require.NoError(t, err)
		list = append(list, string(rec.Value))
	}
	return list
}

// waiting is what a topic has scheduled, in the order listed.
func waiting(t testing.TB, tp *Topic) (list []string) {
	t.Helper()
	for s, err := range tp.Scheduled(t.Context()) {
		require.NoError(t, err)
		list = append(list, string(s.Value))
	}
	return list
}

func say(s string) Record { return Record{Value: []byte(s)} }

// later schedules a message.
func later(t testing.TB, tp *Topic, s string, d time.Duration) Position {
	t.Helper()
	pos, err := tp.Append(t.Context(), say(s), DeliverAfter(d))
	require.NoError(t, err)
	return pos
}

func TestDelayedMessageComesExactlyAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "mails")
		for _, d := range []time.Duration{time.Hour, time.Millisecond, time.Second, 90 * time.Second, 30 * 24 * time.Hour} {
			later(t, tp, d.String(), d)
		}
		assert.Equal(t, []string{"1ms", "1s", "1m30s", "1h0m0s", "720h0m0s"}, waiting(t, tp))
		began := time.Now()
		var at []time.Duration
		for rec, err := range tp.Read(t.Context()) {
			require.NoError(t, err)
			at = append(at, time.Since(began))
			assert.Equal(t, time.Since(began).String(), string(rec.Value))
			assert.True(t, rec.Time.Equal(time.Now()))
			if len(at) == 5 {
				break
			}
		}
		synctest.Wait() // a message is counted when it has been delivered, which a reader may see first
		assert.Empty(t, waiting(t, tp))
		m := e.Metrics().Delayed
		assert.Equal(t, int64(5), m.Delivered)
		assert.Equal(t, int64(5), m.Scheduled)
		assert.Zero(t, m.InMemory)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Zero(t, e.Metrics().Goroutines, "idle costs nothing")
	})
}

func TestDelayedMessagesSurviveRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		tp := openTopic(t, e, "mails", Partitions(3))
		var cancelled Position
		for i := range 100 {
			pos := later(t, tp, fmt.Sprint(i), time.Duration(i)*time.Minute+time.Second)
			if i == 70 {
				cancelled = pos
			}
		}
		time.Sleep(10*time.Minute + 30*time.Second)
		assert.Len(t, delivered(t, tp), 11)
		stopped, err := tp.Cancel(t.Context(), cancelled)
		require.NoError(t, err)
		assert.True(t, stopped)
		require.NoError(t, e.Close())

		time.Sleep(20 * time.Minute)
		e = openOn(t, disk)
		tp = openTopic(t, e, "mails")
		synctest.Wait()
		assert.Len(t, delivered(t, tp), 31, "what came due meanwhile comes at once")
		assert.Len(t, waiting(t, tp), 68)
		stopped, err = tp.Cancel(t.Context(), cancelled)
		require.NoError(t, err)
		assert.True(t, stopped, "it stays cancelled")
		time.Sleep(2 * time.Hour)
		assert.Len(t, delivered(t, tp), 99)
		assert.NotContains(t, delivered(t, tp), "70")
	})
}

func TestCancelIsTooLateAfterDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp, other := openTopic(t, e, "mails"), openTopic(t, e, "other")
		keep, drop := later(t, tp, "keep", time.Second), later(t, tp, "drop", time.Second)
		_, err := other.Cancel(t.Context(), drop)
		require.ErrorIs(t, err, ErrInvalid)
		_, err = tp.Cancel(t.Context(), Position{Topic: "mails", Offset: 0})
		require.ErrorIs(t, err, ErrInvalid)
		for range 2 {
			stopped, err := tp.Cancel(t.Context(), drop)
			require.NoError(t, err)
			assert.True(t, stopped)
		}
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"keep"}, delivered(t, tp))
		stopped, err := tp.Cancel(t.Context(), keep)
		require.NoError(t, err)
		assert.False(t, stopped)
	})
}

func TestProducerSendsDelayedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "mails", Partitions(2))
		p, err := e.NewProducer()
		require.NoError(t, err)
		const n = 500
		got := make([]Position, 0, n)
		for i := range n {
			delay := time.Duration(1+i%3) * time.Minute
			require.NoError(t, p.Send(t.Context(), "mails", say(fmt.Sprint(i)), func(pos Position, err error) {
				require.NoError(t, err)
				require.ErrorIs(t, p.Flush(t.Context()), ErrInCallback)
				got = append(got, pos)
			}, DeliverAfter(delay)))
		}
		require.NoError(t, p.Flush(t.Context()))
		assert.Len(t, got, n)
		assert.Empty(t, delivered(t, tp))
		stopped, err := tp.Cancel(t.Context(), got[7])
		require.NoError(t, err)
		assert.True(t, stopped)
		pos, err := p.SendSync(t.Context(), "mails", say("at once"), DeliverAfter(-time.Second))
		require.NoError(t, err)
		assert.Equal(t, "mails", pos.Topic)
		pos, err = p.SendSync(t.Context(), "mails", say("last"), DeliverAfter(time.Hour))
		require.NoError(t, err)
		assert.Equal(t, DelayedTopic, pos.Topic)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, delivered(t, tp), 1+167, "a third of them, and the one that was not delayed")
		time.Sleep(time.Hour)
		assert.Len(t, delivered(t, tp), n+1)
		require.NoError(t, p.Close())
		require.ErrorIs(t, p.Send(t.Context(), "mails", say("x"), nil, DeliverAfter(time.Second)), ErrClosed)
		assert.Zero(t, p.memory.used())
	})
}
