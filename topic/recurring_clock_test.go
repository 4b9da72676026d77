package topic

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Recurring messages go on when a clock that was ahead is put back, with each due time once: those that were appended ahead of
// time do not come again, over restarts too.
func TestRecurringMessagesFollowAClockThatWasPutBack(t *testing.T) {
	for _, restarts := range []int{0, 1, 6, 7} {
		for _, catchUp := range []bool{false, true} {
			t.Run(fmt.Sprintf("restarts %03b, catch up %v", restarts, catchUp), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					disk, clock := vfs.NewMem(), new(wrongClock)
					e := openOn(t, disk, clock.option())
					tp := openTopic(t, e, "tick", quick())
					step := 0
					restart := func() {
						if restarts>>step&1 != 0 {
							require.NoError(t, e.Close())
							e = openOn(t, disk, clock.option())
							tp = openTopic(t, e, "tick")
						}
						step++
					}
					var opts []RecurOption
					if catchUp {
						opts = append(opts, CatchUp())
					}
					began := time.Now()
					for _, when := range []Recurrence{Every(time.Minute), Cron("* * * * *", nil)} {
						require.NoError(t, tp.Recur(t.Context(), when.String(), say(when.String()), when, opts...))
					}
					time.Sleep(3*time.Minute + time.Second)
					clock.set(2 * time.Hour)
					restart()
					require.NoError(t, tp.Recur(t.Context(), "while ahead", say("while ahead"), Every(time.Minute), opts...))
					clock.set(2 * time.Hour)
					clock.set(0)
					back := time.Now()
					restart()
					time.Sleep(15 * time.Minute)
					restart()
					time.Sleep(4 * time.Hour)
					synctest.Wait()
					end := time.Now()
					at := map[string]map[int64]bool{}
					for rec, err := range tp.Read(t.Context(), UntilEnd()) {
						require.NoError(t, err)
						v, minute := string(rec.Value), int64(rec.Time.Sub(began)/time.Minute)
						if at[v] == nil {
							at[v] = map[int64]bool{}
						}
						require.False(t, at[v][minute], "%s: minute %d came twice", v, minute)
						at[v][minute] = true
					}
					require.Len(t, at, 3)
					for v, came := range at {
						for m := int64(back.Sub(began)/time.Minute) + 1; m < int64(end.Sub(began)/time.Minute); m++ {
							if !came[m] {
								t.Fatalf("%s: minute %d did not come", v, m)
							}
						}
					}
					if !catchUp {
						for r, err := range tp.Recurring(t.Context()) {
							require.NoError(t, err)
							assert.Less(t, time.Until(r.Next), 2*time.Minute)
							assert.LessOrEqual(t, len(e.recurring.table[r.Name].state.Fired), mostCeilings)
						}
					}
				})
			})
		}
	}
}

// A clock is put back while the disk takes nothing, and while a message cannot be appended: the messages follow it once that is over.
func TestRecurringMessagesFollowTheClockLater(t *testing.T) {
	for _, path := range []string{RecurringTopic, "tick-0"} {
		synctest.Test(t, func(t *testing.T) {
			disk, clock := vfs.NewFault(vfs.NewMem()), new(wrongClock)
			e := openOn(t, disk, clock.option())
			tp := openTopic(t, e, "tick", quick())
			require.NoError(t, tp.Recur(t.Context(), "m", say("m"), Every(time.Minute)))
			time.Sleep(3 * time.Minute)
			clock.set(2 * time.Hour)
			disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: path, Count: vfs.Forever, Err: syscall.ENOSPC})
			time.Sleep(2 * time.Minute)
			clock.set(0)
			disk.Clear()
			time.Sleep(lookAtClock + delayPatience)
			right := time.Now()
			time.Sleep(10*time.Minute + time.Second)
			synctest.Wait()
			came := 0
			for rec, err := range tp.Read(t.Context(), UntilEnd()) {
				require.NoError(t, err)
				if !rec.Time.Before(right) && !rec.Time.After(time.Now()) {
					came++
				}
			}
			require.Equal(t, 10, came, path)
			require.NoError(t, e.Close())
		})
	}
}

// TestRecurringMessagesUnderAClockThatJumps: each due time comes once, none before some clock has shown it, and with [CatchUp] none is
// left out, over jumps ahead and back, rests and restarts.
func TestRecurringMessagesUnderAClockThatJumps(t *testing.T) {
	for _, seed := range seedsFor(t, thin.Raced(6, 2)) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 31))
			disk, clock := vfs.NewMem(), new(wrongClock)
			e := openOn(t, disk, clock.option())
			tp := openTopic(t, e, "tick", quick(), Retention(-1))
			minutes := []int{1, 2, 3, 5, 10, 15, 20, 30}[rnd.IntN(8)]
			every := time.Duration(minutes) * time.Minute
			when := []Recurrence{Every(every), Cron(fmt.Sprintf("*/%d * * * *", minutes), nil)}[rnd.IntN(2)] // bubbles begin at midnight
			require.NoError(t, tp.Recur(t.Context(), "all", say("all"), when, CatchUp()))
			require.NoError(t, tp.Recur(t.Context(), "last", say("last"), when))
			began, shown := time.Now(), time.Now() // the latest time that a clock has shown
			look := func() {
				time.Sleep(lookAtClock + time.Second)
				synctest.Wait()
				if now := clock.now(); now.After(shown) {
					shown = now
				}
				checkFirings(t, seed, tp, began, shown, every)
			}
			for range 12 {
				switch rnd.IntN(5) {
				case 0:
					time.Sleep(time.Duration(rnd.Int64N(int64(3 * time.Hour))))
				case 2: // back by little, just after a firing
					little := time.Duration(rnd.Int64N(int64(2 * clockSlack)))
					clock.ahead.Add(int64(little))
					now := clock.now()
					time.Sleep(now.Truncate(every).Add(every).Sub(now) + time.Duration(rnd.Int64N(int64(little)+1)))
					synctest.Wait()
					if now := clock.now(); now.After(shown) {
						shown = now
					}
					clock.ahead.Add(-int64(little))
				case 1:
					require.NoError(t, e.Close())
					time.Sleep(time.Duration(rnd.Int64N(int64(time.Hour))))
					e = openOn(t, disk, clock.option())
					tp = openTopic(t, e, "tick")
				default:
					clock.ahead.Store(int64(rnd.IntN(2)) * rnd.Int64N(int64(6*time.Hour)))
				}
				look()
			}
			clock.ahead.Store(0)
			look()
			right := time.Now()
			time.Sleep(7 * time.Hour)
			look()
			came := checkFirings(t, seed, tp, began, shown, every)
			for due := began.Add(every); due.Before(time.Now().Add(-time.Second)); due = due.Add(every) {
				require.True(t, came["all"][due.UnixMilli()], "seed %d: %v after the start was left out", seed, due.Sub(began))
				require.True(t, came["last"][due.UnixMilli()] || due.Before(right), "seed %d: %v was left out by the right clock", seed, due.Sub(began))
			}
			require.NoError(t, e.Close())
		})
	}
}

// checkFirings gives the due times that came, by message: whole intervals after the start, each once.
func checkFirings(t *testing.T, seed uint64, tp *Topic, began, shown time.Time, every time.Duration) map[string]map[int64]bool {
	came := map[string]map[int64]bool{"all": {}, "last": {}}
	for rec, err := range tp.Read(t.Context(), UntilEnd()) {
		require.NoError(t, err)
		of, after := came[string(rec.Value)], rec.Time.Sub(began)
		require.Zero(t, after%every, "seed %d: %v after the start, with an interval of %v", seed, after, every)
		require.False(t, of[rec.Time.UnixMilli()], "seed %d: %s: %v after the start came twice", seed, rec.Value, after)
		require.False(t, rec.Time.After(shown), "seed %d: %v after the start is early", seed, after)
		of[rec.Time.UnixMilli()] = true
	}
	return came
}

// After a year without an engine a message comes once, or as often as it was missed, and others are not kept waiting.
func TestRecurringMessagesAfterAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		tp := openTopic(t, e, "tick", quick(), Retention(-1))
		berlin, err := time.LoadLocation("Europe/Berlin")
		require.NoError(t, err)
		require.NoError(t, tp.Recur(t.Context(), "daily", say("daily"), DailyAt(2, 30, berlin), CatchUp()))
		require.NoError(t, tp.Recur(t.Context(), "second", say("second"), Every(time.Second)))
		require.NoError(t, tp.Recur(t.Context(), "leap", say("leap"), Cron("0 0 29 2 *", berlin), CatchUp()))
		require.NoError(t, e.Close())
		time.Sleep(365*24*time.Hour - 500*time.Millisecond)
		e = openOn(t, disk)
		tp = openTopic(t, e, "tick")
		synctest.Wait()
		count := map[string]int{}
		for rec, err := range tp.Read(t.Context(), UntilEnd()) {
			require.NoError(t, err)
			count[string(rec.Value)]++
			require.False(t, rec.Time.After(time.Now()))
			if local := rec.Time.In(berlin); string(rec.Value) == "daily" && local.Hour() != 2 {
				assert.Equal(t, "2000-03-26 03:00", local.Format("2006-01-02 15:04"), "when clocks were put forward")
			}
		}
		assert.Equal(t, map[string]int{"daily": 365, "second": 1, "leap": 1}, count)
	})
}
