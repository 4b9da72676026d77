package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is the path of the root module.
const module = "github.com/quirelog/quire"

// A source is one parsed Go file. Build constraints are not looked at: what is compiled for another system keeps the rules too.
type source struct {
	name string // base name
	path string // slash path below the module's root
	test bool
	text []byte
	tree *ast.File
	set  *token.FileSet
}

// at renders a place in the file as editors like it.
func (s *source) at(p token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.line(p))
}

func (s *source) line(p token.Pos) int { return s.set.Position(p).Line }

// A room is one package's folder: its Go files, tests included.
type room struct {
	dir   string // slash path below the module's root
	files []*source
}

// code lists the files that are not tests.
func (r *room) code() []*source {
	return slices.DeleteFunc(slices.Clone(r.files), func(s *source) bool { return s.test })
}

// rootDir is the folder of the root module's go.mod, found upwards from the test's working directory.
func rootDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(text), "module "+module+"\n") {
			return dir
		}
		up := filepath.Dir(dir)
		require.NotEqual(t, dir, up, "no go.mod of %s above the working directory", module)
		dir = up
	}
}

// house reads every room of the root module.
func house(t testing.TB) []*room {
	t.Helper()
	root := rootDir(t)
	rooms := map[string]*room{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, name, d)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return add(rooms, filepath.ToSlash(rel), text)
	})
	require.NoError(t, err)
	require.NotEmpty(t, rooms)
	list := make([]*room, 0, len(rooms))
	for _, r := range rooms {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *room) int { return strings.Compare(a.dir, b.dir) })
	return list
}

// enter tells WalkDir whether a folder belongs to the root module: not a nested module, not hidden, not test data.
func enter(root, name string, d fs.DirEntry) error {
	if name == root {
		return nil
	}
	if strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// add parses one file into the room it belongs to.
func add(rooms map[string]*room, rel string, text []byte) error {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := path.Dir(rel)
	if rooms[dir] == nil {
		rooms[dir] = &room{dir: dir}
	}
	rooms[dir].files = append(rooms[dir].files, &source{
		name: path.Base(rel), path: rel, test: strings.HasSuffix(rel, "_test.go"), text: text, tree: tree, set: set,
	})
	return nil
}

// below tells whether dir is one of the folders or lies in one of them.
func below(dir string, folders ...string) bool {
	for _, f := range folders {
		if dir == f || strings.HasPrefix(dir, f+"/") {
			return true
		}
	}
	return false
}

// imports maps the names a file uses for its imports to their paths.
func (s *source) imports() map[string]string {
	m := map[string]string{}
	for _, spec := range s.tree.Imports {
		p := strings.Trim(spec.Path.Value, `"`)
		name := path.Base(p)
		if v := strings.TrimPrefix(name, "v"); v != name && strings.Trim(v, "0123456789") == "" {
			name = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		m[name] = p
	}
	return m
}

// selector resolves pkg.Name to the import path and the name; ok is false for anything else.
func selector(imports map[string]string, n ast.Node) (pkg, name string, ok bool) {
	sel, isSel := n.(*ast.SelectorExpr)
	if !isSel {
		return "", "", false
	}
	id, isID := sel.X.(*ast.Ident)
	if !isID {
		return "", "", false
	}
	p, known := imports[id.Name]
	return p, sel.Sel.Name, known
}
