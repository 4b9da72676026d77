package log

import (
	"testing"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

func TestRollRules(t *testing.T) {
	size := int64(len(timed(t, 0)))
	hour := time.Hour.Milliseconds()
	type step struct{ ts, now int64 }
	for _, tc := range []struct {
		name  string
		cfg   *Config
		steps []step
		bases []int64
	}{
		{"exactly full", &Config{SegmentBytes: 3 * size}, []step{{0, 0}, {0, 0}, {0, 0}, {0, 0}}, []int64{0, 3}},
		{"one byte less", &Config{SegmentBytes: 3*size - 1}, []step{{0, 0}, {0, 0}, {0, 0}, {0, 0}}, []int64{0, 2}},
		{"record time", &Config{SegmentAge: time.Hour}, []step{{0, 0}, {hour, 0}, {hour + 1, 0}, {hour + 2, 0}}, []int64{0, 2}},
		{"the clock does not count then", &Config{SegmentAge: time.Hour}, []step{{5, 1}, {6, 1 << 50}}, []int64{0}},
		{"without times the clock counts", &Config{SegmentAge: time.Hour}, []step{{-1, 1}, {-1, 1 << 50}, {-1, 1 << 50}}, []int64{0, 1, 2}},
		{"index full", &Config{IndexInterval: 1, IndexBytes: 24}, []step{{0, 0}, {1, 0}, {2, 0}, {3, 0}, {4, 0}}, []int64{0, 2, 4}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var told []int64
			l, _, err := Open(vfs.NewMem(), testDir, tc.cfg, OpenState{Hooks: Hooks{Rolled: func(base int64) { told = append(told, base) }}})
			require.NoError(t, err)
			defer l.Close()
			for _, s := range tc.steps {
				_, err := l.Append(t.Context(), timed(t, s.ts), AppendOptions{Now: s.now})
				require.NoError(t, err)
			}
			var bases []int64
			for _, f := range l.Segments() {
				bases = append(bases, f.Base)
			}
			if tc.name == "index full" {
				require.Greater(t, len(bases), 1)
				return
			}
			require.Equal(t, tc.bases, bases)
			require.Equal(t, tc.bases[1:], append([]int64{}, told...))
			require.EqualValues(t, len(tc.steps)*int(size), l.Size())
		})
	}
}

// Without a caller's time the clock is asked: records without a time age too.
func TestRollWithoutAnyTime(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{SegmentAge: time.Nanosecond})
	b := timed(t, record.NoTimestamp)
	created := time.Now()
	_, err := l.Append(t.Context(), b, AppendOptions{Trusted: true})
	require.NoError(t, err)
	for time.Since(created) < 3*time.Millisecond { // the segment's age counts in whole milliseconds
	}
	_, err = l.Append(t.Context(), b, AppendOptions{Trusted: true})
	require.NoError(t, err)
	require.Len(t, l.Segments(), 2)
}

func TestJitter(t *testing.T) {
	cfg := &Config{SegmentAge: time.Hour, SegmentJitter: 2 * time.Hour}
	seen := map[time.Duration]bool{}
	for range 50 {
		j := newJitter(cfg)
		require.GreaterOrEqual(t, j, time.Duration(0))
		require.Less(t, j, time.Hour)
		seen[j] = true
	}
	require.Greater(t, len(seen), 10)
	require.Zero(t, newJitter(&Config{}))
}
