package topic

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/quirelog/quire/topic/internal/catalog"
)

// maxNameLength is Kafka's limit: a topic's name, a dash and a partition number must fit a directory name.
const maxNameLength = 249

// CheckName reports whether name can be a topic's: 1 to 249 characters of [A-Za-z0-9._-], not "." or "..",
// as Apache Kafka rules. The error matches ErrInvalid.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: topic name is empty", ErrInvalid)
	case name == "." || name == "..":
		return fmt.Errorf("%w: topic name %q is a directory", ErrInvalid, name)
	case len(name) > maxNameLength:
		return fmt.Errorf("%w: topic name %q has %d bytes, at most %d are allowed", ErrInvalid, clip(name), len(name), maxNameLength)
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return fmt.Errorf("%w: topic name %q: only letters, digits, '.', '_' and '-' are allowed", ErrInvalid, clip(name))
		}
	}
	return nil
}

func nameByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}

// foldName maps names that Kafka considers equal for its metrics onto each other. Two topics of one engine never share a folded name.
func foldName(name string) string { return catalog.Fold(name) }

// fold is foldName, and on a disk that takes names for equal that differ in case only, so is this.
func (e *Engine) fold(name string) string {
	if e.foldsCase {
		name = strings.ToLower(name)
	}
	return foldName(name)
}

// reserved tells that Windows takes the names of a topic's directories for a device's, whatever follows the first dot.
func reserved(name string) bool {
	base, _, dotted := strings.Cut(strings.ToLower(name), ".")
	if !dotted {
		return false
	}
	if len(base) == 4 && (base[:3] == "com" || base[:3] == "lpt") {
		return base[3] >= '0' && base[3] <= '9'
	}
	return base == "con" || base == "prn" || base == "aux" || base == "nul"
}

// taken is what is said of a name whose fold another topic has.
func (e *Engine) taken(name, other string) error {
	return &NameTakenError{Topic: name, Other: other, Case: foldName(name) != foldName(other)}
}

// isInternal tells the topics an engine keeps for itself, hidden from [Engine.Topics] by default. The names
// that begin with two underscores are Kafka's custom for them.
func isInternal(name string) bool { return strings.HasPrefix(name, "__") }

// dirName is the name of a partition's directory: topic, dash, number.
func dirName(topic string, partition int32) string {
	return topic + "-" + strconv.FormatInt(int64(partition), 10)
}

// parseDirName reads a partition directory's name; the number is the text after the last dash. Only the
// exact form that dirName writes is accepted: anything else is none of ours and is left alone.
func parseDirName(base string) (TopicPartition, bool) {
	i := strings.LastIndexByte(base, '-')
	if i <= 0 {
		return TopicPartition{}, false
	}
	n, err := parseDecimal(base[i+1:], 31)
	if err != nil || CheckName(base[:i]) != nil {
		return TopicPartition{}, false
	}
	return TopicPartition{Topic: base[:i], Partition: int32(n)}, true
}

const deletedSuffix = "-delete"

// deletedDirName is what a partition's directory is called once its topic is deleted:
// "<topic>-<partition>.<32 hex digits>-delete", the topic cut so that the name fits 255 bytes.
func deletedDirName(topic string, partition int32, id ID) string {
	tail := "-" + strconv.FormatInt(int64(partition), 10) + "." + hexID(id) + deletedSuffix
	if most := 255 - len(tail); len(topic) > most {
		topic = topic[:most]
	}
	return topic + tail
}

// parseDeletedDirName tells whether base is a name that deletedDirName writes, and for which topic id.
func parseDeletedDirName(base string) (ID, bool) {
	rest, ok := strings.CutSuffix(base, deletedSuffix)
	if !ok {
		return ID{}, false
	}
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return ID{}, false
	}
	if _, ok := parseDirName(rest[:dot]); !ok {
		return ID{}, false
	}
	return parseHexID(rest[dot+1:])
}
