package growth

import (
	"fmt"
	"time"
)

// Points is a table with a line for each size of each curve; the first line is its head.
func Points(curves []*Curve) [][]string {
	t := [][]string{{"curve", "what", "at", "quire", "raw", "step", "raw step", "allocs", "writes", "syncs", "opens", "heap MB", "<=", "files", "<="}}
	for _, c := range curves {
		for i, p := range c.Points {
			line := []string{"", ""}
			if i == 0 {
				line = []string{c.ID, c.Name + ", a " + c.Unit}
			}
			t = append(t, append(line, fmt.Sprintf("%d %s", p.N, c.Axis), show(p.Cost), show(p.Raw), times(c.step(i, quireCost)), times(c.step(i, rawCost)),
				number(p.Counts.Allocs), number(p.Counts.Writes), number(p.Counts.Syncs), number(p.Counts.Opens),
				megabytes(p.Heap), megabytes(p.HeapBound), bound(p.Files), bound(p.FilesBound)))
		}
	}
	return t
}

// Summary is a table with a line for each curve.
func Summary(curves []*Curve) [][]string {
	t := [][]string{{"curve", "a", "from", "to", "exponent", "raw exponent", "worst decade", "raw there", "verdict"}}
	for _, c := range curves {
		if len(c.Points) == 0 {
			continue
		}
		first, last, at := c.Points[0], c.Points[len(c.Points)-1], c.worst()
		t = append(t, []string{c.ID, c.Unit, show(first.Cost) + " at " + fmt.Sprint(first.N), fmt.Sprintf("%s at %d %s", show(last.Cost), last.N, c.Axis),
			fmt.Sprintf("%+.2f", c.exponent(quireCost)), fmt.Sprintf("%+.2f", c.exponent(rawCost)), times(c.step(at, quireCost)), times(c.step(at, rawCost)), c.says()})
	}
	return t
}

// says is the verdict with its reason.
func (c *Curve) says() string {
	at := c.worst()
	switch c.Verdict() {
	case Machine:
		return "machine: " + c.Machine
	case Grows:
		return fmt.Sprintf("GROWS: %.1f x at %d", c.step(at, quireCost), c.Points[at].N)
	}
	return string(Flat)
}

func show(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g us", float64(d)/1e3)
	}
	return fmt.Sprintf("%.3g ms", float64(d)/1e6)
}

func times(x float64) string {
	if x == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", x)
}

func number(x float64) string {
	if x < 0.005 {
		return "0"
	}
	return fmt.Sprintf("%.3g", x)
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
