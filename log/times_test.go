package log

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

func TestOffsetForTable(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{Replicated: true, SegmentBytes: 300})
	for _, b := range []Bound{High, Stable, End} {
		for ask, want := range map[int64]int64{TimeLatest: 0, TimeEarliest: 0} {
			found, ok, err := l.OffsetFor(ask, b)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, TimeOffset{want, -1, -1}, found)
		}
		for _, ask := range []int64{TimeMax, 0, 5} {
			_, ok, err := l.OffsetFor(ask, b)
			require.NoError(t, err)
			require.False(t, ok, "an empty log")
		}
	}
	times := [][]int64{{50, 10}, {30}, {record.NoTimestamp}, {90, 20}, {60}, {90}, {10}, {70}}
	var all []int64
	for _, ts := range times {
		_, err := l.Append(t.Context(), timed(t, ts...), AppendOptions{})
		require.NoError(t, err)
		all = append(all, ts...)
	}
	require.Greater(t, len(l.Segments()), 1)
	for high := range int64(len(all) + 1) {
		l.AdvanceHigh(high)
		for start := range l.High() + 1 {
			_, err := l.DeleteRecords(start)
			require.NoError(t, err)
		}
		if high < int64(len(all)) {
			continue
		}
	}
	for _, b := range []Bound{High, End} {
		_, ok, err := l.OffsetFor(10, b)
		require.NoError(t, err)
		require.False(t, ok)
	}
	_, _, err := l.OffsetFor(-4, High)
	require.Error(t, err)
}

// Unordered times, any start, any bound, against the plain rule.
func TestOffsetForAgainstPlainRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		l := openLog(t, vfs.NewMem(), &Config{Replicated: true, SegmentBytes: 250, IndexInterval: 1, Durability: OS})
		var all []int64
		for range 12 {
			var ts []int64
			for range 1 + rng.IntN(3) {
				ts = append(ts, rng.Int64N(12)-1)
			}
			_, err := l.Append(t.Context(), timed(t, ts...), AppendOptions{})
			require.NoError(t, err)
			all = append(all, ts...)
		}
		n := int64(len(all))
		l.AdvanceHigh(rng.Int64N(n + 1))
		start, err := l.DeleteRecords(rng.Int64N(l.High() + 1))
		require.NoError(t, err)
		for _, b := range []Bound{High, End} {
			limit := l.Limit(b)
			for ask := range int64(13) {
				want := int64(-1)
				for o := start; o < n; o++ {
					if all[o] >= ask {
						want = o
						break
					}
				}
				found, ok, err := l.OffsetFor(ask, b)
				require.NoError(t, err)
				require.Equal(t, want >= 0 && want < limit, ok)
				if ok {
					require.Equal(t, TimeOffset{want, all[want], 0}, found)
				}
			}
			found, ok, err := l.OffsetFor(TimeMax, b)
			require.NoError(t, err)
			seen := all[start:limit]
			if len(seen) == 0 || slices.Max(seen) < 0 {
				require.False(t, ok)
				continue
			}
			require.True(t, ok, "%v of %v", seen, all)
			i := slices.Index(seen, slices.Max(seen))
			require.Equal(t, TimeOffset{start + int64(i), seen[i], 0}, found)
		}
		require.NoError(t, l.Close())
	}
}
