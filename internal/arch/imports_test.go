package arch

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// importTable is the statement of policy: which package may import which of this module, outside tests. A storey knows those below and
// nothing above. internal/invariant, internal/watermark, internal/bounded, internal/choice and internal/errjson are open to every line. "public" stands for every package outside internal,
// "anything" for every package. A line ending in "/*" speaks for the folders below.
const importTable = `
internal/invariant    :
internal/watermark    :
internal/bounded      :
internal/choice       :
internal/errjson      :
internal/handletest   :
internal/thin         :
internal/ready        :
internal/heap         :
internal/wire         :
compress              :
timingwheel           :
log/vfs               :
log/vfs/vfstest       : log/vfs
log/record            : compress
index                 : log/vfs
segment               : index log/record log/vfs
log                   : segment log/record log/vfs
replica               : log log/record
topic/internal/catalog : log log/vfs
topic/internal/fetch  : log log/record internal/ready
topic                 : replica log log/record log/vfs timingwheel compress topic/internal/catalog topic/internal/fetch internal/heap
group                 : group/assignor topic log/record timingwheel internal/ready internal/heap internal/wire
group/assignor        : topic internal/wire
topic/topictest       : public
examples              : public
examples/*            : public
internal/kafkadir     : public
internal/simtest      : anything
internal/arch         : anything
`

// onlyFile narrows an edge of the table to one file: the rules of replication enter the front door in one place.
var onlyFile = map[[2]string]string{{"topic", "replica"}: "replicas.go"}

// policy reads the table.
func policy() map[string][]string {
	table := map[string][]string{}
	for line := range strings.Lines(importTable) {
		pkg, allowed, ok := strings.Cut(line, ":")
		if ok {
			table[strings.TrimSpace(pkg)] = strings.Fields(allowed)
		}
	}
	return table
}

// lineFor finds the table's line for a folder.
func lineFor(dir string) (allowed []string, ok bool) {
	table := policy()
	if allowed, ok = table[dir]; ok {
		return allowed, true
	}
	for at := strings.LastIndexByte(dir, '/'); at > 0; at = strings.LastIndexByte(dir[:at], '/') {
		if allowed, ok = table[dir[:at]+"/*"]; ok {
			return allowed, true
		}
	}
	return nil, false
}

// openToAll names the packages every other may import.
func openToAll(target string) bool {
	return slices.Contains([]string{"internal/invariant", "internal/watermark", "internal/bounded", "internal/choice", "internal/errjson"}, target)
}

func mayImport(allowed []string, target string) bool {
	return openToAll(target) || slices.Contains(allowed, target) || slices.Contains(allowed, "anything") ||
		slices.Contains(allowed, "public") && !below(target, "internal")
}

func importRules() []rule {
	return []rule{{
		name:  "imports follow the table",
		why:   "a storey stands on those below and knows nothing above (importTable in internal/arch is the policy)",
		check: checkImports,
		bad: []snippet{
			{"log/retain.go", `import "github.com/quirelog/quire/topic"`},
			{"segment/roll.go", `import "github.com/quirelog/quire/log"`},
			{"compress/size.go", `import "github.com/quirelog/quire/log/record"`},
			{"attic/box.go", `import "fmt"`},
			{"examples/quire/dump.go", `import "github.com/quirelog/quire/internal/arch"`},
			{"topic/engine.go", `import "github.com/quirelog/quire/replica"`},
			{"topic/engine.go", `import seg "github.com/quirelog/quire/segment"`},
		},
		good: []snippet{
			{"log/retain.go", "import \"fmt\"\nimport \"github.com/quirelog/quire/internal/invariant\"\nimport \"github.com/quirelog/quire/segment\""},
			{"topic/replicas.go", `import "github.com/quirelog/quire/replica"`},
			{"log/retain_test.go", `import "github.com/quirelog/quire/topic"`},
			{"examples/quire/dump.go", `import "github.com/quirelog/quire/segment"`},
		},
	}}
}

func checkImports(r *room) []string {
	allowed, ok := lineFor(r.dir)
	if !ok {
		return []string{found(r.files[0].path, "package %q has no line in the import table", r.dir)}
	}
	var list []string
	for _, s := range r.code() {
		for _, spec := range s.tree.Imports {
			target, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module+"/")
			if !ours || target == r.dir {
				continue
			}
			if !mayImport(allowed, target) {
				list = append(list, found(s.at(spec.Pos()), "%s must not import %s", r.dir, target))
			}
			if file := onlyFile[[2]string{r.dir, target}]; file != "" && s.name != file {
				list = append(list, found(s.at(spec.Pos()), "only %s/%s imports %s", r.dir, file, target))
			}
		}
	}
	return list
}

// The table itself must be a tower: from every package, following the table, one never comes back to it.
func TestImportTableHasNoCycle(t *testing.T) {
	table := policy()
	var visit func(pkg string, path []string)
	visit = func(pkg string, path []string) {
		require.NotContains(t, path, pkg, "cycle in the import table")
		for _, next := range table[pkg] {
			if next != "public" && next != "anything" {
				assert.Contains(t, table, next, "%s names a package without a line", pkg)
				visit(next, append(path, pkg))
			}
		}
	}
	for pkg := range table {
		visit(pkg, nil)
	}
}
