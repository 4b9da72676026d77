package topic

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const month = 30 * 24 * time.Hour

// whichRestarts are the sets of moments at which a test opens its engine again: each bit is a moment.
func whichRestarts() []int {
	if testing.Short() {
		return []int{0b000, 0b101}
	}
	return []int{0b000, 0b001, 0b010, 0b011, 0b100, 0b101, 0b110, 0b111}
}

// While the clock is a month ahead, what is due within the month is delivered; when it is right again, new messages come when
// they are due, and nothing comes twice, with and without restarts in between.
func TestClockThatWasPutBack(t *testing.T) {
	for _, restarts := range whichRestarts() {
		t.Run(fmt.Sprintf("restarts %03b", restarts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk, clock := vfs.NewMem(), new(wrongClock)
				e := openOn(t, disk, clock.option())
				tp := openTopic(t, e, "mails", quick(), Retention(-1))
				step := 0
				restart := func() {
					if restarts>>step&1 != 0 {
						require.NoError(t, e.Close())
						e = openOn(t, disk, clock.option())
						tp = openTopic(t, e, "mails")
						synctest.Wait()
					}
					step++
				}
				for _, d := range []time.Duration{time.Minute, time.Hour, 20 * 24 * time.Hour, 2 * month} {
					later(t, tp, d.String(), d)
				}
				clock.set(month)
				ahead := []string{"1m0s", "1h0m0s", "480h0m0s"}
				assert.Equal(t, ahead, delivered(t, tp))
				restart()
				clock.set(0)
				pos := later(t, tp, "cancelled", 10*time.Minute)
				later(t, tp, "new", 10*time.Minute)
				later(t, tp, "new far", 20*24*time.Hour)
				restart()
				stopped, err := tp.Cancel(t.Context(), pos)
				require.NoError(t, err)
				assert.True(t, stopped)
				stopped, err = tp.Cancel(t.Context(), Position{Topic: DelayedTopic, Partition: levelPart(levelOf(time.Hour))})
				require.NoError(t, err)
				assert.False(t, stopped, "it was delivered")
				assert.Equal(t, []string{"new", "new far", "1440h0m0s"}, waiting(t, tp))
				time.Sleep(10*time.Minute - time.Millisecond)
				assert.Equal(t, ahead, delivered(t, tp))
				time.Sleep(time.Millisecond)
				synctest.Wait()
				assert.Equal(t, append(ahead, "new"), delivered(t, tp), "when it is due")
				restart()
				time.Sleep(3 * month)
				synctest.Wait()
				assert.Equal(t, append(ahead, "new", "new far", "1440h0m0s"), delivered(t, tp))
				assert.Empty(t, waiting(t, tp))
				assert.Empty(t, e.delays.settled.ceilings, "forgotten once they are passed")
			})
		})
	}
}

// A clock that is put back by little costs no write: messages may be late by as much.
func TestClockPutBackByLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := new(wrongClock)
		e := openOn(t, vfs.NewMem(), clock.option())
		tp := openTopic(t, e, "mails", quick(), Retention(-1))
		clock.ahead.Store(int64(50 * time.Millisecond))
		later(t, tp, "a", time.Minute)
		time.Sleep(time.Minute)
		synctest.Wait()
		clock.ahead.Store(0)
		progress := partitionOf(t, openTopic(t, e, DelayedTopic), progressPart)
		before, err := progress.End()
		require.NoError(t, err)
		later(t, tp, "b", 20*time.Millisecond)
		after, err := progress.End()
		require.NoError(t, err)
		assert.Equal(t, before, after)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		assert.Empty(t, e.delays.settled.ceilings)
		assert.Equal(t, []string{"a", "b"}, delivered(t, tp))
	})
}

// A clock put ahead brings new messages at their time by it, not minutes later.
func TestNewMessageAfterTheClockWasPutAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := new(wrongClock)
		e := openOn(t, vfs.NewMem(), clock.option())
		tp := openTopic(t, e, "mails")
		later(t, tp, "first", 10*time.Second) // the timer is set
		clock.ahead.Store(int64(30 * time.Minute))
		_, err := tp.Append(t.Context(), say("second"), DeliverAt(clock.now().Add(time.Second)))
		require.NoError(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"first", "second"}, delivered(t, tp))
	})
}

// A partition that refused appends while the clock was wrong gets what it missed, once, and what others got is not theirs
// again.
func TestClockThatWasPutBackBehindARefusingPartition(t *testing.T) {
	for _, restarts := range whichRestarts() {
		synctest.Test(t, func(t *testing.T) {
			disk, clock := vfs.NewMem(), new(wrongClock)
			e := openOn(t, disk, clock.option())
			tp, other := openTopic(t, e, "mails", quick(), Retention(-1)), openTopic(t, e, "other", quick(), Retention(-1))
			step := 0
			refuse := func() { require.NoError(t, partitionOf(t, tp, 0).Fence(errors.New("out of order"))) }
			restart := func() {
				if restarts>>step&1 != 0 {
					require.NoError(t, e.Close())
					e = openOn(t, disk, clock.option())
					tp, other = openTopic(t, e, "mails"), openTopic(t, e, "other")
					refuse()
				}
				step++
			}
			var want []string
			add := func(v string, d time.Duration) {
				later(t, tp, v, d)
				later(t, other, v, d)
				want = append(want, v)
			}
			add("early", time.Minute)
			time.Sleep(2 * time.Minute)
			refuse()
			for i := range 10 {
				add(fmt.Sprint("first ", i), time.Duration(i+1)*3*time.Hour)
			}
			clock.set(10 * time.Hour)
			clock.set(20 * time.Hour) // these are left on disk behind the first ones
			restart()
			clock.set(0)
			for i := range 10 {
				add(fmt.Sprint("second ", i), time.Duration(i+1)*2*time.Hour+time.Minute)
			}
			restart()
			time.Sleep(9 * time.Hour)
			restart()
			_, err := partitionOf(t, tp, 0).Unfence()
			require.NoError(t, err)
			time.Sleep(2 * month)
			synctest.Wait()
			assert.ElementsMatch(t, want, delivered(t, other), "restarts %03b", restarts)
			assert.ElementsMatch(t, want, delivered(t, tp), "restarts %03b", restarts)
			assert.Empty(t, waiting(t, tp))
		})
	}
}
