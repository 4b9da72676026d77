package log

// Identity of a topic, and the file that ties a partition's directory to it:
// Apache Kafka's partition.metadata, byte for byte:
//
//	version: 0\n
//	topic_id: <22 characters>
//
// The id is a UUID in Kafka's form: its 16 bytes in URL-safe base64 without
// padding. Kafka writes no end of line after it; readers take one.

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/quirelog/quire/log/vfs"
)

// PartitionMetadataFile is the file's name in a partition's directory.
const PartitionMetadataFile = "partition.metadata"

// maxMetadataBytes is more than any such file has.
const maxMetadataBytes = 4096

// TopicID is the identity of a topic, the 16 bytes of a UUID. A topic that was
// deleted and created again has another. The zero value means none.
type TopicID [16]byte

// NewTopicID draws a random id (UUID version 4) from r, usually crypto/rand's
// Reader. As Kafka does it avoids ids that begin with a dash, which would look
// like an option on a command line.
func NewTopicID(r io.Reader) (TopicID, error) {
	for {
		var id TopicID
		if _, err := io.ReadFull(r, id[:]); err != nil {
			return TopicID{}, fmt.Errorf("log: new topic id: %w", err)
		}
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if id.String()[0] != '-' {
			return id, nil
		}
	}
}

// IsZero reports whether the id is none.
func (id TopicID) IsZero() bool { return id == TopicID{} }

// String returns Kafka's form of the id: 22 characters of URL-safe base64.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseTopicID is the inverse of String. Only the form that String returns is accepted.
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	if len(s) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return TopicID{}, fmt.Errorf("log: topic id of %d characters, want 22", len(s))
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != len(id) {
		return TopicID{}, fmt.Errorf("log: topic id %q is not URL-safe base64", s)
	}
	copy(id[:], raw)
	return id, nil
}

// MarshalText returns String's form.
func (id TopicID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText accepts String's form.
func (id *TopicID) UnmarshalText(text []byte) error {
	parsed, err := ParseTopicID(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}

// EncodePartitionMetadata returns the file's bytes.
func EncodePartitionMetadata(id TopicID) []byte {
	return []byte("version: 0\ntopic_id: " + id.String())
}

// DecodePartitionMetadata reads such bytes. The error is a [*CheckpointError];
// an id of zeros is one.
func DecodePartitionMetadata(data []byte) (TopicID, error) {
	first, rest, _ := nextLine(data)
	version, err := metadataField(first, "version", 1)
	if err != nil {
		return TopicID{}, err
	}
	if err := checkVersion(version, 1); err != nil {
		return TopicID{}, err
	}
	second, rest, _ := nextLine(rest)
	text, err := metadataField(second, "topic_id", 2)
	if err != nil {
		return TopicID{}, err
	}
	id, err := ParseTopicID(string(text))
	switch {
	case err != nil:
		return TopicID{}, &CheckpointError{Line: 2, Reason: "not a topic id"}
	case id.IsZero():
		return TopicID{}, &CheckpointError{Line: 2, Reason: "topic id of zeros"}
	case len(rest) > 0:
		return TopicID{}, &CheckpointError{Line: 3, Reason: "unexpected bytes"}
	}
	return id, nil
}

// metadataField returns the value of a "name: value" line.
func metadataField(line []byte, name string, number int) ([]byte, error) {
	key, value, found := bytes.Cut(line, []byte{':'})
	trimmed := bytes.TrimLeft(value, " \t")
	if !found || string(key) != name || len(trimmed) == len(value) {
		return nil, &CheckpointError{Line: number, Reason: "want " + name + ": and a value"}
	}
	return trimmed, nil
}

// ReadPartitionMetadata reads the file in a partition's directory. A missing one
// gives an error that matches fs.ErrNotExist.
func ReadPartitionMetadata(fsys vfs.FS, name string) (TopicID, error) {
	data, err := vfs.ReadFile(fsys, name, maxMetadataBytes)
	if err != nil {
		return TopicID{}, err
	}
	id, err := DecodePartitionMetadata(data)
	return id, atPath(err, name)
}

// WritePartitionMetadata replaces the file durably and atomically.
func WritePartitionMetadata(fsys vfs.FS, name string, id TopicID) error {
	return vfs.WriteFile(fsys, name, EncodePartitionMetadata(id))
}
