package main

import (
	"fmt"
	"strings"
	"time"
)

// A workload is one row of the summary: what is measured, what is aimed for, and why that can be reached.
type workload struct {
	id     string // "P4-100": the target, then the variant
	group  string // the table and plot it belongs to
	name   string
	level  Level
	open   func(*env, System) (trial, error) // nil, nil: the system cannot do it
	score  func(sample) float64              // higher is better; the ratio to raw is made of it
	target target
	limits []limit
	why    string // why the target can be reached
	short  string // what a profile shows where it is not
	once   bool   // one sample is enough: it counts things that do not vary
	full   bool   // only in the full tier
}

// A target is what performance.md aims for. Zero fields ask for nothing.
type target struct {
	ratio             float64 // at least so many times raw
	p50, p99, elapsed time.Duration
	idle              idleCost
}

func (t target) String() string {
	var parts []string
	if t.ratio > 0 {
		parts = append(parts, fmt.Sprintf(">= %g x raw", t.ratio))
	}
	for _, d := range []struct {
		name string
		most time.Duration
	}{{"p50 ", t.p50}, {"p99 ", t.p99}, {"", t.elapsed}} {
		if d.most > 0 {
			parts = append(parts, d.name+"<= "+showDuration(d.most))
		}
	}
	if t.idle.Heap > 0 {
		parts = append(parts, fmt.Sprintf("<= %.1f KB, %g goroutines, %g files", t.idle.Heap/1000, t.idle.Goroutines, t.idle.Files))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// missed lists what quire did not reach; empty when the target is met or there is none.
func (t target) missed(r *result, o *outcome) (list []string) {
	late := func(what string, got, most time.Duration) {
		if most > 0 && got > most {
			list = append(list, fmt.Sprintf("%s%s > %s", what, showDuration(got), showDuration(most)))
		}
	}
	if x := r.ratio(o); t.ratio > 0 && x < t.ratio {
		list = append(list, fmt.Sprintf("%.2f < %g x raw", x, t.ratio))
	}
	late("p50 ", mid(o, p50), t.p50)
	late("p99 ", mid(o, p99), t.p99)
	late("", mid(o, elapsed), t.elapsed)
	if t.idle.Heap > 0 {
		c := o.samples[0].idle
		for _, f := range []struct {
			name      string
			got, most float64
		}{{"heap", c.Heap, t.idle.Heap}, {"goroutines", c.Goroutines, t.idle.Goroutines + 0.01}, {"files", c.Files, t.idle.Files}} {
			if f.got > f.most {
				list = append(list, fmt.Sprintf("%s %.3g > %.3g", f.name, f.got, f.most))
			}
		}
	}
	return list
}

// A limit is on what noise cannot move: counts of allocations, calls and bytes. Breaking one fails the run.
type limit struct {
	name string
	of   func(sample) float64
	most float64
}

// broken lists the limits that quire breaks even in its best sample.
func (w *workload) broken(o *outcome) (list []string) {
	for _, l := range w.limits {
		if got := least(o, l.of); got > l.most {
			list = append(list, fmt.Sprintf("%s %.4g > %.4g", l.name, got, l.most))
		}
	}
	return list
}

func noAllocs() limit               { return limit{"allocations/record", allocsPerRecord, 0.01} }
func writesAtMost(n float64) limit  { return limit{"writes/batch", writesPerBatch, n} }
func writtenAtMost(n float64) limit { return limit{"bytes written/byte", writtenPerByte, n} }

// writtenTwice is for data that overwrites zeros: those that lie ahead at the end, a mebibyte, count the less the more a machine appends.
func writtenTwice() limit {
	return limit{"bytes written/byte, what lies ahead aside", func(s sample) float64 { return share(s.calls.WriteBytes-1<<20, s.bytes) }, 2.6}
}
func readsAtMost(n float64) limit { return limit{"reads/record", readsPerRecord, n} }

// wanted tells whether a -run list names the workload: by its target, its id or its group.
func (w *workload) wanted(list []string) bool {
	if len(list) == 0 {
		return true
	}
	head, _, _ := strings.Cut(w.id, "-")
	for _, name := range list {
		if strings.EqualFold(name, w.id) || strings.EqualFold(name, head) || strings.EqualFold(name, w.group) {
			return true
		}
	}
	return false
}
