package topic

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

func TestRedactTakesOneValue(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	p := partitionOf(t, openTopic(t, e, "people"), 0)
	header := Header{Key: "from", Value: []byte("web")}
	for _, v := range []string{"first", "a secret", "last"} {
		_, err := p.Append(t.Context(), Record{Key: []byte("k"), Value: []byte(v), Headers: []Header{header}})
		require.NoError(t, err)
	}
	require.NoError(t, p.Redact(t.Context(), 1, RedactOptions{Value: []byte("gone")}))
	for offset, want := range []string{"first", "gone", "last"} {
		r, err := p.Get(t.Context(), int64(offset))
		require.NoError(t, err)
		require.Equal(t, want, string(r.Value))
		require.Equal(t, []Header{header}, r.Headers)
	}
	require.NoError(t, p.Redact(t.Context(), 0, RedactOptions{DropHeaders: true}))
	r, err := p.Get(t.Context(), 0)
	require.NoError(t, err)
	require.Nil(t, r.Value)
	require.Empty(t, r.Headers)

	require.ErrorIs(t, p.Redact(t.Context(), 3, RedactOptions{}), ErrOffsetOutOfRange)
	require.ErrorIs(t, p.Redact(t.Context(), -1, RedactOptions{}), ErrOffsetOutOfRange)
	require.NoError(t, e.Close())
	require.ErrorIs(t, p.Redact(t.Context(), 1, RedactOptions{}), ErrClosed)
	names, err := disk.List(p.Dir())
	require.NoError(t, err)
	for _, name := range names {
		data, err := vfs.ReadFile(disk, filepath.Join(p.Dir(), name), 1<<20)
		require.NoError(t, err)
		require.False(t, bytes.Contains(data, []byte("secret")), name)
	}
}
