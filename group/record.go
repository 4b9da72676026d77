package group

import (
	"fmt"
	"github.com/quirelog/quire/internal/wire"
	"unicode/utf16"
)

// OffsetsTopic is the internal compacted topic that holds groups and their committed offsets.
const OffsetsTopic = "__consumer_offsets"

// OffsetsPartitions is how many partitions it has in a Kafka cluster; an engine makes fewer, see [topic.InternalPartitions].
const OffsetsPartitions = 50

// PartitionFor is the partition of OffsetsTopic that holds a group: Kafka's rule, java.lang.String.hashCode made positive, modulo partitions.
// Fewer than one partition count as one.
func PartitionFor(group string, partitions int32) int32 {
	var hash int32
	for _, unit := range utf16.Encode([]rune(group)) {
		hash = 31*hash + int32(unit)
	}
	switch {
	case hash == -1<<31:
		hash = 0
	case hash < 0:
		hash = -hash
	}
	return hash % max(partitions, 1)
}

// KeyKind says what a record of OffsetsTopic is about: the version in front of its key.
type KeyKind int16

// What records there are. Kinds 9 to 15 are those of share groups.
const (
	// KeyOffsetOld and KeyOffset: a committed offset of a group, topic and partition. Both are read, the second is written.
	KeyOffsetOld KeyKind = 0
	KeyOffset    KeyKind = 1
	// KeyGroup: a group of the classic protocol with its members.
	KeyGroup KeyKind = 2
	// KeyGroupEpoch: a group of the server-side protocol, and the epoch it is in.
	KeyGroupEpoch KeyKind = 3
	// KeyTopics: the topics it reads and how many partitions they have.
	KeyTopics KeyKind = 4
	// KeyMember: a member of it and what it subscribes to.
	KeyMember KeyKind = 5
	// KeyTargetEpoch: the epoch for which targets were computed.
	KeyTargetEpoch KeyKind = 6
	// KeyTarget: what a member is to read in the end.
	KeyTarget KeyKind = 7
	// KeyCurrent: what a member reads now.
	KeyCurrent KeyKind = 8
)

// RecordKey is the key of a record. Which fields beside Group count depends on the kind: Topic and Partition with offsets, Member with
// KeyMember, KeyTarget and KeyCurrent.
type RecordKey struct {
	Kind      KeyKind
	Group     string
	Topic     string
	Partition int32
	Member    string
}

func (k KeyKind) ofOffset() bool { return k == KeyOffset || k == KeyOffsetOld }

func (k KeyKind) ofMember() bool { return k == KeyMember || k == KeyTarget || k == KeyCurrent }

// AppendRecordKey appends a key in Kafka's format. A kind beyond KeyCurrent has no fields but the group.
func AppendRecordKey(dst []byte, k RecordKey) []byte {
	e := wire.Encoder{Buf: dst}
	e.Int16(int16(k.Kind))
	e.String(k.Group)
	switch {
	case k.Kind.ofOffset():
		e.String(k.Topic)
		e.Int32(k.Partition)
	case k.Kind.ofMember():
		e.String(k.Member)
	}
	return e.Buf
}

// ParseRecordKey reads a key. Of a kind beyond KeyCurrent only Kind is filled in, without an error: readers pass such records over, as
// Kafka does, since newer versions bring new kinds. The error matches ErrCorrupt.
func ParseRecordKey(p []byte) (RecordKey, error) {
	d := wire.Decoder{Rest: p}
	k := RecordKey{Kind: KeyKind(d.Int16())}
	if k.Kind < 0 {
		d.Fail("negative kind of key")
	}
	if d.Err != nil || k.Kind > KeyCurrent {
		return k, d.Err
	}
	k.Group = d.String()
	switch {
	case k.Kind.ofOffset():
		k.Topic = d.String()
		k.Partition = d.Int32()
	case k.Kind.ofMember():
		k.Member = d.String()
	}
	return k, d.Err
}

// A RecordValue is what a record says: OffsetRecord, GroupRecord, EpochRecord, TopicsRecord, MemberRecord, TargetEpochRecord, TargetRecord or
// CurrentRecord, in the order of their keys' kinds. A record without a value (nil) takes back what one with its key had said.
type RecordValue interface {
	// newest is the version that is written.
	newest() int16
	append(e *wire.Encoder, version int16)
}

// AppendRecordValue appends a value with its version in front, the one Kafka writes: 3 for offsets (1 with a time of expiry) and groups, 0
// for the others.
func AppendRecordValue(dst []byte, v RecordValue) []byte {
	return appendRecordValue(dst, v, v.newest())
}

func appendRecordValue(dst []byte, v RecordValue, version int16) []byte {
	e := wire.Encoder{Buf: dst}
	e.Int16(version)
	v.append(&e, version)
	return e.Buf
}

// ParseRecordValue reads the value that belongs to a key of the kind. Every version Kafka has had is read. The error matches ErrCorrupt, and
// the result does not share memory with p.
func ParseRecordValue(kind KeyKind, p []byte) (RecordValue, error) {
	d := wire.Decoder{Rest: p}
	version := d.Int16()
	newest := int16(0)
	var parse func(*wire.Decoder, int16) RecordValue
	switch kind {
	case KeyOffsetOld, KeyOffset:
		newest, parse = 4, parseOffsetRecord
	case KeyGroup:
		newest, parse = 4, parseGroupRecord
	case KeyGroupEpoch:
		parse = func(d *wire.Decoder, _ int16) RecordValue { return EpochRecord{Epoch: d.Int32()} }
	case KeyTopics:
		parse = parseTopicsRecord
	case KeyMember:
		parse = parseMemberRecord
	case KeyTargetEpoch:
		parse = func(d *wire.Decoder, _ int16) RecordValue { return TargetEpochRecord{Epoch: d.Int32()} }
	case KeyTarget:
		parse = func(d *wire.Decoder, _ int16) RecordValue { return TargetRecord{Partitions: readPartitionsByID(d)} }
	case KeyCurrent:
		parse = parseCurrentRecord
	default:
		return nil, fmt.Errorf("%w: no value is known for keys of kind %d", ErrCorrupt, kind)
	}
	if d.Err == nil && (version < 0 || version > newest) {
		d.Fail(fmt.Sprintf("version %d of a value for keys of kind %d", version, kind))
	}
	d.Flexible = kind > KeyGroup || version >= 4
	v := parse(&d, version)
	switch kind {
	case KeyMember: // it has read its tagged fields
	default:
		d.Tags(nil)
	}
	if d.Err != nil {
		return nil, d.Err
	}
	return v, nil
}
