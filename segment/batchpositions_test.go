package segment

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/index"
)

// TestRandomReadsAskTheDiskOnce: once every batch was met, one read a record.
func TestRandomReadsAskTheDiskOnce(t *testing.T) {
	for _, tc := range []struct {
		records, size int
		codec         compress.Codec
		most          float64 // reads a record
	}{
		{30, 200, compress.None, 1.02}, {30, 200, compress.LZ4, 1.1}, {10, 200, compress.None, 1.1}, {1, 50, compress.None, 2}, {300, 200, compress.LZ4, 1.05},
	} {
		disk, reads := countReads(newMemDir(t))
		s := create(t, disk, 1000, &Config{Budget: index.NewBudget(1 << 20)})
		for s.Size() < 60_000 {
			require.NoError(t, s.Append(batchOf(t, s.Next(), tc.records, tc.size, tc.codec)))
		}
		require.NoError(t, s.Append(batchOf(t, s.Next(), 1, 100, tc.codec)))
		var f Finder
		for range 3 {
			for offset := s.Base(); offset < s.Next(); offset += int64(min(tc.records, 5)) {
				requireFound(t, s, &f, offset)
			}
		}
		before := reads.Load()
		const n = 500
		for range n {
			requireFound(t, s, &f, s.Base()+rand.Int64N(s.Next()-s.Base()))
		}
		require.LessOrEqual(t, float64(reads.Load()-before)/n, tc.most, "%+v", tc)
	}
}

// TestBatchPositionsThatLie: what another file left, or a cut made untrue, costs time only.
func TestBatchPositionsThatLie(t *testing.T) {
	s := create(t, newMemDir(t), 0, &Config{Budget: index.NewBudget(1 << 20)})
	grow := func(n int) {
		for range n {
			require.NoError(t, s.Append(batchOf(t, s.Next(), 1+rand.IntN(40), 200, compress.None)))
		}
	}
	grow(100)
	dice := rand.New(rand.NewPCG(1, 2))
	var f Finder
	for range 200 {
		requireFound(t, s, &f, dice.Int64N(s.Next()))
		a, err := s.around(dice.Int64N(s.Next()))
		require.NoError(t, err)
		from := index.BatchPosition{Offset: dice.Int64N(s.Next()), Pos: dice.Int64N(2 * s.Size())}
		to := index.BatchPosition{Offset: dice.Int64N(s.Next()), Pos: dice.Int64N(2 * s.Size())}
		s.cfg.Budget.BatchPositions().Add(s.mappingID(), a.Pos, from, to)
	}
	for offset := range s.Next() {
		requireFound(t, s, &f, offset)
	}
	for range 6 {
		require.NoError(t, s.Truncate(s.Next()/2))
		grow(50)
		for offset := int64(0); offset < s.Next(); offset += 3 {
			requireFound(t, s, &f, offset)
		}
	}
}
