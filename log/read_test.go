package log

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every start, every bound, several sizes: what Read and Slice return, against the plain rule.
func TestReadAtEveryBound(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{SegmentBytes: 300, Replicated: true})
	var ends []int64 // of the batches
	for i := range 9 {
		ends = append(ends, put(t, l, strings.Split("a b c"[:1+2*(i%3)], " ")...).Last+1)
	}
	for high := int64(0); high <= l.End(); high++ {
		l.AdvanceHigh(high)
		for from := int64(0); from <= l.End(); from++ {
			for _, max := range []int{1, 80, 150, 1 << 20} {
				run, next, err := l.Read(nil, At(from), ReadOptions{MaxBytes: max, Check: true})
				require.NoError(t, err)
				s, err := l.Slice(from, ReadOptions{MaxBytes: max})
				require.NoError(t, err)
				data, err := s.AppendTo(nil)
				require.NoError(t, err)
				s.Release()
				name := fmt.Sprintf("high %d from %d max %d", high, from, max)
				require.Equal(t, string(run), string(data), name)
				first := batchHolding(ends, from)
				if from >= high || ends[first] > high {
					require.Empty(t, run, name)
					require.Equal(t, from, next.Offset)
					continue
				}
				b := record.Batch(run)
				require.Equal(t, ends[first]-int64(b.LastOffsetDelta())-1, b.BaseOffset(), name)
				last := int64(0)
				for b, err := range record.Batches(run) {
					require.NoError(t, err)
					last = b.NextOffset()
				}
				require.LessOrEqual(t, last, high)
				require.Equal(t, last, next.Offset)
				whole, err := record.First(run)
				require.NoError(t, err)
				require.LessOrEqual(t, len(run), max+len(whole)*b2i(len(whole) > max), name)
			}
		}
	}
	for _, from := range []int64{-1, l.End() + 1} {
		_, _, err := l.Read(nil, At(from), ReadOptions{})
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
		_, err = l.Slice(from, ReadOptions{})
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func batchHolding(ends []int64, offset int64) int {
	for i, end := range ends {
		if offset < end {
			return i
		}
	}
	return len(ends) - 1
}

func TestReadAcrossGaps(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{SegmentBytes: 160})
	var want []string
	for i := range int64(12) {
		o := 10 * i * i
		require.NoError(t, l.AppendAt(t.Context(), at(batchOf(t, "v"), o, 0)))
		want = append(want, fmt.Sprintf("%d:v", o))
	}
	require.Greater(t, len(l.Segments()), 3)
	requireContents(t, l, want...)
	for i := range int64(11) {
		for _, from := range []int64{10*i*i + 1, 10 * (i + 1) * (i + 1)} {
			run, next, err := l.Read(nil, At(from), ReadOptions{MaxBytes: 1, Check: true})
			require.NoError(t, err)
			require.Equal(t, 10*(i+1)*(i+1), record.Batch(run).BaseOffset())
			require.Equal(t, 10*(i+1)*(i+1)+1, next.Offset)
			s, err := l.Slice(from, ReadOptions{MaxBytes: 1})
			require.NoError(t, err)
			var out strings.Builder
			n, err := s.WriteTo(&out)
			require.NoError(t, err)
			require.Equal(t, s.Len(), n)
			require.Equal(t, string(run), out.String())
			s.Release()
			_, err = s.WriteTo(io.Discard)
			require.ErrorIs(t, err, ErrClosed)
		}
	}
}

// A place from one segment is no use in the next, even when a batch begins there.
func TestPlaceOfAnotherSegment(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{SegmentBytes: 300})
	for range 12 {
		put(t, l, "v")
	}
	size := int64(len(batchOf(t, "v")))
	for o := range int64(12) {
		for pos := range 5 * size {
			run, _, err := l.Read(nil, Place{Offset: o, Pos: pos}, ReadOptions{MaxBytes: 1, Check: true})
			require.NoError(t, err)
			require.Equal(t, o, record.Batch(run).BaseOffset())
		}
	}
}

// Readers never miss, repeat or tear a record while the log grows, rolls and loses its beginning.
func TestReadWhileRolling(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{SegmentBytes: 1000, Durability: OS})
	const records = 3000
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for r := range 3 {
		wg.Go(func() {
			var run []byte
			var err error
			place := At(0)
			for place.Offset < records {
				before := place.Offset
				if run, place, err = l.Read(run, place, ReadOptions{Check: true, MaxBytes: 100 * (1 + r)}); err != nil {
					if assert.ErrorIs(t, err, ErrOffsetOutOfRange) {
						place = At(l.Start())
						continue
					}
					return
				}
				if len(run) == 0 {
					assert.NoError(t, l.Wait(context.Background(), place.Offset, High))
					continue
				}
				for b := range record.Batches(run) {
					if !assert.Equal(t, before, b.BaseOffset()) {
						return
					}
					before = b.NextOffset()
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			_, err := l.DeleteRecords(l.High() - 500*b2i64(l.High() > 500))
			assert.NoError(t, err)
			_ = l.Wait(ctx, l.High()+200, High)
		}
	})
	b := batchOf(t, "v")
	for range records {
		_, err := l.Append(context.Background(), b, AppendOptions{Trusted: true})
		require.NoError(t, err)
	}
	cancel()
	wg.Wait()
}

func b2i64(b bool) int64 { return int64(b2i(b)) }
