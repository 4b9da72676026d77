package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rootDir(t), filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(text)
}

// The program that a stranger copies from README is compiled and run as examples/hello.
func TestReadmeProgramIsCompiled(t *testing.T) {
	block := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(page(t, "README.md"))
	require.NotNil(t, block, "README has no Go program")
	assert.Equal(t, page(t, "examples/hello/main.go"), block[1])
}

// What README tells a stranger to run is what CI runs.
func TestReadmeCommandsAreRun(t *testing.T) {
	readme, ci := page(t, "README.md"), page(t, ".ci/run")
	for _, command := range []string{"go run ./examples/quickstart", "go test ./..."} {
		assert.Contains(t, readme, "\n"+command+"\n")
		assert.Contains(t, ci, command)
	}
}

// The files and folders that README names are there.
func TestReadmeNamesWhatExists(t *testing.T) {
	prose := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(page(t, "README.md"), "")
	links := regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(prose, -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		if strings.Contains(link[1], "://") {
			continue
		}
		_, err := os.Stat(filepath.Join(rootDir(t), filepath.FromSlash(link[1])))
		assert.NoError(t, err, "README links to %s", link[1])
	}
}

// The picture of the house names every storey of the import table that stands at the top level.
func TestReadmeShowsEveryStorey(t *testing.T) {
	readme := page(t, "README.md")
	for _, r := range house(t) {
		if dir := r.dir; !strings.Contains(dir, "/") {
			assert.Contains(t, readme, dir)
		}
	}
}
