package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// sabotageEnv chooses, by its number from 1, the sabotage that a woven program does.
	sabotageEnv = "QUIRE_SABOTAGE"
	// reachEnv names a file to which it writes the numbers of those it came by.
	reachEnv = "QUIRE_SABOTAGE_REACH"
)

// switchSource is added to each package that is harmed.
const switchSource = `package %s

import (
	sabotageos "os"
	sabotageconv "strconv"
	sabotagesync "sync"
)

var (
	sabotageNumber, _ = sabotageconv.Atoi(sabotageos.Getenv(%q))
	sabotageReach     = sabotageos.Getenv(%q)
	sabotageSeen      sabotagesync.Map
)

func sabotaged(n int) bool {
	if sabotageReach != "" {
		if _, seen := sabotageSeen.LoadOrStore(n, true); !seen {
			f, err := sabotageos.OpenFile(sabotageReach, sabotageos.O_APPEND|sabotageos.O_CREATE|sabotageos.O_WRONLY, 0o600)
			if err == nil {
				_, _ = f.WriteString(sabotageconv.Itoa(n) + "\n")
				_ = f.Close()
			}
		}
	}
	return sabotageNumber == n
}
`

// yard is one build of the code that holds many sabotages, each asleep until the
// environment names it: what is compiled is compiled once for all.
type yard struct {
	room    string // everything of the yard lies here
	list    []*sabotage
	dropped []*sabotage // did not compile
	suites  []*suite
	each    func(n int, f func(i int))
}

// woven is one file with sabotages in it.
type woven struct {
	path string // absolute, of the file it stands for
	own  string // where it lies itself
	text []byte
	// lines are where each sabotage's text begins and ends, by number in the list.
	lines map[int][2]int
}

// newYard weaves a list of sabotages into the code. What does not compile is dropped.
func (r *runner) newYard(list []*sabotage) (*yard, error) {
	room, err := os.MkdirTemp("", "quire-sabotage-")
	if err != nil {
		return nil, err
	}
	y := &yard{room: room, list: slices.Clone(list), each: r.each}
	for range 10 { // the compiler stops at the first package that it refuses
		files, err := y.weave()
		if err != nil {
			return nil, err
		}
		broken, err := y.compile(files)
		if err != nil {
			return nil, err
		}
		if len(broken) == 0 {
			y.suites, err = y.newSuites()
			return y, err
		}
		kept := y.list[:0:0]
		for i, s := range y.list {
			if broken[i] {
				y.dropped = append(y.dropped, s)
			} else {
				kept = append(kept, s)
			}
		}
		y.list = kept
	}
	return nil, fmt.Errorf("sabotages do not compile, whichever are dropped")
}

func (y *yard) overlay() string { return filepath.Join(y.room, "overlay.json") }

// weave writes the files with their sabotages, and the overlay that puts them in place.
func (y *yard) weave() ([]woven, error) {
	byFile := map[string][]int{}
	for i, s := range y.list {
		name := filepath.Join(s.fn.dir, s.fn.file)
		byFile[name] = append(byFile[name], i)
	}
	root, err := filepath.Abs(moduleRoot)
	if err != nil {
		return nil, err
	}
	var files []woven
	replace := map[string]string{}
	for name, numbers := range byFile {
		w := y.woven(filepath.Join(root, name))
		w.text, w.lines = y.weaveFile(numbers)
		files = append(files, w)
		fn := y.list[numbers[0]].fn
		added := y.woven(filepath.Join(root, fn.dir, "sabotage_switch.go"))
		added.text = fmt.Appendf(nil, switchSource, packageOf(fn), sabotageEnv, reachEnv)
		for _, w := range []woven{w, added} {
			replace[w.path] = w.own
			if err := os.WriteFile(w.own, w.text, 0o600); err != nil {
				return nil, err
			}
		}
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	return files, os.WriteFile(y.overlay(), data, 0o600)
}

func (y *yard) woven(path string) woven {
	return woven{path: path, own: filepath.Join(y.room, strings.ReplaceAll(path, string(filepath.Separator), "_"))}
}

func packageOf(f *function) string {
	return string(regexp.MustCompile(`(?m)^package (\w+)`).FindSubmatch(f.src)[1])
}

// weaveFile gives each harmed function its harmed bodies ahead of its own.
func (y *yard) weaveFile(numbers []int) ([]byte, map[int][2]int) {
	slices.SortFunc(numbers, func(a, b int) int {
		x, _ := y.list[a].fn.body()
		z, _ := y.list[b].fn.body()
		return cmp.Or(cmp.Compare(x, z), cmp.Compare(a, b))
	})
	var out bytes.Buffer
	lines := map[int][2]int{}
	src, done := y.list[numbers[0]].fn.src, 0
	for _, n := range numbers {
		s := y.list[n]
		from, to := s.fn.body()
		out.Write(src[done:from])
		done = from
		begin := bytes.Count(out.Bytes(), []byte("\n")) + 1
		harmed := string(src[from:s.from]) + s.text + string(src[s.to:to])
		fmt.Fprintf(&out, "\nif sabotaged(%d) {\n%s\n}\n", n+1, s.fn.apart(harmed))
		lines[n] = [2]int{begin, bytes.Count(out.Bytes(), []byte("\n")) + 1}
	}
	out.Write(src[done:])
	return out.Bytes(), lines
}

// apart makes a body one that can stand within the function's own: it ends the
// function, and its labels and named results are not the function's.
func (f *function) apart(body string) string {
	results := f.decl.Type.Results
	if results == nil {
		return "func() {" + body + "\n}()\nreturn"
	}
	if !f.named() && !f.labelled() {
		return body + "\npanic(\"sabotage: a body without an end\")"
	}
	text := f.src[f.offset(results.Pos()):f.offset(results.End())]
	return "return func() " + string(text) + " {" + body + "\n}()"
}

func (f *function) named() bool { return len(f.decl.Type.Results.List[0].Names) > 0 }

func (f *function) labelled() (found bool) {
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		_, ok := n.(*ast.LabeledStmt)
		found = found || ok
		return !found
	})
	return found
}

// compile builds the root module with the overlay and tells which sabotages the
// compiler refuses.
func (y *yard) compile(files []woven) (map[int]bool, error) {
	out, err := command(moduleRoot, "go", "build", "-overlay", y.overlay(), "-gcflags=-e", "./...")
	if err == nil {
		return nil, nil
	}
	broken := map[int]bool{}
	place := regexp.MustCompile(`(?m)^(\S+\.go):(\d+):`)
	for _, m := range place.FindAllSubmatch(out, -1) {
		line, _ := strconv.Atoi(string(m[2]))
		for _, w := range files {
			if name := string(m[1]); name != w.own && !strings.HasSuffix(filepath.ToSlash(w.path), strings.TrimPrefix(name, "./")) {
				continue
			}
			for n, span := range w.lines {
				if span[0] <= line && line <= span[1] {
					broken[n] = true
				}
			}
		}
	}
	if len(broken) == 0 {
		return nil, fmt.Errorf("the sabotaged code does not build: %w\n%s", err, tail(out, 4000))
	}
	return broken, nil
}
