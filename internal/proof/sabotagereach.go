package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reached is what one test or scenario came by, when nothing is harmed.
type reached struct {
	name    string
	took    time.Duration
	numbers []int // of sabotages in the yard
}

// explore runs every test of a suite alone and notes which sabotages it comes by: the
// others cannot notice them. A test that fails with nothing harmed says nothing.
func (y *yard) explore(u *suite) error {
	if err := y.build(u); err != nil {
		return err
	}
	u.seek.Do(func() {
		names, err := y.names(u)
		if err != nil {
			u.err = err
			return
		}
		var mu sync.Mutex
		var list []reached
		y.each(len(names), func(i int) {
			if one, ok := y.follow(u, names[i]); ok {
				mu.Lock()
				list = append(list, one)
				mu.Unlock()
			}
		})
		slices.SortFunc(list, func(a, b reached) int { return int(a.took - b.took) })
		u.reach = map[int][]string{}
		for _, one := range list {
			for _, n := range one.numbers {
				u.reach[n-1] = append(u.reach[n-1], one.name)
			}
		}
	})
	return u.err
}

// names are the tests of a package, or the scenarios of this program that crash something.
func (y *yard) names(u *suite) ([]string, error) {
	if u.dir == proofSuite {
		var names []string
		for _, sc := range logScenarios() {
			names = append(names, "crash:"+sc.name)
		}
		for _, sc := range engineScenarios() {
			names = append(names, "engine:"+sc.name)
		}
		return names, nil
	}
	out, err := y.run(u, nil, "-test.list", "^(Test|Example|Fuzz)")
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, tail(out, 2000))
	}
	return strings.Fields(string(out)), nil
}

// follow runs one test with nothing harmed.
func (y *yard) follow(u *suite, name string) (reached, bool) {
	file := filepath.Join(y.room, strings.NewReplacer("/", "_", ":", "_").Replace(u.dir+"-"+name))
	args := []string{"-test.short", "-test.timeout", testPatience.String(), "-test.run", "^" + name + "$"}
	if lane, scenario, _ := strings.Cut(name, ":"); lane == "crash" {
		args = []string{"-lane", "^crash$", "-scenario", "^" + scenario + "$"}
	} else if u.dir == proofSuite {
		args = []string{"-replay", name + ":0:none:1"} // the run without a crash: recoveries are the logs'
	}
	began := time.Now()
	_, err := y.run(u, []string{reachEnv + "=" + file}, args...)
	one := reached{name: name, took: time.Since(began)}
	if err != nil {
		return one, false
	}
	data, err := os.ReadFile(file)
	if err != nil { // nothing reached
		return one, false
	}
	for word := range strings.FieldsSeq(string(data)) {
		if n, err := strconv.Atoi(word); err == nil {
			one.numbers = append(one.numbers, n)
		}
	}
	return one, true
}

// fewScenarios is how many crash scenarios a sabotage of a single line is tried with.
const fewScenarios = 6

// ofUse leaves out scenarios that only a durability call is worth.
func (u *suite) ofUse(s *sabotage, names []string) []string {
	if s.call || u.dir != proofSuite {
		return names
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasPrefix(name, "crash:") })
	return names[:min(fewScenarios, len(names))]
}

// inTurn divides names, quickest first, into what is run together: a few, then all others.
func (u *suite) inTurn(names []string) [][]string {
	if u.dir == proofSuite {
		return slices.Collect(slices.Chunk(names, 1))
	}
	few := min(10, len(names))
	return slices.DeleteFunc([][]string{names[:few], names[few:]}, func(some []string) bool { return len(some) == 0 })
}
