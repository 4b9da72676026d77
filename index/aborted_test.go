package index

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAbortedEntry(t *testing.T) {
	txn := AbortedTxn{ProducerID: 9, FirstOffset: 42, LastOffset: 47, LastStable: 48}
	b := AppendAborted(nil, txn)
	assert.Equal(t, "00000000000000000009000000000000002a000000000000002f0000000000000030", hex.EncodeToString(b))
	assert.Equal(t, txn, ParseAborted(b))
}

func TestCollect(t *testing.T) {
	list := []AbortedTxn{
		{ProducerID: 1, FirstOffset: 0, LastOffset: 10, LastStable: 5},
		{ProducerID: 2, FirstOffset: 5, LastOffset: 12, LastStable: 13},
		{ProducerID: 3, FirstOffset: 30, LastOffset: 32, LastStable: 31},
		{ProducerID: 4, FirstOffset: 31, LastOffset: 40, LastStable: 41},
	}
	for _, budget := range []*Budget{nil, NewBudget(0)} {
		h := newHome(0, budget)
		var a Aborted
		a.Init(h)
		for _, txn := range list {
			require.NoError(t, a.Add(txn))
		}
		assert.ErrorIs(t, a.Add(list[3]), ErrOrder)
		for _, sealed := range []bool{false, true} {
			if sealed {
				require.NoError(t, a.Flush(false))
				sum := a.Sum()
				a = Aborted{}
				a.InitSealed(h, sum)
			}
			for _, c := range []struct {
				from, to int64
				want     []AbortedTxn
				complete bool
			}{
				{0, 1, list[:1], true},
				{0, 11, list[:2:2], true},
				{0, 12, list[:2], true},
				{11, 12, list[1:2], true},
				{13, 20, nil, true},
				{13, 31, list[2:3], true},
				{13, 32, list[2:4], true},
				{33, 100, list[3:], false},
				{41, 100, nil, false},
			} {
				got, complete, err := a.Collect(nil, c.from, c.to)
				require.NoError(t, err)
				assert.Equal(t, c.complete, complete, "%v", c)
				assert.Equal(t, len(c.want), len(got), "%v", c)
				for i := range got {
					assert.Equal(t, c.want[i], got[i])
				}
			}
		}
	}
}

func TestAbortedTruncate(t *testing.T) {
	var a Aborted
	a.Init(newHome(0, nil))
	require.NoError(t, a.Add(AbortedTxn{LastOffset: 5}))
	require.NoError(t, a.Add(AbortedTxn{LastOffset: 9}))
	a.Truncate(9)
	assert.Equal(t, 1, a.Len())
}
