package compress

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGzipAgreesWithTheStandardLibrary(t *testing.T) {
	for name, in := range inputs() {
		ours, err := Encode(nil, in, Gzip, DefaultLevel)
		require.NoError(t, err)
		r, err := gzip.NewReader(bytes.NewReader(ours))
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(in, got), name)

		var theirs bytes.Buffer
		w := gzip.NewWriter(&theirs)
		w.Name = "a file" // an optional field of the header
		_, err = w.Write(in)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		got, err = Decode(nil, theirs.Bytes(), Gzip, len(in))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(in, got), name)
	}
}

func TestGzipMembersInARow(t *testing.T) {
	one, err := Encode(nil, []byte("one "), Gzip, DefaultLevel)
	require.NoError(t, err)
	both, err := Encode(one, []byte("two"), Gzip, 9)
	require.NoError(t, err)
	got, err := Decode(nil, both, Gzip, 7)
	require.NoError(t, err)
	assert.Equal(t, "one two", string(got))
	_, err = Decode(nil, both, Gzip, 6)
	assert.ErrorIs(t, err, ErrTooLarge)
}

func TestGzipMalformed(t *testing.T) {
	good, err := Encode(nil, text(1000), Gzip, DefaultLevel)
	require.NoError(t, err)
	change := func(at int, v byte) []byte {
		p := bytes.Clone(good)
		p[at] ^= v
		return p
	}
	tests := map[string][]byte{
		"magic":         change(0, 1),
		"method":        change(2, 1),
		"checksum":      change(len(good)-8, 1),
		"length":        change(len(good)-4, 1),
		"data":          change(40, 0xff),
		"garbage after": append(bytes.Clone(good), "xyz"...),
	}
	for name, src := range tests {
		_, err := Decode(nil, src, Gzip, 1<<20)
		assert.ErrorIs(t, err, ErrCorrupt, name)
	}
}
