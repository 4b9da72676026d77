package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic"
)

// The test binary takes the program's place when the tour starts itself as a child.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(child(dir, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

const allGood = "produced=10000 consumed=10000 lost=0 reordered=0"

func TestTour(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), nil, &stdout, &stderr)
	require.Equal(t, 0, status, "%s%s", stdout.String(), stderr.String())
	assert.Empty(t, stderr.String())
	lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	assert.Equal(t, allGood, lines[len(lines)-1])
	assert.NotContains(t, stdout.String(), "\r", "no progress bar where there is no terminal")
}

func TestTourKeepsNamedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run(t.Context(), []string{"-dir", dir}, &stdout, &stderr), "%s%s", stdout.String(), stderr.String())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.NotEmpty(t, entries)

	stdout.Reset()
	assert.Equal(t, 1, run(t.Context(), []string{"-dir", dir}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "is not empty")
}

// An interrupt ends the tour, and the child with it, and leaves no directory behind.
func TestTourInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 1, run(ctx, nil, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "quickstart: ")
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
	}{
		{[]string{"-h"}, 0},
		{[]string{"-nonsense"}, 2},
		{[]string{"word"}, 2},
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, c.status, run(t.Context(), c.args, &stdout, &stderr), "%v", c.args)
		assert.Empty(t, stdout.String())
		assert.Contains(t, stderr.String(), "-dir")
	}
}

// fewVisits is a small input whose faults can be counted by hand.
func fewVisits() []examples.Visit {
	at := time.Date(2015, 5, 17, 0, 0, 0, 0, time.UTC)
	return []examples.Visit{
		{Line: 0, Client: "a", Time: at, Text: []byte("a one")},
		{Line: 1, Client: "b", Time: at, Text: []byte("b one")},
		{Line: 2, Client: "a", Time: at, Text: []byte("a two")},
	}
}

func stored(v examples.Visit, offset int64) *topic.Record {
	rec := recordOf(v)
	rec.Topic, rec.Offset = topicName, offset
	return &rec
}

func TestTallyFindsFaults(t *testing.T) {
	v := fewVisits()
	changed := v[1]
	changed.Text = []byte("b won")
	for _, c := range []struct {
		name   string
		read   []*topic.Record
		want   verdict
		twice  int
		change int
	}{
		{"all well", []*topic.Record{stored(v[0], 0), stored(v[2], 1), stored(v[1], 2)}, verdict{3, 3, 0, 0}, 0, 0},
		{"one lost", []*topic.Record{stored(v[0], 0), stored(v[1], 1)}, verdict{3, 2, 1, 0}, 0, 0},
		{"a client's order turned", []*topic.Record{stored(v[2], 0), stored(v[0], 1), stored(v[1], 2)}, verdict{3, 3, 0, 1}, 0, 0},
		{"one twice", []*topic.Record{stored(v[0], 0), stored(v[1], 1), stored(v[1], 2), stored(v[2], 3)}, verdict{3, 4, 0, 0}, 1, 0},
		{"one changed", []*topic.Record{stored(v[0], 0), stored(changed, 1), stored(v[2], 2)}, verdict{3, 3, 1, 0}, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			counted := newTally(v)
			for _, rec := range c.read {
				counted.add(rec)
			}
			got := verdict{3, counted.consumed, counted.lost(), counted.reordered}
			assert.Equal(t, c.want, got)
			assert.Equal(t, c.name == "all well", got.good(3))
			assert.Equal(t, c.twice, counted.twice)
			assert.Equal(t, c.change, counted.strange)
			assert.Equal(t, counted.lost() == 0, counted.digest() == digestOf(v))
		})
	}
}

func TestSurvivorsFindLoss(t *testing.T) {
	v := fewVisits()
	eng, err := topic.Open("", topic.InMemory())
	require.NoError(t, err)
	defer eng.Close()
	tp, err := eng.Topic(t.Context(), topicName, topic.Retention(-1))
	require.NoError(t, err)
	_, err = tp.Append(t.Context(), recordOf(v[0]))
	require.NoError(t, err)

	left, err := findSurvivors(t.Context(), tp, v, []ack{{line: 0, offset: 0}, {line: 1, offset: 1}})
	require.NoError(t, err)
	assert.Equal(t, 1, left.lost)
	assert.Equal(t, 1, left.count)
	assert.Equal(t, v[1:], left.missing(v))

	left, err = findSurvivors(t.Context(), tp, v, []ack{{line: 2, offset: 0}})
	require.NoError(t, err)
	assert.Equal(t, 1, left.lost, "another record lies at the acknowledged offset")
}

func TestLineOf(t *testing.T) {
	assert.Equal(t, -1, lineOf(&topic.Record{}))
	assert.Equal(t, -1, lineOf(&topic.Record{Headers: []topic.Header{{Key: lineHeader, Value: []byte("x")}}}))
	assert.Equal(t, 7, lineOf(&topic.Record{Headers: []record.Header{{Key: lineHeader, Value: []byte("7")}}}))
}

func TestReadAcksIgnoresCutLine(t *testing.T) {
	acks, err := readAcks(strings.NewReader("0 1 2\n3 4 5\n6 7"), func(int) error { return nil })
	require.NoError(t, err)
	assert.Equal(t, []ack{{0, 1, 2}, {3, 4, 5}}, acks)

	_, err = readAcks(strings.NewReader("panic: something\n"), func(int) error { return nil })
	assert.Error(t, err)
}
