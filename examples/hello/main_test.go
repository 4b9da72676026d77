package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The program is run twice in an empty folder: the second run finds what the first wrote.
func TestHello(t *testing.T) {
	t.Chdir(t.TempDir())
	first := output(t)
	assert.Equal(t, "on disk at orders/1@0\nalice: two books\n", first)
	second := output(t)
	assert.Equal(t, "on disk at orders/1@1\nalice: two books\nalice: two books\n", second)
}

// output runs the program and returns what it printed.
func output(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stdout")
	file, err := os.Create(name)
	require.NoError(t, err)
	saved := os.Stdout
	os.Stdout = file
	defer func() { os.Stdout = saved }()
	main()
	require.NoError(t, file.Close())
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}
