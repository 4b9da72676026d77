package growth

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// curved is a curve with costs in microseconds at sizes that are powers of ten; raw may be shorter.
func curved(ours, raw []int) *Curve {
	c := &Curve{ID: "x/y", Name: "what", Axis: "things", Unit: "record", Machine: "the disk", Limits: unlimited}
	n := 1
	for i, cost := range ours {
		p := Point{N: n, Cost: time.Duration(cost) * time.Microsecond}
		if i < len(raw) {
			p.Raw = time.Duration(raw[i]) * time.Microsecond
		}
		c.Points = append(c.Points, p)
		n *= 10
	}
	return c
}

func TestCurveArithmetic(t *testing.T) {
	cases := []struct {
		name      string
		ours, raw []int
		exponent  float64
		worst     int     // index of a point
		step      float64 // there
		verdict   Verdict
		says      string
	}{
		{"flat", []int{100, 100, 100}, []int{10, 10, 10}, 0, 1, 1, Flat, "flat"},
		{"in proportion", []int{1, 10, 100}, []int{1, 1, 1}, 1, 1, 10, Grows, "GROWS: 10.0 x at 10"},
		{"by the square", []int{1, 100, 10_000}, nil, 2, 1, 100, Grows, "GROWS: 100.0 x at 10"},
		{"falls", []int{1000, 100, 10}, nil, -1, 1, 0.1, Flat, "flat"},
		{"just below", []int{100, 129}, nil, 0.1106, 1, 1.29, Flat, "flat"},
		{"just not below", []int{100, 130}, nil, 0.1139, 1, 1.3, Grows, "GROWS: 1.3 x at 10"},
		{"as the machine does", []int{100, 500}, []int{10, 50}, 0.699, 1, 5, Machine, "machine: the disk"},
		{"a little more than the machine", []int{100, 500}, []int{10, 39}, 0.699, 1, 5, Machine, "machine: the disk"},
		{"more than the machine", []int{100, 500}, []int{10, 38}, 0.699, 1, 5, Grows, "GROWS: 5.0 x at 10"},
		{"grows once, less than the machine elsewhere", []int{100, 500, 700}, []int{10, 50, 50}, 0.4226, 2, 1.4, Grows, "GROWS: 1.4 x at 100"},
		{"one point", []int{100}, []int{10}, 0, 0, 0, Flat, "flat"},
		{"a point without a cost", []int{100, 0, 100}, nil, 0, 1, 0, Flat, "flat"},
		{"no points", nil, nil, 0, 0, 0, Flat, "flat"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x := curved(c.ours, c.raw)
			assert.InDelta(t, c.exponent, x.Exponent(QuireCost), 0.001)
			assert.Equal(t, c.worst, x.Worst())
			assert.InDelta(t, c.step, x.Step(c.worst, QuireCost), 0.001)
			assert.Equal(t, c.verdict, x.Verdict())
			assert.Equal(t, c.says, x.Says())
		})
	}
}

func TestStepIsByDecade(t *testing.T) {
	c := &Curve{Points: []Point{{N: 100, Cost: 100}, {N: 10_000, Cost: 400}, {N: 20_000, Cost: 800}}}
	assert.InDelta(t, 2, c.Step(1, QuireCost), 0.001, "two decades: the root")
	assert.InDelta(t, 10, c.Step(2, QuireCost), 0.001, "less than a decade: more")
}

func TestExponentIsByLeastSquares(t *testing.T) {
	c := curved([]int{10, 100, 100, 1000}, []int{7, 7, 7, 7})
	assert.InDelta(t, 0.6, c.Exponent(QuireCost), 0.001)
	assert.InDelta(t, 0, c.Exponent(RawCost), 0.001)
}

func TestBrokenCounts(t *testing.T) {
	good := Point{N: 10, Counts: Counts{1, 2, 3, 4, 5}, Heap: 6, HeapBound: 6, Files: 7, FilesBound: 7}
	cases := []struct {
		name string
		bad  func(p *Point)
		says string
	}{
		{"allocations", func(p *Point) { p.Counts.Allocs = 1.5 }, "x/y at 10 things: allocations a record 1.5 > 1"},
		{"writes", func(p *Point) { p.Counts.Writes = 3 }, "x/y at 10 things: writes a record 3 > 2"},
		{"bytes", func(p *Point) { p.Counts.WriteBytes = 4 }, "x/y at 10 things: bytes written a record 4 > 3"},
		{"syncs", func(p *Point) { p.Counts.Syncs = 5 }, "x/y at 10 things: syncs a record 5 > 4"},
		{"opens", func(p *Point) { p.Counts.Opens = 6 }, "x/y at 10 things: files opened a record 6 > 5"},
		{"heap", func(p *Point) { p.Heap = 7 }, "x/y at 10 things: bytes of heap 7 > 6"},
		{"files", func(p *Point) { p.Files = 8 }, "x/y at 10 things: descriptors 8 > 7"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x := curved(nil, nil)
			x.Limits = Limits{1, 2, 3, 4, 5}
			x.Points = []Point{good}
			assert.Empty(t, x.Broken())
			p := good
			c.bad(&p)
			x.Points = append(x.Points, p)
			assert.Equal(t, []string{c.says}, x.Broken())
			x.Limits, x.Points[1].HeapBound, x.Points[1].FilesBound = unlimited, 0, 0
			assert.Empty(t, x.Broken(), "nothing names a bound")
		})
	}
}

func TestCallsCostBesideTheirUnits(t *testing.T) {
	c := curved(nil, nil)
	c.Limits, c.Call = Limits{1, 0, -1, 0, 0}, Counts{Allocs: 10, Syncs: 2}
	c.Points = []Point{{N: 1, Counts: Counts{Allocs: 11, Syncs: 2}}, {N: 100, Counts: Counts{Allocs: 1.1, Syncs: 0.02}}}
	assert.Empty(t, c.Broken())
	c.Points[1].Counts = Counts{Allocs: 1.2, Syncs: 0.03}
	assert.Equal(t, []string{"x/y at 100 things: allocations a record 1.2 > 1.1", "x/y at 100 things: syncs a record 0.03 > 0.02"}, c.Broken())
}

func TestPointsTakeMediansAndLeasts(t *testing.T) {
	at := func(ms int, allocs uint64, heap float64, files int) sample {
		return sample{ops: 10, elapsed: time.Duration(ms) * time.Millisecond, allocs: allocs, heap: heap, files: files, heapBound: 9, filesBound: 8}
	}
	p := point(7, []sample{at(30, 20, 1, 2), at(10, 30, 3, 1), at(20, 40, 2, 3)}, []sample{at(5, 0, 0, 0)})
	assert.Equal(t, Point{N: 7, Cost: 2 * time.Millisecond, Raw: 500 * time.Microsecond, Counts: Counts{Allocs: 2}, Heap: 3, HeapBound: 9, Files: 3, FilesBound: 8}, p)
	assert.Zero(t, point(7, []sample{at(30, 20, 1, 2)}, nil).Raw)
}

func TestPlot(t *testing.T) {
	curves := []*Curve{curved([]int{1, 2, 4}, []int{1, 1, 1}), curved([]int{5}, nil), curved(nil, nil)}
	var b bytes.Buffer
	require.NoError(t, Draw(&b, "x", curves))
	assert.Equal(t, 6, strings.Count(b.String(), "<polyline"))
	assert.Contains(t, b.String(), "</svg>")
	names, of := Families(curves)
	assert.Equal(t, []string{"x"}, names)
	assert.Len(t, of["x"], 3)
}
