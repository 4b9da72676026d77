package topic

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func roundTrip[T any](t *testing.T, c Codec[T], v T) {
	t.Helper()
	b, err := c.Append([]byte("before"), v)
	require.NoError(t, err)
	require.Equal(t, "before", string(b[:6]))
	got, err := c.Decode(b[6:])
	require.NoError(t, err)
	assert.Equal(t, v, got)
}

func TestCodecsRoundTrip(t *testing.T) {
	roundTrip(t, String, "h\x00é")
	roundTrip(t, Bytes, []byte{0, 1, 2})
	for _, v := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64} {
		roundTrip(t, Int64, v)
	}
	type point struct{ X, Y int }
	roundTrip(t, JSON[point](), point{3, -4})
}

func TestInt64IsBigEndian(t *testing.T) {
	b, err := Int64.Append(nil, 258)
	require.NoError(t, err)
	assert.Equal(t, []byte{0, 0, 0, 0, 0, 0, 1, 2}, b)
	_, err = Int64.Decode([]byte{1, 2})
	assert.EqualError(t, err, "topic: an int64 has 8 bytes, not 2")
}

func TestJSONFaults(t *testing.T) {
	_, err := JSON[chan int]().Append(nil, nil)
	assert.Error(t, err)
	_, err = JSON[int]().Decode([]byte("{"))
	assert.Error(t, err)
}
