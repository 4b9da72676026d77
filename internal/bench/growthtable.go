package main

import (
	"fmt"

	"github.com/quirelog/quire/internal/bench/growth"
)

// growthPoints is a table with a line for each size of each curve.
func growthPoints(curves []*growth.Curve) table {
	t := table{{"curve", "what", "at", "quire", "raw", "step", "raw step", "allocs", "writes", "syncs", "opens", "heap MB", "<=", "files", "<="}}
	for _, c := range curves {
		for i, p := range c.Points {
			line := []string{"", ""}
			if i == 0 {
				line = []string{c.ID, c.Name + ", a " + c.Unit}
			}
			t = append(t, append(line, fmt.Sprintf("%d %s", p.N, c.Axis), showDuration(p.Cost), showDuration(p.Raw), showRatio(c.Step(i, growth.QuireCost)), showRatio(c.Step(i, growth.RawCost)),
				showCount(p.Counts.Allocs), showCount(p.Counts.Writes), showCount(p.Counts.Syncs), showCount(p.Counts.Opens),
				megabytes(p.Heap), megabytes(p.HeapBound), bound(p.Files), bound(p.FilesBound)))
		}
	}
	return t
}

// growthSummary is a table with a line for each curve.
func growthSummary(curves []*growth.Curve) table {
	t := table{{"curve", "a", "from", "to", "exponent", "raw exponent", "worst decade", "raw there", "verdict"}}
	for _, c := range curves {
		if len(c.Points) == 0 {
			continue
		}
		first, last, at := c.Points[0], c.Points[len(c.Points)-1], c.Worst()
		t = append(t, []string{c.ID, c.Unit, showDuration(first.Cost) + " at " + fmt.Sprint(first.N), fmt.Sprintf("%s at %d %s", showDuration(last.Cost), last.N, c.Axis),
			fmt.Sprintf("%+.2f", c.Exponent(growth.QuireCost)), fmt.Sprintf("%+.2f", c.Exponent(growth.RawCost)), showRatio(c.Step(at, growth.QuireCost)), showRatio(c.Step(at, growth.RawCost)), c.Says()})
	}
	return t
}

func megabytes(x float64) string {
	if x <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", x/1e6)
}

func bound(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
