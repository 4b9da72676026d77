package main

import (
	"fmt"
	"io"
	"strings"
)

// A verdict is how quire stands in one workload.
type verdict struct {
	missed []string // times and ratios: fail the run only with -check
	broken []string // limits that noise cannot move, and errors: fail it always
}

func judge(r *result) (v verdict) {
	for _, o := range r.outcomes {
		if o.err != nil {
			v.broken = append(v.broken, fmt.Sprintf("%s: %v", o.sys.Name(), o.err))
		}
	}
	o := r.of("quire")
	if o == nil {
		return v
	}
	v.missed = r.workload.target.missed(r, o)
	v.broken = append(v.broken, r.workload.broken(o)...)
	return v
}

func (v verdict) String() string {
	switch {
	case len(v.broken) > 0:
		return "FAILS: " + strings.Join(append(v.broken, v.missed...), "; ")
	case len(v.missed) > 0:
		return "short: " + strings.Join(v.missed, "; ")
	}
	return "ok"
}

// summary is one line a workload: the page to look at first.
func summary(results []*result) table {
	t := table{{"#", "workload", "raw", "quire", "x raw", "target", "best peer (x raw)", "allocs/rec", "verdict"}}
	for _, r := range results {
		w := r.workload
		line := []string{w.id, w.name, figure(r, "raw"), figure(r, "quire"), "-", w.target.String(), "-", "-", "-"}
		if o := r.of("quire"); o != nil {
			line[4], line[7] = showRatio(r.ratio(o)), allocCell(r, o)
		}
		aimed := w.target != target{} && r.of("quire") != nil
		if v := judge(r).String(); v != "ok" || aimed {
			line[8] = v
		}
		if o := r.bestPeer(); o != nil {
			line[6] = fmt.Sprintf("%s %s (%s)", o.sys.Name(), figure(r, o.sys.Name()), showRatio(r.ratio(o)))
		}
		t = append(t, line)
	}
	return t
}

func allocCell(r *result, o *outcome) string {
	if r.workload.group == groupOpen || r.workload.group == groupIdle {
		return "-"
	}
	return showCount(mid(o, allocsPerRecord))
}

// figure is the one number that the workload is about.
func figure(r *result, name string) string {
	o := r.of(name)
	if o == nil {
		return "-"
	}
	switch r.workload.group {
	case groupOpen:
		return showDuration(mid(o, elapsed))
	case groupIdle:
		c := o.samples[0].idle
		return fmt.Sprintf("%.1f KB, %.2g, %.2g", c.Heap/1000, c.Goroutines, c.Files)
	case groupTail:
		if r.workload.target.p50 > 0 {
			return showDuration(mid(o, p50)) + " / " + showDuration(mid(o, p99))
		}
	}
	return showRate(mid(o, rate)) + " k/s"
}

// writeReasons says what profiles show for each missed target.
func writeReasons(w io.Writer, results []*result) error {
	said := map[string]bool{}
	for _, r := range results {
		if len(judge(r).missed) == 0 || r.workload.short == "" || said[r.workload.short] {
			continue
		}
		said[r.workload.short] = true
		head, _, _ := strings.Cut(r.workload.id, "-")
		if _, err := fmt.Fprintf(w, "- %s falls short: %s\n", head, r.workload.short); err != nil {
			return err
		}
	}
	return nil
}
