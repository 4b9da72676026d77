package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/quirelog/quire/log"
)

// A Change is one change of the catalog; one field is set.
type Change struct {
	Create *Topic `json:"create,omitempty"` // a topic's entry, in the place of another of that name
	Alter  *Topic `json:"alter,omitempty"`  // name, number of partitions and settings; new partitions are unused
	Use    *Use   `json:"use,omitempty"`    // the partition has a directory
	Delete string `json:"delete,omitempty"` // the topic is gone, its directories may be there if it was used
	Drop   string `json:"drop,omitempty"`   // so are its directories
	// NextProducerID is the first producer id that is not handed out.
	NextProducerID int64 `json:"nextProducerId,omitempty"`
}

// Use is a partition that is used for the first time.
type Use struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// Line is one line of a journal: changes that were made together.
type Line struct {
	Generation uint64   `json:"generation"`
	Changes    []Change `json:"changes,omitempty"`
	Closed     bool     `json:"closed,omitempty"` // an orderly stop
}

const (
	lineMark = "crc32c:"
	lineHead = len(lineMark) + 8 + 1
)

// encode gives the line's bytes: the checksum of what stands behind it, a space, and JSON.
func (l *Line) encode() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(lineMark + "00000000 ")
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return nil, err
	}
	data := b.Bytes()
	copy(data[len(lineMark):], fmt.Sprintf("%08x", checksum(data[lineHead:])))
	return data, nil
}

// decodeLine reads the line at the beginning of data; size is its length.
func decodeLine(data []byte, check Check) (l *Line, size int, err error) {
	end := bytes.IndexByte(data, '\n')
	if end < lineHead {
		return nil, 0, fmt.Errorf("%w: line without an end, or too short", log.ErrCorrupt)
	}
	body := data[lineHead : end+1]
	if want := fmt.Sprintf("%s%08x ", lineMark, checksum(body)); string(data[:lineHead]) != want {
		return nil, 0, fmt.Errorf("%w: line begins with %q, want %q", log.ErrCorrupt, data[:lineHead], want)
	}
	l = new(Line)
	if err := strict(body, l); err != nil {
		return nil, 0, fmt.Errorf("%w: line: %w", log.ErrCorrupt, err)
	}
	for i := range l.Changes {
		if err := l.Changes[i].check(check); err != nil {
			return nil, 0, fmt.Errorf("%w: line: %w", log.ErrCorrupt, err)
		}
	}
	return l, end + 1, nil
}

func (c *Change) check(check Check) error {
	for _, e := range []*Topic{c.Create, c.Alter} {
		if e == nil {
			continue
		}
		if err := e.check(check); err != nil {
			return err
		}
	}
	if c.NextProducerID < 0 || c.Use != nil && c.Use.Partition < 0 {
		return fmt.Errorf("next producer id %d, use %v", c.NextProducerID, c.Use)
	}
	return nil
}

// journal is what was read of a file of lines.
type journal struct {
	lines []*Line
	end   int64 // where the lines end that are sound; behind it is a line that was cut off
	// damage tells of a line that is no line and that a sound one follows.
	damage error
}

// parseJournal reads the lines. What stands behind the last sound line was cut off by a crash; what stands between sound lines is damage.
func parseJournal(data []byte, check Check) journal {
	var j journal
	at := 0
	for at < len(data) {
		l, size, err := decodeLine(data[at:], check)
		if err == nil {
			j.lines, at = append(j.lines, l), at+size
			j.end = int64(at)
			continue
		}
		next := nextLine(data, at+1, check)
		if next < 0 {
			break
		}
		if j.damage == nil {
			j.damage = fmt.Errorf("bytes [%d, %d): %w", at, next, err)
		}
		at = next
	}
	return j
}

// DecodeJournal reads the bytes of a journal, or of a copy: the sound lines, and how many bytes behind them are none. Damage in front of a sound
// line matches log.ErrCorrupt.
func DecodeJournal(data []byte, check Check) (lines []*Line, rest int, err error) {
	j := parseJournal(data, check)
	return j.lines, len(data) - int(j.end), j.damage
}

// nextLine looks for a sound line from a place on, wherever it begins; -1: there is none.
func nextLine(data []byte, from int, check Check) int {
	for at := from; ; at++ {
		i := bytes.Index(data[at:], []byte(lineMark))
		if i < 0 {
			return -1
		}
		at += i
		if _, _, err := decodeLine(data[at:], check); err == nil {
			return at
		}
	}
}
