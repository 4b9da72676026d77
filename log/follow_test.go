package log

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

func TestFollowerIsServedFromMemoryAndMemoryComesBack(t *testing.T) {
	for _, level := range []Durability{Sync, Interval, OS} {
		synctest.Test(t, func(t *testing.T) {
			o := &owner{start: time.Now(), stop: make(chan struct{})}
			disk, reads := counted(vfs.NewMem(), vfs.OpRead, ".log")
			l, _, err := Open(disk, testDir, &Config{Durability: level}, OpenState{Hooks: o.hooks()})
			require.NoError(t, err)
			var run []byte
			place := At(0)
			for i := range 200 {
				b := batchOf(t, itoa(i))
				a, err := l.Append(t.Context(), b, AppendOptions{})
				require.NoError(t, err)
				run, place, err = l.Read(run, place, ReadOptions{Check: true})
				require.NoError(t, err)
				require.Equal(t, []byte(b), run)
				require.Equal(t, a.Last+1, place.Offset)
			}
			require.EqualValues(t, 1, reads.Load(), "the first read finds that somebody follows")
			require.True(t, l.activeSegment().Followed())
			time.Sleep(time.Minute)
			synctest.Wait()
			require.False(t, l.activeSegment().Followed(), "nobody read for a while")
			require.LessOrEqual(t, len(o.ticks), 4, "and the log wants nothing more")
			close(o.stop)
			require.NoError(t, l.Close())
		})
	}
}

// TestFollowerSeesNothingAboveHigh: what is in memory is not visible before the log says so.
func TestFollowerSeesNothingAboveHigh(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{})
	place := At(0)
	for i := range 10 {
		put(t, l, itoa(i))
		run, next, err := l.Read(nil, place, ReadOptions{})
		require.NoError(t, err)
		require.NotEmpty(t, run)
		place = next
	}
	require.True(t, l.activeSegment().Followed())
	_, err := l.Append(t.Context(), batchOf(t, "not yet on disk"), AppendOptions{NoWait: true})
	require.NoError(t, err)
	run, _, err := l.Read(nil, place, ReadOptions{})
	require.NoError(t, err)
	require.Empty(t, run)
	require.NoError(t, l.Commit(t.Context(), l.End()))
	run, _, err = l.Read(nil, place, ReadOptions{Check: true})
	require.NoError(t, err)
	require.NotEmpty(t, run)
	require.NoError(t, l.Truncate(l.End()), "nothing to cut")
}

// TestFollowerAcrossTruncationAndRoll: offsets that are written again have the bytes of the second time.
func TestFollowerAcrossTruncationAndRoll(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{Replicated: true, Durability: OS, SegmentBytes: 1000})
	var want []string
	for round := range 60 {
		for i := range 3 {
			value := itoa(100*round + i)
			put(t, l, value)
			want = append(want, itoa(len(want))+":"+value)
			got, err := contents(l, End)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		require.NoError(t, l.Truncate(l.End()-1))
		want = want[:len(want)-1]
	}
}
