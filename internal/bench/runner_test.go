package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var tiny = tier{name: "tiny", rounds: 2, slice: 2 * time.Millisecond, appendCap: 1 << 20, durableCap: 64 << 10,
	dataBytes: 1 << 20, randBytes: 1 << 20, openBytes: 1 << 20, paced: 2 * time.Millisecond, idleLogs: 20, opened: 20, fullMatrix: true}

// TestEverythingRuns goes through every workload with every system and prints both forms.
func TestEverythingRuns(t *testing.T) {
	e := &env{tier: tiny, dir: t.TempDir(), data: map[string]filled{}}
	p := &paper{facts: facts(e, 0, load()), systems: allSystems()}
	p.results = e.runAll(workloads(tiny), p.systems, io.Discard)
	for _, r := range p.results {
		assert.NotNil(t, r.of("raw"), r.workload.id)
		assert.NotNil(t, r.of("quire"), r.workload.id)
		for _, o := range r.outcomes {
			assert.NoError(t, o.err, "%s %s", r.workload.id, o.sys.Name())
		}
	}
	var text bytes.Buffer
	require.NoError(t, p.writeText(&text))
	assert.Contains(t, text.String(), "P13")
	page := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, p.writePage(page))
	plot, err := os.ReadFile(filepath.Join(filepath.Dir(page), "page-append.svg"))
	require.NoError(t, err)
	assert.Contains(t, string(plot), "</svg>")
	left, err := os.ReadDir(e.dir)
	require.NoError(t, err)
	assert.Empty(t, left, "every log is removed")
}

type fixedTrial struct {
	s   sample
	err error
}

func (f fixedTrial) sample() (sample, error) { return f.s, f.err }
func (f fixedTrial) close() error            { return nil }

// fixed is a workload in which raw and quire show what they are told to.
func fixed(rawSample, quireSample fixedTrial, t target, limits ...limit) *result {
	w := &workload{id: "X", group: groupAppend, score: byRate, target: t, limits: limits}
	w.open = func(_ *env, sys System) (trial, error) {
		if sys.Name() == "raw" {
			return rawSample, nil
		}
		return quireSample, nil
	}
	e := &env{tier: tiny}
	return e.run(w, []System{raw{}, quire{}}, io.Discard)
}

func TestVerdicts(t *testing.T) {
	base := fixedTrial{s: sample{records: 1000, elapsed: time.Second}}
	half := fixedTrial{s: sample{records: 500, elapsed: time.Second, allocs: 50, p50: time.Millisecond}}
	cases := []struct {
		name       string
		quire      fixedTrial
		target     target
		limits     []limit
		says       string
		code, hard int // exit status without and with -check
	}{
		{"met", base, target{ratio: 1}, nil, "ok", 0, 0},
		{"slow", half, target{ratio: 0.6}, nil, "short: 0.50 < 0.6 x raw", 0, 1},
		{"late", half, target{p50: time.Microsecond}, nil, "short: p50 1 ms > 1.00 us", 0, 1},
		{"allocates", half, target{}, []limit{noAllocs()}, "FAILS: allocations/record 0.1 > 0.01", 1, 1},
		{"fails", fixedTrial{err: errors.New("no disk")}, target{ratio: 1}, nil, "FAILS: quire: no disk", 1, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := &paper{results: []*result{fixed(base, c.quire, c.target, c.limits...)}}
			assert.Equal(t, c.says, summary(p.results)[1][8])
			code, err := p.code(false, io.Discard)
			require.NoError(t, err)
			assert.Equal(t, c.code, code)
			code, err = p.code(true, io.Discard)
			require.NoError(t, err)
			assert.Equal(t, c.hard, code)
		})
	}
}

func TestRatioIsTakenWithinRounds(t *testing.T) {
	at := func(rates ...int64) *outcome {
		o := &outcome{}
		for _, r := range rates {
			o.samples = append(o.samples, sample{records: r, elapsed: time.Second})
		}
		return o
	}
	base, other := at(100, 10, 100), at(200, 20, 210)
	base.sys, other.sys = raw{}, quire{}
	r := &result{workload: &workload{score: byRate}, outcomes: []*outcome{base, other}}
	assert.InDelta(t, 2, r.ratio(other), 0.001, "one slow round slows both")
}
