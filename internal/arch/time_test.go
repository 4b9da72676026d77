package arch

import (
	"go/ast"
	"slices"
)

// storeysBelowTopic start no goroutine and arm no timer: they are stepped by those above.
var storeysBelowTopic = []string{"compress", "index", "segment", "log", "replica", "internal/watermark", "internal/invariant"}

func timeRules() []rule {
	return []rule{
		{
			name:  "no goroutines or timers below topic",
			why:   "the storeys below topic are driven from above: they start no goroutine and arm no timer",
			where: func(dir string) bool { return below(dir, storeysBelowTopic...) },
			check: func(r *room) []string {
				return append(goStatements(r), timeCalls(r, "AfterFunc", "NewTimer", "After", "NewTicker", "Tick", "Sleep")...)
			},
			bad: []snippet{
				{"log/a.go", "func f() { go f() }"},
				{"log/vfs/a.go", "func f() { func() { go f() }() }"},
				{"segment/a.go", "import \"time\"\nfunc f() { time.AfterFunc(1, f) }"},
				{"log/record/a.go", "import \"time\"\nfunc f() { <-time.After(1) }"},
			},
			good: []snippet{
				{"log/a.go", "import \"time\"\nfunc f() time.Time { return time.Now().Add(time.Second) }"},
				{"topic/a.go", "func f() { go f() }"},
				{"log/a_test.go", "func f() { go f() }"},
			},
		},
		{
			name:  "no tickers and no sleeps",
			why:   "arm one timer for the next thing due and wake on events: idle means nothing is armed",
			check: func(r *room) []string { return timeCalls(r, "Tick", "NewTicker", "Ticker", "Sleep") },
			bad: []snippet{
				{"topic/a.go", "import \"time\"\nvar t = time.NewTicker(1)"},
				{"group/a.go", "import \"time\"\nfunc f() { time.Sleep(1) }"},
				{"examples/quire/a.go", "import clock \"time\"\nfunc f() { for range clock.Tick(1) {} }"},
			},
			good: []snippet{
				{"topic/a.go", "import \"time\"\nfunc f() { t := time.NewTimer(1); t.Stop() }"},
				{"topic/a_test.go", "import \"time\"\nfunc f() { time.Sleep(1) }"},
			},
		},
	}
}

func goStatements(r *room) []string {
	var list []string
	for _, s := range r.code() {
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				list = append(list, found(s.at(g.Pos()), "starts a goroutine"))
			}
			return true
		})
	}
	return list
}

// timeCalls finds uses of the named members of package time.
func timeCalls(r *room, names ...string) []string {
	var list []string
	for _, s := range r.code() {
		imports := s.imports()
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if pkg, name, ok := selector(imports, n); ok && pkg == "time" && slices.Contains(names, name) {
				list = append(list, found(s.at(n.Pos()), "uses time.%s", name))
			}
			return true
		})
	}
	return list
}
