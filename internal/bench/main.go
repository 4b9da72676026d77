// Command bench measures quire beside the raw system calls beneath it and beside other logs: the same payload bytes, the same batch
// sizes, the same sync, in one run, in turns. README.md says how to read what it prints.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/quirelog/quire/internal/bench/growth"
)

// settings are the command line.
type settings struct {
	tier    string
	run     []string
	systems []string
	check   bool
	page    string
	profile string
	heap    string
	dir     string
	rounds  int
	list    bool
	child   string
}

func main() {
	code, err := mainCode(os.Args[1:])
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(code)
}

func mainCode(args []string) (int, error) {
	s, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0, nil
	case err != nil:
		return 2, err
	case s.child != "":
		if err := child(s.child); err != nil {
			return 1, err
		}
		return 0, nil
	case s.list:
		return 0, printList(os.Stdout)
	}
	return measureAll(s)
}

// measureAll does the three kinds of measurements one after the other: workloads, deadlines, growth curves.
func measureAll(s settings) (code int, err error) {
	all := len(s.run) == 0
	grown, curves, rest := splitCurves(s.run)
	rows, rest := splitDeadlines(rest, all)
	if all || len(rest) > 0 {
		s.run = rest
		code, err = measure(s)
		if err != nil || s.profiled() || len(s.systems) > 0 {
			return code, err
		}
	}
	more, err := measureDeadlines(s, rows, os.Stdout)
	if code = max(code, more); err != nil || !grown {
		return code, err
	}
	more, err = measureCurves(s, curves, os.Stdout)
	return max(code, more), err
}

func parse(args []string) (s settings, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&s.tier, "tier", "quick", "quick (about 4 minutes) or full")
	run := f.String("run", "", "only these workloads, by target, id or group: P4,P5-..,append,growth/partitions")
	systems := f.String("systems", "", "only these systems (raw always takes part): "+strings.Join(systemNames(), ","))
	f.BoolVar(&s.check, "check", false, "fail on missed times and ratios too, not only on counts")
	f.StringVar(&s.page, "md", "", "write a markdown page to this `file`, plots beside it")
	f.StringVar(&s.profile, "cpuprofile", "", "write a CPU profile of quire in one workload to this `file` (with -run; -systems chooses another system)")
	f.StringVar(&s.heap, "memprofile", "", "write a profile of every allocation to this `file`, under the same rules")
	f.StringVar(&s.dir, "dir", "", "where the logs lie (default: a new directory in the system's temporary one; give a disk, not memory)")
	f.IntVar(&s.rounds, "rounds", 0, "samples of each system in each workload (default: the tier's)")
	f.BoolVar(&s.list, "list", false, "list the workloads and stop")
	f.StringVar(&s.child, "child", "", "used by the program itself to start its children")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	s.run, s.systems = split(*run), split(*systems)
	if f.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if _, ok := tiers[s.tier]; !ok {
		return s, fmt.Errorf("no tier %q: quick or full", s.tier)
	}
	return s, nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func printList(w io.Writer) error {
	t := table{{"#", "group", "workload", "target"}}
	for _, x := range workloads(tiers["full"]) {
		t = append(t, []string{x.id, x.group, x.name, x.target.String()})
	}
	for _, c := range growth.List() {
		t = append(t, []string{growthName + "/" + c[0], c[3], c[1] + ", " + c[2], "step < 1.3"})
	}
	return t.writeText(w, 4)
}

// measure runs what was asked for and prints it. The code is 1 when a limit is broken, or with check a target missed.
func measure(s settings) (code int, err error) {
	systems, err := chooseSystems(s)
	if err != nil {
		return 2, err
	}
	list, err := chooseWorkloads(s)
	if err != nil {
		return 2, err
	}
	e, err := newEnv(s)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(e.dir)) }()
	stop, err := startProfile(s, list)
	if err != nil {
		return 2, err
	}
	p := &paper{systems: systems}
	begin, before := time.Now(), load()
	p.results = e.runAll(list, systems, progressTo(os.Stderr))
	if err := stop(); err != nil {
		return 1, err
	}
	p.facts = facts(e, time.Since(begin), before)
	if err := p.writeText(os.Stdout); err != nil {
		return 1, err
	}
	if s.page != "" {
		if err := p.writePage(s.page); err != nil {
			return 1, err
		}
	}
	return p.code(s.check, os.Stdout)
}

func chooseSystems(s settings) ([]System, error) {
	if len(s.systems) == 0 && s.profiled() {
		s.systems = []string{"quire"}
	}
	if len(s.systems) == 0 {
		return allSystems(), nil
	}
	var list []System
	for _, name := range s.systems {
		sys, err := systemNamed(name)
		if err != nil {
			return nil, err
		}
		list = append(list, sys)
	}
	if _, first := list[0].(raw); !first && !s.profiled() {
		list = append([]System{raw{}}, list...)
	}
	return list, nil
}

func chooseWorkloads(s settings) ([]*workload, error) {
	t := tiers[s.tier]
	t.fullMatrix = t.fullMatrix || len(s.run) > 0 // who names a workload gets it
	var list []*workload
	for _, w := range workloads(t) {
		if w.wanted(s.run) {
			list = append(list, w)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no workload is called %v: see -list", s.run)
	}
	return list, nil
}

func newEnv(s settings) (*env, error) {
	e := &env{tier: tiers[s.tier], data: map[string]filled{}}
	if s.rounds > 0 {
		e.rounds = s.rounds
	}
	parent := s.dir
	if parent == "" {
		parent = os.TempDir()
		if _, memory := fileSystem(parent); memory {
			parent = "."
		}
	}
	dir, err := os.MkdirTemp(parent, "quire-bench-")
	if err != nil {
		return nil, err
	}
	e.dir = dir
	if name, memory := fileSystem(dir); memory {
		_, _ = fmt.Fprintf(os.Stderr, "bench: %s is %s: syncs cost nothing there, so the durable figures mean nothing; use -dir\n", dir, name)
	}
	return e, nil
}

// progressTo shows what is being measured, on a terminal only.
func progressTo(f *os.File) io.Writer {
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return io.Discard
	}
	return f
}

// runAll measures in order and drops the logs that were read when the reading is done.
func (e *env) runAll(list []*workload, systems []System, progress io.Writer) []*result {
	var results []*result
	for i, w := range list {
		results = append(results, e.run(w, systems, progress))
		if i+1 == len(list) || list[i+1].group != w.group {
			e.forget()
		}
	}
	return results
}

func facts(e *env, took time.Duration, before string) []string {
	fs, _ := fileSystem(e.dir)
	return []string{
		fmt.Sprintf("%s, %d cores, %s/%s %s, %s, %s", cpuModel(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, kernel(), runtime.Version(), fs),
		fmt.Sprintf("tier %s: %d rounds, systems in turns, took %.0f s; load %s before, %s after (above 1 other programs were at work: trust ratios, not times)",
			e.name, e.rounds, took.Seconds(), before, load()),
		fmt.Sprintf("logs read: %d MB sequentially, %d MB at random; opened: %d MB; page cache warm", e.dataBytes>>20, e.randBytes>>20, e.openBytes>>20),
		"peers: " + peerVersions(),
	}
}

// code says how the run ends, and why.
func (p *paper) code(check bool, w io.Writer) (int, error) {
	var met, missed, broken int
	for _, r := range p.results {
		v := judge(r)
		switch {
		case len(v.broken) > 0:
			broken++
		case len(v.missed) > 0:
			missed++
		case r.of("quire") != nil && r.workload.target != target{}:
			met++
		}
	}
	_, err := fmt.Fprintf(w, "\ntargets met=%d missed=%d; counts broken=%d\n", met, missed, broken)
	if broken > 0 || check && missed > 0 {
		return 1, err
	}
	return 0, err
}
