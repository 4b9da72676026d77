package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/bench/growth"
)

func TestTable(t *testing.T) {
	tab := table{{"name", "n"}, {"a", "10"}, {"µ", "9"}}
	var text, page bytes.Buffer
	require.NoError(t, tab.writeText(&text, 1))
	assert.Equal(t, "name   n\n--------\na     10\nµ      9\n", text.String())
	require.NoError(t, tab.writeMarkdown(&page, 1))
	assert.Equal(t, "| name | n |\n| --- | ---: |\n| a | 10 |\n| µ | 9 |\n", page.String())
}

func TestGrowthTables(t *testing.T) {
	at := func(n int, cost time.Duration) growth.Point {
		return growth.Point{N: n, Cost: cost, Raw: time.Microsecond}
	}
	c := &growth.Curve{ID: "x/y", Axis: "things", Unit: "record", Points: []growth.Point{at(1, time.Microsecond), at(10, 2*time.Microsecond), at(100, 4*time.Microsecond)}}
	curves := []*growth.Curve{c, {Points: []growth.Point{at(1, 1)}}, {}}
	points, summary := growthPoints(curves), growthSummary(curves)
	assert.Len(t, points, 5, "a head and a line for each point")
	assert.Len(t, summary, 3, "a curve without points is left out")
	for _, all := range []table{points, summary} {
		for _, line := range all {
			assert.Len(t, line, len(all[0]))
		}
	}
	assert.Equal(t, []string{"x/y", "record", "1.00 us at 1", "4.00 us at 100 things", "+0.30", "+0.00", "2.00", "1.00", "GROWS: 2.0 x at 10"}, summary[1])
}

func TestShow(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "-", 1500: "1.50 us", 25 * time.Microsecond: "25 us", 1500 * time.Microsecond: "1.5 ms", time.Second: "1000 ms"} {
		assert.Equal(t, want, showDuration(d))
	}
	assert.Equal(t, "~0", showCount(0.0001))
	assert.Equal(t, "0", showCount(0))
	assert.Equal(t, "6.020", showCount(6.02))
	assert.Equal(t, "-", showRatio(0))
	assert.Equal(t, "0.85", showRatio(0.85))
	assert.Equal(t, ">= 1.2 x raw, p50 <= 300 us", target{ratio: 1.2, p50: 300 * time.Microsecond}.String())
}
