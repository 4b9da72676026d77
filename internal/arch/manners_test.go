package arch

import (
	"bytes"
	"go/ast"
	"slices"
	"strings"
)

// The largest file and function, in lines, outside tests. A file that wants more wants to be two files; a function that wants a heading in
// the middle wants to be two functions.
const (
	maxFileLines = 600
	maxFuncLines = 80
)

// emptyNames are file names that say nothing about what is inside.
var emptyNames = []string{"util", "utils", "types", "common", "helper", "helpers", "misc", "base", "shared"}

// inLibrary leaves out the example programs, which are programs: they print, exit and handle signals.
func inLibrary(dir string) bool { return !below(dir, "examples") }

func mannersRules() []rule {
	return []rule{initRule(), panicRule(), quietRule(), fileSizeRule(), funcSizeRule(), nameRule(), docRule()}
}

func initRule() rule {
	return rule{
		name: "no init",
		why:  "importing a package does no work",
		check: func(r *room) []string {
			return eachFunc(r, func(s *source, f *ast.FuncDecl) string {
				if f.Recv == nil && f.Name.Name == "init" {
					return found(s.at(f.Pos()), "func init")
				}
				return ""
			})
		},
		bad:  []snippet{{"log/a.go", "func init() {}"}},
		good: []snippet{{"log/a.go", "type t int\nfunc (t) init() {}"}},
	}
}

func panicRule() rule {
	return rule{
		name:  "no panic",
		why:   "bad bytes are errors and broken invariants are assertions of internal/invariant: nothing else may stop the host; internal/bounded hands a call's panic to its caller",
		where: func(dir string) bool { return dir != "internal/invariant" && dir != "internal/bounded" },
		check: func(r *room) []string { return calls(r, callsBuiltin("panic")) },
		bad: []snippet{
			{"log/a.go", "func f() { panic(1) }"},
			{"examples/quire/a.go", "func f() { func() { panic(1) }() }"},
		},
		good: []snippet{
			{"log/a.go", "func f() { recover() }"},
			{"log/a_test.go", "func f() { panic(1) }"},
		},
	}
}

func quietRule() rule {
	return rule{
		name:  "quiet library",
		why:   "a library does not print, exit, handle signals or own flags: it returns errors and logs where it was told to",
		where: inLibrary,
		check: func(r *room) []string {
			list := calls(r, func(imports map[string]string, call *ast.CallExpr) string {
				if pkg, name, ok := selector(imports, call.Fun); ok && pkg == "fmt" && strings.HasPrefix(name, "Print") {
					return "fmt." + name
				}
				return ""
			})
			list = append(list, calls(r, callsBuiltin("print", "println"))...)
			for _, s := range r.code() {
				for _, spec := range s.tree.Imports {
					if p := strings.Trim(spec.Path.Value, `"`); p == "log" || p == "flag" || p == "os/signal" || p == "expvar" {
						list = append(list, found(s.at(spec.Pos()), "imports %s", p))
					}
				}
			}
			return list
		},
		bad: []snippet{
			{"log/a.go", "import \"fmt\"\nfunc f() { fmt.Println() }"},
			{"log/a.go", "func f() { println() }"},
			{"topic/a.go", `import "log"`},
			{"topic/a.go", `import "flag"`},
		},
		good: []snippet{
			{"log/a.go", "import \"fmt\"\nvar s = fmt.Sprint(1)"},
			{"topic/a.go", `import "log/slog"`},
			{"log/a_test.go", "import \"fmt\"\nfunc f() { fmt.Println() }"},
		},
	}
}

func fileSizeRule() rule {
	return rule{
		name: "files fit in a head",
		why:  "a file that wants two names wants to be two files",
		check: func(r *room) []string {
			var list []string
			for _, s := range r.code() {
				if n := bytes.Count(s.text, []byte("\n")); n > maxFileLines {
					list = append(list, found(s.path, "%d lines, at most %d", n, maxFileLines))
				}
			}
			return list
		},
		bad:  []snippet{{"log/a.go", strings.Repeat("// line\n", maxFileLines+1)}},
		good: []snippet{{"log/a.go", strings.Repeat("// line\n", maxFileLines-9)}},
	}
}

func funcSizeRule() rule {
	body := func(lines int) string { return "func f() {\n" + strings.Repeat("\tg()\n", lines-2) + "}\n" }
	return rule{
		name: "functions fit on a screen",
		why:  "a function that wants a heading in the middle wants to be two functions",
		check: func(r *room) []string {
			return eachFunc(r, func(s *source, f *ast.FuncDecl) string {
				if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFuncLines {
					return found(s.at(f.Pos()), "%s has %d lines, at most %d", f.Name.Name, n, maxFuncLines)
				}
				return ""
			})
		},
		bad:  []snippet{{"log/a.go", body(maxFuncLines + 1)}},
		good: []snippet{{"log/a.go", body(maxFuncLines)}},
	}
}

func nameRule() rule {
	return rule{
		name: "files named for what they hold",
		why:  "a file is named for a noun or verb of the domain",
		check: func(r *room) []string {
			var list []string
			for _, s := range r.files {
				stem := strings.TrimSuffix(strings.TrimSuffix(s.name, ".go"), "_test")
				if slices.Contains(emptyNames, stem) {
					list = append(list, found(s.path, "%q says nothing about what is inside", s.name))
				}
			}
			return list
		},
		bad:  []snippet{{"log/util.go", ""}, {"log/types.go", ""}, {"log/common.go", ""}, {"log/common_test.go", ""}},
		good: []snippet{{"log/retain.go", ""}},
	}
}

func docRule() rule {
	return rule{
		name: "every room has a doc.go",
		why:  "doc.go says what the room is for, its invariants, who may call what at once, its errors",
		check: func(r *room) []string {
			for _, s := range r.files {
				if s.name != "doc.go" {
					continue
				}
				want := "Package " + s.tree.Name.Name + " "
				if s.tree.Name.Name == "main" {
					want = strings.ToUpper(r.dir[strings.LastIndexByte(r.dir, '/')+1:][:1]) + r.dir[strings.LastIndexByte(r.dir, '/')+2:] + " "
				}
				if text := s.tree.Doc.Text(); !strings.HasPrefix(text, want) {
					return []string{found(s.path, "the package comment does not begin with %q", want)}
				}
				return nil
			}
			return []string{found(r.dir, "no doc.go")}
		},
		bad: []snippet{
			{"log/a.go", ""},
			{"log/doc.go", "package log"},
			{"examples/quire/doc.go", "// A tool.\npackage main"},
		},
		good: []snippet{
			{"log/doc.go", "// Package log is one partition's log.\npackage log"},
			{"examples/quire/doc.go", "// Quire is a tool.\npackage main"},
		},
	}
}

// eachFunc gathers what look says about every function outside tests.
func eachFunc(r *room, look func(*source, *ast.FuncDecl) string) []string {
	var list []string
	for _, s := range r.code() {
		for _, decl := range s.tree.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				if text := look(s, f); text != "" {
					list = append(list, text)
				}
			}
		}
	}
	return list
}

// calls gathers the calls outside tests that match says something about.
func calls(r *room, match func(imports map[string]string, call *ast.CallExpr) string) []string {
	var list []string
	for _, s := range r.code() {
		imports := s.imports()
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if what := match(imports, call); what != "" {
					list = append(list, found(s.at(call.Pos()), "calls %s", what))
				}
			}
			return true
		})
	}
	return list
}

func callsBuiltin(names ...string) func(map[string]string, *ast.CallExpr) string {
	return func(_ map[string]string, call *ast.CallExpr) string {
		if id, ok := call.Fun.(*ast.Ident); ok && slices.Contains(names, id.Name) {
			return id.Name
		}
		return ""
	}
}
