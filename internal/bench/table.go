package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// A table is lines of cells; the first line is the head. The same table goes to the terminal and into the page.
type table [][]string

// writeText aligns the columns: the first leftmost ones to the left, figures to the right.
func (t table) writeText(w io.Writer, left int) error {
	width := make([]int, len(t[0]))
	for _, line := range t {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range t {
		var b strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i < left {
				b.WriteString(cell + pad + "  ")
			} else {
				b.WriteString(pad + cell + "  ")
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
		if n == 0 {
			if _, err := fmt.Fprintln(w, strings.Repeat("-", sum(width)+2*(len(width)-1))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t table) writeMarkdown(w io.Writer, left int) error {
	for n, line := range t {
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | ")); err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		rule := strings.Repeat(" --- |", left) + strings.Repeat(" ---: |", len(line)-left)
		if _, err := fmt.Fprintf(w, "|%s\n", rule); err != nil {
			return err
		}
	}
	return nil
}

func sum(list []int) (n int) {
	for _, x := range list {
		n += x
	}
	return n
}

// A column of a group's table.
type column struct {
	head string
	cell func(*result, *outcome) string
}

func count(f func(sample) float64) func(*result, *outcome) string {
	return func(_ *result, o *outcome) string { return showCount(mid(o, f)) }
}

func duration(f func(sample) time.Duration) func(*result, *outcome) string {
	return func(_ *result, o *outcome) string { return showDuration(mid(o, f)) }
}

func ratioCell(r *result, o *outcome) string { return showRatio(r.ratio(o)) }

func rateCell(_ *result, o *outcome) string { return showRate(mid(o, rate)) }

func speedCell(_ *result, o *outcome) string {
	return fmt.Sprintf("%.0f", mid(o, func(s sample) float64 { return share(s.bytes, 1) / s.elapsed.Seconds() / 1e6 }))
}

// syncCell leaves a dash where nobody counts syncs.
func syncCell(_ *result, o *outcome) string {
	if !o.samples[0].exactCalls {
		return "-"
	}
	return showCount(mid(o, syncsPerBatch))
}

// columnsOf gives the columns of a group: what is worth knowing differs.
func columnsOf(group string) []column {
	memory := []column{{"allocs/rec", count(allocsPerRecord)}, {"B alloc/rec", count(bytesPerRecord)}}
	speed := []column{{"krec/s", rateCell}, {"MB/s", speedCell}, {"x raw", ratioCell}}
	tailTimes := []column{{"p50", duration(p50)}, {"p99", duration(p99)}}
	writes := []column{{"writes/batch", count(writesPerBatch)}, {"written B/B", count(writtenPerByte)}}
	reads := []column{{"reads/rec", count(readsPerRecord)}, {"read B/B", count(readPerByte)}}
	switch group {
	case groupAppend:
		return join(speed, memory, writes)
	case groupDurable:
		return join(speed, tailTimes, memory, writes, []column{{"syncs/batch", syncCell}})
	case groupRead:
		return join(speed, memory, reads)
	case groupRandom:
		return join(speed[:1], speed[2:], tailTimes, memory, reads)
	case groupTail:
		return join(speed[:1], speed[2:], tailTimes, memory)
	case groupQueue:
		return join(speed, memory, writes, []column{{"syncs/batch", syncCell}})
	case groupCompact:
		return join(speed, memory, reads, writes[1:])
	case groupOpen:
		return []column{{"time", duration(elapsed)}, {"x raw", ratioCell}}
	}
	return idleColumns()
}

func idleColumns() []column {
	idle := func(format string, f func(idleCost) float64) func(*result, *outcome) string {
		return func(_ *result, o *outcome) string { return fmt.Sprintf(format, f(o.samples[0].idle)) }
	}
	return []column{
		{"logs", idle("%.0f", func(c idleCost) float64 { return float64(c.Logs) })},
		{"heap B", idle("%.0f", func(c idleCost) float64 { return c.Heap })},
		{"goroutines", idle("%.3f", func(c idleCost) float64 { return c.Goroutines })},
		{"files", idle("%.3f", func(c idleCost) float64 { return c.Files })},
		{"CPU %", idle("%.2f", func(c idleCost) float64 { return c.CPU * 100 })},
		{"making one", func(_ *result, o *outcome) string {
			return showDuration(o.samples[0].elapsed / time.Duration(max(1, o.samples[0].records)))
		}},
	}
}

func join(lists ...[]column) (all []column) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// groupTable is everything seen in one group, a line for each workload and system.
func groupTable(group string, results []*result) table {
	columns := columnsOf(group)
	head := []string{"#", "workload", "system"}
	for _, c := range columns {
		head = append(head, c.head)
	}
	t := table{head}
	for _, r := range results {
		for i, o := range r.outcomes {
			line := []string{"", "", o.sys.Name()}
			if i == 0 {
				line[0], line[1] = r.workload.id, r.workload.name
			}
			for _, c := range columns {
				if len(o.samples) == 0 {
					line = append(line, "failed")
				} else {
					line = append(line, c.cell(r, o))
				}
			}
			t = append(t, line)
		}
	}
	return t
}

func showDuration(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.2f us", float64(d)/1e3)
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f us", float64(d)/1e3)
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.0f ms", float64(d)/1e6)
}

func showRatio(x float64) string {
	if x == 0 {
		return "-"
	}
	if x >= 10 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// showRate is thousands a second.
func showRate(x float64) string {
	if x < 100e3 {
		return fmt.Sprintf("%.1f", x/1e3)
	}
	return fmt.Sprintf("%.0f", x/1e3)
}

func showCount(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0.0005:
		return "~0"
	case x < 10:
		return fmt.Sprintf("%.3f", x)
	}
	return fmt.Sprintf("%.0f", x)
}
