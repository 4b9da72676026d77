package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A repair tells first, asks before it gives anything up, saves what it cuts out, and leaves nothing to find.
func TestRepair(t *testing.T) {
	dir := stocked(t)
	path := filepath.Join(dir, "a-0", "00000000000000000000.log")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text[len(text)/2+200] ^= 0x20
	require.NoError(t, os.WriteFile(path, text, 0o644))
	require.NoError(t, os.WriteFile(strings.TrimSuffix(path, ".log")+".index", nil, 0o644))

	dry := quire(t, dir, "repair --dry-run --accept-loss {dir}", "")
	assert.Equal(t, 1, dry.status)
	assert.Contains(t, dry.stdout, "LOST a-0")
	assert.Contains(t, dry.stdout, "nothing was changed")
	refused := quire(t, dir, "repair {dir}", "")
	assert.Equal(t, 1, refused.status)
	assert.Contains(t, refused.stdout, "left alone")
	assert.Equal(t, 1, quire(t, dir, "verify {dir}", "").status)

	done := good(t, dir, "repair -json --accept-loss {dir}", "")
	var last repairFact
	lines := strings.Split(strings.TrimSpace(done), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	assert.Equal(t, 1, last.Lost)
	assert.Positive(t, last.Cut)
	assert.Contains(t, done, ".log.cut-")
	assert.Contains(t, good(t, dir, "verify {dir}", ""), "no damage")
	assert.Contains(t, good(t, dir, "repair {dir}", ""), "nothing to repair")
	assert.Contains(t, good(t, dir, "scrub -dir {dir}", ""), "no damage")
}

func TestRetain(t *testing.T) {
	dir := stocked(t)
	good(t, dir, "topics alter -dir {dir} -set retention.bytes=1 a", "")
	assert.Contains(t, good(t, dir, "retain -dir {dir} a", ""), "segments removed")
	assert.Empty(t, good(t, dir, "retain -dir {dir}", ""), "once is enough")
	assert.Equal(t, 1, quire(t, dir, "retain -dir {dir} nothing", "").status)
}

func TestCompact(t *testing.T) {
	dir := stocked(t)
	assert.Equal(t, 1, quire(t, dir, "compact -dir {dir} a", "").status, "it is not compacted")
	good(t, dir, "topics alter -dir {dir} -set cleanup.policy=compact a", "")
	var first compactFact
	line, _, _ := strings.Cut(good(t, dir, "compact -json -dir {dir}", ""), "\n")
	require.NoError(t, json.Unmarshal([]byte(line), &first))
	assert.Positive(t, first.Dropped)
	assert.Less(t, first.BytesOut, first.BytesIn)
	assert.Contains(t, good(t, dir, "verify {dir}", ""), "no damage")
}
