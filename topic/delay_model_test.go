package topic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// history is a random use of delayed messages, and what must come of it.
type history struct {
	t     *testing.T
	r     *rand.Rand
	disk  vfs.FS
	eng   *Engine
	tp    *Topic
	due   map[int]int64 // ms, of each message that is to come
	at    map[int]Position
	count int
}

func (h *history) open() {
	e, err := Open("data", On(h.disk), DelayedInMemory(8)) // so that almost everything is on disk only
	require.NoError(h.t, err)
	h.eng = e
	h.tp = openTopic(h.t, e, "mails", Partitions(2), quick())
}

func (h *history) schedule() {
	d := time.Duration(h.r.Int64N(int64(time.Second) << h.r.IntN(16)))
	n := 1 + h.r.IntN(3)
	recs := make([]Record, n)
	for i := range recs {
		recs[i] = say(strconv.Itoa(h.count + i))
	}
	positions, err := h.tp.AppendBatch(h.t.Context(), recs, DeliverAfter(d))
	require.NoError(h.t, err)
	for i := range recs {
		due, _ := dueMillis(time.Now().Add(d))
		h.due[h.count+i], h.at[h.count+i] = due, positions[i]
	}
	h.count += n
}

func (h *history) cancel() {
	if h.count == 0 {
		return
	}
	synctest.Wait() // what is due has come
	i := h.r.IntN(h.count)
	if h.at[i].Topic != DelayedTopic {
		return
	}
	stopped, err := h.tp.Cancel(h.t.Context(), h.at[i])
	require.NoError(h.t, err)
	due, pending := h.due[i]
	if pending {
		require.Equal(h.t, due > time.Now().UnixMilli(), stopped)
	}
	if stopped {
		delete(h.due, i)
	}
}

// check compares the topic with what is due by now, and the list with what is not.
func (h *history) check() {
	synctest.Wait()
	now := time.Now().UnixMilli()
	seen := map[int]bool{}
	last := map[int32]int64{}
	for rec, err := range h.tp.Read(h.t.Context(), UntilEnd()) {
		require.NoError(h.t, err)
		i, err := strconv.Atoi(string(rec.Value))
		require.NoError(h.t, err)
		require.False(h.t, seen[i], "%d came twice", i)
		seen[i] = true
		due, ok := h.due[i]
		require.True(h.t, ok, "%d was cancelled", i)
		require.LessOrEqual(h.t, due, now, "early")
		require.GreaterOrEqual(h.t, due, last[rec.Partition], "order")
		last[rec.Partition] = due
	}
	var want, listed []int64
	for i, due := range h.due {
		require.Equal(h.t, due <= now, seen[i], "%d, due %d, now %d", i, due, now)
		if due > now {
			want = append(want, due)
		}
	}
	for s, err := range h.tp.Scheduled(h.t.Context()) {
		require.NoError(h.t, err)
		listed = append(listed, s.Due.UnixMilli())
	}
	slices.Sort(want)
	require.Equal(h.t, want, listed)
}

func TestDelayedMessagesAgreeWithModel(t *testing.T) {
	for seed := range uint64(thin.Raced(12, 4)) {
		synctest.Test(t, func(t *testing.T) {
			h := &history{t: t, r: rand.New(rand.NewPCG(seed, 1)), disk: vfs.NewMem(), due: map[int]int64{}, at: map[int]Position{}}
			h.open()
			defer func() { h.eng.Close() }()
			for range 150 {
				switch k := h.r.IntN(20); {
				case k < 9:
					h.schedule()
				case k < 12:
					h.cancel()
				case k < 19:
					time.Sleep(time.Duration(h.r.Int64N(int64(time.Second) << h.r.IntN(12))))
					h.check()
				default:
					require.NoError(t, h.eng.Close())
					time.Sleep(time.Duration(h.r.Int64N(int64(time.Hour))))
					h.open()
				}
			}
			time.Sleep(12 * time.Hour)
			h.check()
			assert.Empty(t, waiting(t, h.tp))
			require.NoError(t, h.eng.Close())
		})
	}
}

// A partition that refuses appends holds up nobody else, and gets everything once it takes appends again.
func TestRefusedDeliveriesWaitForTheirPartition(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewMem()
				e := openOn(t, disk)
				tp, other := openTopic(t, e, "mails"), openTopic(t, e, "other")
				var want []string
				for i := range 20 {
					v := fmt.Sprint(i)
					want = append(want, v)
					later(t, tp, v, time.Duration(i+1)*10*time.Second)
					later(t, other, v, time.Duration(i+1)*10*time.Second)
				}
				p, err := tp.Partition(0)
				require.NoError(t, err)
				require.NoError(t, p.Fence(errors.New("out of order")))
				time.Sleep(150 * time.Second)
				synctest.Wait()
				assert.Empty(t, delivered(t, tp))
				assert.Len(t, delivered(t, other), 15)
				if restart {
					require.NoError(t, e.Close())
					e = openOn(t, disk)
					tp = openTopic(t, e, "mails")
				} else {
					_, err := p.Unfence()
					require.NoError(t, err)
				}
				time.Sleep(40 * time.Second)
				synctest.Wait()
				assert.Equal(t, want[:19], delivered(t, tp), "in order")
				time.Sleep(time.Hour)
				assert.Equal(t, want, delivered(t, tp))
			})
		})
	}
}

func TestMessagesOfADeletedTopicAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "mails")
		later(t, tp, "old", time.Minute)
		require.NoError(t, e.DeleteTopic(t.Context(), "mails"))
		tp = openTopic(t, e, "mails")
		later(t, tp, "new", time.Minute)
		assert.Equal(t, []string{"new"}, waiting(t, tp))
		time.Sleep(time.Hour)
		assert.Equal(t, []string{"new"}, delivered(t, tp))
		assert.Equal(t, int64(1), e.Metrics().Delayed.Dropped)
	})
}

func TestMessageThatTheTopicDoesNotTakeAnyMoreIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "mails")
		for _, v := range []string{"a", string(make([]byte, 2000)), "b"} {
			later(t, tp, v, time.Minute)
		}
		err := e.AlterTopic(t.Context(), "mails", MaxMessageBytes(1000))
		require.NoError(t, err)
		time.Sleep(time.Hour)
		assert.Equal(t, []string{"a", "b"}, delivered(t, tp))
		assert.Equal(t, int64(1), e.Metrics().Delayed.Dropped)
	})
}

// What is delivered goes from the disk; what is pending does not, whatever lies around it.
func TestDeliveredMessagesLeaveTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "mails", quick())
		recs := make([]Record, 1000)
		for i := range recs {
			recs[i] = say("x")
		}
		later(t, tp, "first", 7*time.Hour)
		for range 20 {
			_, err := tp.AppendBatch(t.Context(), recs, DeliverAfter(2*time.Hour))
			require.NoError(t, err)
		}
		level, err := e.Partition(DelayedTopic, levelPart(levelOf(2*time.Hour)))
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		start, err := level.Start()
		require.NoError(t, err)
		assert.Zero(t, start, "the first one is pending")
		time.Sleep(5 * time.Hour)
		later(t, tp, "again", 2*time.Hour)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		start, err = level.Start()
		require.NoError(t, err)
		assert.GreaterOrEqual(t, start, int64(15_000))
		assert.Len(t, delivered(t, tp), 20_002)
	})
}
