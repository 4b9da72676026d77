package compress

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"testing"

	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLZ4HeaderIsKafkas(t *testing.T) {
	out, err := Encode(nil, []byte("x"), LZ4, DefaultLevel)
	require.NoError(t, err)
	assert.Equal(t, "04224d18604082"+"01000080"+"78"+"00000000", hex.EncodeToString(out))
	assert.Equal(t, byte(0x82), byte(xxh32([]byte{0x60, 0x40})>>8))
}

func TestXXH32(t *testing.T) {
	// The values of the reference implementation, seed 0.
	assert.Equal(t, uint32(0x02cc5d05), xxh32(nil))
	assert.Equal(t, uint32(0x550d7456), xxh32([]byte("a")))
	assert.Equal(t, uint32(0x32d153ff), xxh32([]byte("abc")))
	assert.Equal(t, uint32(0xe2293b2f), xxh32([]byte("Nobody inspects the spammish repetition")))
}

func TestLZ4ReadByTheLibrary(t *testing.T) {
	for name, in := range inputs() {
		for _, level := range []int{DefaultLevel, 1, 9} {
			out, err := Encode(nil, in, LZ4, level)
			require.NoError(t, err)
			r := lz4.NewReader(bytes.NewReader(out))
			require.NoError(t, r.Apply(lz4.ConcurrencyOption(1)))
			got, err := io.ReadAll(r)
			require.NoError(t, err, name)
			assert.True(t, bytes.Equal(in, got), name)
		}
	}
}

// TestLZ4FramesOfOthers decodes every kind of frame that clients write.
func TestLZ4FramesOfOthers(t *testing.T) {
	in := append(text(150_000), noise(150_000)...)
	for _, block := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block1Mb, lz4.Block4Mb} {
		for flags := range 8 {
			var out bytes.Buffer
			w := lz4.NewWriter(&out)
			options := []lz4.Option{
				lz4.ConcurrencyOption(1), lz4.BlockSizeOption(block),
				lz4.ChecksumOption(flags&1 != 0), lz4.BlockChecksumOption(flags&2 != 0),
			}
			if flags&4 != 0 {
				options = append(options, lz4.SizeOption(uint64(len(in))))
			}
			require.NoError(t, w.Apply(options...))
			_, err := w.Write(in)
			require.NoError(t, err)
			require.NoError(t, w.Close())
			got, err := Decode(nil, out.Bytes(), LZ4, len(in))
			require.NoError(t, err)
			assert.True(t, bytes.Equal(in, got))
			if flags&3 != 0 {
				p := out.Bytes()
				p[len(p)-9] ^= 1 // in a checksum, or in data that one covers
				_, err = Decode(nil, p, LZ4, len(in))
				assert.Error(t, err)
			}
		}
	}
}

func TestLZ4Malformed(t *testing.T) {
	good, err := Encode(nil, text(1000), LZ4, DefaultLevel)
	require.NoError(t, err)
	// header gives a frame with these two descriptor bytes and a right checksum.
	header := func(flg, bd byte) []byte {
		p := []byte{0x04, 0x22, 0x4d, 0x18, flg, bd}
		return append(p, byte(xxh32(p[4:])>>8))
	}
	end := []byte{0, 0, 0, 0}
	blocks := good[lz4HeaderSize:]
	tests := map[string][]byte{
		"other magic":           append([]byte{0x03}, good[1:]...),
		"legacy magic":          append([]byte{0x02, 0x21, 0x4c, 0x18}, good[4:]...),
		"skippable magic":       {0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0},
		"version 0":             append(header(0x20, 0x40), end...),
		"version 2":             append(header(0xa0, 0x40), end...),
		"linked blocks":         append(header(0x40, 0x40), blocks...),
		"reserved flag":         append(header(0x62, 0x40), blocks...),
		"dictionary":            append(header(0x61, 0x40), blocks...),
		"reserved high in BD":   append(header(0x60, 0xc0), blocks...),
		"reserved low in BD":    append(header(0x60, 0x41), blocks...),
		"block size 3":          append(header(0x60, 0x30), blocks...),
		"bad header checksum":   append([]byte(lz4Header[:6]+"\x83"), blocks...),
		"content size cut":      {0x04, 0x22, 0x4d, 0x18, 0x68, 0x40, 1, 2},
		"block above 64 KiB":    append(binary.LittleEndian.AppendUint32([]byte(lz4Header), lz4Block+1), make([]byte, lz4Block+5)...),
		"no end mark":           good[:len(good)-4],
		"bytes after the end":   append(bytes.Clone(good), 0),
		"no block checksum":     append(header(0x70, 0x40), blocks...),
		"no content checksum":   append(header(0x64, 0x40), blocks...),
		"block is not lz4":      append(append([]byte(lz4Header), 2, 0, 0, 0, 0xff, 0xff), end...),
		"match before the data": append(append([]byte(lz4Header), 6, 0, 0, 0, 0x14, 'a', 0xff, 0x00, 0x10, 'b'), end...),
	}
	for name, src := range tests {
		_, err := Decode(nil, src, LZ4, 1<<20)
		assert.ErrorIs(t, err, ErrCorrupt, name)
	}
}
