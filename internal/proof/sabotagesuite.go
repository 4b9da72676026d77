package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// suite is a program that may notice a sabotage: the tests of one package, or this one.
type suite struct {
	dir  string // below the module's root; internal/proof is this program
	deps []string
	once sync.Once
	err  error
	bin  string // built at the first use
	seek sync.Once
	// reach lists, by a sabotage's number in the yard, the tests or scenarios that come by it, quickest first.
	reach map[int][]string
}

const (
	proofSuite    = "internal/proof"
	testPatience  = 40 * time.Second // of a package's tests: a sabotage may make them wait for ever
	suitePatience = 15 * time.Minute
	// addressLimit runs a program with 6 GiB of addresses at most, where the system can bound them.
	addressLimit = `ulimit -v 6291456 2>/dev/null; exec "$0" "$@"`
)

// newSuites lists the packages of the root module with tests, lowest first, and this program.
func (y *yard) newSuites() ([]*suite, error) {
	out, err := command(moduleRoot, "go", "list", "-f",
		`{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Module.Path}} {{join .Deps " "}}{{end}}`, "./...")
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	var list []*suite
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		s := &suite{}
		for _, w := range append(words[:1:1], words[2:]...) {
			if dir, ok := strings.CutPrefix(w, words[1]+"/"); ok {
				s.deps = append(s.deps, dir)
			}
		}
		s.dir = s.deps[0]
		if !slices.ContainsFunc(unharmed, func(d string) bool { return strings.HasPrefix(s.dir, d) }) {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b *suite) int { return len(a.deps) - len(b.deps) })
	return append(list, &suite{dir: proofSuite, deps: []string{"log/record", "log/vfs", "index", "segment", "log", "topic"}}), nil
}

// suitesOf are the package's own and this program; for a call whose loss only a use may
// show also the packages above.
func (y *yard) suitesOf(s *sabotage) []*suite {
	var list []*suite
	for _, u := range y.suites {
		switch {
		case u.dir == s.fn.dir:
			list = append([]*suite{u}, list...)
		case slices.Contains(u.deps, s.fn.dir) && (s.call || u.dir == proofSuite):
			list = append(list, u)
		}
	}
	return list
}

// caughtBy returns who notices a sabotage, or "".
func (y *yard) caughtBy(i int) (string, error) {
	s := y.list[i]
	if dir, test, ok := cutGuard(s.guard); ok {
		for _, u := range y.suites {
			if u.dir != dir {
				continue
			}
			if guard, err := y.ask(u, i, test); guard != "" || err != nil {
				return guard, err
			}
		}
	}
	for _, u := range y.suitesOf(s) {
		if err := y.explore(u); err != nil {
			return "", err
		}
		for _, some := range u.inTurn(u.ofUse(s, u.reach[i])) {
			if guard, err := y.catch(u, i, some); guard != "" || err != nil {
				return guard, err
			}
		}
	}
	return "", nil
}

// catch asks some tests together, and the one that failed again alone: what failed for
// want of time, and not for the sabotage, is no guard.
func (y *yard) catch(u *suite, i int, some []string) (string, error) {
	guard, err := y.ask(u, i, some...)
	if guard == "" || err != nil || len(some) == 1 {
		return guard, err
	}
	_, test, _ := cutGuard(guard)
	again, err := y.ask(u, i, test)
	if again != "" || err != nil {
		return again, err
	}
	return y.catch(u, i, slices.DeleteFunc(slices.Clone(some), func(name string) bool { return name == test }))
}

// cutGuard takes "log TestX" or "internal/proof crash:roll" apart.
func cutGuard(guard string) (dir, test string, ok bool) { return strings.Cut(guard, " ") }

// prepare builds the programs that the guards of the list are in.
func (y *yard) prepare(r *runner) {
	for _, s := range y.list {
		dir, _, _ := cutGuard(s.guard)
		for _, u := range y.suites {
			if u.dir == dir {
				_ = y.build(u) // an error shows when it is asked
			}
		}
	}
}

func (y *yard) build(u *suite) error {
	u.once.Do(func() {
		bin := filepath.Join(y.room, strings.ReplaceAll(u.dir, "/", "_")+".test")
		dir, args := moduleRoot, []string{"test", "-c", "-vet=off", "-overlay", y.overlay(), "-o", bin, "./" + u.dir}
		if u.dir == proofSuite {
			dir, args = ".", []string{"build", "-overlay", y.overlay(), "-o", bin, "."}
		}
		out, err := command(dir, "go", args...)
		if err != nil {
			u.err = fmt.Errorf("%w\n%s", err, tail(out, 4000))
			return
		}
		u.bin = bin
	})
	return u.err
}

var (
	failedTest  = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
	startedTest = regexp.MustCompile(`(?m)^=== RUN   (\w+)`)
	failedCase  = regexp.MustCompile(`(?m)(?:^FAIL |-replay )(\w+:[\w-]+)`)
)

// ask runs some tests, or one scenario, with the i-th sabotage done, and returns which fails first.
func (y *yard) ask(u *suite, i int, names ...string) (string, error) {
	if err := y.build(u); err != nil {
		return "", err
	}
	args := []string{"-test.short", "-test.failfast", "-test.v", "-test.timeout", testPatience.String(),
		"-test.run", "^(" + strings.Join(names, "|") + ")$"}
	if u.dir == proofSuite {
		lane, scenario, _ := strings.Cut(names[0], ":")
		args = []string{"-failfast", "-lane", "^" + lane + "$", "-scenario", "^" + scenario + "$"}
	}
	out, err := y.run(u, []string{fmt.Sprintf("%s=%d", sabotageEnv, i+1)}, args...)
	if err == nil {
		return "", nil
	}
	name := u.first(out)
	if name == "" {
		return "", fmt.Errorf("%s ended without telling why: %w\n%s", u.dir, err, tail(out, 2000))
	}
	return u.dir + " " + name, nil
}

// first is the test or scenario that failed, by a program's output.
func (u *suite) first(out []byte) string {
	if u.dir == proofSuite {
		if m := failedCase.FindSubmatch(out); m != nil {
			return string(m[1])
		}
		return ""
	}
	if m := failedTest.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	if all := startedTest.FindAllSubmatch(out, -1); len(all) > 0 { // it hangs, or the host died
		return string(all[len(all)-1][1])
	}
	return ""
}

// run runs a suite in the folder of its package, with a place for its files that goes
// away with the yard.
func (y *yard) run(u *suite, env []string, args ...string) ([]byte, error) {
	limit, cancel := context.WithTimeout(context.Background(), suitePatience)
	defer cancel()
	cmd := exec.CommandContext(limit, u.bin, args...)
	if sh, err := exec.LookPath("sh"); err == nil { // a sabotage may let memory grow without a bound
		cmd = exec.CommandContext(limit, sh, append([]string{"-c", addressLimit, u.bin}, args...)...)
	}
	cmd.Dir = filepath.Join(moduleRoot, u.dir)
	tmp, err := os.MkdirTemp(y.room, "tmp-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+tmp, "GOMEMLIMIT=1GiB"), env...)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return bytes.TrimSpace(out), err
}
