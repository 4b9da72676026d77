package topic

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// firings is when the records of a topic were to be appended.
func firings(t testing.TB, tp *Topic) (list []time.Time) {
	t.Helper()
	for rec, err := range tp.Read(t.Context(), UntilEnd()) {
		require.NoError(t, err)
		list = append(list, rec.Time)
	}
	return list
}

func TestAWeekOfRecurringMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		tp := openTopic(t, e, "tick")
		began := time.Now()
		setUp := func() {
			require.NoError(t, tp.Recur(t.Context(), "every", say("every"), Every(90*time.Minute)))
			require.NoError(t, tp.Recur(t.Context(), "daily", say("daily"), DailyAt(8, 30, nil)))
			require.NoError(t, tp.Recur(t.Context(), "cron", say("cron"), Cron("*/20 9-10 * * mon-fri", nil)))
		}
		setUp()
		for day := range 7 {
			time.Sleep(24 * time.Hour)
			synctest.Wait()
			setUp() // changes nothing
			if day%2 == 1 {
				require.NoError(t, e.Close())
				e = openOn(t, disk)
				tp = openTopic(t, e, "tick")
			}
		}
		synctest.Wait()
		count := map[string]int{}
		for rec, err := range tp.Read(t.Context(), UntilEnd()) {
			require.NoError(t, err)
			count[string(rec.Value)]++
		}
		assert.Equal(t, map[string]int{"every": 7 * 16, "daily": 7, "cron": 5 * 6}, count)
		var names []string
		for r, err := range tp.Recurring(t.Context()) {
			require.NoError(t, err)
			names = append(names, fmt.Sprint(r.Name, " ", r.Next.Sub(began), " ", r.Firings))
		}
		assert.Equal(t, []string{"cron 225h0m0s 30", "daily 176h30m0s 7", "every 169h30m0s 112"}, names)
		gone, err := tp.StopRecurring(t.Context(), "every")
		require.NoError(t, err)
		assert.True(t, gone)
		gone, err = tp.StopRecurring(t.Context(), "every")
		require.NoError(t, err)
		assert.False(t, gone)
	})
}

func TestMissedFirings(t *testing.T) {
	for _, catchUp := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk := vfs.NewMem()
			e := openOn(t, disk)
			tp := openTopic(t, e, "tick")
			began := time.Now()
			var opts []RecurOption
			if catchUp {
				opts = append(opts, CatchUp())
			}
			require.NoError(t, tp.Recur(t.Context(), "minutes", say("x"), Every(time.Minute), opts...))
			require.NoError(t, tp.Recur(t.Context(), "hours", say("x"), Cron("@hourly", nil), opts...))
			time.Sleep(90 * time.Second)
			require.NoError(t, e.Close())
			time.Sleep(10 * time.Hour)
			e = openOn(t, disk)
			tp = openTopic(t, e, "tick")
			synctest.Wait()
			list := firings(t, tp)
			if catchUp {
				assert.Len(t, list, 601+10)
				return
			}
			assert.Len(t, list, 3)
			for _, at := range list[1:] {
				assert.Contains(t, []time.Duration{10 * time.Hour, 601 * time.Minute}, at.Sub(began))
			}
		})
	}
}

func TestRecurringMessageIsReplacedByOtherContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp, other := openTopic(t, e, "tick"), openTopic(t, e, "other")
		require.NoError(t, tp.Recur(t.Context(), "a", say("old"), Every(time.Second)))
		require.ErrorIs(t, other.Recur(t.Context(), "a", say("x"), Every(time.Second)), ErrExists)
		require.ErrorIs(t, tp.Recur(t.Context(), "b", say("x"), Every(0)), ErrInvalid)
		require.ErrorIs(t, tp.Recur(t.Context(), "b", say("x"), Recurrence{}), ErrInvalid)
		require.ErrorIs(t, tp.Recur(t.Context(), "b", say("x"), Cron("0 0 30 2 *", nil)), ErrInvalid)
		time.Sleep(1500 * time.Millisecond)
		require.NoError(t, tp.Recur(t.Context(), "a", say("new"), Every(time.Second)))
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, []string{"old", "new"}, delivered(t, tp))
		require.NoError(t, e.DeleteTopic(t.Context(), "tick"))
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, e.recurring.table, "gone with its topic")
	})
}

func TestTableOfRecurringMessagesStaysShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		tp := openTopic(t, e, "tick", quick())
		require.NoError(t, tp.Recur(t.Context(), "a", say("x"), Every(time.Second)))
		time.Sleep(3000 * time.Second)
		synctest.Wait()
		assert.Len(t, firings(t, tp), 3000)
		part, err := e.Partition(RecurringTopic, 0)
		require.NoError(t, err)
		o, err := part.Offsets()
		require.NoError(t, err)
		assert.Less(t, o.End-o.Start, int64(1100))
	})
}

// Whatever call the power fails in, every firing is in the topic exactly once, also when the clock is ahead for a while; with
// QUIRE_EVERY_CUT set in every call and in every way.
func TestRecurringMessagesBearPowerCuts(t *testing.T) {
	play := func(t *testing.T, disk vfs.FS) (err error) {
		clock := new(wrongClock)
		e, err := Open("data", On(disk), clock.option())
		if err != nil {
			return err
		}
		defer func() { e.Close() }()
		tp, err := e.Topic(t.Context(), "tick")
		if err != nil {
			return err
		}
		err = tp.Recur(t.Context(), "a", say("x"), Every(time.Minute), CatchUp())
		time.Sleep(time.Minute + time.Second)
		clock.ahead.Store(int64(2 * time.Minute))
		time.Sleep(time.Minute)
		clock.ahead.Store(0)
		time.Sleep(time.Minute)
		return err
	}
	calls := 0
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash()
		require.NoError(t, play(t, disk))
		calls = disk.Ops()
	})
	policies, stride := vfs.Policies(), 2
	if os.Getenv("QUIRE_EVERY_CUT") != "" {
		stride = 1
	}
	for i := range calls * len(policies) {
		n, policy := i/len(policies)+1, policies[i%len(policies)]
		if stride > 1 && (n%stride != 0 || policy != policies[n/stride%len(policies)]) {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			disk := vfs.NewCrash()
			disk.CrashAt(n)
			told := play(t, disk)
			e, err := Open("data", On(disk.After(policy, uint64(n))))
			require.NoError(t, err)
			defer e.Close()
			tp, err := e.Topic(t.Context(), "tick")
			require.NoError(t, err)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			list := firings(t, tp)
			for i, at := range list {
				if i > 0 && at.Sub(list[i-1]) != time.Minute {
					t.Fatalf("power cut at call %d of %d: %v", n, calls, list)
				}
			}
			if told == nil && len(list) != 13 {
				t.Fatalf("power cut at call %d of %d: %v", n, calls, list)
			}
		})
	}
}

// Where both a day of the month and a weekday are given, either will do.
func TestCronOfADayOrAWeekday(t *testing.T) {
	c, err := parseCron("0 0 13 * 5")
	require.NoError(t, err)
	at := time.Date(2026, time.April, 8, 12, 0, 0, 0, time.UTC) // a Wednesday
	for _, day := range []int{10, 13, 17} {                     // a Friday, the 13th, a Friday
		at = c.after(at)
		require.Equal(t, time.Date(2026, time.April, day, 0, 0, 0, 0, time.UTC), at)
	}
}
