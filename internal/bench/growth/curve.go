// Package growth measures how the cost of an operation rises with the size of what it works on: partitions, bytes, readers, members, jobs.
// Each size is measured for quire and for the raw system calls beneath it, in turns.
package growth

import (
	"fmt"
	"math"
	"time"
)

// mostStep is what a cost may rise by from one decade to the next.
const mostStep = 1.3

// A Curve is one cost at growing sizes.
type Curve struct {
	ID      string // "partitions/durable"
	Name    string
	Axis    string // what N counts
	Unit    string // what one cost is of: "record"
	Machine string // the limit of the machine where raw rises as much
	Limits  Limits
	Call    Counts // what a call that does all N may cost beside them
	Points  []Point
}

// A Point is one size measured: medians of times, the least of counts, the most of what is held.
type Point struct {
	N          int
	Cost, Raw  time.Duration // of one unit
	Counts     Counts        // of one unit
	Heap       float64       // bytes above what there was before the engine
	HeapBound  float64       // by the options that name it; 0: none does
	Files      int           // descriptors that the engine holds
	FilesBound int
}

// Counts are what noise cannot move.
type Counts struct {
	Allocs, Writes, WriteBytes, Syncs, Opens float64
}

// Limits are the most of each count that a unit may cost at any size; negative: not limited.
type Limits Counts

// unlimited is for curves whose counts are shown only.
var unlimited = Limits{-1, -1, -1, -1, -1}

// Verdict is what a curve shows.
type Verdict string

// The verdicts.
const (
	Flat    Verdict = "flat"
	Machine Verdict = "machine" // it rises, and raw rises as much
	Grows   Verdict = "grows"
)

// QuireCost is the cost of a unit for quire.
func QuireCost(p Point) time.Duration { return p.Cost }

// RawCost is that of the same by system calls.
func RawCost(p Point) time.Duration { return p.Raw }

// Exponent is the slope of log cost over log N by least squares: 0 is flat, 1 is in proportion. It is 0 with fewer than two points.
func (c *Curve) Exponent(of func(Point) time.Duration) float64 {
	var n, sx, sy, sxx, sxy float64
	for _, p := range c.Points {
		if p.N <= 0 || of(p) <= 0 {
			continue
		}
		x, y := math.Log(float64(p.N)), math.Log(float64(of(p)))
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	d := n*sxx - sx*sx
	if n < 2 || d <= 0 {
		return 0
	}
	return (n*sxy - sx*sy) / d
}

// Step is how much a cost rises from point i-1 to i for ten times the size; 0 when it cannot be told.
func (c *Curve) Step(i int, of func(Point) time.Duration) float64 {
	if i < 1 {
		return 0
	}
	a, b := c.Points[i-1], c.Points[i]
	if of(a) <= 0 || of(b) <= 0 || a.N <= 0 || b.N <= a.N {
		return 0
	}
	return math.Pow(float64(of(b))/float64(of(a)), 1/math.Log10(float64(b.N)/float64(a.N)))
}

// stepVerdict judges one step: what raw rises by is the machine's.
func (c *Curve) stepVerdict(i int) Verdict {
	ours, its := c.Step(i, QuireCost), c.Step(i, RawCost)
	switch {
	case ours < mostStep:
		return Flat
	case its > 0 && ours/its < mostStep:
		return Machine
	}
	return Grows
}

// Worst is the point whose step is the worst: one that grows before one that is the machine's, then the steeper.
func (c *Curve) Worst() (at int) {
	rank := map[Verdict]int{Flat: 0, Machine: 1, Grows: 2}
	for i := 1; i < len(c.Points); i++ {
		a, b := rank[c.stepVerdict(i)], rank[c.stepVerdict(at)]
		if at == 0 || a > b || a == b && c.Step(i, QuireCost) > c.Step(at, QuireCost) {
			at = i
		}
	}
	return at
}

// Verdict is that of the worst step.
func (c *Curve) Verdict() Verdict { return c.stepVerdict(c.Worst()) }

// Says is the verdict with its reason.
func (c *Curve) Says() string {
	at := c.Worst()
	switch c.Verdict() {
	case Machine:
		return "machine: " + c.Machine
	case Grows:
		return fmt.Sprintf("GROWS: %.1f x at %d", c.Step(at, QuireCost), c.Points[at].N)
	}
	return string(Flat)
}

// Broken lists what noise cannot move and is not as it must be, at every size.
func (c *Curve) Broken() (list []string) {
	for _, p := range c.Points {
		most := func(what string, got, most float64) {
			if got > most {
				list = append(list, fmt.Sprintf("%s at %d %s: %s %.4g > %.4g", c.ID, p.N, c.Axis, what, got, most))
			}
		}
		l, all := c.Limits, c.Call
		for _, f := range []struct {
			what            string
			got, most, call float64
		}{{"allocations", p.Counts.Allocs, l.Allocs, all.Allocs}, {"writes", p.Counts.Writes, l.Writes, all.Writes},
			{"bytes written", p.Counts.WriteBytes, l.WriteBytes, all.WriteBytes}, {"syncs", p.Counts.Syncs, l.Syncs, all.Syncs},
			{"files opened", p.Counts.Opens, l.Opens, all.Opens}} {
			if f.most >= 0 {
				most(f.what+" a "+c.Unit, f.got, f.most+f.call/float64(p.N))
			}
		}
		if p.HeapBound > 0 {
			most("bytes of heap", p.Heap, p.HeapBound)
		}
		if p.FilesBound > 0 {
			most("descriptors", float64(p.Files), float64(p.FilesBound))
		}
	}
	return list
}
