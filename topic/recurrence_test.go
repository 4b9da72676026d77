package topic

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCronAgreesWithCountingMinutes(t *testing.T) {
	start := time.Date(2023, 12, 30, 22, 13, 7, 0, time.UTC)
	for _, expr := range []string{"* * * * *", "*/7 * * * *", "0 8 * * mon-fri", "30 2 1,15 * *", "5/10 3-6/2 * feb *", "0 0 29 2 *", "0 12 13 * fri", "@weekly", "0 0 31 * ?", "59 23 * * 7"} {
		c, err := parseCron(expr)
		require.NoError(t, err)
		at := start
		want := start.Truncate(time.Minute)
		for range 5 {
			for want = want.Add(time.Minute); !c.matchesDay(want) || c.hour>>want.Hour()&1 == 0 || c.minute>>want.Minute()&1 == 0; {
				want = want.Add(time.Minute)
			}
			at = c.after(at)
			require.Equal(t, want, at, expr)
		}
	}
}

func TestCronOnDaysWhenClocksChange(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for _, c := range []struct {
		expr, from string
		want       []string
	}{
		// In 2026 clocks go forward on March 29 from 2:00 to 3:00, and back on October 25 from 3:00 to 2:00.
		{"30 2 * * *", "2026-03-28T12:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"*/20 2-3 * * *", "2026-03-29T00:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-29T03:20:00+02:00", "2026-03-29T03:40:00+02:00"}},
		{"30 2 * * *", "2026-10-24T12:00:00+02:00", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"0 * * * *", "2026-10-25T01:30:00+02:00", []string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"0 8 * * *", "2026-03-28T07:00:00+01:00", []string{"2026-03-28T08:00:00+01:00", "2026-03-29T08:00:00+02:00"}},
	} {
		at, err := time.Parse(time.RFC3339, c.from)
		require.NoError(t, err)
		r := Cron(c.expr, berlin)
		for _, want := range c.want {
			at = r.Next(at, at)
			assert.Equal(t, want, at.Format(time.RFC3339), c.expr)
		}
	}
}

func TestCronRangeUpToSunday(t *testing.T) {
	for text, same := range map[string]string{"* * * * fri-sun": "* * * * 5-7", "* * * * 6-0": "* * * * sat,sun", "* * * * sun-sun": "* * * * 0",
		"* * * * sun-tue": "* * * * 0-2"} {
		a, err := parseCron(text)
		require.NoError(t, err)
		b, err := parseCron(same)
		require.NoError(t, err)
		assert.Equal(t, b, a, text)
	}
}

func TestBadRecurrences(t *testing.T) {
	for _, text := range []string{"", "every", "every 0s", "every -1h", "sometimes", "cron UTC", "cron UTC * * * *", "cron UTC 60 * * * *",
		"cron UTC * 24 * * *", "cron UTC * * 0 * *", "cron UTC * * * 13 *", "cron UTC * * * * 8", "cron UTC 5-1 * * * *", "cron UTC */0 * * * *",
		"cron UTC ,1 * * * *", "cron UTC 1- * * * *", "cron UTC * * * foo *", "cron Nowhere/City * * * * *", "cron UTC +1 * * * *"} {
		_, err := ParseRecurrence(text)
		assert.ErrorIs(t, err, ErrInvalid, text)
	}
	never := Cron("0 0 30 2 *", nil)
	assert.True(t, never.Next(time.Now(), time.Now()).IsZero())
}

func FuzzParseRecurrence(f *testing.F) {
	for _, s := range []string{"every 1h", "cron UTC 0 8 * * mon-fri", "cron Europe/Berlin */5 1,2,3 1-31/2 jan-mar ?", "cron UTC @daily", "cron UTC 1 2 3 4 5 6"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRecurrence(text)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalid)
			return
		}
		again, err := ParseRecurrence(r.String())
		require.NoError(t, err)
		at := time.Date(2026, 3, 28, 23, 59, 59, 0, time.UTC)
		for range 3 {
			next := r.Next(at, at)
			require.True(t, next.Equal(again.Next(at, at)))
			if next.IsZero() {
				return
			}
			require.True(t, next.After(at))
			at = next
		}
	})
}

func ExampleCron() {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		fmt.Println(err)
		return
	}
	r := Cron("30 8 * * mon-fri", berlin)
	at := time.Date(2026, 3, 26, 12, 0, 0, 0, berlin) // a Thursday; clocks change on Sunday
	for range 3 {
		at = r.Next(at, at)
		fmt.Println(at.Format(time.RFC3339))
	}
	// Output:
	// 2026-03-27T08:30:00+01:00
	// 2026-03-30T08:30:00+02:00
	// 2026-03-31T08:30:00+02:00
}
