package log

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// compactedDisk holds a log that was compacted, closed, into several segments with gaps in them and between them.
func compactedDisk(t testing.TB, cfg *Config) map[string]string {
	t.Helper()
	disk := vfs.NewMem()
	l := openLog(t, disk, cfg)
	for i := range 60 { // of every three keys one is written again and again
		putKV(t, l, fmt.Sprintf("once%d=%s", i, strings.Repeat("v", 20)), fmt.Sprintf("often%d=%d", i%2, i))
		if i%6 == 5 {
			putKV(t, l, "often0=x", "often1=y", "often0=x", "often1=y") // the end of each segment goes
			roll(t, l)
		}
	}
	for range 2 {
		compactAt(t, l, cleanTime)
	}
	require.NoError(t, l.Close())
	return snapshotOf(t, disk)
}

// A segment whose files are all gone is told by Verify and by reads with its exact offsets, also where compaction has made gaps of its own;
// those are no holes.
func TestMissingSegmentAmongCompactedOnes(t *testing.T) {
	cfg := &Config{Compacted: true, SegmentBytes: 700, IndexInterval: 100, PreWrite: -1}
	files := compactedDisk(t, cfg)
	disk := copyOf(t, files)
	l := openLog(t, disk, cfg)
	segments := l.Segments()
	require.Greater(t, len(segments), 4)
	gaps := 0
	for i, s := range segments[1:] {
		if segments[i].Next < s.Base {
			gaps++
		}
	}
	require.Greater(t, gaps, 2, "%v", segments)
	want, err := keyed(l, High)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	v, err := Verify(disk, testDir, cfg, VerifyOptions{Gaps: true})
	require.NoError(t, err)
	require.Empty(t, v.Faults)

	for i := 1; i < len(segments)-1; i++ {
		hint := fmt.Sprintf("segment %d of %v", i, segments)
		disk := copyOf(t, files)
		gone := segments[i].Base
		for name := range files {
			if strings.HasPrefix(name, fmt.Sprintf("%020d.", gone)) && !strings.HasSuffix(name, ".snapshot") {
				require.NoError(t, disk.Remove(testDir+"/"+name))
			}
		}
		v, err := Verify(disk, testDir, cfg, VerifyOptions{Gaps: true})
		require.NoError(t, err)
		require.Len(t, v.Faults, 1, hint)
		require.Equal(t, FaultMissing, v.Faults[0].Kind)
		require.Equal(t, [2]int64{gone, segments[i+1].Base}, [2]int64{v.Faults[0].FirstOffset, v.Faults[0].NextOffset}, hint)

		l := openLog(t, disk, cfg)
		list, err := keyed(l, High)
		var damage *CorruptionError
		require.True(t, errors.As(err, &damage), hint)
		require.Equal(t, [2]int64{gone, segments[i+1].Base}, [2]int64{damage.FirstOffset, damage.NextOffset}, hint)
		require.Equal(t, want[:len(list)], list)
		require.NoError(t, l.Configure(&Config{Compacted: true})) // all would fit into one segment
		_, err = l.Compact(t.Context(), CompactOptions{Now: cleanTime})
		require.NoError(t, err)
		require.NoError(t, l.Close())
		v, err = Verify(disk, testDir, cfg, VerifyOptions{Gaps: true})
		require.NoError(t, err)
		require.Len(t, v.Faults, 1, "a compaction does not hide it: "+hint)

		_, err = Repair(disk, testDir, cfg, RepairOptions{Gaps: true})
		require.ErrorIs(t, err, ErrDataLoss, hint)
		_, err = Repair(disk, testDir, cfg, RepairOptions{Gaps: true, AcceptLoss: true})
		require.NoError(t, err, hint)
		v, err = Verify(disk, testDir, cfg, VerifyOptions{Gaps: true})
		require.NoError(t, err)
		require.Empty(t, v.Faults, "a loss that was accepted is told once: "+hint)
		l = openLog(t, disk, cfg)
		list, err = keyed(l, High)
		require.NoError(t, err, hint)
		require.Less(t, len(list), len(want))
		require.NoError(t, l.Close())
	}
}
