package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// world is one run of a scenario: it drives the code on a disk, and afterwards
// judges what a crash left of that disk.
type world interface {
	// run plays the scenario to its end, or until a call fails.
	run()
	// stop lets go of what the run still holds, without a promise.
	stop()
	// promise returns the first promise that was seen broken during the run.
	promise() error
	// recover opens the disk and nothing more, as the first half of check.
	recover(disk vfs.FS)
	// check opens what a crash left, compares it with what was told, goes on
	// writing, and checks again. It may be called many times.
	check(disk *vfs.Crash, s state) error
	// lied says that the disk's syncs were lies: a cut after the recovery proves nothing.
	lied()
}

// scenario is a program to crash. Its runs are the same each time unless it is loose.
type scenario struct {
	name  string
	start func(disk *vfs.Crash, seed uint64) world
	loose bool // goroutines race: a replay tries many times
	// perOp is in how many ways it is crashed at one operation in the fast tier, and second how many operations
	// lie between those whose recovery is crashed too. 0: all ways, and 4.
	perOp, second int
}

// crashKill is the name of the policy "the process is killed, the machine goes on".
const crashKill = "kill"

func runCrash(r *runner, t *tally, seed uint64)  { crashAll(r, t, seed, logScenarios()) }
func runEngine(r *runner, t *tally, seed uint64) { crashAll(r, t, seed, engineScenarios()) }

func replayCrash(r *runner, c caseName) error  { return replayCut(r, c, logScenarios()) }
func replayEngine(r *runner, c caseName) error { return replayCut(r, c, engineScenarios()) }

// crashAll crashes every scenario at each of its operations.
func crashAll(r *runner, t *tally, seed uint64, list []scenario) {
	type unit struct {
		sc scenario
		n  int
	}
	var units []unit
	for _, sc := range list {
		if !r.only.MatchString(sc.name) {
			continue
		}
		name := caseName{t.lane.name, sc.name, "0", "none", seed}
		ops := 0
		r.try(t, name, func() (err error) {
			ops, err = countOps(sc, seed)
			return err
		})
		r.debugf("%s: %s has %d operations", t.lane.name, sc.name, ops)
		for n := 1; n <= ops; n++ {
			units = append(units, unit{sc, n})
		}
	}
	r.each(len(units), func(i int) { crashAt(r, t, units[i].sc, units[i].n, seed) })
}

// countOps runs a scenario without a crash: that must succeed, and tells how many
// operations there are.
func countOps(sc scenario, seed uint64) (int, error) {
	disk := vfs.NewCrash()
	w := sc.start(disk, seed)
	w.run()
	w.stop()
	ops := disk.Ops()
	if err := w.promise(); err != nil {
		return ops, fmt.Errorf("without a crash: %w", err)
	}
	if err := w.check(disk.After(vfs.KeepNone, 0), powered); err != nil {
		return ops, fmt.Errorf("at the end: %w", err)
	}
	return ops, nil
}

// crashAt runs a scenario up to its n-th operation and looks at all that the crash may leave.
func crashAt(r *runner, t *tally, sc scenario, n int, seed uint64) {
	disk := vfs.NewCrash()
	disk.CrashAt(n)
	w := sc.start(disk, seed)
	name := caseName{t.lane.name, sc.name, strconv.Itoa(n), "none", seed}
	r.try(t, name, func() error {
		w.run()
		w.stop()
		return w.promise()
	})
	if !disk.Crashed() {
		return
	}
	for _, c := range r.thinned(sc, cuts(disk, n, seed, r.count), n, seed) {
		name.Policy, name.Seed = c.policy, c.seed
		r.try(t, name, func() error { return w.check(c.leave(disk), c.state()) })
	}
	again(r, t, w, disk, sc, n, seed)
}

// thinned chooses among the ways for the scenarios of which there are many states in
// the fast tier: the kill and the two plainest cuts always, the rest by chance.
func (r *runner) thinned(sc scenario, all []cutting, n int, seed uint64) []cutting {
	if r.tier != "fast" || sc.perOp == 0 {
		return all
	}
	dice := rand.New(rand.NewPCG(seed, uint64(n)))
	rest := all[3:]
	dice.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return all[:sc.perOp]
}

// cutting is one way to crash.
type cutting struct {
	policy string
	seed   uint64
}

// cuts are the ways to crash at one operation.
func cuts(disk *vfs.Crash, n int, seed uint64, count int) []cutting {
	list := []cutting{{crashKill, seed + uint64(n)}}
	for _, p := range vfs.Policies() {
		seeds := 1
		if p.Seeded() {
			seeds = 2 * count
		}
		for i := range seeds {
			// Prefixes and single losses differ by small seeds; begin somewhere else at each operation.
			list = append(list, cutting{p.String(), seed + uint64(n*7+i)})
		}
	}
	return list
}

func (c cutting) leave(disk *vfs.Crash) *vfs.Crash {
	if c.policy == crashKill {
		return disk.Kill(c.seed)
	}
	p, err := vfs.ParsePolicy(c.policy)
	if err != nil {
		panic(err)
	}
	return disk.After(p, c.seed)
}

func (c cutting) state() state {
	if c.policy == crashKill {
		return killed
	}
	return powered
}

// again crashes a second time, at each operation of the recovery from some of the
// first crashes.
func again(r *runner, t *tally, w world, disk *vfs.Crash, sc scenario, n int, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, uint64(n)))
	firsts := []cutting{{crashKill, seed}, {vfs.TornSectors.String(), dice.Uint64N(100)}}
	if r.tier == "fast" { // each operation in one way, one of six recoveries
		every := max(sc.second, 6)
		if n%every != 0 {
			return
		}
		firsts = firsts[n/every%2:][:1]
	}
	for _, first := range firsts {
		ops := recoveryOps(w, first.leave(disk))
		for k := 1; k <= ops; k++ {
			second := secondCuts(dice)
			op := fmt.Sprintf("%d+%s.%d+%d", n, first.policy, first.seed, k)
			half := interrupted(w, first.leave(disk), k)
			for _, c := range second {
				s := max(first.state(), c.state())
				name := caseName{t.lane.name, sc.name, op, c.policy, c.seed}
				r.try(t, name, func() error { return w.check(c.leave(half), s) })
			}
		}
	}
}

func secondCuts(dice *rand.Rand) []cutting {
	all := vfs.Policies()
	return []cutting{
		{crashKill, dice.Uint64N(100)},
		{vfs.KeepNone.String(), 0},
		{all[dice.IntN(len(all))].String(), dice.Uint64N(100)},
	}
}

// recoveryOps counts the operations of a recovery.
func recoveryOps(w world, disk *vfs.Crash) int {
	before := disk.Ops()
	w.recover(disk)
	return disk.Ops() - before
}

// interrupted is a disk whose recovery lost power at its k-th operation.
func interrupted(w world, disk *vfs.Crash, k int) *vfs.Crash {
	disk.CrashAt(disk.Ops() + k)
	w.recover(disk)
	return disk
}

// replayCut plays one crash again. Racing scenarios are tried many times.
func replayCut(r *runner, c caseName, list []scenario) error {
	i := slices.IndexFunc(list, func(sc scenario) bool { return sc.name == c.Scenario })
	if i < 0 {
		return unknownScenario(c)
	}
	tries := 1
	if list[i].loose {
		tries = 300
	}
	for range tries {
		if err := replayOnce(r, c, list[i]); err != nil {
			return err
		}
	}
	return nil
}

func replayOnce(r *runner, c caseName, sc scenario) error {
	n, first, k, err := parseOp(c.Op)
	if err != nil {
		return err
	}
	if n == 0 {
		_, err := countOps(sc, c.Seed)
		return err
	}
	disk := vfs.NewCrash()
	disk.CrashAt(n)
	w := sc.start(disk, 1)
	r.trace(disk, "run")
	w.run()
	w.stop()
	if err := w.promise(); err != nil {
		return err
	}
	last := cutting{c.Policy, c.Seed}
	s := last.state()
	if k > 0 {
		half := first.leave(disk)
		r.trace(half, "recovery")
		disk = interrupted(w, half, k)
		s = max(s, first.state())
	}
	end := last.leave(disk)
	r.trace(end, "check")
	return w.check(end, s)
}

// trace prints the calls that change a disk, with -v.
func (r *runner) trace(disk *vfs.Crash, stage string) {
	if r.verbose && r.options.replay != "" {
		disk.OnOp(func(op vfs.Op, path string) { r.debugf("%s %d: %s %s", stage, disk.Ops()+1, op, path) })
	}
}

// parseOp reads "n" or "n+policy.seed+k".
func parseOp(op string) (n int, first cutting, k int, err error) {
	bad := fmt.Errorf("proof: operation %q is neither n nor n+policy.seed+k", op)
	parts := strings.Split(op, "+")
	if n, err = strconv.Atoi(parts[0]); err != nil {
		return 0, first, 0, bad
	}
	if len(parts) == 1 {
		return n, first, 0, nil
	}
	policy, seed, ok := strings.Cut(parts[1], ".")
	if len(parts) != 3 || !ok {
		return 0, first, 0, bad
	}
	first.policy = policy
	var err1, err2 error
	first.seed, err1 = strconv.ParseUint(seed, 10, 64)
	k, err2 = strconv.Atoi(parts[2])
	if errors.Join(err1, err2) != nil {
		return 0, first, 0, bad
	}
	return n, first, k, nil
}

// scripted is the world of a scenario of one log.
type scripted struct {
	*script
	play func(s *script)
	// faithless says that the disk lied before: a cut after the recovery proves nothing.
	faithless bool
}

func (w *scripted) run() { w.play(w.script) }

func (w *scripted) lied() { w.faithless = true }

func (w *scripted) promise() error {
	if w.told != nil {
		return w.told
	}
	if w.err != nil && !w.dark() && !w.rough {
		return faultf(wrong, "a call failed on a good disk: %v", w.err)
	}
	return nil
}

func (w *scripted) stop() {
	if w.l != nil {
		_ = w.l.Close()
		w.l = nil
	}
}

func (w *scripted) recover(disk vfs.FS) {
	s := newScript(disk, w.cfg, nil)
	s.open()
	if s.l != nil {
		_ = s.l.Close()
	}
}

func (w *scripted) check(disk *vfs.Crash, st state) error {
	s := w.successor(disk)
	if _, err := s.comeBack(st); err != nil {
		return err
	}
	// What a recovery served must survive the next cut, at any level.
	if w.faithless {
		return s.goOn()
	}
	if err := s.cutAgain(disk); err != nil {
		return err
	}
	return s.goOn()
}

// successor is the script of the program that is started after the crash.
func (w *scripted) successor(disk vfs.FS) *script {
	s := newScript(disk, w.cfg, nil)
	s.h, s.codec, s.hooked, s.cleaned, s.cfg = w.h.clone(), w.codec, w.hooked, w.cleaned, w.cfg
	if p := w.producer; p != nil {
		next := *p
		next.open = slices.Clone(p.open)
		s.producer = &next
	}
	return s
}

// comeBack opens the log after a crash and compares it with what was told.
func (s *script) comeBack(st state) (*found, error) {
	if err := mkdir(s.fs); err != nil {
		return nil, err
	}
	l, report, err := s.openLog()
	if err != nil {
		return nil, openFault(err)
	}
	s.l = l
	if len(report.Damage) > 0 {
		return nil, faultf(wrong, "open reports damage where there is none: %+v", report.Damage)
	}
	g, err := readLog(l)
	if err != nil {
		return nil, err
	}
	if err := s.h.verify(g, st); err != nil {
		return nil, fmt.Errorf("%w\n(report %+v)", err, report)
	}
	if err := checkTimes(l, g); err != nil {
		return nil, err
	}
	if s.h.gappy() || s.hooked {
		s.expectNone(".deleted", ".cleaned", ".swap")
	}
	s.h.adopt(g)
	return g, s.trouble()
}

// openFault sorts an error of Open after a crash: none is expected.
func openFault(err error) error {
	if errors.Is(err, log.ErrDataLoss) {
		return faultf(lost, "%v", err)
	}
	return faultf(wrong, "open after a crash: %v", err)
}

// cutAgain cuts the power right after the recovery.
func (s *script) cutAgain(disk *vfs.Crash) error {
	next := newScript(disk.After(vfs.KeepNone, 0), s.cfg, nil)
	next.h = s.h.clone()
	if _, err := next.comeBack(powered); err != nil {
		return fmt.Errorf("after a power cut that followed the recovery: %w", err)
	}
	return next.l.Close()
}

// goOn writes on after a recovery, closes in order, and opens again.
func (s *script) goOn() error {
	s.retry()
	s.append(2)
	s.append(1)
	s.look()
	if s.l != nil && s.l.End()%3 == 0 { // by the state found, so that a replay does the same
		s.cleanAgain()
	}
	s.close()
	if !s.ok() {
		return s.trouble()
	}
	l, report, err := s.openLog()
	if err != nil {
		return openFault(err)
	}
	s.l = l
	if !report.Clean {
		return faultf(wrong, "an orderly stop after the recovery counts as a crash")
	}
	s.look()
	s.append(1)
	s.look()
	s.close()
	return s.trouble()
}

// trouble is what went wrong in a script on a good disk.
func (s *script) trouble() error {
	if s.told != nil {
		return s.told
	}
	if s.err != nil {
		return faultf(wrong, "a call failed after the recovery: %v", s.err)
	}
	return nil
}
