package heap

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

type item struct{ rank, place int }

// Whatever is pushed, moved and taken out, the first is the least, and each item knows its place.
func TestHeap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	h := New(func(a, b *item) bool { return a.rank < b.rank }, func(x *item) *int { return &x.place })
	var in []*item
	for range 20000 {
		switch n := rnd.IntN(10); {
		case n < 4 || len(in) == 0:
			x := &item{rank: rnd.IntN(50)}
			h.Push(x)
			in = append(in, x)
		case n < 6:
			x := h.Pop()
			i := slices.Index(in, x)
			in = slices.Delete(in, i, i+1)
			require.Zero(t, x.place)
			for _, y := range in {
				require.LessOrEqual(t, x.rank, y.rank)
			}
		case n < 8:
			i := rnd.IntN(len(in))
			h.Remove(in[i])
			require.Zero(t, in[i].place)
			in = slices.Delete(in, i, i+1)
		default:
			x := in[rnd.IntN(len(in))]
			x.rank = rnd.IntN(50)
			h.Fix(x)
		}
		require.Equal(t, len(in), h.Len())
		for i, x := range h.All() {
			require.Equal(t, i+1, x.place)
			require.False(t, i > 0 && h.Less(x, h.All()[(i-1)/2]))
		}
	}
}
