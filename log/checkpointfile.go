package log

// Apache Kafka's text files of offsets, byte for byte as Kafka writes them.
// Line 1 is the version, 0; line 2 the number of entries; then one entry per
// line, its fields separated by one space:
//
//	<topic> <partition> <offset>    *-offset-checkpoint, in the data directory
//	<epoch> <start offset>          leader-epoch-checkpoint, in a partition's (epochs.go)
//
// An empty file has no entries. Readers take CRLF line ends and other white space
// between fields, as Kafka does; anything else that no writer would have written
// is an error with its line number, a last line without an end too. The files have no checksum. Writing is
// durable and atomic at return.

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/quirelog/quire/log/vfs"
)

// Names of Kafka's checkpoint files in a data directory.
const (
	// RecoveryPointFile: everything below the offset is on disk.
	RecoveryPointFile = "recovery-point-offset-checkpoint"
	// HighWatermarkFile: the high watermark.
	HighWatermarkFile = "replication-offset-checkpoint"
	// CleanerFile: the first offset that no compaction has covered, of compacted logs.
	CleanerFile = "cleaner-offset-checkpoint"
	// LogStartFile: the start offset of logs that start above their first segment's base.
	LogStartFile = "log-start-offset-checkpoint"
)

const (
	checkpointVersion = 0
	// maxCheckpointBytes is the largest text file read: more than two hundred thousand
	// entries of the longest topic names.
	maxCheckpointBytes = 64 << 20
	// maxTopicName is the length of the longest topic name.
	maxTopicName = 249
)

// TopicPartition names a partition. It is comparable.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns topic-partition, which is the partition's directory name.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.Itoa(int(tp.Partition))
}

// OffsetCheckpoint is the content of an offset checkpoint file.
type OffsetCheckpoint map[TopicPartition]int64

// CheckpointError tells which line of a text file is wrong. It matches
// [ErrCorrupt], or [ErrNewerFormat] when the file's version is newer than this code.
type CheckpointError struct {
	Path   string // empty when bytes were decoded that are no file
	Line   int    // counted from 1
	Reason string
	newer  bool
}

func (e *CheckpointError) Error() string {
	return fmt.Sprintf("log: checkpoint%s: line %d: %s", named(e.Path), e.Line, e.Reason)
}

// Is reports whether target is [ErrCorrupt] or [ErrNewerFormat], whichever applies.
func (e *CheckpointError) Is(target error) bool {
	if e.newer {
		return target == ErrNewerFormat
	}
	return target == ErrCorrupt
}

// atPath adds the path to a decoding error.
func atPath(err error, path string) error {
	if bad := (*CheckpointError)(nil); errors.As(err, &bad) {
		bad.Path = path
	}
	return err
}

// EncodeOffsetCheckpoint returns the file's bytes, entries ascending by topic
// and partition. An entry that no reader would accept is an error.
func EncodeOffsetCheckpoint(c OffsetCheckpoint) ([]byte, error) {
	keys := make([]TopicPartition, 0, len(c))
	for tp, offset := range c {
		if !validTopicName(tp.Topic) || tp.Partition < 0 || offset < 0 {
			return nil, fmt.Errorf("log: checkpoint entry %q, partition %d, offset %d is not valid",
				tp.Topic, tp.Partition, offset)
		}
		keys = append(keys, tp)
	}
	slices.SortFunc(keys, func(a, b TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	data := appendTableHead(nil, len(keys))
	for _, tp := range keys {
		data = append(append(data, tp.Topic...), ' ')
		data = append(strconv.AppendInt(data, int64(tp.Partition), 10), ' ')
		data = append(strconv.AppendInt(data, c[tp], 10), '\n')
	}
	return data, nil
}

// DecodeOffsetCheckpoint reads such bytes. The error is a [*CheckpointError].
func DecodeOffsetCheckpoint(data []byte) (OffsetCheckpoint, error) {
	c := OffsetCheckpoint{}
	err := parseTable(data, 3, func(f [][]byte) string {
		partition, ok1 := parseNumber(f[1], math.MaxInt32)
		offset, ok2 := parseNumber(f[2], math.MaxInt64)
		switch {
		case len(f[0]) > maxTopicName || !validTopicName(string(f[0])):
			return "not a topic name"
		case !ok1:
			return "not a partition number"
		case !ok2:
			return "not an offset"
		}
		tp := TopicPartition{string(f[0]), int32(partition)}
		if _, twice := c[tp]; twice {
			return "partition occurs twice"
		}
		c[tp] = offset
		return ""
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ReadOffsetCheckpoint reads a file. A missing one gives an error that matches
// fs.ErrNotExist, a damaged one a [*CheckpointError]; Kafka counts both as empty.
func ReadOffsetCheckpoint(fsys vfs.FS, name string) (OffsetCheckpoint, error) {
	data, err := vfs.ReadFile(fsys, name, maxCheckpointBytes)
	if err != nil {
		return nil, err
	}
	c, err := DecodeOffsetCheckpoint(data)
	return c, atPath(err, name)
}

// WriteOffsetCheckpoint replaces a file durably and atomically.
func WriteOffsetCheckpoint(fsys vfs.FS, name string, c OffsetCheckpoint) error {
	data, err := EncodeOffsetCheckpoint(c)
	if err != nil {
		return err
	}
	return vfs.WriteFile(fsys, name, data)
}

// validTopicName tells whether Kafka would accept the name.
func validTopicName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxTopicName {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// appendTableHead appends version and entry count.
func appendTableHead(dst []byte, count int) []byte {
	dst = append(strconv.AppendInt(dst, checkpointVersion, 10), '\n')
	return append(strconv.AppendInt(dst, int64(count), 10), '\n')
}

// parseTable reads version and count and hands each entry's fields, columns of
// them, to row, which returns what is wrong with them or "". The fields are
// valid during the call.
func parseTable(data []byte, columns int, row func(fields [][]byte) string) error {
	if len(data) == 0 {
		return nil
	}
	version, rest, _ := nextLine(data)
	if err := checkVersion(version, 1); err != nil {
		return err
	}
	head, rest, ended := nextLine(rest)
	count, ok := parseNumber(head, math.MaxInt32)
	if !ok || !ended {
		return &CheckpointError{Line: 2, Reason: "not a number of entries"}
	}
	number := 2
	for len(rest) > 0 {
		var line []byte
		line, rest, ended = nextLine(rest)
		number++
		if !ended {
			return &CheckpointError{Line: number, Reason: "cut off"}
		}
		fields := bytes.Fields(line)
		if len(fields) != columns {
			return &CheckpointError{Line: number, Reason: fmt.Sprintf("%d fields, want %d", len(fields), columns)}
		}
		if reason := row(fields); reason != "" {
			return &CheckpointError{Line: number, Reason: reason}
		}
	}
	if got := int64(number - 2); got != count {
		return &CheckpointError{Line: 2, Reason: fmt.Sprintf("%d entries announced, %d found", count, got)}
	}
	return nil
}

// checkVersion accepts version 0 only.
func checkVersion(version []byte, line int) error {
	v, ok := parseNumber(version, math.MaxInt32)
	switch {
	case !ok:
		return &CheckpointError{Line: line, Reason: "not a version"}
	case v != checkpointVersion:
		return &CheckpointError{Line: line, Reason: fmt.Sprintf("version %d", v), newer: true}
	}
	return nil
}

// nextLine cuts the first line off, without its end of line.
func nextLine(data []byte) (line, rest []byte, ended bool) {
	line, rest, ended = bytes.Cut(data, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), rest, ended
}

// parseNumber reads a number as strconv writes it: decimal, without sign or
// leading zeros, at most limit.
func parseNumber(s []byte, limit int64) (int64, bool) {
	if len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	return parseDigits(s, limit)
}

// parseDigits reads up to twenty decimal digits, leading zeros among them, as file
// names have them.
func parseDigits[T string | []byte](s T, limit int64) (int64, bool) {
	if len(s) == 0 || len(s) > 20 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 || n > (limit-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
