package catalog

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Taking numbers out one by one leaves the set that a plain list would be.
func TestPartitionSet(t *testing.T) {
	const n = 9
	set, plain := Range(0, n), map[int32]bool{}
	for i := range int32(n) {
		plain[i] = true
	}
	for _, gone := range []int32{4, 0, 8, 3, 5, 4, 1, 7, 2, 6} {
		before := slices.Clone(set)
		next := set.Without(gone)
		assert.Equal(t, before, set, "a set is not changed")
		set = next
		delete(plain, gone)
		first := int32(0)
		for plain[first] {
			first++
		}
		assert.Equal(t, first, set.FirstMissing())
		for i := range int32(n + 1) {
			assert.Equal(t, plain[i], set.Has(i), "%d after %d", i, gone)
		}
		text, err := set.MarshalText()
		require.NoError(t, err)
		if len(set) == 0 {
			assert.Nil(t, set)
			continue
		}
		var again PartitionSet
		require.NoError(t, again.UnmarshalText(text))
		assert.Equal(t, set, again)
	}
	assert.Equal(t, PartitionSet{{0, 0}, {2, 4}}, Range(0, 1).With(2, 3).With(3, 5))
	assert.Equal(t, PartitionSet{{2, 4}}, Range(2, 5).With(7, 7))
	for _, bad := range []string{"", "x", "1-", "-1", "2,1", "1,2", "1,1", "3-3", "2-1", "0-9999999999", " 1"} {
		var set PartitionSet
		assert.Error(t, set.UnmarshalText([]byte(bad)), bad)
	}
}
