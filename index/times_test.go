package index

import (
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTimeEntries(t *testing.T) {
	var x Times
	x.Init(newHome(1000, nil))
	floor := func(ts int64) [2]int64 {
		t.Helper()
		got, offset, err := x.Floor(ts)
		require.NoError(t, err)
		return [2]int64{got, offset}
	}
	assert.Equal(t, [2]int64{-1, 1000}, floor(math.MaxInt64), "empty reads as (-1, base)")
	require.NoError(t, x.Add(-1, 1005))
	assert.Zero(t, x.Len(), "no timestamp, no entry")
	require.NoError(t, x.Add(0, 1005))
	require.NoError(t, x.Add(0, 1008), "an equal timestamp is skipped")
	require.NoError(t, x.Add(77, 1009))
	assert.ErrorIs(t, x.Add(76, 1010), ErrOrder)
	assert.ErrorIs(t, x.Add(78, 1008), ErrOrder)
	assert.ErrorIs(t, x.Add(78, 1001+math.MaxInt32), ErrFull)
	require.NoError(t, x.Add(1<<40, 1009), "the same offset may get a later time")
	assert.Equal(t, "000000000000000000000005"+"000000000000004d00000009"+"000001000000000000000009", hex.EncodeToString(x.Bytes()))
	assert.Equal(t, [2]int64{-1, 1000}, floor(-1))
	assert.Equal(t, [2]int64{0, 1005}, floor(76))
	assert.Equal(t, [2]int64{77, 1009}, floor(77))
	assert.Equal(t, [2]int64{1 << 40, 1009}, floor(math.MaxInt64))
	ts, offset, err := x.FloorOffset(1008)
	require.NoError(t, err)
	assert.Equal(t, []int64{0, 1005}, []int64{ts, offset})
	x.Truncate(1009)
	assert.Equal(t, 1, x.Len())
	x.Truncate(0)
	assert.Zero(t, x.Len())
}

func TestTimeIndexIsFullOneEarly(t *testing.T) {
	var x Times
	x.Init(newHome(0, nil))
	limit := 3 * TimeEntrySize
	for i := range int64(2) {
		assert.False(t, x.Full(limit, 1))
		require.NoError(t, x.Add(i, i))
	}
	assert.True(t, x.Full(limit, 1))
	assert.False(t, x.Full(limit, 0))
}
