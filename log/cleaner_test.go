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
