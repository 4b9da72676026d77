package log

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// firstOnly lets the oldest segment go.
type firstOnly struct{}

func (firstOnly) Deletable(time.Time, []Facts) int { return 1 }

// A compaction that waits for its turn is not given up when an urgent retention stops it: it begins again.
func TestWaitingPassBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, vfs.NewMem(), &Config{Compacted: true, SegmentBytes: 4 << 20})
		large := "a=" + strings.Repeat("x", ioBytes)
		for range 3 {
			putKV(t, l, large, "b=2")
			roll(t, l)
		}
		putKV(t, l, "c=3")
		stands := true
		done := make(chan error)
		go func() {
			_, err := l.Compact(context.Background(), CompactOptions{Wait: true, Throttle: func(ctx context.Context, _ int) error {
				if !stands {
					return nil
				}
				stands = false
				<-ctx.Done()
				return context.Cause(ctx)
			}})
			done <- err
		}()
		synctest.Wait()
		removed, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Policy: firstOnly{}, Urgent: true})
		require.NoError(t, err)
		require.Equal(t, 1, removed.Segments)
		require.NoError(t, <-done)
		requireKeyed(t, l, "4:"+large, "5:b=2", "6:c=3")
		require.NoError(t, l.Close())
	})
}

// A checkpoint that cannot be the log's is none.
func TestCheckpointOutsideTheLogCountsForNothing(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{Compacted: true})
	for range 5 {
		put(t, l, "v")
	}
	_, err := l.DeleteRecords(2)
	require.NoError(t, err)
	for checkpoint, want := range map[int64]int64{1: 2, 2: 2, 4: 4, 5: 5, 6: 2} {
		require.Equal(t, want, l.dirtyFrom(checkpoint), "checkpoint %d", checkpoint)
	}
}

// A compacted log rolls in time for its compaction to be due.
func TestSegmentsOfACompactedLogRollByItsLag(t *testing.T) {
	cfg := Config{SegmentAge: 24 * time.Hour, MaxCompactionLag: time.Hour}
	require.Equal(t, 24*time.Hour, cfg.segmentAge())
	cfg.Compacted = true
	require.Equal(t, time.Hour, cfg.segmentAge())
}
