package log

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var someTopicID = TopicID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xfe, 0xff}

func TestTopicID(t *testing.T) {
	assert.Equal(t, "AAECAwQFBgcICQoLDA3-_w", someTopicID.String())
	id, err := ParseTopicID("AAECAwQFBgcICQoLDA3-_w")
	require.NoError(t, err)
	assert.Equal(t, someTopicID, id)
	assert.False(t, id.IsZero())
	assert.True(t, TopicID{}.IsZero())
	assert.Equal(t, "AAAAAAAAAAAAAAAAAAAAAA", TopicID{}.String())

	text, err := id.MarshalText()
	require.NoError(t, err)
	var back TopicID
	require.NoError(t, back.UnmarshalText(text))
	assert.Equal(t, id, back)
	assert.Error(t, back.UnmarshalText([]byte("x")))
	assert.Equal(t, id, back, "an error changes nothing")

	for _, s := range []string{
		"", "AAECAwQFBgcICQoLDA3-_", "AAECAwQFBgcICQoLDA3-_w=", "AAECAwQFBgcICQoLDA3-_w==",
		"AAECAwQFBgcICQoLDA3+/w", "AAECAwQFBgcICQoLDA3-_x", "AAECAwQFBgcICQoLDA3-\n_", " AAECAwQFBgcICQoLDA3-_",
	} {
		_, err := ParseTopicID(s)
		assert.Error(t, err, "%q", s)
	}
}

func TestNewTopicID(t *testing.T) {
	dash := bytes.Repeat([]byte{0xfb}, 16) // "-" is 62, the six highest bits of 0xfb
	id, err := NewTopicID(bytes.NewReader(append(dash, bytes.Repeat([]byte{7}, 16)...)))
	require.NoError(t, err)
	assert.Equal(t, TopicID{7, 7, 7, 7, 7, 7, 0x47, 7, 0x87, 7, 7, 7, 7, 7, 7, 7}, id)
	_, err = NewTopicID(bytes.NewReader(dash))
	assert.Error(t, err)
}

func TestPartitionMetadata(t *testing.T) {
	disk := vfs.NewMem()
	_, err := ReadPartitionMetadata(disk, PartitionMetadataFile)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, WritePartitionMetadata(disk, PartitionMetadataFile, someTopicID))
	data, err := vfs.ReadFile(disk, PartitionMetadataFile, 100)
	require.NoError(t, err)
	assert.Equal(t, "version: 0\ntopic_id: AAECAwQFBgcICQoLDA3-_w", string(data))
	id, err := ReadPartitionMetadata(disk, PartitionMetadataFile)
	require.NoError(t, err)
	assert.Equal(t, someTopicID, id)

	for _, text := range []string{"version: 0\ntopic_id: AAECAwQFBgcICQoLDA3-_w\n", "version:\t 0\r\ntopic_id:  AAECAwQFBgcICQoLDA3-_w\r\n"} {
		id, err := DecodePartitionMetadata([]byte(text))
		assert.NoError(t, err, "%q", text)
		assert.Equal(t, someTopicID, id)
	}
	for text, reason := range map[string]string{
		"":                            "line 1: want version: and a value",
		"version:0\n":                 "line 1: want version: and a value",
		"Version: 0\n":                "line 1: want version: and a value",
		"version: x\n":                "line 1: not a version",
		"version: 0 \n":               "line 1: not a version",
		"version: 0":                  "line 2: want topic_id: and a value",
		"version: 0\ntopic_id AAAA":   "line 2: want topic_id: and a value",
		"version: 0\ntopic_id: AAECA": "line 2: not a topic id",
		"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA":       "line 2: topic id of zeros",
		"version: 0\ntopic_id: AAECAwQFBgcICQoLDA3-_w\n\n":   "line 3: unexpected bytes",
		"version: 0\ntopic_id: AAECAwQFBgcICQoLDA3-_w\nx: 1": "line 3: unexpected bytes",
	} {
		_, err := DecodePartitionMetadata([]byte(text))
		assert.EqualError(t, err, "log: checkpoint: "+reason, "%q", text)
		assert.ErrorIs(t, err, ErrCorrupt)
	}
	_, err = DecodePartitionMetadata([]byte("version: 1\n"))
	assert.ErrorIs(t, err, ErrNewerFormat)
	require.NoError(t, vfs.WriteFile(disk, "x", make([]byte, 40)))
	_, err = ReadPartitionMetadata(disk, "x")
	var bad *CheckpointError
	require.True(t, errors.As(err, &bad))
	assert.Equal(t, "x", bad.Path)
	require.NoError(t, vfs.WriteFile(disk, "x", make([]byte, maxMetadataBytes+1)))
	_, err = ReadPartitionMetadata(disk, "x")
	assert.ErrorIs(t, err, vfs.ErrTooLarge)
}

func FuzzPartitionMetadata(f *testing.F) {
	f.Add(EncodePartitionMetadata(someTopicID))
	f.Add([]byte("version:\t 0\r\ntopic_id:  AAECAwQFBgcICQoLDA3-_w\r\n"))
	f.Add([]byte("version: 1\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := DecodePartitionMetadata(data)
		if err != nil {
			return
		}
		again, err := DecodePartitionMetadata(EncodePartitionMetadata(id))
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}
