package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// moduleRoot is the root module, seen from this folder.
const moduleRoot = "../.."

// fuzzTime is how long each target is fuzzed in the fast tier, as -fuzztime wants it:
// a number of inputs, so that a busy machine tests as much.
const fuzzTime = "500x"

// target is one fuzz target, with the compiled tests it is in.
type target struct{ pkg, name, binary string }

// runFuzz runs every fuzz target of the root module for a while.
func runFuzz(r *runner, t *tally, _ uint64) {
	room, err := os.MkdirTemp("", "quire-fuzz-")
	if err != nil {
		t.add(caseName{t.lane.name, "list", "0", "none", 0}, err)
		return
	}
	list, err := fuzzTargets(room)
	if err != nil {
		t.add(caseName{t.lane.name, "list", "0", "none", 0}, err)
	}
	r.each(len(list), func(i int) {
		name := caseName{t.lane.name, list[i].pkg + "." + list[i].name, r.tier, "fuzz", 0}
		t.add(name, r.fuzz(room, list[i]))
		r.debugf("fuzz: %s %s", list[i].pkg, list[i].name)
	})
	t.note("%d targets, %s inputs each", len(list), r.fuzzAmount())
	if t.bad() == 0 {
		_ = os.RemoveAll(room)
	}
}

// fuzzAmount is the argument of -fuzztime.
func (r *runner) fuzzAmount() string {
	if r.tier == "long" {
		return "60s"
	}
	return fuzzTime
}

// fuzzTargets compiles the tests of packages that have targets, and lists these.
func fuzzTargets(room string) ([]target, error) {
	dirs, err := fuzzDirs()
	if err != nil {
		return nil, err
	}
	var list []target
	for _, dir := range dirs {
		binary := filepath.Join(room, strings.ReplaceAll(dir, "/", "_")+".test")
		if out, err := command(moduleRoot, "go", "test", "-c", "-fuzz", ".", "-o", binary, dir); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
		out, err := command(room, binary, "-test.list", "^Fuzz")
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if name := strings.TrimSpace(line); strings.HasPrefix(name, "Fuzz") {
				list = append(list, target{dir, name, binary})
			}
		}
	}
	return list, nil
}

// fuzzDirs are the folders with a fuzz target, of the root module alone.
func fuzzDirs() ([]string, error) {
	var dirs []string
	seen := map[string]bool{}
	err := filepath.WalkDir(moduleRoot, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != moduleRoot {
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
				return filepath.SkipDir
			}
		}
		if !strings.HasSuffix(p, "_test.go") || seen[filepath.Dir(p)] {
			return nil
		}
		src, err := os.ReadFile(p)
		if err == nil && bytes.Contains(src, []byte("\nfunc Fuzz")) {
			dir, err := filepath.Rel(moduleRoot, filepath.Dir(p))
			if err != nil {
				return err
			}
			seen[filepath.Dir(p)] = true
			dirs = append(dirs, "./"+filepath.ToSlash(dir))
		}
		return err
	})
	return dirs, err
}

// command runs a program in a folder.
func command(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	return cmd.CombinedOutput()
}

// fuzz runs one target in a folder of its own, with a copy of the package's
// testdata: what it finds stays there, and not in the source tree.
func (r *runner) fuzz(room string, t target) error {
	dir := filepath.Join(room, strings.ReplaceAll(t.pkg, "/", "_")+"."+t.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data := filepath.Join(moduleRoot, t.pkg, "testdata")
	if _, err := os.Stat(data); err == nil {
		if err := os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS(data)); err != nil {
			return err
		}
	}
	out, err := command(dir, t.binary, "-test.run", "^$", "-test.fuzz", "^"+t.name+"$", "-test.fuzztime", r.fuzzAmount(),
		"-test.fuzzminimizetime", "10x", "-test.parallel", "1", "-test.fuzzcachedir", filepath.Join(dir, "cache"))
	if err == nil {
		return nil
	}
	k := wrong
	if bytes.Contains(out, []byte("panic:")) {
		k = death
	}
	return faultf(k, "%v in %s\n%s", err, dir, tail(out, 2000))
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// replayFuzz runs a target again; the input that failed is kept where the failure said.
func replayFuzz(r *runner, c caseName) error {
	room, err := os.MkdirTemp("", "quire-fuzz-")
	if err != nil {
		return err
	}
	list, err := fuzzTargets(room)
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.pkg+"."+t.name == c.Scenario {
			return r.fuzz(room, t)
		}
	}
	return unknownScenario(c)
}
