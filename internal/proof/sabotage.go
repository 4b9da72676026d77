package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// sampleTime is for how long the fast tier starts on further sabotages, after the first tests are built.
	sampleTime = 40 * time.Second
	sampleSize = 40
)

// sabotage is one harm to the code: in one function a text gives way to another.
type sabotage struct {
	id       string // stays the same when the code around it moves
	fn       *function
	from, to int    // the bytes of the function's file that give way
	text     string // what stands there instead
	call     bool   // a durability call is left out
	survives string // why no test can notice it, or ""
	guard    string // the test or scenario that noticed it last, or ""
}

// runSabotage harms the code in one place at a time and demands that tests or crash
// lanes notice: a rotating sample in the fast tier, the whole list in the long one or
// when -scenario chooses.
func runSabotage(r *runner, t *tally, _ uint64) {
	all, err := everySabotage()
	if err != nil {
		t.add(caseName{t.lane.name, "list", "0", "none", 0}, err)
		return
	}
	list := slices.DeleteFunc(slices.Clone(all), func(s *sabotage) bool { return !r.only.MatchString(s.id) })
	sample := r.tier == "fast" && r.only.String() == ""
	if sample {
		list = rotate(list)
	}
	lived := r.harm(t, list, sample)
	named := 0
	for _, s := range all {
		if s.survives != "" {
			named++
		}
	}
	t.note("%d of %d caught; the list has %d, of which %d survive for a reason that it names",
		t.cases.Load()-t.bad()-int64(lived), t.cases.Load(), len(all), named)
}

// mayLive is how many sabotages of a sample may live: a test that noticed one by its timing may not do so again.
const mayLive = 1

// rotate chooses a sample by the commit, so that each commit tries another one. Those
// with a guard are chosen: they take a moment each.
func rotate(list []*sabotage) []*sabotage {
	h := fnv.New64a()
	_, _ = h.Write([]byte(commit()))
	dice := rand.New(rand.NewPCG(h.Sum64(), 0))
	list = slices.DeleteFunc(list, func(s *sabotage) bool { return s.survives != "" || s.guard == "" })
	dice.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(sampleSize, len(list))]
}

// harm tries a list of sabotages on one build of the code that holds them all. It returns how many of a sample lived without being its fault.
func (r *runner) harm(t *tally, list []*sabotage, sample bool) (lived int) {
	y, err := r.newYard(list)
	if err != nil {
		t.add(caseName{t.lane.name, "build", "0", "none", 0}, err)
		return 0
	}
	defer os.RemoveAll(y.room)
	var until time.Time
	if sample {
		y.prepare(r)
		until = time.Now().Add(sampleTime)
	}
	var mu sync.Mutex
	var spared []failure
	r.each(len(y.list), func(i int) {
		if sample && time.Now().After(until) {
			return
		}
		name := caseName{t.lane.name, y.list[i].id, "0", "none", 0}
		err := y.judge(r, i)
		if sample && err != nil && kindOf(err) == undetected {
			mu.Lock()
			defer mu.Unlock()
			spared = append(spared, failure{name, err})
			return
		}
		t.add(name, err)
	})
	lived = t.spare(spared)
	for _, s := range y.dropped {
		t.add(caseName{t.lane.name, s.id, "0", "none", 0}, fmt.Errorf("does not compile: %s", s.text))
	}
	if r.learn {
		if err := writeGuards(list); err != nil {
			t.add(caseName{t.lane.name, "guards", "0", "none", 0}, err)
		}
	}
	return lived
}

// spare counts sabotages of a sample that lived: as a note if it is one, else as what they are.
func (t *tally) spare(lived []failure) (spared int) {
	for _, f := range lived {
		if len(lived) > mayLive {
			t.add(f.name, f.err)
			continue
		}
		t.add(f.name, nil)
		t.note("%s lived this time: %v", f.name, f.err)
		spared++
	}
	return spared
}

// judge tries one sabotage; that it lives is an error, unless the list says why.
func (y *yard) judge(r *runner, i int) error {
	s := y.list[i]
	began := time.Now()
	guard, err := y.caughtBy(i)
	r.debugf("sabotage: %s: %s (%v)", s.id, guard, time.Since(began).Round(time.Millisecond))
	switch {
	case err != nil:
		return err
	case guard != "" && s.survives != "":
		r.debugf("sabotage: %s is listed as a survivor and was noticed by %s", s.id, guard)
	case guard == "" && s.survives == "":
		return faultf(undetected, "%s: no test notices that\n\t%s\ngave way to\n\t%s", filepath.Join(s.fn.dir, s.fn.file),
			s.fn.src[s.from:s.to], s.text)
	}
	s.guard = guard
	return nil
}

func replaySabotage(r *runner, c caseName) error {
	all, err := everySabotage()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(s *sabotage) bool { return s.id == c.Scenario })
	if i < 0 {
		return unknownScenario(c)
	}
	y, err := r.newYard(all[i : i+1])
	if err != nil {
		return err
	}
	defer os.RemoveAll(y.room)
	if len(y.dropped) > 0 {
		return fmt.Errorf("does not compile: %s", all[i].text)
	}
	return y.judge(r, 0)
}

// everySabotage is the durability calls that the source has, and the list in testdata.
func everySabotage() ([]*sabotage, error) {
	code, err := readCode()
	if err != nil {
		return nil, err
	}
	entries, err := readSabotages()
	if err != nil {
		return nil, err
	}
	all := code.durabilityCalls()
	for _, e := range entries {
		if s, err := e.find(code); err == nil { // TestSabotagesApply tells of the others
			all = append(all, s)
		}
	}
	reasons, err := readTable(survivorsFile)
	if err != nil {
		return nil, err
	}
	guards, err := readTable(guardsFile)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		s.survives, s.guard = reasons[s.id], guards[s.id]
	}
	return all, nil
}

const (
	sabotageDir   = "testdata/sabotage"
	guardsFile    = sabotageDir + "/guards.txt"
	survivorsFile = sabotageDir + "/survivors.txt"
)

// readTable reads lines of a sabotage's id and a text; what begins with # is a comment.
func readTable(name string) (map[string]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	table := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if id, text, ok := strings.Cut(strings.TrimSpace(line), " "); ok && id != "#" {
			table[id] = strings.TrimSpace(text)
		}
	}
	return table, nil
}

// writeGuards notes who noticed what, and keeps what the file says of sabotages that
// were not tried.
func writeGuards(tried []*sabotage) error {
	guards, err := readTable(guardsFile)
	if err != nil {
		return err
	}
	for _, s := range tried {
		if delete(guards, s.id); s.guard != "" {
			guards[s.id] = s.guard
		}
	}
	var lines []string
	for id, guard := range guards {
		lines = append(lines, id+" "+guard+"\n")
	}
	slices.Sort(lines)
	head := "# Which test or scenario notices which sabotage; written by -learn, tried first.\n"
	return os.WriteFile(guardsFile, []byte(head+strings.Join(lines, "")), 0o644)
}
