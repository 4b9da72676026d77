package main

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be its own child, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-child" {
		if err := child(os.Args[2]); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestParse(t *testing.T) {
	s, err := parse([]string{"-tier", "full", "-run", "P4,P5", "-check", "-md", "x.md"})
	require.NoError(t, err)
	assert.Equal(t, settings{tier: "full", run: []string{"P4", "P5"}, systems: []string{}, check: true, page: "x.md"}, s)
	for _, bad := range [][]string{{"-tier", "slow"}, {"left over"}, {"-nonsense"}} {
		_, err := parse(bad)
		assert.Error(t, err, bad)
	}
}

func TestChooseWorkloads(t *testing.T) {
	ids := func(run ...string) (ids []string) {
		list, err := chooseWorkloads(settings{tier: "quick", run: run})
		require.NoError(t, err)
		for _, w := range list {
			ids = append(ids, w.id)
		}
		return ids
	}
	assert.Equal(t, []string{"P5"}, ids("p5"))
	assert.Equal(t, []string{"P2-100", "P2-1000"}, ids("P2"))
	assert.Equal(t, []string{"P12-clean", "P12-killed", "O-1000", "O-1000-use", "O-10000", "O-10000-use"}, ids("open"))
	for i := 1; i <= 13; i++ {
		assert.NotEmpty(t, ids(fmt.Sprintf("P%d", i)))
	}
	_, err := chooseWorkloads(settings{tier: "quick", run: []string{"P99"}})
	assert.Error(t, err)
}

func TestChooseDeadlines(t *testing.T) {
	names := func(everything bool, run ...string) (names, rest []string) {
		list, rest := splitDeadlines(run, everything)
		for _, d := range list {
			names = append(names, d.name)
		}
		return names, rest
	}
	all, _ := names(true)
	assert.Contains(t, all, "waits")
	assert.NotContains(t, all, "syncs", "only when it is named")
	slices.Sort(all)
	assert.Equal(t, all, slices.Compact(slices.Clone(all)), "each once")
	some, rest := names(false, "P4", "syncs", "storm", "P5", "syncs")
	assert.Equal(t, []string{"storm", "syncs"}, some)
	assert.Equal(t, []string{"P4", "P5"}, rest)
}

func TestChooseSystems(t *testing.T) {
	list, err := chooseSystems(settings{systems: []string{"quire"}})
	require.NoError(t, err)
	assert.Equal(t, []System{raw{}, quire{}}, list, "raw always takes part: ratios are made with it")
	list, err = chooseSystems(settings{profile: "x"})
	require.NoError(t, err)
	assert.Equal(t, []System{quire{}}, list, "a profile is of one system")
	_, err = chooseSystems(settings{systems: []string{"nobody"}})
	assert.Error(t, err)
}
