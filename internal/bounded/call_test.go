package bounded

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A call that ends as its caller is about to leave is not alone: none waits for its end.
func TestEndedCallIsNotAlone(t *testing.T) {
	var c Calls
	k := &call{calls: &c, done: make(chan struct{})}
	k.run(func() {})
	require.False(t, k.leaveAlone())
	require.Zero(t, c.alone)
}
