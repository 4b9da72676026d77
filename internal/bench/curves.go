package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quirelog/quire/internal/bench/growth"
)

// growthName begins the names of growth curves in a -run list.
const growthName = "growth"

// splitCurves takes the names of growth curves out of a -run list. With an empty list all are wanted.
func splitCurves(run []string) (wanted bool, only, rest []string) {
	for _, name := range run {
		part, is := strings.CutPrefix(name, growthName)
		switch {
		case !is:
			rest = append(rest, name)
		case part == "":
			return true, nil, without(run, growthName)
		default:
			only = append(only, strings.TrimPrefix(part, "/"))
		}
	}
	return len(run) == 0 || len(only) > 0, only, rest
}

// without is a list without the names that begin so.
func without(list []string, prefix string) (rest []string) {
	for _, name := range list {
		if !strings.HasPrefix(name, prefix) {
			rest = append(rest, name)
		}
	}
	return rest
}

// measureCurves prints growth curves, and writes them beside the page. The code is 1 when something is broken that noise cannot move, or with check when a cost grows.
func measureCurves(s settings, only []string, w io.Writer) (code int, err error) {
	e, err := newEnv(s)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(e.dir)) }()
	stop, err := startProfile(s, make([]*workload, 1))
	if err != nil {
		return 2, err
	}
	c := growth.Config{Dir: e.dir, Scale: growth.Quick, Rounds: s.rounds, Only: only, NoRaw: s.profiled(), Progress: progressTo(os.Stderr), Kill: killedTail}
	if s.tier == "full" {
		c.Scale = growth.Full
	}
	begin, before := time.Now(), load()
	curves, err := growth.Run(c)
	if err := errors.Join(err, stop()); err != nil {
		return 1, err
	}
	about := facts(e, time.Since(begin), before)[:2]
	out := &lines{w: w}
	out.line("\nGROWTH")
	for _, f := range about {
		out.line("%s", f)
	}
	out.table(growthPoints(curves).writeText, 3)
	out.line("\nGROWTH, SUMMARY (a step is by ten times the size; raw is the same by system calls)")
	out.table(growthSummary(curves).writeText, 2)
	if out.err != nil {
		return 1, out.err
	}
	if s.page != "" {
		if err := writeCurves(s.page, about, curves); err != nil {
			return 1, err
		}
	}
	return judgeCurves(curves, s.check, w)
}

// killedTail has a child append to a log and kill itself.
func killedTail(dir string, bytes int64) error {
	_, err := runChild(order{Do: "tail", Dir: dir, Fill: bytes, Kill: true})
	return err
}

func judgeCurves(curves []*growth.Curve, check bool, w io.Writer) (code int, err error) {
	count := map[growth.Verdict]int{}
	var broken []string
	for _, c := range curves {
		count[c.Verdict()]++
		broken = append(broken, c.Broken()...)
	}
	out := &lines{w: w}
	for _, b := range broken {
		out.line("FAILS: %s", b)
	}
	out.line("\ncurves flat=%d machine=%d grow=%d; counts broken=%d", count[growth.Flat], count[growth.Machine], count[growth.Grows], len(broken))
	if len(broken) > 0 || check && count[growth.Grows] > 0 {
		code = 1
	}
	return code, out.err
}

// writeCurves writes a page of their own beside the given one, with a plot for each axis.
func writeCurves(page string, about []string, curves []*growth.Curve) error {
	stem := strings.TrimSuffix(page, filepath.Ext(page)) + "-growth"
	if err := os.MkdirAll(filepath.Dir(page), 0o755); err != nil {
		return err
	}
	names, of := growth.Families(curves)
	for _, name := range names {
		if err := writeFile(stem+"-"+name+".svg", func(w io.Writer) error { return growth.Draw(w, name, of[name]) }); err != nil {
			return err
		}
	}
	return writeFile(stem+".md", func(w io.Writer) error {
		out := &lines{w: w}
		out.line("# What grows with size, and what does not\n")
		for _, f := range about {
			out.line("- %s", f)
		}
		out.line("\n## Summary\n")
		out.table(growthSummary(curves).writeMarkdown, 2)
		for _, name := range names {
			out.line("\n## By %s\n\n![%s](%s)\n", of[name][0].Axis, name, fmt.Sprintf("%s-%s.svg", filepath.Base(stem), name))
			out.table(growthPoints(of[name]).writeMarkdown, 3)
		}
		return out.err
	})
}
