package log

import (
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// Waiters of a round are counted: it ends with the last that leaves, which gives the lead back if it was handed to the round.
func TestLeavingARound(t *testing.T) {
	sy := syncer{running: true}
	r := sy.join()
	require.Same(t, r, sy.join(), "one round for all")
	sy.leave(r)
	require.Same(t, r, sy.next, "the other waits on")
	r.lead <- struct{}{}
	sy.leave(r)
	require.Nil(t, sy.next)
	require.False(t, sy.running)
}

// Offsets that were cut off and written again are not those whose committer waits.
func TestCommitOfWhatWasCutOff(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{Replicated: true})
	put(t, l, "a")
	put(t, l, "b")
	before := l.syncer.cuts()
	require.NoError(t, l.Truncate(1))
	put(t, l, "c")
	require.NoError(t, l.Commit(t.Context(), 2))
	err := l.commit(t.Context(), 2, Sync, before)
	require.ErrorIs(t, err, ErrUncertain)
	require.ErrorIs(t, err, ErrTruncated)
	require.NoError(t, l.commit(t.Context(), 1, Sync, before), "what the truncation kept is known")
	require.NoError(t, l.Truncate(1))
	require.ErrorIs(t, l.commit(t.Context(), 1, Sync, before), ErrTruncated, "of two only the last is known")
	before = l.syncer.cuts()
	require.NoError(t, l.TruncateFully(5))
	require.ErrorIs(t, l.commit(t.Context(), 1, Sync, before), ErrTruncated, "nothing is kept")
}

// A run is judged as a whole before any of it is written.
func TestAppendAtRefusesBatchesThatOverlap(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{Replicated: true})
	run := append(at(batchOf(t, "a", "b"), 0, 0), at(batchOf(t, "c"), 1, 0)...)
	require.ErrorIs(t, l.AppendAt(t.Context(), run), ErrInvalidRecord)
	require.Zero(t, l.End())
}

// The answer to a repeated batch is the first one's, with its time where the log gives the times.
func TestDuplicateKeepsItsTime(t *testing.T) {
	for kind, given := range map[record.TimestampType]bool{record.LogAppendTime: true, record.CreateTime: false} {
		l := openLog(t, vfs.NewMem(), &Config{Timestamps: kind})
		send := func() Appended {
			a, err := l.Append(t.Context(), sent{9, 0, 0, 2, 0, false}.batch(t), AppendOptions{})
			require.NoError(t, err)
			return a
		}
		first, again := send(), send()
		require.Equal(t, given, first.Timestamp >= 0)
		require.True(t, again.Duplicate)
		require.Equal(t, first.Timestamp, again.Timestamp)
	}
}
