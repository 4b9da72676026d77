package index

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBudgetRemembers(t *testing.T) {
	b := NewBudget(10 * (100 + memoBytes))
	require.Nil(t, b.Recall(1, 0))
	b.Remember(1, 0, "a", 100)
	b.Remember(1, 4, "b", 100)
	b.Remember(2, 0, "c", 100)
	b.Remember(0, 0, "of no segment", 100)
	assert.Equal(t, []any{"a", "b", "c", nil, nil}, []any{b.Recall(1, 0), b.Recall(1, 4), b.Recall(2, 0), b.Recall(2, 4), b.Recall(0, 0)})
	assert.EqualValues(t, 3*(100+memoBytes), b.Used())
	b.Remember(1, 0, "A", 50)
	assert.Equal(t, "A", b.Recall(1, 0))
	assert.EqualValues(t, 3*(100+memoBytes)-50, b.Used())
	b.Remember(3, 0, "larger than all", b.Limit())
	assert.Nil(t, b.Recall(3, 0))
	assert.Equal(t, 3, b.Held())
	for i := range int64(100) {
		b.Remember(4, i, i, 100)
		assert.Equal(t, "A", b.Recall(1, 0), "what is asked for again and again stays")
		assert.LessOrEqual(t, b.Used(), b.Limit())
	}
	assert.Nil(t, b.Recall(2, 0), "others gave way")
	var none *Budget
	none.Remember(1, 0, "a", 1)
	assert.Nil(t, none.Recall(1, 0))
	assert.Zero(t, none.Held())
}

// Whatever is remembered, recalled and given up at once: the limit holds, and what is recalled is what was remembered.
func TestBudgetRemembersWithinItsLimit(t *testing.T) {
	b := NewBudget(50 * (10 + memoBytes))
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(w, 1))
			for range 5000 {
				of, pos := Mapping(1+rnd.IntN(5)), int64(rnd.IntN(40))
				if v := b.Recall(of, pos); v != nil {
					assert.Equal(t, [2]int64{int64(of), pos}, v)
				} else {
					b.Remember(of, pos, [2]int64{int64(of), pos}, int64(rnd.IntN(100)))
				}
				assert.LessOrEqual(t, b.Used(), b.Limit())
			}
		})
	}
	wg.Wait()
	sum, n := int64(0), 0
	for i := range b.memory {
		for _, m := range b.memory[i].at {
			sum += m.bytes
			n++
		}
	}
	assert.Equal(t, b.Used(), sum)
	assert.Equal(t, b.Held(), n)
}
