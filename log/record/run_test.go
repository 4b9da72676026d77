package record

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSize(t *testing.T) {
	one := unhex(t, goldenOne)
	for n := range prefixSize {
		_, err := Size(one[:n])
		require.ErrorIs(t, err, ErrIncomplete, "%d bytes", n)
	}
	n, err := Size(one[:prefixSize])
	require.NoError(t, err)
	assert.Equal(t, 70, n)
	if math.MaxInt > math.MaxInt32 {
		n, err = Size(put(one, posLength, 4, math.MaxInt32))
		require.NoError(t, err)
		assert.Equal(t, int64(math.MaxInt32+LogOverhead), int64(n))
	}

	for name, b := range map[string]Batch{
		"zeros":     make(Batch, 100),
		"length 48": put(one, posLength, 4, 48),
		"negative":  put(one, posLength, 4, math.MinInt32),
		"magic 0":   put(one, posMagic, 1, 0),
		"magic -1":  put(one, posMagic, 1, -1),
	} {
		_, err := Size(b)
		assert.ErrorIs(t, err, ErrCorrupt, name)
		_, err = First(b)
		assert.ErrorIs(t, err, ErrCorrupt, name)
		_, err = First(b[:prefixSize])
		assert.ErrorIs(t, err, ErrCorrupt, "%s: judged from the prefix alone", name)
	}
}

func TestFirst(t *testing.T) {
	run := append(unhex(t, goldenOne), unhex(t, goldenTwo)...)
	b, err := First(run)
	require.NoError(t, err)
	assert.Len(t, b, 70)
	assert.Equal(t, 70, cap(b), "an append to the batch cannot reach the next one")
	for n := range 70 {
		_, err := First(run[:n])
		assert.ErrorIs(t, err, ErrIncomplete)
	}
}

func TestBatches(t *testing.T) {
	run := append(unhex(t, goldenOne), unhex(t, goldenTwo)...)
	collect := func(run []byte) (sizes []int, last error) {
		for b, err := range Batches(run) {
			if last = err; err == nil {
				sizes = append(sizes, len(b))
			}
		}
		return sizes, last
	}
	sizes, err := collect(nil)
	assert.Empty(t, sizes)
	require.NoError(t, err)
	sizes, err = collect(run)
	assert.Equal(t, []int{70, 81}, sizes)
	require.NoError(t, err)
	sizes, err = collect(run[:len(run)-1])
	assert.Equal(t, []int{70}, sizes)
	require.ErrorIs(t, err, ErrIncomplete)
	sizes, err = collect(append(run, make([]byte, 30)...))
	assert.Equal(t, []int{70, 81}, sizes)
	require.ErrorIs(t, err, ErrCorrupt)
	for range Batches(run) {
		break
	}
}

func TestResync(t *testing.T) {
	one, two := unhex(t, goldenOne), unhex(t, goldenTwo)
	junk := make([]byte, 1000)
	for i := range junk {
		junk[i] = byte(i * 7)
	}
	run := append(append(append([]byte(nil), one...), junk...), two...)
	assert.Equal(t, 0, Resync(run, 0))
	assert.Equal(t, 0, Resync(run, -5))
	assert.Equal(t, 1070, Resync(run, 1))
	assert.Equal(t, 1070, Resync(run, 1070))
	assert.Equal(t, -1, Resync(run, 1071))
	assert.Equal(t, -1, Resync(run, len(run)+10))
	assert.Equal(t, -1, Resync(run[:len(run)-1], 1), "the last batch is cut")
	assert.Equal(t, -1, Resync(nil, 0))
	assert.Equal(t, -1, Resync(make([]byte, 5000), 0))
	run[1075] ^= 1 // its base offset, which no checksum covers
	assert.Equal(t, 1070, Resync(run, 1))
	run[1100] ^= 1
	assert.Equal(t, -1, Resync(run, 1))

	empty := unhex(t, goldenEmpty)
	assert.Equal(t, 3, Resync(append([]byte{2, 2, 2}, empty...), 0), "a batch of the smallest size at the very end")
}

// TestResyncPassesBatchesInsideValues hides a whole batch in a record of a batch
// that is damaged: the one inside is valid in itself, so that it is found; only
// the caller's offsets can tell.
func TestResyncPassesBatchesInsideValues(t *testing.T) {
	outer := mustSeal(t, BuilderConfig{}, []Record{{Value: unhex(t, goldenTwo)}})
	assert.Equal(t, 0, Resync(outer, 0))
	outer[len(outer)-1] ^= 1
	assert.Positive(t, Resync(outer, 0))
}
