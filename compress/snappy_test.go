package compress

import (
	"bytes"
	"encoding/binary"
	"testing"

	golang "github.com/golang/snappy"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// decodeByOthers takes xerial framing apart with golang/snappy.
func decodeByOthers(t *testing.T, src []byte) []byte {
	t.Helper()
	require.Equal(t, []byte(xerialMagic+xerialVersions), src[:xerialHeaderSize])
	src = src[xerialHeaderSize:]
	var out []byte
	for len(src) > 0 {
		n := binary.BigEndian.Uint32(src)
		block, err := golang.Decode(nil, src[4:4+n])
		require.NoError(t, err)
		require.LessOrEqual(t, len(block), 32<<10)
		out = append(out, block...)
		src = src[4+n:]
	}
	return out
}

func TestSnappyAgreesWithOthers(t *testing.T) {
	for name, in := range inputs() {
		ours, err := Encode(nil, in, Snappy, DefaultLevel)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(in, decodeByOthers(t, ours)), name)
		theirs, err := xerial.Decode(ours)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(in, theirs), name)

		for _, src := range [][]byte{xerial.Encode(nil, in), golang.Encode(nil, in)} {
			got, err := Decode(nil, src, Snappy, len(in))
			require.NoError(t, err, name)
			assert.True(t, bytes.Equal(in, got), name)
		}
	}
}

func TestSnappyMalformed(t *testing.T) {
	head := []byte(xerialMagic + xerialVersions)
	block := golang.Encode(nil, []byte("hello"))
	framed := func(n uint32, p []byte) []byte {
		return append(binary.BigEndian.AppendUint32(bytes.Clone(head), n), p...)
	}
	tests := map[string][]byte{
		"magic only":             head[:8],
		"needs version 2":        append(bytes.Clone(head[:15]), 2),
		"block length cut":       append(bytes.Clone(head), 0, 0, 0),
		"block longer":           framed(uint32(len(block)+1), block),
		"negative block length":  framed(0xffffffff, block),
		"empty block":            framed(0, nil),
		"block cut":              framed(uint32(len(block)-1), block[:len(block)-1]),
		"garbage behind":         append(framed(uint32(len(block)), block), 1),
		"bare, copy from before": {5, 0x01, 0xff},
		"bare, s2 repeat":        {10, 0x00, 'a', 0x15, 0x00},
		"bare, too short":        {5, 0x00, 'a'},
	}
	for name, src := range tests {
		_, err := Decode(nil, src, Snappy, 1<<20)
		assert.ErrorIs(t, err, ErrCorrupt, name)
	}
}

func BenchmarkSnappyGolang(b *testing.B) {
	in := text(100_000)
	src := golang.Encode(nil, in)
	dst := make([]byte, len(in))
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		_, _ = golang.Decode(dst, src)
	}
}
