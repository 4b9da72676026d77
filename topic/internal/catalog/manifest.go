package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/quirelog/quire/log"
)

// ErrNewerFormat says that a file was written by a newer version of this library.
var ErrNewerFormat = errors.New("topic: written by a newer version")

const (
	// format is the newest format of the manifest that this code reads, and the one it writes. Format 1 had no journal and made all
	// directories of a topic at its creation.
	format = 2
	// MaxBytes bounds what is read of a file: more than a hundred thousand topics.
	MaxBytes = 256 << 20
	// MaxPartitions bounds a topic, so that damaged numbers cannot fill memory.
	MaxPartitions = 1 << 20
)

// Manifest is the truth about topics, their ids, numbers of partitions and settings, at one generation. It is stored as one JSON object
// and a line with its CRC-32C; the changes since are in a journal. It is exported for tools that look into a directory; an engine
// reads and writes its own.
type Manifest struct {
	Format     int    `json:"format"`     // 2
	Generation uint64 `json:"generation"` // one more with each change
	// NextProducerID is the first producer id not handed out; ids are taken in blocks. 0: none was taken yet.
	NextProducerID int64   `json:"nextProducerId"`
	Topics         []Topic `json:"topics"`
}

// Topic is one topic of a [Manifest]. Topics are sorted by name. Settings has what was chosen, by Kafka's
// names; what is not in it has its default.
type Topic struct {
	Name       string            `json:"name"`
	ID         log.TopicID       `json:"id"`
	Partitions int               `json:"partitions"`
	State      State             `json:"state"`
	Unused     PartitionSet      `json:"unused,omitempty"`  // partitions that were never used and have no directory
	Changed    uint64            `json:"changed,omitempty"` // the generation of the last change of settings or partitions
	Settings   map[string]string `json:"settings,omitempty"`
}

// State tells how far a topic's creation or deletion has come.
type State string

const (
	// Creating: the topic exists and some of its directories may be missing; it was not used. Only manifests of format 1 have it.
	Creating State = "creating"
	// Ready: the topic exists.
	Ready State = "ready"
	// Deleting: the topic is gone; its directories may still be there.
	Deleting State = "deleting"
)

// A Check tells what is wrong with a topic's name and settings.
type Check func(*Topic) error

// Fold maps names that Kafka considers equal for its metrics, those that differ only by '.' and '_', onto each other. Two topics of one
// engine never share a folded name.
func Fold(name string) string { return strings.ReplaceAll(name, ".", "_") }

// Find gives the place of a topic's entry.
func (m *Manifest) Find(name string) (int, bool) {
	return slices.BinarySearchFunc(m.Topics, name, func(e Topic, name string) int { return strings.Compare(e.Name, name) })
}

// Put adds or replaces a topic's entry.
func (m *Manifest) Put(e Topic) {
	i, found := m.Find(e.Name)
	if found {
		m.Topics[i] = e
		return
	}
	m.Topics = slices.Insert(m.Topics, i, e)
}

// Counts tells whether a topic has that partition.
func (m *Manifest) Counts(name string, partition int32) bool {
	i, found := m.Find(name)
	return found && int(partition) < m.Topics[i].Partitions
}

// encode gives the file's bytes.
func (m *Manifest) encode() ([]byte, error) {
	lines := make([][]byte, len(m.Topics))
	for i := range m.Topics {
		var err error
		if lines[i], err = m.Topics[i].encode(); err != nil {
			return nil, err
		}
	}
	return snapshot(m.Generation, m.NextProducerID, lines), nil
}

// snapshot gives a file's bytes, of which lines are those of the topics.
func snapshot(generation uint64, nextProducerID int64, lines [][]byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"format\":%d,\"generation\":%d,\"nextProducerId\":%d,\"topics\":[", format, generation, nextProducerID)
	for i, line := range lines {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	fmt.Fprintf(&b, "crc32c:%08x\n", checksum(b.Bytes()))
	return b.Bytes()
}

// encode gives the topic's line of a snapshot, without its end.
func (e *Topic) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// sumLine is the length of the last line: "crc32c:" and eight digits.
const sumLine = len("crc32c:") + 8 + 1

// Decode reads the bytes of a manifest. It takes any bytes and returns only what an engine can have written: damage matches
// log.ErrCorrupt, a newer format ErrNewerFormat.
func Decode(data []byte, check Check) (*Manifest, error) {
	if len(data) < sumLine {
		return nil, fmt.Errorf("%w: manifest of %d bytes", log.ErrCorrupt, len(data))
	}
	body, sum := data[:len(data)-sumLine], data[len(data)-sumLine:]
	if want := fmt.Sprintf("crc32c:%08x\n", checksum(body)); string(sum) != want {
		return nil, fmt.Errorf("%w: manifest: checksum line %q, want %q", log.ErrCorrupt, sum, want)
	}
	m := new(Manifest)
	if err := strict(body, m); err != nil {
		var head struct {
			Format int `json:"format"`
		}
		if json.Unmarshal(body, &head) == nil && head.Format > format {
			return nil, fmt.Errorf("%w: manifest has format %d, this version knows %d", ErrNewerFormat, head.Format, format)
		}
		return nil, fmt.Errorf("%w: manifest: %w", log.ErrCorrupt, err)
	}
	if m.Format > format {
		return nil, fmt.Errorf("%w: manifest has format %d, this version knows %d", ErrNewerFormat, m.Format, format)
	}
	if err := m.check(check); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", log.ErrCorrupt, err)
	}
	return m, nil
}

// strict reads JSON without fields of other names.
func strict(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

// check holds a manifest that was read against what encode would write, and brings entries of format 1 into today's form.
func (m *Manifest) check(check Check) error {
	if m.Format < 1 || m.NextProducerID < 0 {
		return fmt.Errorf("format %d, next producer id %d", m.Format, m.NextProducerID)
	}
	folded := make(map[string]string, len(m.Topics))
	for i := range m.Topics {
		e := &m.Topics[i]
		if err := e.check(check); err != nil {
			return err
		}
		if i > 0 && m.Topics[i-1].Name >= e.Name {
			return fmt.Errorf("topic %q is out of order", e.Name)
		}
		if other, taken := folded[Fold(e.Name)]; taken {
			return fmt.Errorf("topics %q and %q collide", other, e.Name)
		}
		folded[Fold(e.Name)] = e.Name
		if e.State == Creating {
			e.State, e.Unused = Ready, Range(0, e.Partitions)
		}
	}
	return nil
}

func (e *Topic) check(check Check) error {
	if e.ID.IsZero() || e.Partitions < 1 || e.Partitions > MaxPartitions || !e.Unused.below(e.Partitions) {
		return fmt.Errorf("topic %q: id %v, %d partitions, without %v", clip(e.Name), e.ID, e.Partitions, e.Unused)
	}
	switch e.State {
	case Creating, Ready, Deleting:
	default:
		return fmt.Errorf("topic %q: state %q", clip(e.Name), clip(string(e.State)))
	}
	return check(e)
}
