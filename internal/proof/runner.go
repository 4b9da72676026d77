package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// lane is one way of trying to lose data.
type lane struct {
	name   string
	about  string
	run    func(r *runner, t *tally, seed uint64)
	replay func(r *runner, c caseName) error
}

// lanes returns all of them, in the order they run and are printed.
func lanes() []lane {
	return []lane{
		{"crash", "power cuts and kills at each operation of one log", runCrash, replayCrash},
		{"engine", "the same through package topic", runEngine, replayEngine},
		{"bits", "each bit of a closed directory flipped", runBits, replayBits},
		{"damage", "files cut, zeroed, grown, swapped, removed", runDamage, replayDamage},
		{"lost", "small files lost, where records are to be kept", runLost, replayLost},
		{"topics", "thousands of topics, power cuts while they change", runTopics, replayTopics},
		{"kafka", "sound directories of Kafka's at random, by every way in", runKafka, replayKafka},
		{"backup", "power cuts of backups, restorations and first openings of copies", runBackup, replayBackup},
		{"faults", "the k-th call of each kind fails", runFaults, replayFaults},
		{"model", "random programs against the model", runModel, replayModel},
		{"kill", "SIGKILL of a child process on a real disk", runKill, replayKill},
		{"service", "SIGKILL of a service: a queue, groups, a router, delayed messages", runService, replayService},
		{"resting", "restarts of queues with resting records", runResting, replayResting},
		{"full", "full disks that heal under members, queues and routers", runFull, replayFull},
		{"hang", "a disk that hangs under every call that takes a context", runHang, replayHang},
		{"clocks", "delayed and recurring messages under clocks that jump", runClocks, replayClocks},
		{"soak", "a mixed load for real time, with restarts and deaths", runSoak, replaySoak},
		{"power", "power cuts of a real file system, and fsyncs that fail", runPower, replayPower},
		{"fuzz", "the module's fuzz targets", runFuzz, replayFuzz},
		{"sabotage", "the code is harmed, and tests or lanes must notice", runSabotage, replaySabotage},
	}
}

// laneHelp lists the lanes for the flag that chooses among them.
func laneHelp() string {
	var b strings.Builder
	for _, l := range lanes() {
		fmt.Fprintf(&b, "%-9s %s\n", l.name, l.about)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// kind is what is wrong with a failed case; a column of the table.
type kind int

const (
	lost       kind = iota // an acknowledged record is gone
	hole                   // offsets are missing in the middle
	undetected             // damage that no error told of changed what is read
	wrong                  // an outcome, offset or order told was not true
	death                  // a panic, or a call that never returned
	kinds
)

func (k kind) String() string {
	return [kinds]string{"lost", "hole", "undetected", "wrong", "death"}[k]
}

// fault is a failed case.
type fault struct {
	kind kind
	text string
}

func (f *fault) Error() string { return f.kind.String() + ": " + f.text }

func faultf(k kind, format string, args ...any) error {
	return &fault{k, fmt.Sprintf(format, args...)}
}

// kindOf is the column a case's error belongs to.
func kindOf(err error) kind {
	var f *fault
	if errors.As(err, &f) {
		return f.kind
	}
	return wrong
}

// failure is a failed case with its name.
type failure struct {
	name caseName
	err  error
}

// tally counts what one lane found. Safe for use by many workers.
type tally struct {
	lane     lane
	cases    atomic.Int64
	byKind   [kinds]atomic.Int64
	took     time.Duration
	notes    []string // printed under the table
	mu       sync.Mutex
	failures []failure // the first of each scenario and kind, at most maxFailures in all
	seen     map[string]int
}

const maxFailures = 40

// note adds a line that is printed under the table.
func (t *tally) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// add counts one case.
func (t *tally) add(name caseName, err error) {
	t.cases.Add(1)
	if err == nil {
		return
	}
	k := kindOf(err)
	t.byKind[k].Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	class := classOf(name, k)
	t.seen[class]++
	if t.seen[class] <= 3 && len(t.failures) < maxFailures {
		t.failures = append(t.failures, failure{name, err})
	}
}

// classOf puts failures of the same scenario, or of the same kind of file, together.
func classOf(name caseName, k kind) string { return fileClass(name.Scenario) + "/" + k.String() }

func (t *tally) bad() (n int64) {
	for i := range t.byKind {
		n += t.byKind[i].Load()
	}
	return n
}

// runner runs lanes.
type runner struct {
	*options
	tallies  []*tally
	watchdog *watchdog
}

func newRunner(o *options) *runner {
	if o.workers <= 0 {
		o.workers = runtime.NumCPU()
	}
	return &runner{options: o, watchdog: newWatchdog()}
}

// round runs each chosen lane once.
func (r *runner) round(seed uint64) {
	for i, l := range r.chosen() {
		if len(r.tallies) <= i {
			r.tallies = append(r.tallies, &tally{lane: l, seen: map[string]int{}})
		}
		t := r.tallies[i]
		began := time.Now()
		l.run(r, t, seed)
		t.took += time.Since(began)
		r.debugf("lane %s: %d cases, %d bad, %v", l.name, t.cases.Load(), t.bad(), time.Since(began).Round(time.Millisecond))
	}
}

func (r *runner) chosen() []lane {
	var list []lane
	for _, l := range lanes() {
		if r.lanes.MatchString(l.name) {
			list = append(list, l)
		}
	}
	return list
}

func (r *runner) failed() bool {
	for _, t := range r.tallies {
		if t.bad() > 0 {
			return true
		}
	}
	return len(r.tallies) == 0
}

func (r *runner) debugf(format string, args ...any) {
	if r.verbose {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

// each calls f for 0..n-1 on the workers.
func (r *runner) each(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(r.workers, n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// try runs one case and counts it.
func (r *runner) try(t *tally, name caseName, f func() error) {
	err := r.guarded(name, f)
	t.add(name, err)
	if err != nil && r.failfast {
		fmt.Printf("FAIL %s\n\t%v\n", name, err)
		os.Exit(1)
	}
}

// guarded runs f; a panic in it becomes an error, a hang ends the program.
func (r *runner) guarded(name caseName, f func() error) (err error) {
	done := r.watchdog.begin(name)
	defer done()
	defer func() {
		if p := recover(); p != nil {
			err = faultf(death, "panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
