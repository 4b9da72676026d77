package index

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBatchPositions(t *testing.T) {
	m := NewBudget(1 << 20).BatchPositions()
	seg := m.NewMapping()
	_, _, ok := m.Find(seg, 0, 0)
	require.False(t, ok, "nothing was noted")
	require.Nil(t, m.pages.Load(), "and nothing is held")

	m.Add(seg, 8192, BatchPosition{30, 12000}, BatchPosition{60, 15000})
	m.Add(seg, 8192, BatchPosition{0, 9000}, BatchPosition{30, 12000}, BatchPosition{60, 15000}, BatchPosition{61, 15100})
	for _, tc := range []struct {
		mapping       Mapping
		entry, offset int64
		from, to      BatchPosition
		ok            bool
	}{
		{seg, 8192, 0, BatchPosition{0, 9000}, BatchPosition{30, 12000}, true},
		{seg, 8192, 29, BatchPosition{0, 9000}, BatchPosition{30, 12000}, true},
		{seg, 8192, 30, BatchPosition{30, 12000}, BatchPosition{60, 15000}, true},
		{seg, 8192, 60, BatchPosition{}, BatchPosition{}, false}, // nothing behind it is known: 15100 is too near
		{seg, 8192 + 1, 30, BatchPosition{}, BatchPosition{}, false},
		{seg, 8192 + 1<<pageShift, 30, BatchPosition{}, BatchPosition{}, false},
		{seg + 1, 8192, 30, BatchPosition{}, BatchPosition{}, false},
		{0, 8192, 30, BatchPosition{}, BatchPosition{}, false},
	} {
		from, to, ok := m.Find(tc.mapping, tc.entry, tc.offset)
		require.Equal(t, tc.ok, ok, "%+v", tc)
		require.Equal(t, tc.from, from)
		require.Equal(t, tc.to, to)
	}
	for i := range int64(2 * perPatch) {
		m.Add(seg, 4096, BatchPosition{i, 4096 + i*positionStep})
	}
	_, _, ok = m.Find(seg, 4096, perPatch-2)
	require.True(t, ok)
	_, _, ok = m.Find(seg, 4096, perPatch-1)
	require.False(t, ok, "the patch is full")
	m.Add(seg, 4097, BatchPosition{0, 1 << 33}, BatchPosition{1 << 33, 0})
	_, _, ok = m.Find(seg, 4097, 0)
	require.False(t, ok, "beyond what a segment can hold")
}

func TestBatchPositionsWithoutMemory(t *testing.T) {
	for _, b := range []*Budget{nil, NewBudget(0), NewBudget(-1), NewBudget(100)} {
		m := b.BatchPositions()
		seg := m.NewMapping()
		m.Add(seg, 0, BatchPosition{0, 0}, BatchPosition{10, 5000})
		_, _, ok := m.Find(seg, 0, 5)
		require.False(t, ok)
	}
}

func TestBatchPositionsAreBounded(t *testing.T) {
	const budget = 1 << 20
	m := NewBudget(budget).BatchPositions()
	var readers sync.WaitGroup
	for seed := range uint64(3) {
		readers.Go(func() {
			dice := rand.New(rand.NewPCG(seed, 0))
			for range 20_000 {
				seg, entry := Mapping(1+dice.IntN(5)), int64(dice.IntN(1<<28))
				m.Add(seg, entry, BatchPosition{entry, entry}, BatchPosition{entry + 10, entry + 4000})
				if from, to, ok := m.Find(seg, entry, entry+5); ok && (from.Pos != entry || to.Pos != entry+4000) {
					t.Errorf("entry %d: %v %v", entry, from, to)
				}
			}
		})
	}
	readers.Wait()
	held := 0
	for i := range *m.pages.Load() {
		if (*m.pages.Load())[i].Load() != nil {
			held++
		}
	}
	require.Greater(t, held, 10)
	require.LessOrEqual(t, held*pageBytes, budget/besides)
}
