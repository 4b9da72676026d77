package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// scenariosByLane are the names that FAILURES.md may give behind a lane's.
func scenariosByLane() map[string][]string {
	all := map[string][]string{}
	for _, sc := range logScenarios() {
		all["crash"] = append(all["crash"], sc.name)
	}
	for _, sc := range engineScenarios() {
		all["engine"] = append(all["engine"], sc.name)
	}
	for _, sc := range roughScripts() {
		all["faults"] = append(all["faults"], sc.name)
	}
	return all
}

// rootTests are the tests of the root module, as package.Test.
func rootTests(t *testing.T) map[string]bool {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)`)
	found := map[string]bool{}
	err := filepath.WalkDir(moduleRoot, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, "_test.go") {
			return err
		}
		src, err := os.ReadFile(p)
		for _, m := range declaration.FindAllSubmatch(src, -1) {
			found[filepath.Base(filepath.Dir(p))+"."+string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestFailuresAreCovered holds FAILURES.md to what exists: every name in it, every
// lane and scenario by it, and no failure without a name.
func TestFailuresAreCovered(t *testing.T) {
	text, err := os.ReadFile("FAILURES.md")
	if err != nil {
		t.Fatal(err)
	}
	scenarios, tests := scenariosByLane(), rootTests(t)
	known := map[string]bool{}
	for _, l := range lanes() {
		known[l.name] = false
		for _, sc := range scenarios[l.name] {
			known[l.name+":"+sc] = false
		}
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	sections := map[string]int{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains("4567", strings.TrimSpace(cells[1])) {
			continue
		}
		sections[strings.TrimSpace(cells[1])]++
		names := quoted.FindAllStringSubmatch(cells[3], -1)
		if len(names) == 0 {
			t.Errorf("nothing covers: %s", line)
		}
		for _, n := range names {
			if _, ok := known[n[1]]; ok {
				known[n[1]] = true
				lane, _, _ := strings.Cut(n[1], ":")
				known[lane] = true
			} else if !tests[n[1]] {
				t.Errorf("%q is neither a lane, a scenario, nor a test", n[1])
			}
		}
	}
	for _, section := range []string{"4", "5", "6", "7"} {
		if sections[section] == 0 {
			t.Errorf("no failure of section %s", section)
		}
	}
	var missing []string
	for name, named := range known {
		if !named {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("FAILURES.md does not name: %v", missing)
	}
}
