package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// A plot is horizontal bars on a logarithmic scale of the ratio to raw, a tick where the target lies.
type plot struct {
	title string
	rows  []plotRow
}

type plotRow struct {
	label  string
	target float64 // 0: none
	bars   []plotBar
}

type plotBar struct {
	system string
	ratio  float64
}

const (
	plotLeft, plotWidth     = 300, 520
	plotBarHigh, plotRowGap = 13, 12
	plotLowest, plotHighest = 0.01, 100.0
	plotTop, plotFoot       = 46, 30
)

var plotColours = map[string]string{"quire": "#c2410c", "quire-log": "#fb923c", "raw": "#9ca3af", "rawpre": "#6b7280", "channel": "#d1d5db", "tidwall": "#2563eb", "raft-wal": "#059669"}

// plotOf draws the workloads of a group that have a ratio.
func plotOf(group string, results []*result) plot {
	p := plot{title: group + ": ratio to the raw system calls (longer is better)"}
	for _, r := range results {
		row := plotRow{label: r.workload.id + "  " + r.workload.name, target: r.workload.target.ratio}
		for _, o := range r.outcomes {
			if x := r.ratio(o); x > 0 {
				row.bars = append(row.bars, plotBar{o.sys.Name(), x})
			}
		}
		if len(row.bars) > 0 {
			p.rows = append(p.rows, row)
		}
	}
	return p
}

func (p plot) height() int {
	h := plotTop + plotFoot
	for _, r := range p.rows {
		h += len(r.bars)*plotBarHigh + plotRowGap
	}
	return h
}

func plotX(ratio float64) float64 {
	ratio = min(max(ratio, plotLowest), plotHighest)
	return plotLeft + plotWidth*math.Log(ratio/plotLowest)/math.Log(plotHighest/plotLowest)
}

func (p plot) write(w io.Writer) error {
	var b strings.Builder
	width := plotLeft + plotWidth + 70
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", width, p.height())
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="10" y="20" font-size="14">%s</text>`+"\n", escape(p.title))
	p.writeGrid(&b)
	y := plotTop
	for _, r := range p.rows {
		y = r.write(&b, y)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (p plot) writeGrid(b *strings.Builder) {
	bottom := p.height() - plotFoot
	for _, x := range []float64{0.01, 0.1, 1, 10, 100} {
		colour := "#e5e7eb"
		if x == 1 {
			colour = "#374151"
		}
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n",
			plotX(x), plotTop-8, plotX(x), bottom, colour, plotX(x), bottom+16, x)
	}
}

func (r plotRow) write(b *strings.Builder, y int) int {
	top := y
	for _, bar := range r.bars {
		x := plotX(bar.ratio)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" font-size="9">%s %s</text>`+"\n",
			plotLeft, y, x-plotLeft, plotBarHigh-2, plotColours[bar.system], x+4, y+plotBarHigh-4, escape(bar.system), showRatio(bar.ratio))
		y += plotBarHigh
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-8, (top+y)/2+3, escape(r.label))
	if r.target > 0 {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="black" stroke-dasharray="3 2"/>`+"\n", plotX(r.target), top-2, plotX(r.target), y)
	}
	return y + plotRowGap
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
