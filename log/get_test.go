package log

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

func TestGetInGapsAndOutside(t *testing.T) {
	l, _, err := Open(vfs.NewMem(), "/p-0", &Config{}, OpenState{})
	require.NoError(t, err)
	first, later := batchOf(t, "a", "b"), batchOf(t, "c")
	first.SetBaseOffset(5)
	later.SetBaseOffset(9)
	require.NoError(t, l.AppendAt(t.Context(), first))
	require.NoError(t, l.AppendAt(t.Context(), later))

	var f Finder
	for offset, want := range map[int64]string{5: "a", 6: "b", 9: "c"} {
		r, err := l.Get(&f, offset, High)
		require.NoError(t, err)
		require.Equal(t, want, string(r.Value))
	}
	for _, offset := range []int64{0, 7, 8} {
		_, err := l.Get(&f, offset, High)
		require.ErrorIs(t, err, ErrNoRecord, "offset %d", offset)
	}
	for _, offset := range []int64{-1, 10, 1 << 62} {
		_, err := l.Get(&f, offset, High)
		var outside *RangeError
		require.ErrorAs(t, err, &outside, "offset %d", offset)
	}
	require.NoError(t, l.Close())
	_, err = l.Get(&f, 5, High)
	require.ErrorIs(t, err, ErrClosed)
}
