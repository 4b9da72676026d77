package topic

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Position names one record's place: the offset within a partition of a topic, and the leader epoch it was
// written in (informational; it does not take part in the text form). Positions are comparable with ==.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
	Epoch     int32
}

// Compare orders positions by topic, partition, offset and then epoch.
func (p Position) Compare(q Position) int {
	return cmp.Or(
		strings.Compare(p.Topic, q.Topic),
		cmp.Compare(p.Partition, q.Partition),
		cmp.Compare(p.Offset, q.Offset),
		cmp.Compare(p.Epoch, q.Epoch),
	)
}

// String is "topic/partition@offset", such as "orders/3@1042".
func (p Position) String() string {
	b, _ := p.AppendText(make([]byte, 0, len(p.Topic)+32))
	return string(b)
}

// AppendText appends the form of String; it never fails.
func (p Position) AppendText(b []byte) ([]byte, error) {
	b = append(b, p.Topic...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(p.Partition), 10)
	b = append(b, '@')
	return strconv.AppendInt(b, p.Offset, 10), nil
}

// MarshalText is the form of String; it never fails.
func (p Position) MarshalText() ([]byte, error) { return p.AppendText(nil) }

// UnmarshalText reads the form of String. The epoch becomes -1 (unknown). Text of any other form is an
// error that matches ErrInvalid and leaves p as it was.
func (p *Position) UnmarshalText(text []byte) error {
	q, err := ParsePosition(string(text))
	if err != nil {
		return err
	}
	*p = q
	return nil
}

// ParsePosition reads the form of [Position.String]. The epoch of the result is -1 (unknown). Text of any
// other form, and an invalid topic name, are errors that match ErrInvalid.
func ParsePosition(text string) (Position, error) {
	name, rest, ok1 := strings.Cut(text, "/")
	part, off, ok2 := strings.Cut(rest, "@")
	if !ok1 || !ok2 {
		return Position{}, fmt.Errorf("%w: position %q is not topic/partition@offset", ErrInvalid, clip(text))
	}
	if err := CheckName(name); err != nil {
		return Position{}, err
	}
	n, err1 := parseDecimal(part, 31)
	o, err2 := parseDecimal(off, 63)
	if err1 != nil || err2 != nil {
		return Position{}, fmt.Errorf("%w: position %q: partition and offset are decimal numbers", ErrInvalid, clip(text))
	}
	return Position{Topic: name, Partition: int32(n), Offset: o, Epoch: -1}, nil
}

// parseDecimal reads a number without sign or leading zeros, so that every position has one text form.
func parseDecimal(s string, bits int) (int64, error) {
	v, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, err
	}
	if len(s) > 1 && s[0] == '0' || s[0] == '+' {
		return 0, strconv.ErrSyntax
	}
	return int64(v), nil
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String is "topic-partition", as the partition's directory is called.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.FormatInt(int64(tp.Partition), 10)
}

// Compare orders by topic, then by partition number.
func (tp TopicPartition) Compare(o TopicPartition) int {
	return cmp.Or(strings.Compare(tp.Topic, o.Topic), cmp.Compare(tp.Partition, o.Partition))
}

// clip shortens hostile text for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
