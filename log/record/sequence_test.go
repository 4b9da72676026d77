package record

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAddSequence(t *testing.T) {
	for _, tt := range []struct{ seq, n, want int32 }{
		{0, 0, 0},
		{5, 3, 8},
		{math.MaxInt32, 0, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32 - 1, 1, math.MaxInt32},
		{math.MaxInt32 - 1, 2, 0},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
		{1, math.MaxInt32, 0},
		{NoSequence, 3, NoSequence},
	} {
		assert.Equal(t, tt.want, AddSequence(tt.seq, tt.n), "%d + %d", tt.seq, tt.n)
	}
	assert.Equal(t, int32(0), NextSequence(math.MaxInt32))
	assert.Equal(t, int32(8), NextSequence(7))
}
