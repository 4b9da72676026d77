package topic

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUptimeFile(t *testing.T) {
	var list []Downtime
	list = withDowntime(list, 10, 10)
	list = withDowntime(list, 20, 10) // a clock that was put back
	require.Empty(t, list)
	for n := range int64(uptimeMost + 10) {
		list = withDowntime(list, 100*n, 100*n+50)
	}
	require.Len(t, list, uptimeMost)
	require.Equal(t, Downtime{0, 1050}, list[0], "the oldest ones have become one")
	data := formatUptime(list, 7)
	back, alive := parseUptime(data)
	require.Equal(t, list, back)
	require.EqualValues(t, 7, alive)
	for i := range data {
		for _, harmed := range [][]byte{data[:i], append(append([]byte{}, data[:i]...), append([]byte{data[i] ^ 1}, data[i+1:]...)...)} {
			back, alive := parseUptime(harmed)
			require.Empty(t, back, "byte %d", i)
			require.Zero(t, alive, "byte %d", i)
		}
	}
}
