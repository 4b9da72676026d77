package log

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// A disk that is full at any rename of a swap leaves no segment beside the one that took its place.
func TestSwapOfSeveralSegmentsWithoutRoomForNames(t *testing.T) {
	cfg := &Config{Compacted: true, SegmentBytes: 400}
	failed := true
	for k := 1; failed; k++ {
		disk := vfs.NewFault(vfs.NewMem())
		l := openLog(t, disk, cfg)
		for i := range 4 { // some of each segment stays until the second pass
			putKV(t, l, "a=v", fmt.Sprintf("%d=v", i))
			roll(t, l)
		}
		compactAt(t, l, time.Now())
		putKV(t, l, "a=v", "0=v", "1=v", "2=v")
		roll(t, l)
		before := disk.Count(vfs.OpRename)
		disk.Add(vfs.Rule{Op: vfs.OpRename, K: k, Err: syscall.ENOSPC})
		_, _ = l.Compact(t.Context(), CompactOptions{Now: time.Now(), Memory: 1 << 20})
		failed = disk.Count(vfs.OpRename)-before >= int64(k)
		disk.Clear()
		_ = l.Close()
		for range 2 {
			l, _ = reopen(t, disk, cfg)
			list, err := keyed(l, High)
			require.NoError(t, err, "rename %d", k)
			require.Contains(t, list, "8:a=v", "rename %d", k)
			require.NoError(t, l.Close())
			require.Empty(t, verified(t, disk, cfg).Faults, "rename %d", k)
		}
		require.Less(t, k, 100)
	}
}
