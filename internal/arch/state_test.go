package arch

import (
	"go/ast"
	"go/token"
	"slices"
)

// tied lists types of other packages that are tied to the bubble, the run or the engine they were made in: sharing one between two
// engines, or between two synctest bubbles, is a fault. The coders of zstd own channels.
var tied = map[string][]string{
	"context":                            {"Context", "CancelFunc", "CancelCauseFunc", "Background", "TO" + "DO", "WithCancel", "WithTimeout", "WithDeadline", "WithValue"},
	"sync":                               {"Cond", "NewCond", "WaitGroup"},
	"time":                               {"Timer", "Ticker", "NewTimer", "NewTicker", "AfterFunc", "After", "Tick"},
	"github.com/klauspost/compress/zstd": {"Decoder", "Encoder", "NewReader", "NewWriter"},
	module + "/topic":                    {"Engine", "Open", "Topic", "Producer", "Consumer"},
	module + "/log":                      {"Log", "Open"},
	module + "/internal/watermark":       {"Mark"},
}

// tiedHere lists our own types of that kind, as their own packages name them.
var tiedHere = map[string][]string{
	"topic":              tied[module+"/topic"],
	"log":                tied[module+"/log"],
	"internal/watermark": tied[module+"/internal/watermark"],
}

func stateRules() []rule {
	return []rule{{
		name:  "no shared state that waits",
		why:   "a channel, timer, condition, context or engine in a package-level variable (or in a pool) outlives its engine and its bubble",
		check: checkState,
		bad: []snippet{
			{"log/a.go", "var wake = make(chan struct{})"},
			{"log/a.go", "var wake chan struct{}"},
			{"log/a.go", "import \"time\"\nvar t *time.Timer"},
			{"log/a.go", "import \"time\"\nvar t = time.NewTimer(5)"},
			{"log/a.go", "import \"sync\"\nvar c = sync.NewCond(nil)"},
			{"log/a.go", "import \"context\"\nvar c = context.Background()"},
			{"topic/a.go", "type Engine struct{}\nvar engines map[string]*Engine"},
			{"log/a.go", "import \"sync\"\ntype waiter struct { done chan struct{} }\nvar pool = sync.Pool{New: func() any { return new(waiter) }}"},
			{"log/a.go", "type inner struct { c chan int }\ntype outer struct { in []inner }\nvar all outer"},
			{"compress/a.go", "import \"sync\"\nimport \"github.com/klauspost/compress/zstd\"\nvar p = sync.Pool{New: func() any { d, _ := zstd.NewReader(nil); return d }}"},
			{"log/a.go", "func fresh() *w { return &w{} }\ntype w struct { c chan int }\nvar one = fresh()"},
		},
		good: []snippet{
			{"log/a.go", "import \"sync\"\nvar pool = sync.Pool{New: func() any { return new([]byte) }}"},
			{"log/a.go", "import \"errors\"\nvar ErrClosed = errors.New(\"log: closed\")"},
			{"log/a.go", "type Log struct { wake chan struct{} }\nvar limit = 7"},
			{"log/a.go", "func f() { c := make(chan int, 1); c <- 1 }"},
			{"topic/a.go", "import \"io\"\ntype Engine struct{}\nvar _ io.Closer = (*Engine)(nil)"},
		},
	}}
}

// A stateReader judges the expressions of one package. Its own types are followed by name, so a struct that holds a channel three types
// deep is seen as one that holds a channel.
type stateReader struct {
	dir     string
	imports map[string]string
	types   map[string]ast.Expr
	funcs   map[string]*ast.FuncType
	seen    []string
}

func checkState(r *room) []string {
	reader := stateReader{dir: r.dir, types: map[string]ast.Expr{}, funcs: map[string]*ast.FuncType{}}
	for _, s := range r.code() {
		reader.learn(s.tree)
	}
	var list []string
	for _, s := range r.code() {
		reader.imports = s.imports()
		for _, decl := range s.tree.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				if what := reader.judge(spec.(*ast.ValueSpec)); what != "" {
					list = append(list, found(s.at(spec.Pos()), "package-level variable holds %s", what))
				}
			}
		}
	}
	return list
}

// learn notes the package's own types and the results of its functions.
func (r *stateReader) learn(tree *ast.File) {
	for _, decl := range tree.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				r.funcs[d.Name.Name] = d.Type
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if ts, ok := spec.(*ast.TypeSpec); ok {
					r.types[ts.Name.Name] = ts.Type
				}
			}
		}
	}
}

func (r *stateReader) judge(spec *ast.ValueSpec) string {
	r.seen = nil
	if !slices.ContainsFunc(spec.Names, func(n *ast.Ident) bool { return n.Name != "_" }) {
		return "" // "var _ io.Closer = (*T)(nil)" holds nothing
	}
	if spec.Type != nil {
		if what := r.holds(spec.Type); what != "" {
			return what
		}
	}
	for _, v := range spec.Values {
		if what := r.holds(v); what != "" {
			return what
		}
	}
	return ""
}

// holds looks through an expression or type for anything tied and says what it found.
func (r *stateReader) holds(n ast.Node) (what string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if what != "" || n == nil {
			return false
		}
		switch v := n.(type) {
		case *ast.FuncType, *ast.InterfaceType:
			return false // a signature holds nothing
		case *ast.ChanType:
			what = "a channel"
		case *ast.KeyValueExpr:
			if _, isField := v.Key.(*ast.Ident); isField {
				what = r.holds(v.Value) // the field's name is no type
				return false
			}
		case *ast.SelectorExpr:
			if pkg, name, ok := selector(r.imports, v); ok && slices.Contains(tied[pkg], name) {
				what = pkg + "." + name
			}
			return false
		case *ast.Field:
			what = r.holds(v.Type)
			return false
		case *ast.Ident:
			what = r.named(v.Name)
		}
		return what == ""
	})
	return what
}

// named follows a name of the package itself, once.
func (r *stateReader) named(name string) string {
	if slices.Contains(r.seen, name) {
		return ""
	}
	r.seen = append(r.seen, name)
	if slices.Contains(tiedHere[r.dir], name) && r.types[name] != nil {
		return name
	}
	if t := r.types[name]; t != nil {
		return r.holds(t)
	}
	if f := r.funcs[name]; f != nil && f.Results != nil {
		return r.holds(f.Results)
	}
	return ""
}
