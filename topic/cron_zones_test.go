package topic

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the zones of these tests, wherever they run

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func zoneOf(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	require.NoError(t, err)
	return zone
}

// Jobs by distance go by elapsed time, times of day come once a day: the rule of cron on Linux, in zones of all kinds.
func TestCronRuleOverZones(t *testing.T) {
	for _, c := range []struct {
		zone, expr, from string
		want             []string
	}{
		{"Europe/Berlin", "*/15 * * * *", "2026-10-25T02:45:00+02:00", []string{"2026-10-25T02:00:00+01:00", "2026-10-25T02:15:00+01:00"}},
		{"Europe/Berlin", "0 * * * *", "2026-03-29T01:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"}},
		{"Europe/Berlin", "30 * * * *", "2026-03-29T01:30:00+01:00", []string{"2026-03-29T03:30:00+02:00"}},
		{"Europe/Berlin", "0 */2 * * *", "2026-10-25T00:00:00+02:00", []string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T04:00:00+01:00"}},
		{"Europe/Berlin", "* * * * * *", "2026-10-25T02:59:59+02:00", []string{"2026-10-25T02:00:00+01:00", "2026-10-25T02:00:01+01:00"}},
		{"Europe/Berlin", "0,30 2 * * *", "2026-10-25T02:00:00+02:00", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:00:00+01:00"}},
		{"Europe/Berlin", "0,30 2 * * *", "2026-03-29T00:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"America/New_York", "30 1 * * *", "2026-11-01T00:00:00-04:00", []string{"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
		{"America/New_York", "30 * * * *", "2026-11-01T00:30:00-04:00", []string{"2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00"}},
		{"America/New_York", "30 2 * * *", "2026-03-08T00:00:00-05:00", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"}},
		// Lord Howe shifts by half an hour: 2:00 to 2:30 in October, 2:00 back to 1:30 in April.
		{"Australia/Lord_Howe", "15 2 * * *", "2026-10-04T00:00:00+10:30", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"Australia/Lord_Howe", "45 1 * * *", "2026-04-05T00:00:00+11:00", []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		{"Australia/Lord_Howe", "*/15 * * * *", "2026-04-05T01:45:00+11:00", []string{"2026-04-05T01:30:00+10:30", "2026-04-05T01:45:00+10:30", "2026-04-05T02:00:00+10:30"}},
		// There was no midnight in Sao Paulo on 2018-11-04, and there were two hours from 23:00 on 2018-02-17.
		{"America/Sao_Paulo", "0 0 * * *", "2018-11-03T12:00:00-03:00", []string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}},
		{"America/Sao_Paulo", "30 23 * * *", "2018-02-17T12:00:00-02:00", []string{"2018-02-17T23:30:00-02:00", "2018-02-18T23:30:00-03:00"}},
		// Samoa had no 2011-12-30.
		{"Pacific/Apia", "0 8 * * *", "2011-12-29T08:00:00-10:00", []string{"2011-12-31T08:00:00+14:00"}},
		{"Pacific/Apia", "0 8 30 * *", "2011-12-01T00:00:00-10:00", []string{"2012-01-30T08:00:00+14:00"}},
		{"UTC", "0 0 29 2 */7", "2032-03-01T00:00:00Z", []string{"2060-02-29T00:00:00Z"}},
		{"UTC", "0 0 29 2 */7", "2088-03-01T00:00:00Z", []string{"2128-02-29T00:00:00Z"}},
	} {
		at, err := time.Parse(time.RFC3339, c.from)
		require.NoError(t, err)
		r := Cron(c.expr, zoneOf(t, c.zone))
		for _, want := range c.want {
			at = r.Next(at, at)
			if !assert.Equal(t, want, at.Format(time.RFC3339), "%s in %s", c.expr, c.zone) {
				break
			}
		}
	}
}

// A 29th of February comes on every day of the week, if one waits.
func TestCronLeapDayOnEveryWeekday(t *testing.T) {
	c, err := parseCron("0 0 29 2 *")
	require.NoError(t, err)
	c.anyDay, c.anyWeekday = true, true // both must match
	for day := range 7 {
		c.weekday = 1 << day
		at := time.Date(1872, 3, 1, 0, 0, 0, 0, time.UTC)
		for range 30 {
			next := c.after(at)
			require.False(t, next.IsZero(), "%v after %v", time.Weekday(day), at)
			require.Equal(t, time.Weekday(day), next.Weekday())
			require.Equal(t, 29, next.Day())
			require.LessOrEqual(t, next.Year()-at.Year(), 40)
			at = next
		}
	}
	for _, zone := range []*time.Location{time.UTC, zoneOf(t, "Europe/Berlin"), zoneOf(t, "Australia/Lord_Howe")} {
		never := Cron("0 0 30 2 *", zone)
		assert.True(t, never.Next(time.Now(), time.Now()).IsZero())
		at := time.Date(2040, 12, 30, 12, 0, 0, 0, zone) // time.Time.ZoneBounds stands still on the next day
		assert.Equal(t, 2041, Cron("0 0 1 1 *", zone).Next(at, at).Year())
	}
}

// modelFirings is the rule by counting: each minute from one time to another that is to come.
func modelFirings(c *cronFields, from, to time.Time) (list []time.Time) {
	shown := map[string]bool{} // times of day, with their dates, that the clocks have shown or left out
	matches := func(wall time.Time) bool {
		return c.matchesDay(wall) && c.hour>>wall.Hour()&1 != 0 && c.minute>>wall.Minute()&1 != 0
	}
	wallOf := func(at time.Time) time.Time {
		_, offset := at.Zone()
		return at.UTC().Add(time.Duration(offset) * time.Second)
	}
	last := wallOf(from.Add(-time.Minute))
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		wall := wallOf(at)
		due := matches(wall) && (c.elapsed || !shown[wall.String()])
		if jump := wall.Sub(last); !c.elapsed && jump > time.Minute && jump <= 3*time.Hour+time.Minute {
			for w := last.Add(time.Minute); w.Before(wall); w = w.Add(time.Minute) {
				due = due || matches(w)
			}
		}
		if back := last.Sub(wall); back < 3*time.Hour {
			shown[wall.String()] = true
		}
		last = wall
		if due {
			list = append(list, at)
		}
	}
	return list
}

func TestCronAgreesWithTheModelOverZones(t *testing.T) {
	exprs := []string{"*/15 * * * *", "0 * * * *", "30 2 * * *", "0,30 1-3 * * *", "15 0 * * *", "0 */2 * * *", "45 1 * * sun", "0-59 2 * * *", "* 1 * * *",
		"0 0 * * *", "59 23 * * *", "10 3/2 * * *", "30 0-23 * * *"}
	for _, z := range []struct {
		zone string
		days []string // of changes
	}{
		{"Europe/Berlin", []string{"2026-03-29", "2026-10-25"}},
		{"America/New_York", []string{"2026-03-08", "2026-11-01"}},
		{"Australia/Lord_Howe", []string{"2026-04-05", "2026-10-04"}},
		{"America/Sao_Paulo", []string{"2018-02-18", "2018-11-04"}},
		{"Pacific/Apia", []string{"2011-12-30", "2012-04-01"}},
		{"Africa/Casablanca", []string{"2026-02-15", "2026-03-22"}},
		{"Asia/Kathmandu", []string{"1986-01-01"}},
		{"America/Havana", []string{"2026-03-08", "2026-11-01"}},
		{"Antarctica/Troll", []string{"2026-03-29", "2026-10-25"}},
		{"UTC", []string{"2026-03-29"}},
	} {
		zone := zoneOf(t, z.zone)
		for _, day := range z.days {
			middle, err := time.ParseInLocation(time.DateOnly, day, zone)
			require.NoError(t, err)
			from, to := middle.Add(-40*time.Hour), middle.Add(60*time.Hour)
			for _, expr := range exprs[:thin.Raced(len(exprs), 3)] {
				c, err := parseCron(expr)
				require.NoError(t, err)
				at := from.Add(-time.Second)
				for _, want := range modelFirings(&c, from, to) {
					at = c.after(at)
					require.Equal(t, want.Format(time.RFC3339), at.Format(time.RFC3339), "%s in %s", expr, z.zone)
				}
				require.False(t, c.after(at).Before(to), "%s in %s: one too many", expr, z.zone)
			}
		}
	}
}

// TestCronAgreesWithTheModelAtRandom: expressions, zones and days by chance.
func TestCronAgreesWithTheModelAtRandom(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Santiago", "America/Havana",
		"Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Africa/Casablanca", "Africa/Cairo", "Asia/Tehran", "Asia/Gaza", "Antarctica/Troll"}
	for _, seed := range seedsFor(t, thin.Raced(8, 2)) {
		rnd := rand.New(rand.NewPCG(seed, 22))
		field := func(low, n int) string {
			switch rnd.IntN(5) {
			case 0:
				return "*"
			case 1:
				return fmt.Sprintf("*/%d", 1+rnd.IntN(n/2))
			case 2:
				a, b := low+rnd.IntN(n), low+rnd.IntN(n)
				return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
			case 3:
				return fmt.Sprintf("%d,%d", low+rnd.IntN(n), low+rnd.IntN(n))
			default:
				return fmt.Sprint(low + rnd.IntN(n))
			}
		}
		for range 20 {
			expr := fmt.Sprintf("%s %s %s %s %s", field(0, 60), field(0, 5), field(1, 31), field(1, 12), field(0, 7))
			c, err := parseCron(expr)
			require.NoError(t, err, expr)
			zone := zoneOf(t, zones[rnd.IntN(len(zones))])
			from := time.Date(1990+rnd.IntN(45), time.Month(1+rnd.IntN(12)), 1+rnd.IntN(28), rnd.IntN(24), 0, 0, 0, zone)
			if _, change := from.ZoneBounds(); !change.IsZero() && rnd.IntN(3) > 0 {
				from = change.Add(-time.Duration(rnd.IntN(40)) * time.Hour).Truncate(time.Minute)
			}
			to := from.Add(80 * time.Hour)
			at := from.Add(-time.Second)
			for _, want := range modelFirings(&c, from, to) {
				at = c.after(at)
				require.Equal(t, want.Format(time.RFC3339), at.Format(time.RFC3339), "seed %d: %s in %s from %v", seed, expr, zone, from)
			}
			next := c.after(at)
			require.False(t, !next.IsZero() && next.Before(to), "seed %d: %s in %s from %v: %v is one too many", seed, expr, zone, from, next)
		}
	}
}

// A zone is stored so that it is the same one after a restart, or refused.
func TestRecurrenceZones(t *testing.T) {
	parsed, err := time.Parse(time.RFC3339, "2026-07-01T08:00:00+02:00")
	require.NoError(t, err)
	fabricated, err := time.Parse("2006-01-02 MST", "2026-07-01 CEST")
	require.NoError(t, err)
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		zone *time.Location
		text string
	}{
		"nil":             {nil, "UTC"},
		"berlin":          {zoneOf(t, "Europe/Berlin"), "Europe/Berlin"},
		"parsed offset":   {parsed.Location(), "+02:00"},
		"fabricated":      {fabricated.Location(), "+00:00"},
		"fixed":           {time.FixedZone("mine", -5*3600-1800), "-05:30"},
		"seconds":         {time.FixedZone("LMT", 3600+61), "+01:01:01"},
		"name of another": {time.FixedZone("Europe/Berlin", 7200), "+02:00"},
		"season's name":   {time.FixedZone("CET", 3600), "+01:00"},
		"UTC moved":       {time.FixedZone("UTC", 3600), "+01:00"},
		"no name":         {time.FixedZone("", 0), "+00:00"},
		"spaces":          {time.FixedZone("a b", 0), "+00:00"},
	} {
		r := Cron("0 8 * * *", c.zone)
		require.NoError(t, r.fault, name)
		assert.Equal(t, "cron "+c.text+" 0 8 * * *", r.String(), name)
		again, err := ParseRecurrence(r.String())
		require.NoError(t, err, name)
		assert.True(t, r.Next(at, at).Equal(again.Next(at, at)), "%s: %v and %v", name, r.Next(at, at), again.Next(at, at))
		assert.Equal(t, 8, again.Next(at, at).Hour(), name)
	}
	assert.ErrorIs(t, Cron("0 8 * * *", time.FixedZone("far", 24*3600)).fault, ErrInvalid)
	for _, text := range []string{"cron +2 0 8 * * *", "cron +25:00 0 8 * * *", "cron -0200 0 8 * * *", "cron + 0 8 * * *"} {
		_, err := ParseRecurrence(text)
		assert.ErrorIs(t, err, ErrInvalid, text)
	}
}

// A recurring message in a zone of time.Parse comes at the same hour after a restart.
func TestRecurringInAFixedZoneAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		e := openOn(t, mem)
		parsed, err := time.Parse(time.RFC3339, "2026-07-01T08:00:00+02:00")
		require.NoError(t, err)
		require.NoError(t, openTopic(t, e, "t").Recur(t.Context(), "daily", Record{}, DailyAt(8, 0, parsed.Location())))
		require.NoError(t, e.Close())
		e = openOn(t, mem)
		top := openTopic(t, e, "t")
		for rec, err := range top.Read(t.Context(), FromStart()) {
			require.NoError(t, err)
			assert.Equal(t, 6, rec.Time.UTC().Hour())
			break
		}
	})
}

// The name of a recurring message is free when its topic was deleted.
func TestRecurringNameOfADeletedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		a := openTopic(t, e, "a")
		require.NoError(t, a.Recur(t.Context(), "yearly", Record{}, Cron("@yearly", nil)))
		b := openTopic(t, e, "b")
		assert.ErrorIs(t, b.Recur(t.Context(), "yearly", Record{}, Cron("@yearly", nil)), ErrExists)
		require.NoError(t, e.DeleteTopic(t.Context(), "a"))
		require.NoError(t, b.Recur(t.Context(), "yearly", Record{}, Cron("@yearly", nil)))
		again := openTopic(t, e, "a")
		assert.ErrorIs(t, again.Recur(t.Context(), "yearly", Record{}, Cron("@yearly", nil)), ErrExists)
		require.NoError(t, e.DeleteTopic(t.Context(), "b"))
		require.NoError(t, again.Recur(t.Context(), "yearly", Record{}, Cron("@yearly", nil)))
		n := 0
		for r, err := range again.Recurring(context.Background()) {
			require.NoError(t, err)
			assert.Equal(t, "yearly", r.Name)
			n++
		}
		assert.Equal(t, 1, n)
	})
}

// Intervals that reach further than a time.Duration counts.
func TestEveryFarAway(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 500, time.UTC)
	year := 365 * 24 * time.Hour
	for _, c := range []struct {
		every  time.Duration
		passed int // years
		want   int // times
	}{
		{290 * year, 1, 1}, {290 * year, 291, 2}, {200 * year, 300, 2}, {math.MaxInt64, 0, 1}, {math.MaxInt64, 293, 2}, {time.Hour, 600, 600*365*24 + 1}, {time.Millisecond, 0, 1},
	} {
		r := Every(c.every)
		at := start.AddDate(0, 0, c.passed*365)
		next := r.Next(start, at)
		every := c.every.Truncate(time.Millisecond).Milliseconds()
		assert.Equal(t, start.UnixMilli()+int64(c.want)*every, next.UnixMilli(), "every %v after %d years", c.every, c.passed)
		assert.True(t, next.After(at))
		assert.Equal(t, 500, next.Nanosecond()%1e6)
	}
	before := Every(time.Hour).Next(start, start.Add(-time.Nanosecond))
	assert.Equal(t, start.Add(time.Hour), before)
	far := time.Unix(math.MaxInt64/1000-10, 0)
	assert.True(t, Every(time.Hour).Next(far, far).IsZero(), "no later time can be stored")
}

func BenchmarkCronNext(b *testing.B) {
	berlin := zoneOf(b, "Europe/Berlin")
	for _, expr := range []string{"* * * * * *", "0 8 * * mon-fri", "0-59 0-59 0-23 * * *", "0 0 29 2 */7", "0 0 30 2 *"} {
		b.Run(expr, func(b *testing.B) {
			r := Cron(expr, berlin)
			at := time.Date(2026, 10, 25, 23, 59, 59, 0, berlin)
			for b.Loop() {
				r.Next(at, at)
			}
		})
	}
}

// A look costs microseconds, however dense or rare the expression.
func TestCronNextIsCheap(t *testing.T) {
	berlin := zoneOf(t, "Europe/Berlin")
	at := time.Date(2026, 10, 25, 23, 59, 59, 0, berlin)
	for expr, most := range map[string]time.Duration{"* * * * * *": time.Millisecond, "0-59 0-59 0-23 * * *": time.Millisecond, "0 0 29 2 */7": 20 * time.Millisecond} {
		r, best := Cron(expr, berlin), time.Hour
		for range 20 {
			began := time.Now()
			r.Next(at, at)
			best = min(best, time.Since(began))
		}
		assert.Less(t, best, most, fmt.Sprint(expr))
	}
}

// Where the zone tells no end of its offset, times that lie behind a change of the clocks are right all the same.
func TestCronBehindWhatTheZoneTells(t *testing.T) {
	zone := zoneOf(t, "Europe/Berlin")
	at := time.Date(2040, 12, 31, 12, 0, 0, 0, zone)
	assert.Equal(t, "2041-07-01T08:00:00+02:00", Cron("0 8 1 7 *", zone).Next(at, at).Format(time.RFC3339))
}
