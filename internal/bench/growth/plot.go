package growth

import (
	"fmt"
	"io"
	"math"
	"strings"
)

const (
	plotLeft, plotTop, plotWide, plotHigh = 60, 40, 420, 300
	plotKey                               = 330
	plotLowest, plotHighest               = 0.01, 100.0
)

var plotColours = []string{"#c2410c", "#2563eb", "#059669", "#7c3aed", "#be185d", "#0891b2", "#ca8a04", "#4b5563"}

// Families groups curves by the first part of their ids, in order.
func Families(curves []*Curve) (names []string, of map[string][]*Curve) {
	of = map[string][]*Curve{}
	for _, c := range curves {
		name, _, _ := strings.Cut(c.ID, "/")
		if of[name] == nil {
			names = append(names, name)
		}
		of[name] = append(of[name], c)
	}
	return names, of
}

// Draw writes curves of one axis as SVG: the cost by that at the smallest size, both scales logarithmic; raw's are dashed.
func Draw(w io.Writer, title string, curves []*Curve) error {
	low, high := reach(curves)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", plotLeft+plotWide+plotKey, plotTop+plotHigh+40)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="10" y="20" font-size="14">%s: cost by that at the smallest size (flat is good); raw dashed</text>`+"\n", title)
	for y := plotLowest; y <= plotHighest; y *= 10 {
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e5e7eb"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			plotLeft, plotY(y), plotLeft+plotWide, plotY(y), plotLeft-6, plotY(y)+4, y)
	}
	for x := low; x <= high; x *= 10 {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#e5e7eb"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n",
			plotX(x, low, high), plotTop, plotX(x, low, high), plotTop+plotHigh, plotX(x, low, high), plotTop+plotHigh+16, x)
	}
	for i, c := range curves {
		colour := plotColours[i%len(plotColours)]
		c.draw(&b, low, high, colour, "", func(p Point) float64 { return float64(p.Cost) })
		c.draw(&b, low, high, colour, ` stroke-dasharray="4 3" stroke-width="1"`, func(p Point) float64 { return float64(p.Raw) })
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", plotLeft+plotWide+12, plotTop+12+i*16, colour, escape(c.ID))
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *Curve) draw(b *strings.Builder, low, high float64, colour, style string, of func(Point) float64) {
	var points []string
	for _, p := range c.Points {
		if first := of(c.Points[0]); first > 0 && of(p) > 0 {
			points = append(points, fmt.Sprintf("%.1f,%.1f", plotX(float64(p.N), low, high), plotY(of(p)/first)))
		}
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s"%s/>`+"\n", strings.Join(points, " "), colour, style)
}

// reach is the smallest and the largest size.
func reach(curves []*Curve) (low, high float64) {
	low, high = math.Inf(1), 1
	for _, c := range curves {
		for _, p := range c.Points {
			low, high = min(low, float64(p.N)), max(high, float64(p.N))
		}
	}
	return low, max(high, 10*low)
}

func plotX(x, low, high float64) float64 {
	return plotLeft + plotWide*math.Log(x/low)/math.Log(high/low)
}

func plotY(y float64) float64 {
	y = min(max(y, plotLowest), plotHighest)
	return plotTop + plotHigh - plotHigh*math.Log(y/plotLowest)/math.Log(plotHighest/plotLowest)
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
