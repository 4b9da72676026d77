package arch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dependencies is everything the root module may require directly, with the rooms whose code may import it. An empty list means tests only.
var dependencies = map[string][]string{
	"github.com/klauspost/compress": {"compress"},
	"github.com/pierrec/lz4/v4":     {"compress"},
	"golang.org/x/sys":              {"log/vfs"},
	"github.com/golang/snappy":      {},
	"github.com/stretchr/testify":   {},
}

func dependencyRules() []rule {
	return []rule{{
		name:  "dependencies where they belong",
		why:   "a user who imports quire gets the codecs and nothing else; testify and the second snappy are for tests",
		check: checkDependencies,
		bad: []snippet{
			{"log/a.go", `import "github.com/stretchr/testify/require"`},
			{"log/vfs/vfstest/vfstest.go", `import "github.com/stretchr/testify/require"`},
			{"compress/snappy.go", `import "github.com/golang/snappy"`},
			{"topic/a.go", `import "github.com/klauspost/compress/zstd"`},
			{"log/a.go", `import "go.uber.org/goleak"`},
			{"log/a_test.go", `import "go.uber.org/goleak"`},
			{"log/a.go", `import "C"`},
			{"log/a.go", `import "unsafe"`},
		},
		good: []snippet{
			{"log/a_test.go", `import "github.com/stretchr/testify/require"`},
			{"compress/snappy_test.go", `import "github.com/golang/snappy"`},
			{"log/a_test.go", `import "unsafe"`},
			{"compress/zstd.go", `import "github.com/klauspost/compress/zstd"`},
			{"log/a.go", "import \"fmt\"\nimport \"net/http\""},
		},
	}}
}

func checkDependencies(r *room) []string {
	var list []string
	for _, s := range r.files {
		for _, spec := range s.tree.Imports {
			p := strings.Trim(spec.Path.Value, `"`)
			if p == "C" || p == "unsafe" && !s.test {
				list = append(list, found(s.at(spec.Pos()), "imports %q", p))
			}
			first, _, _ := strings.Cut(p, "/")
			if !strings.Contains(first, ".") || below(p, module) {
				continue
			}
			rooms, known := dependencyOf(p)
			if !known {
				list = append(list, found(s.at(spec.Pos()), "%s is no dependency of the root module", p))
			} else if !s.test && !below(r.dir, rooms...) {
				list = append(list, found(s.at(spec.Pos()), "%s may be imported by %v and tests", p, rooms))
			}
		}
	}
	return list
}

func dependencyOf(p string) (rooms []string, known bool) {
	for dep, rooms := range dependencies {
		if below(p, dep) {
			return rooms, true
		}
	}
	return nil, false
}

func TestModuleRequiresWhatIsAgreed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(rootDir(t), "go.mod"))
	require.NoError(t, err)
	for _, dep := range directRequirements(string(text)) {
		assert.Contains(t, dependencies, dep, "not one of the agreed direct dependencies")
	}
	assert.Contains(t, string(text), "\ngo 1.25.0\n", "the version floor is a promise to users")
	assert.NotContains(t, string(text), "replace", "the root module replaces nothing")
	assert.NotContains(t, string(text), "toolchain", "the root module names no toolchain")
}

// directRequirements lists the modules that a go.mod requires without the mark "// indirect".
func directRequirements(text string) []string {
	var list []string
	inBlock := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "require" && len(fields) > 1 && fields[1] == "(":
			inBlock = true
		case fields[0] == ")":
			inBlock = false
		case strings.Contains(line, "// indirect"):
		case inBlock:
			list = append(list, fields[0])
		case fields[0] == "require" && len(fields) > 1:
			list = append(list, fields[1])
		}
	}
	return list
}

func TestDirectRequirements(t *testing.T) {
	got := directRequirements("module m\n\ngo 1.25.0\n\nrequire example.org/a v1.0.0\n\nrequire (\n\texample.org/b v1.0.0\n\texample.org/c v1.0.0 // indirect\n)\n\nrequire example.org/d v1.0.0 // indirect\n")
	assert.Equal(t, []string{"example.org/a", "example.org/b"}, got)
}
