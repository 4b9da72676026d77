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
							assert.Empty(t, e.recurring.table[r.Name].state.Fired, "forgotten once they are passed")
						}
					}
				})
			})
		}
	}
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
