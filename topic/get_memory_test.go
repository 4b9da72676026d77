package topic

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/invariant"
)

// Reads of single records all over a large topic leave no more in memory than IndexMemory says.
func TestRandomReadsStayWithinIndexMemory(t *testing.T) {
	const limit, batches, perBatch = 64 << 10, 900, 32
	eng := clientEngine(t, IndexMemory(limit))
	top := clientTopic(t, eng, "t", SegmentBytes(1<<20), quick())
	recs := make([]Record, perBatch)
	for i := range recs {
		recs[i].Value = make([]byte, 2<<10)
	}
	for range batches {
		_, err := top.AppendBatch(t.Context(), recs)
		require.NoError(t, err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	get := func(n int) {
		for range n {
			offset := rnd.Int64N(batches * perBatch)
			rec, err := partitionOf(t, top, 0).Get(t.Context(), offset)
			require.NoError(t, err)
			require.Equal(t, offset, rec.Offset)
			require.LessOrEqual(t, eng.indexes.Used(), int64(limit))
		}
	}
	get(1)
	before := heapBytes()
	get(4 * batches)
	grown := heapBytes() - before
	assert.Greater(t, eng.indexes.Held(), 50, "something is remembered")
	assert.Less(t, eng.indexes.Held(), batches/2, "and not all of it")
	if !invariant.Enabled {
		assert.Less(t, grown, int64(4*limit))
	}
}
