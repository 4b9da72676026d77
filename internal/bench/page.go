package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A paper is what a run prints, to the terminal or as a page.
type paper struct {
	facts   []string // about the machine and the run
	results []*result
	systems []System
}

// groups lists the groups in the order of the workloads.
func (p *paper) groups() (names []string, of map[string][]*result) {
	of = map[string][]*result{}
	for _, r := range p.results {
		g := r.workload.group
		if of[g] == nil {
			names = append(names, g)
		}
		of[g] = append(of[g], r)
	}
	return names, of
}

func (p *paper) writeText(w io.Writer) error {
	out := &lines{w: w}
	for _, f := range p.facts {
		out.line("%s", f)
	}
	names, of := p.groups()
	for _, g := range names {
		out.line("\n%s", strings.ToUpper(g))
		out.table(groupTable(g, of[g]).writeText, 3)
	}
	out.line("\nNOTES")
	for _, s := range p.systems {
		out.line("- %s: %s", s.Name(), s.Note())
	}
	out.line("\nSUMMARY (x raw: median over the rounds of the ratio within a round)")
	out.table(summary(p.results).writeText, 2)
	if out.err == nil {
		out.err = writeReasons(w, p.results)
	}
	return out.err
}

// writePage writes the markdown page and, beside it, one plot a group.
func (p *paper) writePage(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	names, of := p.groups()
	plots := map[string]string{}
	for _, g := range names {
		drawing := plotOf(g, of[g])
		if len(drawing.rows) == 0 {
			continue
		}
		stem := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
		plots[g] = stem + "-" + strings.ReplaceAll(g, " ", "-") + ".svg"
		if err := writeFile(filepath.Join(filepath.Dir(name), plots[g]), drawing.write); err != nil {
			return err
		}
	}
	return writeFile(name, func(w io.Writer) error { return p.writeMarkdown(w, names, of, plots) })
}

func (p *paper) writeMarkdown(w io.Writer, names []string, of map[string][]*result, plots map[string]string) error {
	out := &lines{w: w}
	out.line("# quire against the machine and its peers\n")
	for _, f := range p.facts {
		out.line("- %s", f)
	}
	out.line("\n## Summary\n\n`x raw` is the median, over the rounds, of the ratio to raw system calls within the same round.\n")
	out.table(summary(p.results).writeMarkdown, 2)
	out.line("")
	if out.err == nil {
		out.err = writeReasons(w, p.results)
	}
	for _, g := range names {
		out.line("\n## %s\n", strings.ToUpper(g[:1])+g[1:])
		if plots[g] != "" {
			out.line("![%s](%s)\n", g, plots[g])
		}
		out.table(groupTable(g, of[g]).writeMarkdown, 3)
	}
	out.line("\n## What each system is\n")
	for _, s := range p.systems {
		out.line("- **%s**: %s", s.Name(), s.Note())
	}
	out.line("\n## Why the targets can be reached\n")
	for _, r := range p.results {
		if r.workload.why != "" {
			out.line("- %s, %s: %s", r.workload.id, r.workload.target, r.workload.why)
		}
	}
	return out.err
}

// lines remembers the first error, so that a page reads as a page.
type lines struct {
	w   io.Writer
	err error
}

func (l *lines) line(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.w, format+"\n", args...)
	}
}

func (l *lines) table(write func(io.Writer, int) error, left int) {
	if l.err == nil {
		l.err = write(l.w, left)
	}
}

func writeFile(name string, write func(io.Writer) error) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	return write(f)
}
