package topic

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type order struct {
	ID    string
	Cents int64
}

func TestTypedRoundTrip(t *testing.T) {
	e := clientEngine(t)
	orders, err := OpenTyped(t.Context(), e, "orders", String, JSON[order](), Partitions(3))
	require.NoError(t, err)
	assert.Equal(t, 3, orders.Topic().Partitions())
	pos, err := orders.Append(t.Context(), "o-1", order{"o-1", 990})
	require.NoError(t, err)
	assert.Equal(t, PartitionForKey([]byte("o-1"), 3), pos.Partition)
	_, err = orders.Delete(t.Context(), "o-1")
	require.NoError(t, err)
	p := clientProducer(t, e)
	require.NoError(t, orders.Send(t.Context(), p, "o-1", order{"o-1", 5}, nil))
	require.NoError(t, p.Shutdown(t.Context()))

	var got []TypedRecord[string, order]
	for rec, err := range orders.Read(t.Context(), UntilEnd()) {
		require.NoError(t, err)
		rec.Time = rec.Time.UTC().Truncate(1 << 62)
		got = append(got, *rec)
	}
	require.Len(t, got, 3)
	assert.Equal(t, order{"o-1", 990}, got[0].Value)
	assert.True(t, got[1].Tombstone)
	assert.Equal(t, "o-1", got[1].Key)
	assert.Equal(t, order{"o-1", 5}, got[2].Value)
	assert.EqualValues(t, 2, got[2].Offset)
}

func TestTypedDecodeErrorsDoNotEndTheLoop(t *testing.T) {
	e := clientEngine(t)
	nums, err := OpenTyped(t.Context(), e, "n", Bytes, Int64)
	require.NoError(t, err)
	for i := range int64(3) {
		_, err := nums.Append(t.Context(), nil, i)
		require.NoError(t, err)
		_, err = nums.Topic().Append(t.Context(), Record{Value: []byte("bad")})
		require.NoError(t, err)
	}
	var good []int64
	var bad []int64
	for rec, err := range nums.Read(t.Context(), UntilEnd()) {
		var de *DecodeError
		switch {
		case errors.As(err, &de):
			assert.Nil(t, rec)
			assert.Equal(t, "bad", string(de.Record.Value))
			assert.ErrorContains(t, err, "n/0@")
			bad = append(bad, de.Record.Offset)
		default:
			require.NoError(t, err)
			assert.False(t, rec.NoKey, "an empty encoding is a key")
			good = append(good, rec.Value)
		}
	}
	assert.Equal(t, []int64{0, 1, 2}, good)
	assert.Equal(t, []int64{1, 3, 5}, bad)
	for range nums.Read(t.Context(), UntilEnd()) {
		break // also at a good or a bad one
	}
}

type failing struct{}

func (failing) Append(dst []byte, _ int) ([]byte, error) { return dst, errPoison }
func (failing) Decode([]byte) (int, error)               { return 0, errPoison }

func TestTypedEncodeErrors(t *testing.T) {
	e := clientEngine(t)
	top, err := OpenTyped(t.Context(), e, "t", String, Codec[int](failing{}))
	require.NoError(t, err)
	_, err = top.Append(t.Context(), "k", 1)
	assert.ErrorIs(t, err, errPoison)
	p := clientProducer(t, e)
	assert.ErrorIs(t, top.Send(t.Context(), p, "k", 1, nil), errPoison)
	require.NoError(t, p.Close())
	_, err = top.Topic().Append(t.Context(), Record{Key: []byte("k"), Value: []byte("v")})
	require.NoError(t, err)
	for _, err := range top.Read(context.Background(), UntilEnd()) {
		assert.ErrorIs(t, err, errPoison)
	}
	_, err = OpenTyped(t.Context(), e, "bad name", String, String)
	assert.ErrorIs(t, err, ErrInvalid)
}
