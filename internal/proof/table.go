package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes the table, the notes, and one command for each failure.
func (r *runner) print(w io.Writer, took time.Duration) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "lane\tcases\tlost\tholes\tundetected\twrong\thost deaths\tseconds\t")
	for _, t := range r.tallies {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f\t\n", t.lane.name, t.cases.Load(),
			t.byKind[lost].Load(), t.byKind[hole].Load(), t.byKind[undetected].Load(),
			t.byKind[wrong].Load(), t.byKind[death].Load(), t.took.Seconds())
	}
	_ = tw.Flush()
	for _, t := range r.tallies {
		for _, note := range t.notes {
			fmt.Fprintf(w, "%s: %s\n", t.lane.name, note)
		}
	}
	for _, t := range r.tallies {
		t.printFailures(w)
	}
	fmt.Fprintf(w, "seed %d, tier %s, %.1f s: %s\n", r.seed, r.tier, took.Seconds(), r.verdict())
}

func (t *tally) printFailures(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.failures {
		text := strings.ReplaceAll(strings.TrimSpace(f.err.Error()), "\n", "\n\t")
		fmt.Fprintf(w, "FAIL %s (%d such)\n\t%s\n\tgo run . -replay %s\n", f.name,
			t.seen[classOf(f.name, kindOf(f.err))], text, f.name)
	}
}

func (r *runner) verdict() string {
	if r.failed() {
		return "FAILED"
	}
	return "nothing lost, no holes, nothing undetected"
}
