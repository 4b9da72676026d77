package growth

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("GROWTH_TAIL"); dir != "" {
		err := Tail(dir, 1<<20)
		_, _ = fmt.Fprintln(os.Stderr, "tail:", err)
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
	}
	os.Exit(m.Run())
}

func killed(dir string, _ int64) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GROWTH_TAIL="+dir)
	out, err := cmd.CombinedOutput()
	if string(out) != "tail: <nil>\n" {
		return fmt.Errorf("%s: %w", out, err)
	}
	return nil
}

// TestSmallestForm goes through every curve with both contenders.
func TestSmallestForm(t *testing.T) {
	dir := t.TempDir()
	curves, err := Run(Config{Dir: dir, Scale: Smoke, Progress: io.Discard, Kill: killed})
	require.NoError(t, err)
	for _, c := range curves {
		require.NotEmpty(t, c.Points, c.ID)
		for _, p := range c.Points {
			assert.Positive(t, p.Cost, c.ID)
			assert.Positive(t, p.Raw, c.ID)
		}
	}
	assert.Len(t, curves, len(List()))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left, "every directory is removed")
}

func TestOneCurveAlone(t *testing.T) {
	curves, err := Run(Config{Dir: t.TempDir(), Scale: Smoke, Only: []string{"partitions/producer-100"}, NoRaw: true, Progress: io.Discard})
	require.NoError(t, err)
	require.Len(t, curves, 1)
	assert.Equal(t, "partitions/producer-100", curves[0].ID)
	for _, p := range curves[0].Points {
		assert.Positive(t, p.Cost)
		assert.Zero(t, p.Raw, "nothing but quire")
	}
}

func TestWanted(t *testing.T) {
	ids := func(only ...string) (ids []string) {
		for _, f := range families() {
			which, some := f.wanted(only)
			assert.Equal(t, some, slices.Contains(which, true))
			for i, c := range f.curves {
				if which[i] {
					ids = append(ids, f.id+"/"+c.ID)
				}
			}
		}
		return ids
	}
	assert.Len(t, ids(), len(List()))
	assert.Contains(t, ids("partitions"), "partitions/durable")
	assert.NotContains(t, ids("partitions"), "topics/create")
	assert.Equal(t, []string{"partitions/nosync", "topics/delete"}, ids("topics/delete", "partitions/nosync"))
	assert.Empty(t, ids("partition"))
	_, err := Run(Config{Only: []string{"partition"}})
	assert.Error(t, err)
}

func TestSizesGrow(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range families() {
		for _, c := range f.curves {
			assert.False(t, seen[f.id+"/"+c.ID], c.ID)
			seen[f.id+"/"+c.ID] = true
		}
		for _, points := range f.points {
			assert.IsIncreasing(t, append([]int{0}, points...), f.id)
		}
	}
	assert.Len(t, List(), len(seen))
}
