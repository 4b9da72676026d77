package arch

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// What of the operating system a room other than log/vfs may name: facts about the process, and error values to compare with.
var (
	osAllowed      = regexp.MustCompile(`^(Getpid|Hostname|Err[A-Z].*)$`)
	syscallAllowed = regexp.MustCompile(`^(Errno|E[A-Z0-9]+)$`)
)

// pathCalls are the functions of path/filepath that ask the disk.
var pathCalls = []string{"EvalSymlinks", "Glob", "Walk", "WalkDir"}

func diskRules() []rule {
	return []rule{{
		name:  "files only through log/vfs",
		why:   "everything that touches a file goes through log/vfs, so that memory, faults and power cuts can stand in for the disk",
		where: func(dir string) bool { return !below(dir, "log/vfs", "examples") },
		check: checkDisk,
		bad: []snippet{
			{"log/a.go", "import \"os\"\nfunc f() { os.Remove(\"x\") }"},
			{"topic/a.go", "import files \"os\"\nfunc f() { files.ReadFile(\"x\") }"},
			{"topic/a.go", "import \"os\"\nvar f *os.File"},
			{"segment/a.go", "import \"syscall\"\nfunc f() { syscall.Fsync(1) }"},
			{"segment/a.go", `import "golang.org/x/sys/unix"`},
			{"segment/a.go", `import "io/ioutil"`},
			{"log/a.go", "import . \"os\""},
			{"log/a.go", "import \"path/filepath\"\nfunc f() { filepath.Glob(\"*\") }"},
		},
		good: []snippet{
			{"log/a.go", "import \"syscall\"\nvar full error = syscall.ENOSPC"},
			{"topic/a.go", "import \"os\"\nfunc f() (string, error) { return os.Hostname() }"},
			{"topic/a.go", "import \"path/filepath\"\nvar x = filepath.Join(\"a\", \"b\")"},
			{"log/a_test.go", "import \"os\"\nfunc f() { os.Remove(\"x\") }"},
			{"log/vfs/os.go", "import \"os\"\nfunc f() { os.Remove(\"x\") }"},
		},
	}}
}

func checkDisk(r *room) []string {
	var list []string
	for _, s := range r.code() {
		list = append(list, diskImports(s)...)
		imports := s.imports()
		ast.Inspect(s.tree, func(n ast.Node) bool {
			pkg, name, ok := selector(imports, n)
			if ok && asksDisk(pkg, name) {
				list = append(list, found(s.at(n.Pos()), "%s.%s outside log/vfs", pkg, name))
			}
			return true
		})
	}
	return list
}

func diskImports(s *source) []string {
	var list []string
	for _, spec := range s.tree.Imports {
		p := strings.Trim(spec.Path.Value, `"`)
		dotted := spec.Name != nil && spec.Name.Name == "." && (p == "os" || p == "syscall")
		if below(p, "golang.org/x/sys") || p == "io/ioutil" || dotted {
			list = append(list, found(s.at(spec.Pos()), "import of %s outside log/vfs", p))
		}
	}
	return list
}

func asksDisk(pkg, name string) bool {
	switch pkg {
	case "os":
		return !osAllowed.MatchString(name)
	case "syscall":
		return !syscallAllowed.MatchString(name)
	case "path/filepath":
		return slices.Contains(pathCalls, name)
	}
	return false
}
