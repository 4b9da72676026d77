package log

import (
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOffsetCheckpointFile(t *testing.T) {
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll("d"))
	path := filepath.Join("d", HighWatermarkFile)
	_, err := ReadOffsetCheckpoint(disk, path)
	assert.ErrorIs(t, err, fs.ErrNotExist)

	c := OffsetCheckpoint{{"orders", 10}: 7, {"orders", 2}: 0, {"a.b_c-D", 0}: math.MaxInt64}
	require.NoError(t, WriteOffsetCheckpoint(disk, path, c))
	data, err := vfs.ReadFile(disk, path, 1000)
	require.NoError(t, err)
	assert.Equal(t, "0\n3\na.b_c-D 0 9223372036854775807\norders 2 0\norders 10 7\n", string(data))
	back, err := ReadOffsetCheckpoint(disk, path)
	require.NoError(t, err)
	assert.Equal(t, c, back)
	assert.Equal(t, "orders-10", TopicPartition{"orders", 10}.String())

	require.NoError(t, WriteOffsetCheckpoint(disk, path, nil))
	back, err = ReadOffsetCheckpoint(disk, path)
	require.NoError(t, err)
	assert.Empty(t, back)
	require.NoError(t, vfs.WriteFile(disk, path, []byte("0\n1\norders x 7\n")))
	_, err = ReadOffsetCheckpoint(disk, path)
	assert.EqualError(t, err, "log: checkpoint "+path+": line 3: not a partition number")
	big, err := disk.Create(filepath.Join("d", "big"))
	require.NoError(t, err)
	require.NoError(t, big.Truncate(maxCheckpointBytes+1))
	require.NoError(t, big.Close())
	_, err = ReadOffsetCheckpoint(disk, filepath.Join("d", "big"))
	assert.ErrorIs(t, err, vfs.ErrTooLarge)
}

func TestOffsetCheckpointNotWritten(t *testing.T) {
	for _, c := range []OffsetCheckpoint{
		{{"", 0}: 1}, {{".", 0}: 1}, {{"..", 0}: 1}, {{"a b", 0}: 1}, {{"a\n", 0}: 1}, {{"ä", 0}: 1},
		{{strings.Repeat("x", 250), 0}: 1}, {{"a", -1}: 1}, {{"a", 0}: -1},
	} {
		assert.Error(t, WriteOffsetCheckpoint(vfs.NewMem(), "x", c), "%v", c)
	}
}

func TestDecodeOffsetCheckpoint(t *testing.T) {
	for text, want := range map[string]OffsetCheckpoint{
		"":                         {},
		"0\n0\n":                   {},
		"0\r\n1\r\na 0 5\r\n":      {{"a", 0}: 5},
		"0\n2\na 1 5\na   2\t6 \n": {{"a", 1}: 5, {"a", 2}: 6},
	} {
		got, err := DecodeOffsetCheckpoint([]byte(text))
		assert.NoError(t, err, "%q", text)
		assert.Equal(t, want, got, "%q", text)
	}
	for text, reason := range map[string]string{
		"0\n1\n.. 0 1\n":  "line 3: not a topic name",
		"0\n1\na/b 0 1\n": "line 3: not a topic name",
		"0\n1\n" + strings.Repeat("x", 250) + " 0 1\n": "line 3: not a topic name",
		"0\n1\na -1 1\n":                      "line 3: not a partition number",
		"0\n1\na 2147483648 1\n":              "line 3: not a partition number",
		"0\n1\na 0 -1\n":                      "line 3: not an offset",
		"0\n1\na 0 9223372036854775808\n":     "line 3: not an offset",
		"0\n1\na 0 99999999999999999999999\n": "line 3: not an offset",
		"0\n1\na 0\n":                         "line 3: 2 fields, want 3",
		"0\n1\na 0 1 2\n":                     "line 3: 4 fields, want 3",
		"0\n1\n\n":                            "line 3: 0 fields, want 3",
		"0\n2\na 0 1\na 0 1\n":                "line 4: partition occurs twice",
		"0\n2\na 0 1\n":                       "line 2: 2 entries announced, 1 found",
		"0\n1\na 0 1\nb 0 1\n":                "line 2: 1 entries announced, 2 found",
		"0\n2147483647\n":                     "line 2: 2147483647 entries announced, 0 found",
		"0\nx\n":                              "line 2: not a number of entries",
		"0\n1\na 0 1":                         "line 3: cut off",
		strings.Repeat("\x00", 100):           "line 1: not a version",
	} {
		got, err := DecodeOffsetCheckpoint([]byte(text))
		assert.EqualError(t, err, "log: checkpoint: "+reason, "%q", text)
		assert.ErrorIs(t, err, ErrCorrupt)
		assert.Nil(t, got)
	}
	_, err := DecodeOffsetCheckpoint([]byte("7\nwhatever"))
	assert.ErrorIs(t, err, ErrNewerFormat)
}

func FuzzOffsetCheckpoint(f *testing.F) {
	f.Add([]byte("0\n2\na 1 5\nb-c 2 6\n"))
	f.Add([]byte("0\n2147483647\n"))
	f.Add([]byte("0\r\n1\r\na 0 5\r\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeOffsetCheckpoint(data)
		if err != nil {
			return
		}
		written, err := EncodeOffsetCheckpoint(c)
		require.NoError(t, err, "what is read can be written")
		again, err := DecodeOffsetCheckpoint(written)
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
