package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// The program is run twice on one disk: the second run finds the dead letters of the first.
func TestQueueProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		for range 2 {
			var out bytes.Buffer
			require.NoError(t, run(t.Context(), &out, "uploads", 4, topic.On(disk)))
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			assert.Equal(t, "thumbnails made: 4", lines[0])
			assert.Equal(t, []string{"put back: 1", "thumbnails made: 5"}, lines[len(lines)-2:])
			dead := lines[1 : len(lines)-2]
			slices.Sort(dead)
			assert.Contains(t, dead, "dead: invoice.pdf of bob (rejected), 1 attempts, the last: not a picture")
			assert.Contains(t, dead, "dead: broken.png of eve (attempts), 3 attempts, the last: unexpected end of picture")
		}
	})
}
