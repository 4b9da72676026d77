package topic

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
)

func TestGetReadsOneRecord(t *testing.T) {
	eng, err := Open("data", InMemory())
	require.NoError(t, err)
	defer eng.Close()
	ctx := t.Context()
	for _, codec := range []compress.Codec{compress.None, compress.LZ4} {
		tp, err := eng.Topic(ctx, "t-"+codec.String(), Compression(codec))
		require.NoError(t, err)
		p, err := tp.Partition(0)
		require.NoError(t, err)
		at := time.UnixMilli(1_700_000_000_000)
		var recs []Record
		for i := range 700 {
			recs = append(recs, Record{Time: at.Add(time.Duration(i) * time.Second), Key: fmt.Appendf(nil, "k%d", i),
				Value: append(fmt.Appendf(nil, "v%d:", i), make([]byte, i%150)...), Headers: []Header{{Key: "n", Value: []byte{byte(i)}}, {Key: "null"}}})
		}
		_, err = p.Append(ctx, recs...)
		require.NoError(t, err)
		for range 2 {
			for i := range recs {
				r, err := p.Get(ctx, int64(i))
				require.NoError(t, err)
				require.Equal(t, recs[i].Key, r.Key)
				require.Equal(t, recs[i].Value, r.Value)
				require.Equal(t, recs[i].Headers, r.Headers)
				require.True(t, recs[i].Time.Equal(r.Time))
				require.EqualValues(t, i, r.Offset)
				require.Equal(t, tp.Name(), r.Topic)
			}
		}
		require.NoError(t, p.View(ctx, 5, func(r *record.Record) error {
			require.EqualValues(t, 5, r.Offset)
			return nil
		}))
		for _, offset := range []int64{-1, 700, 1 << 40} {
			_, err = p.Get(ctx, offset)
			require.ErrorIs(t, err, ErrOffsetOutOfRange, "offset %d", offset)
		}
		_, err = p.DeleteRecords(ctx, 3)
		require.NoError(t, err)
		_, err = p.Get(ctx, 2)
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
}

func TestGetKeepsNullAndEmptyApart(t *testing.T) {
	eng, err := Open("data", InMemory())
	require.NoError(t, err)
	defer eng.Close()
	tp, err := eng.Topic(t.Context(), "t")
	require.NoError(t, err)
	_, err = tp.AppendBatch(t.Context(), []Record{{Key: []byte{}}, {Value: []byte{}}})
	require.NoError(t, err)
	p, err := tp.Partition(0)
	require.NoError(t, err)
	first, err := p.Get(t.Context(), 0)
	require.NoError(t, err)
	require.NotNil(t, first.Key)
	require.Nil(t, first.Value)
	second, err := p.Get(t.Context(), 1)
	require.NoError(t, err)
	require.Nil(t, second.Key)
	require.NotNil(t, second.Value)
}

func ExamplePartition_Get() {
	eng, _ := Open("data", InMemory())
	defer eng.Close()
	ctx := context.Background()
	orders, _ := eng.Topic(ctx, "orders")
	pos, _ := orders.Append(ctx, Record{Value: []byte("two books")})
	p, _ := orders.Partition(pos.Partition)
	rec, err := p.Get(ctx, pos.Offset)
	fmt.Printf("%s %v\n", rec.Value, err)
	// Output: two books <nil>
}
