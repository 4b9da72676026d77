package record

import (
	"fmt"
	"testing"

	"github.com/quirelog/quire/compress"
	"github.com/stretchr/testify/require"
)

// thinned is a batch of records k0..k(n-1) at offset 100 by producer 7.
func thinned(t testing.TB, c compress.Codec, kind TimestampType, n int) Batch {
	t.Helper()
	b := NewBuilder(BuilderConfig{Codec: c, HasProducer: true, ProducerID: 7, ProducerEpoch: 3, BaseSequence: 40, Transactional: true,
		TimestampType: kind, AppendTime: 9_000})
	for i := range n {
		value := []byte(fmt.Sprintf("v%d", i))
		if i%3 == 2 {
			value = nil
		}
		require.NoError(t, b.Add(&Record{Timestamp: 1_000 + int64(i*i%7), Key: fmt.Appendf(nil, "k%d", i), Value: value,
			Headers: []Header{{"h", []byte{byte(i)}}}}))
	}
	out, err := b.Seal()
	require.NoError(t, err)
	out = append(Batch(nil), out...)
	out.SetBaseOffset(100)
	out.SetLeaderEpoch(5)
	return out
}

func listed(t testing.TB, b Batch) (list []string) {
	t.Helper()
	require.NoError(t, b.Check())
	var d Decoder
	require.NoError(t, d.Reset(b, 0))
	for r := new(Record); d.Next(r); r = new(Record) {
		list = append(list, fmt.Sprintf("%d@%d %s=%v %v", r.Offset, r.Timestamp, r.Key, r.Value, r.Headers))
	}
	require.NoError(t, d.Err())
	return list
}

func TestRewriter(t *testing.T) {
	var w Rewriter
	for _, codec := range []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		for _, kind := range []TimestampType{CreateTime, LogAppendTime} {
			for _, horizon := range []int64{0, 77_777} {
				b := thinned(t, codec, kind, 20)
				all := listed(t, b)
				var want []string
				require.NoError(t, w.Reset(b, 0))
				var r Record
				for i := 0; w.Next(&r); i++ {
					if i%4 == 1 {
						w.Keep()
						want = append(want, all[i])
					}
				}
				require.NoError(t, w.Err())
				require.False(t, w.Whole())
				require.Equal(t, len(want), w.Kept())
				out, err := w.Batch(RewriteOptions{DeleteHorizon: horizon})
				require.NoError(t, err)
				require.Equal(t, want, listed(t, out))
				require.Equal(t, horizon > 0, out.HasDeleteHorizon())
				if horizon > 0 {
					require.Equal(t, horizon, out.BaseTimestamp())
				}
				require.Equal(t, []any{b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.Codec(), b.TimestampType(), b.Transactional()},
					[]any{out.BaseOffset(), out.LastOffset(), out.LeaderEpoch(), out.ProducerID(), out.ProducerEpoch(), out.BaseSequence(), out.Codec(), out.TimestampType(), out.Transactional()})

				// A horizon that is set already is kept, whatever comes later.
				again := append(Batch(nil), out...)
				require.NoError(t, w.Reset(again, 0))
				for w.Next(&r) {
					w.Keep()
				}
				require.True(t, w.Whole())
				third, err := w.Batch(RewriteOptions{DeleteHorizon: 99_999})
				require.NoError(t, err)
				if horizon > 0 {
					require.Equal(t, again, third)
				}
			}
		}
	}
}

func TestRewriterOfAMarker(t *testing.T) {
	b := EndTxnMarker(Abort, 9, 2, 11, 5_000)
	b.SetBaseOffset(300)
	b.SetLeaderEpoch(4)
	var w Rewriter
	var r Record
	require.NoError(t, w.Reset(b, 0))
	for w.Next(&r) {
		w.Keep()
	}
	out, err := w.Batch(RewriteOptions{DeleteHorizon: 6_000})
	require.NoError(t, err)
	require.NoError(t, out.Check())
	require.True(t, out.Control() && out.Transactional() && out.HasDeleteHorizon())
	require.Equal(t, []int64{300, 9, 5_000}, []int64{out.BaseOffset(), out.ProducerID(), out.MaxTimestamp()})
	kind, epoch, err := ParseControl(out)
	require.NoError(t, err)
	require.Equal(t, Abort, kind)
	require.Equal(t, int32(11), epoch)
	require.Equal(t, NoSequence, out.BaseSequence())
}

func TestRewriterEdits(t *testing.T) {
	b := thinned(t, compress.Zstd, CreateTime, 3)
	var w Rewriter
	var r Record
	require.NoError(t, w.Reset(b, 0))
	for w.Next(&r) {
		w.Keep()
	}
	out, err := w.Batch(RewriteOptions{Edit: func(r *Record) {
		if r.Offset == 101 {
			r.Value = nil
		}
	}})
	require.NoError(t, err)
	want := listed(t, b)
	want[1] = "101@1001 k1=[] [{h [1]}]"
	require.Equal(t, want, listed(t, out))
	require.NoError(t, w.Reset(b, 0))
	_, err = w.Batch(RewriteOptions{})
	require.ErrorIs(t, err, ErrInvalid)
	w.Trim(1)
	require.NoError(t, w.Reset(b, 0))
}
