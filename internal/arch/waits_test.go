package arch

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
)

func waitRules() []rule {
	return []rule{{
		name: "no wait under a mutex",
		why:  "a goroutine that waits for a channel, timer or condition while it holds a mutex stops everybody, and a bubble's clock with them",
		check: func(r *room) []string {
			var list []string
			for _, s := range r.code() {
				list = append(list, checkWaits(s)...)
			}
			return list
		},
		bad: []snippet{
			{"log/a.go", "func (l *T) f() { l.mu.Lock(); <-l.c; l.mu.Unlock() }"},
			{"log/a.go", "func (l *T) f() { l.mu.Lock(); defer l.mu.Unlock(); l.c <- 1 }"},
			{"log/a.go", "func (l *T) f() { l.mu.RLock(); defer l.mu.RUnlock(); select { case <-l.c: case <-l.d: } }"},
			{"log/a.go", "func (l *T) f() { l.mu.Lock(); if l.x { v := <-l.c; _ = v }; l.mu.Unlock() }"},
			{"log/a.go", "func (l *T) f() { l.mu.Lock(); l.wg.Wait(); l.mu.Unlock() }"},
			{"log/a.go", "func (l *T) f() { l.mu.Lock(); for { return g(<-l.c) } }"},
			{"log/a.go", "import \"time\"\nfunc (l *T) f() { l.mu.Lock(); time.Sleep(1); l.mu.Unlock() }"},
			{"log/a.go", "func (l *T) f() { l.a.Lock(); l.b.Lock(); l.b.Unlock(); <-l.c; l.a.Unlock() }"},
			{"log/a.go", "func (l *T) f() { if l.x { l.mu.Lock() }; <-l.c }"},
			{"log/a.go", "func (l *T) wakeLocked() { <-l.c }"},
			{"log/a.go", "func (l *T) f() { g(func() { l.mu.Lock(); <-l.c; l.mu.Unlock() }) }"},
			{"log/a.go", "func (l *T) f() { for { l.mu.Lock(); switch { case l.x: l.mu.Unlock(); return; default: <-l.c }; l.mu.Unlock() } }"},
		},
		good: []snippet{
			{"log/a.go", "func (l *T) f() { l.mu.Lock(); c := l.c; l.mu.Unlock(); <-c }"},
			{"log/a.go", "func (l *T) f() { l.mu.Lock(); defer l.mu.Unlock(); select { case l.c <- 1: default: } }"},
			{"log/a.go", "func (l *T) f() { l.mu.Lock(); if l.x { l.mu.Unlock(); <-l.c; return }; l.mu.Unlock() }"},
			{"log/a.go", "func (l *T) f() { for { l.mu.Lock(); if l.x { l.mu.Unlock(); return }; l.mu.Unlock(); <-l.c } }"},
			{"log/a.go", "func (l *T) f() { l.mu.Lock(); defer l.mu.Unlock(); g(func() { <-l.c }) }"},
			{"log/a.go", "func (l *T) f() { l.fs.Lock(\"name\", \"holder\"); <-l.c }"},
			{"log/a.go", "func (l *T) f() { <-l.c; l.mu.Lock(); close(l.c); l.mu.Unlock() }"},
			{"log/a_test.go", "func (l *T) f() { l.mu.Lock(); <-l.c; l.mu.Unlock() }"},
		},
	}}
}

// A waitReader walks one function's statements in order and keeps the set of mutexes that may be held. It reads as a person would: one
// function at a time, both ways at a branch; a way that ends in return, break, continue or goto does not reach what follows. A function
// whose name ends in Locked is entered with its caller's mutex held. What a called function does is not looked at, except that its name
// is Wait.
type waitReader struct {
	s       *source
	imports map[string]string
	list    []string
}

// held is the set of mutexes, by the text of the expression that names them.
type held map[string]bool

func checkWaits(s *source) []string {
	r := &waitReader{s: s, imports: s.imports()}
	ast.Inspect(s.tree, func(n ast.Node) bool {
		switch f := n.(type) {
		case *ast.FuncDecl:
			if f.Body != nil {
				at := held{}
				if strings.HasSuffix(f.Name.Name, "Locked") {
					at["the caller's mutex"] = true
				}
				r.block(f.Body.List, at)
			}
		case *ast.FuncLit:
			r.block(f.Body.List, held{})
		}
		return true
	})
	return r.list
}

// block reads statements in order, changing at as it goes, and tells whether the end is never reached.
func (r *waitReader) block(list []ast.Stmt, at held) (ends bool) {
	for _, stmt := range list {
		if r.stmt(stmt, at) {
			return true
		}
	}
	return false
}

// branch reads one way of several on a copy and, if its end is reached, adds what it may hold to after.
func (r *waitReader) branch(list []ast.Stmt, at, after held) (ends bool) {
	way := maps.Clone(at)
	if r.block(list, way) {
		return true
	}
	maps.Copy(after, way)
	return false
}

func (r *waitReader) stmt(stmt ast.Stmt, at held) (ends bool) {
	switch v := stmt.(type) {
	case nil:
	case *ast.ReturnStmt:
		r.exprs(v, at)
		return true
	case *ast.BranchStmt:
		return v.Tok != token.FALLTHROUGH
	case *ast.BlockStmt:
		return r.block(v.List, at)
	case *ast.LabeledStmt:
		return r.stmt(v.Stmt, at)
	case *ast.IfStmt:
		return r.ifStmt(v, at)
	case *ast.ForStmt:
		r.stmt(v.Init, at)
		r.exprs(v.Cond, at)
		r.branch(v.Body.List, at, at)
	case *ast.RangeStmt:
		r.exprs(v.X, at)
		r.branch(v.Body.List, at, at)
	case *ast.SwitchStmt:
		r.stmt(v.Init, at)
		r.exprs(v.Tag, at)
		return r.clauses(v.Body, at)
	case *ast.TypeSwitchStmt:
		r.stmt(v.Init, at)
		return r.clauses(v.Body, at)
	case *ast.SelectStmt:
		return r.selectStmt(v, at)
	case *ast.SendStmt:
		r.waits(v.Pos(), "sends on a channel", at)
		r.exprs(v.Value, at)
	case *ast.DeferStmt, *ast.GoStmt:
		// runs later, or elsewhere; a deferred Unlock leaves the mutex held to the end, which is what at says already
	case *ast.ExprStmt:
		return r.exprStmt(v, at)
	default:
		r.exprs(stmt, at)
	}
	return false
}

func (r *waitReader) ifStmt(v *ast.IfStmt, at held) (ends bool) {
	r.stmt(v.Init, at)
	r.exprs(v.Cond, at)
	after := held{}
	ends = r.branch(v.Body.List, at, after)
	if v.Else == nil {
		maps.Copy(after, at)
		ends = false
	} else if !r.branch([]ast.Stmt{v.Else}, at, after) {
		ends = false
	}
	clear(at)
	maps.Copy(at, after)
	return ends
}

// clauses reads the cases of a switch; without a default, the way past all of them is one more.
func (r *waitReader) clauses(body *ast.BlockStmt, at held) (ends bool) {
	after, ends, hasDefault := held{}, true, false
	for _, c := range body.List {
		clause := c.(*ast.CaseClause)
		hasDefault = hasDefault || clause.List == nil
		// a break leaves the switch only, so the statements after it are reached
		if !r.branch(clause.Body, at, after) || mentionsBreak(clause.Body) {
			ends = false
		}
	}
	if !hasDefault {
		maps.Copy(after, at)
		ends = false
	}
	clear(at)
	maps.Copy(at, after)
	return ends
}

func mentionsBreak(list []ast.Stmt) (yes bool) {
	for _, stmt := range list {
		ast.Inspect(stmt, func(n ast.Node) bool {
			if b, ok := n.(*ast.BranchStmt); ok && b.Tok == token.BREAK {
				yes = true
			}
			return !yes
		})
	}
	return yes
}

func (r *waitReader) selectStmt(v *ast.SelectStmt, at held) (ends bool) {
	ready := slices.ContainsFunc(v.Body.List, func(c ast.Stmt) bool { return c.(*ast.CommClause).Comm == nil })
	if !ready {
		r.waits(v.Pos(), "select without default", at)
	}
	after, ends := held{}, true
	for _, c := range v.Body.List {
		clause := c.(*ast.CommClause)
		if !r.branch(clause.Body, at, after) || mentionsBreak(clause.Body) {
			ends = false
		}
	}
	clear(at)
	maps.Copy(at, after)
	return ends
}

// exprStmt handles the calls that take and release mutexes.
func (r *waitReader) exprStmt(v *ast.ExprStmt, at held) (ends bool) {
	call, ok := v.X.(*ast.CallExpr)
	if !ok {
		r.exprs(v.X, at)
		return false
	}
	if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" {
		return true
	}
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok && len(call.Args) == 0 {
		switch sel.Sel.Name {
		case "Lock", "RLock":
			at[types.ExprString(sel.X)] = true
			return false
		case "Unlock", "RUnlock":
			delete(at, types.ExprString(sel.X))
			return false
		}
	}
	r.exprs(v.X, at)
	return false
}

// exprs looks for waits inside expressions; function literals are read on their own.
func (r *waitReader) exprs(n ast.Node, at held) {
	if n == nil || len(at) == 0 {
		return
	}
	ast.Inspect(n, func(n ast.Node) bool {
		switch v := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.UnaryExpr:
			if v.Op == token.ARROW {
				r.waits(v.Pos(), "receives from a channel", at)
			}
		case *ast.CallExpr:
			if sel, ok := v.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Wait" {
				r.waits(v.Pos(), "calls "+types.ExprString(sel), at)
			}
			if pkg, name, ok := selector(r.imports, v.Fun); ok && pkg == "time" && name == "Sleep" {
				r.waits(v.Pos(), "sleeps", at)
			}
		}
		return true
	})
}

func (r *waitReader) waits(p token.Pos, how string, at held) {
	if len(at) > 0 {
		names := slices.Sorted(maps.Keys(at))
		r.list = append(r.list, found(r.s.at(p), "%s while holding %s", how, strings.Join(names, ", ")))
	}
}
