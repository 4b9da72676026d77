package index

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

func TestBudgetHolds(t *testing.T) {
	budget := NewBudget(3 * 800)
	mem := vfs.NewMem()
	var tables []*Offsets
	for i := range 10 {
		tables = append(tables, sealedOffsets(t, &testHome{mem, 0, budget, fmt.Sprint("t", i)}, 100))
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(g), 1))
			for range 2000 {
				o := tables[dice.IntN(10)]
				a, err := o.Around(509)
				if !assert.NoError(t, err) || !assert.EqualValues(t, 509, a.Offset) || !assert.LessOrEqual(t, budget.Used(), budget.Limit()) {
					return
				}
			}
		})
	}
	all.Wait()
	for _, o := range tables {
		o.Close()
	}
	assert.Zero(t, budget.Used())
	assert.Empty(t, budget.ring)
	assert.Zero(t, mem.OpenFiles())
}

// A table that is in constant use is not given up for ones that are looked at once.
func TestBudgetKeepsWhatIsUsed(t *testing.T) {
	budget := NewBudget(2 * 80)
	mem := vfs.NewMem()
	hot := sealedOffsets(t, &testHome{mem, 0, budget, "hot"}, 10)
	for i := range 20 {
		_, err := hot.Around(5)
		require.NoError(t, err)
		cold := sealedOffsets(t, &testHome{mem, 0, budget, fmt.Sprint("cold", i)}, 10)
		_, err = cold.Around(5)
		require.NoError(t, err)
		if i > 1 {
			require.NotNil(t, hot.block.Load(), "round %d", i)
		}
	}
}

func TestTableAboveTheBudgetIsSearchedInItsFile(t *testing.T) {
	h := newHome(0, NewBudget(100))
	o := sealedOffsets(t, h, 100000)
	for offset := int64(9); offset < 1000000; offset += 31337 {
		a, err := o.Around(offset)
		require.NoError(t, err)
		require.Equal(t, (offset-9)/10*10+9, a.Offset)
	}
	assert.Zero(t, h.budget.Used())
	assert.Equal(t, 1, h.fs.(*vfs.Mem).OpenFiles())
	o.Close()
}
