package main

import (
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// TestSabotagesApply names the entries of the list whose text is no longer in the code:
// a change of the code takes its sabotages along. The list must stay large.
func TestSabotagesApply(t *testing.T) {
	c, err := readCode()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := readSabotages()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	var stale []string
	for _, e := range entries {
		s, err := e.find(c)
		if err != nil {
			stale = append(stale, err.Error())
			continue
		}
		if other := ids[s.id]; other != "" {
			t.Errorf("%s and %s are the same sabotage", other, e.place)
		}
		ids[s.id] = e.place
	}
	if len(ids) < 500 || len(stale) > 0 {
		t.Errorf("%d sabotages apply, %d do not; mend these in %s:\n%s", len(ids), len(stale), sabotageDir, strings.Join(stale, "\n"))
	}
	checkSurvivors(t, c, ids)
}

// checkSurvivors holds the named survivors to the list: at most one in ten.
func checkSurvivors(t *testing.T, c code, listed map[string]string) {
	t.Helper()
	calls := c.durabilityCalls()
	if len(calls) < 80 {
		t.Errorf("only %d durability calls found in the source", len(calls))
	}
	reasons, err := readTable(survivorsFile)
	if err != nil {
		t.Fatal(err)
	}
	checkNamed(t, calls, listed)
	if most := (len(listed) + len(calls)) / 10; len(reasons) > most {
		t.Errorf("%d sabotages are named as survivors, more than %d", len(reasons), most)
	}
}

// checkNamed holds what the tables of guards and survivors name to the list: a renaming that takes a call off it leaves its row behind.
func checkNamed(t *testing.T, calls []*sabotage, listed map[string]string) {
	t.Helper()
	there := map[string]bool{}
	for _, s := range calls {
		there[s.id] = true
	}
	for _, file := range []string{guardsFile, survivorsFile} {
		rows, err := readTable(file)
		if err != nil {
			t.Fatal(err)
		}
		for id := range rows {
			if !there[id] && listed[id] == "" {
				t.Errorf("%s names %s, which is no sabotage", file, id)
			}
		}
	}
}

func TestParseSabotages(t *testing.T) {
	list, err := parseSabotages("a.diff", "# why\nlog Log.f\n- a <  b\n+ a <= b\n- c\n- d\n+ \n\nlog g\n- x\n+ y\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{"a.diff:3", "log", "Log.f", "a <  b", "a <= b"},
		{"a.diff:6", "log", "Log.f", "c\nd", ""},
		{"a.diff:10", "log", "g", "x", "y"},
	}
	if !slices.Equal(list, want) {
		t.Errorf("got %+v", list)
	}
	if _, err := parseSabotages("a.diff", "log\n"); err == nil {
		t.Error("a line that is neither a place nor a change is read")
	}
}

// harmlessSource is a file in which each shape of function that is woven stands once.
const harmlessSource = `package p

func plain(a int) int {
	f.Sync()
	return a + 1
}

func named(a int) (n int, err error) {
	n, err = a, f.Sync()
	return
}

func nothing() {
outer:
	for {
		break outer
	}
	_ = d.SyncDir("x")
}
`

func TestWovenCodeParses(t *testing.T) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, "p.go", harmlessSource, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := functionsIn(fset, tree, []byte(harmlessSource), "p", "p.go")
	y := &yard{list: code(c).durabilityCalls()}
	var ids []string
	for _, s := range y.list {
		ids = append(ids, s.id)
	}
	if want := []string{"p.plain.Sync.1", "p.named.Sync.1", "p.nothing.SyncDir.1"}; !slices.Equal(ids, want) {
		t.Fatalf("calls found: %v", ids)
	}
	e := entry{"a.diff:1", "p", "plain", "return a + 1", "return a"}
	s, err := e.find(c)
	if err != nil {
		t.Fatal(err)
	}
	y.list = append(y.list, s)
	text, lines := y.weaveFile([]int{0, 1, 2, 3})
	if _, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	if len(lines) != 4 || strings.Count(string(text), "func(...any) error { return nil }(") != 3 {
		t.Errorf("%v\n%s", lines, text)
	}
}
