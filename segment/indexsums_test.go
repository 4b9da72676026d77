package segment

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// A time index entry that a power cut left one bit off is still in order: only the
// sums that were kept beside the durable watermark tell.
func TestRecoverTrustsIndexesBySumsOnly(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("d"))
	cfg := &Config{IndexInterval: 200}
	s, err := Create(fs, "d", 0, cfg)
	require.NoError(t, err)
	for next := int64(0); next < 200; {
		b := batchOf(t, next, 5, 100, 0)
		require.NoError(t, s.Append(b))
		next = b.NextOffset()
	}
	require.NoError(t, s.Sync())
	require.NoError(t, s.FlushIndex())
	sums := s.IndexSums()
	require.NotNil(t, sums)
	next, size := s.Tip()
	times := filepath.Join("d", FileName(0, TimeIndexSuffix))
	want, err := vfs.ReadFile(fs, times, -1)
	require.NoError(t, err)
	require.EqualValues(t, len(want), sums.TimesLen)
	require.NoError(t, s.Close())

	f, err := fs.Open(times)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{want[12+7] + 1}, 12+7) // the second entry's timestamp, one too large
	require.NoError(t, err)
	require.NoError(t, f.Close())

	opt := RecoverOptions{From: Place{next, size}, Durable: next, Indexes: sums}
	s, done, err := Recover(fs, "d", 0, cfg, opt)
	require.NoError(t, err)
	require.Empty(t, done.Damage)
	require.Zero(t, done.Scanned, "nothing lies behind the durable watermark")
	for ts := int64(1000); ts < 1200; ts++ {
		offset, _, ok, err := s.FindTime(ts, 0, 0)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, ts-1000, offset)
	}
	require.NoError(t, s.Close())
	got, err := vfs.ReadFile(fs, times, -1)
	require.NoError(t, err)
	require.Equal(t, want, got, "the index was made again")

	s, _, err = Recover(fs, "d", 0, cfg, opt)
	require.NoError(t, err)
	require.Equal(t, sums, s.IndexSums())
	require.NoError(t, s.SyncIndex())
	require.NoError(t, s.Close())
}
