package main

import (
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// function is one function of the root module.
type function struct {
	dir, file string // the package's folder below the module's root, and its file in it
	name      string // Type.name of a method
	src       []byte // of the file
	decl      *ast.FuncDecl
	base      int // position of the file's first byte
}

func (f *function) offset(p token.Pos) int { return int(p) - f.base }

// body is the text between the braces, as offsets in the file.
func (f *function) body() (from, to int) {
	return f.offset(f.decl.Body.Lbrace) + 1, f.offset(f.decl.Body.Rbrace)
}

// id names a sabotage of this function.
func (f *function) id(what string) string { return filepath.Base(f.dir) + "." + f.name + "." + what }

// code is the functions of the root module that sabotages may strike, in order of files.
type code []*function

// unharmed are folders whose code is not the library's.
var unharmed = []string{"examples", "internal/arch", "internal/bench", "internal/handletest", "internal/interop", "internal/invariant",
	"internal/kafkadir", "internal/proof", "log/vfs/vfstest", "topic/topictest"}

func readCode() (code, error) {
	var list code
	fset := token.NewFileSet()
	err := filepath.WalkDir(moduleRoot, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(moduleRoot, p)
		if err != nil {
			return err
		}
		dir, name := filepath.Split(filepath.ToSlash(rel))
		if d.IsDir() {
			if slices.Contains(unharmed, filepath.ToSlash(rel)) || name == "testdata" || strings.HasPrefix(name, ".") && rel != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		if built, err := build.Default.MatchFile(filepath.Dir(p), name); err != nil || !built {
			return err
		}
		found, err := functionsOf(fset, p, strings.TrimSuffix(dir, "/"), name)
		list = append(list, found...)
		return err
	})
	return list, err
}

func functionsOf(fset *token.FileSet, path, dir, name string) ([]*function, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	tree, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return functionsIn(fset, tree, src, dir, name), nil
}

func functionsIn(fset *token.FileSet, tree *ast.File, src []byte, dir, name string) (list []*function) {
	for _, d := range tree.Decls {
		if decl, ok := d.(*ast.FuncDecl); ok && decl.Body != nil {
			list = append(list, &function{dir, name, functionName(decl), src, decl, fset.File(decl.Pos()).Base()})
		}
	}
	return list
}

// functionName is name, or Type.name of a method.
func functionName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

// durabilityCalls finds each call that makes something durable, or that waits for it
// before a reply, and makes it a sabotage that leaves the call out.
func (c code) durabilityCalls() []*sabotage {
	fails := c.failing()
	var all []*sabotage
	for _, f := range c {
		seen := map[string]int{}
		ast.Inspect(f.decl.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := calleeName(call)
			if !durable(name, call, fails[f.dir]) {
				return true
			}
			seen[name]++
			from, to := f.offset(call.Pos()), f.offset(call.End())
			all = append(all, &sabotage{id: f.id(fmt.Sprintf("%s.%d", name, seen[name])), fn: f,
				from: from, to: to, text: leftOut(f, call), call: true})
			return true
		})
	}
	return all
}

// leftOut is a call's replacement: what it is called with is evaluated, and that is all.
func leftOut(f *function, call *ast.CallExpr) string {
	var args []string
	if s, ok := call.Fun.(*ast.SelectorExpr); ok {
		args = append(args, string(f.src[f.offset(s.X.Pos()):f.offset(s.X.End())]))
	}
	for _, a := range call.Args {
		args = append(args, string(f.src[f.offset(a.Pos()):f.offset(a.End())]))
	}
	return "func(...any) error { return nil }(" + strings.Join(args, ", ") + ")"
}

func calleeName(call *ast.CallExpr) string {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		return fun.Sel.Name
	}
	return ""
}

// durable tells the calls that make something durable: those of a disk by name and
// number of arguments, those of the house by name if the function returns an error alone.
func durable(name string, call *ast.CallExpr, fails map[string]bool) bool {
	switch name {
	case "Sync":
		return len(call.Args) == 0
	case "SyncDir":
		return len(call.Args) == 1
	case "Flush":
		return len(call.Args) < 2
	case "note", "writeSlot":
		return fails[name] && len(call.Args) == 1
	case "writeSlotTwice", "writeSynced", "writeCheckpoints", "writeCleanerCheckpoint":
		return fails[name]
	case "write", "sync", "settle", "flush":
		return fails[name] && slices.Contains([]string{"slot", "n", "s", "l"}, receiverName(call))
	}
	return strings.HasPrefix(name, "sync") && !strings.HasPrefix(name, "synced") && fails[name]
}

// receiverName is the last name before the callee's.
func receiverName(call *ast.CallExpr) string {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	switch x := s.X.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

// failing lists by folder the names of functions whose only result is an error.
func (c code) failing() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, f := range c {
		if all[f.dir] == nil {
			all[f.dir] = map[string]bool{}
		}
		if r := f.decl.Type.Results; r != nil && len(r.List) == 1 && len(r.List[0].Names) < 2 {
			if t, ok := r.List[0].Type.(*ast.Ident); ok && t.Name == "error" {
				all[f.dir][f.decl.Name.Name] = true
			}
		}
	}
	return all
}

// digest tells sabotages of one function apart.
func digest(old, text string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(old+"\x00"+text)))[:4]
}
