package topic

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/quirelog/quire/log"
)

// ID identifies a topic for good: a topic that is deleted and created again under its name has a new one. It
// is a random version 4 UUID; String is Kafka's form of 22 characters, as in a partition.metadata file.
type ID = log.TopicID

// ParseID reads the form of an ID's String. The error matches ErrInvalid.
func ParseID(s string) (ID, error) {
	id, err := log.ParseTopicID(s)
	if err != nil {
		return ID{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return id, nil
}

// newID draws an id.
func newID() (ID, error) { return log.NewTopicID(rand.Reader) }

// hexID is the form of 32 lower-case hexadecimal digits, as in the name of a deleted partition's directory.
func hexID(id ID) string { return hex.EncodeToString(id[:]) }

func parseHexID(s string) (ID, bool) {
	var id ID
	if len(s) != 2*len(id) || strings.ToLower(s) != s {
		return ID{}, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil
}
