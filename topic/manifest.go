package topic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// manifestFormat is the newest format of the manifest that this code reads, and the one it writes.
const manifestFormat = 1

// maxManifest bounds what is read: more than a hundred thousand topics.
const maxManifest = 256 << 20

// ManifestFile is the name of the manifest in an engine's directory; the generation before lies beside it, with
// ".prev" behind the name.
const ManifestFile = "quire.manifest"

// Manifest is the truth about topics, their ids, numbers of partitions and settings. It is stored as one
// JSON object and a line with its CRC-32C; two generations are kept. It is exported for tools that look into a
// directory; an engine reads and writes its own.
type Manifest struct {
	Format     int    `json:"format"`     // 1
	Generation uint64 `json:"generation"` // one more with each change; the newest valid one counts
	// NextProducerID is the first producer id not handed out; ids are taken in blocks. 0: none was taken yet.
	NextProducerID int64           `json:"nextProducerId"`
	Topics         []ManifestTopic `json:"topics"`
}

// ManifestTopic is one topic of a [Manifest]. Topics are sorted by name. Settings has what was chosen, by Kafka's
// names; what is not in it has its default.
type ManifestTopic struct {
	Name       string            `json:"name"`
	ID         ID                `json:"id"`
	Partitions int               `json:"partitions"`
	State      ManifestState     `json:"state"`
	Settings   map[string]string `json:"settings,omitempty"`
}

// ManifestState tells how far a topic's creation or deletion has come.
type ManifestState string

const (
	// TopicCreating: the topic is to exist; its directories may be missing. Nobody has used it.
	TopicCreating ManifestState = "creating"
	// TopicReady: the topic exists with all its directories.
	TopicReady ManifestState = "ready"
	// TopicDeleting: the topic is gone; its directories may still be there.
	TopicDeleting ManifestState = "deleting"
)

// maxPartitions bounds a topic, so that damaged numbers cannot fill memory.
const maxPartitions = 1 << 20

// clone copies the manifest so that a change can fail without a trace.
func (m *Manifest) clone() *Manifest {
	c := *m
	c.Topics = slices.Clone(m.Topics)
	return &c
}

func (m *Manifest) find(name string) (int, bool) {
	return slices.BinarySearchFunc(m.Topics, name, func(e ManifestTopic, name string) int { return strings.Compare(e.Name, name) })
}

// put adds or replaces a topic's entry.
func (m *Manifest) put(e ManifestTopic) {
	i, found := m.find(e.Name)
	if found {
		m.Topics[i] = e
		return
	}
	m.Topics = slices.Insert(m.Topics, i, e)
}

// drop removes a topic's entry.
func (m *Manifest) drop(name string) {
	if i, found := m.find(name); found {
		m.Topics = slices.Delete(m.Topics, i, i+1)
	}
}

// deletes tells whether there is a topic on its way out.
func (m *Manifest) deletes() bool {
	return slices.ContainsFunc(m.Topics, func(e ManifestTopic) bool { return e.State == TopicDeleting })
}

// encode gives the file's bytes.
func (m *Manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "crc32c:%08x\n", checksum(b.Bytes()))
	return b.Bytes(), nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// sumLine is the length of the last line: "crc32c:" and eight digits.
const sumLine = len("crc32c:") + 8 + 1

// DecodeManifest reads the bytes of a [ManifestFile]. It takes any bytes and returns only what an engine can have
// written: damage matches [ErrCorrupt], a newer format [ErrNewerFormat].
func DecodeManifest(data []byte) (*Manifest, error) {
	if len(data) < sumLine {
		return nil, fmt.Errorf("%w: manifest of %d bytes", ErrCorrupt, len(data))
	}
	body, sum := data[:len(data)-sumLine], data[len(data)-sumLine:]
	if want := fmt.Sprintf("crc32c:%08x\n", checksum(body)); string(sum) != want {
		return nil, fmt.Errorf("%w: manifest: checksum line %q, want %q", ErrCorrupt, sum, want)
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	if head.Format > manifestFormat {
		return nil, fmt.Errorf("%w: manifest has format %d, this version knows %d", ErrNewerFormat, head.Format, manifestFormat)
	}
	m := new(Manifest)
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	return m, nil
}

// check holds a manifest that was read against what encode would write.
func (m *Manifest) check() error {
	if m.Format != manifestFormat || m.NextProducerID < 0 {
		return fmt.Errorf("format %d, next producer id %d", m.Format, m.NextProducerID)
	}
	folded := make(map[string]string, len(m.Topics))
	for i, e := range m.Topics {
		if err := e.check(); err != nil {
			return err
		}
		if i > 0 && m.Topics[i-1].Name >= e.Name {
			return fmt.Errorf("topic %q is out of order", e.Name)
		}
		if other, taken := folded[foldName(e.Name)]; taken {
			return fmt.Errorf("topics %q and %q collide", other, e.Name)
		}
		folded[foldName(e.Name)] = e.Name
	}
	return nil
}

func (e *ManifestTopic) check() error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if e.ID.IsZero() || e.Partitions < 1 || e.Partitions > maxPartitions {
		return fmt.Errorf("topic %q: id %v, %d partitions", e.Name, e.ID, e.Partitions)
	}
	switch e.State {
	case TopicCreating, TopicReady, TopicDeleting:
	default:
		return fmt.Errorf("topic %q: state %q", e.Name, clip(string(e.State)))
	}
	_, err := ParseSettings(e.Settings)
	return err
}
