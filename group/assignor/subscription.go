package assignor

import (
	"slices"

	"github.com/quirelog/quire/internal/wire"
	"github.com/quirelog/quire/topic"
)

// ErrCorrupt: bytes that claim to be a subscription or an assignment are not. The text that wraps it says where.
var ErrCorrupt = wire.ErrCorrupt

// ProtocolType is the protocol type of groups whose members share topics by an Assignor: Kafka's ConsumerProtocol.
const ProtocolType = "consumer"

// NewestSubscription is the newest version of Kafka's ConsumerProtocol, 0 to 3: 1 brought owned partitions, 2 the generation, 3 the rack.
// Bytes of a later version are read as far as this one goes.
const NewestSubscription int16 = 3

// AppendSubscription appends a subscription as a member sends it when it joins: Kafka's ConsumerProtocolSubscription with its version in
// front. Topics and partitions are sorted. What a version has no field for is left out; a version out of range is taken as the nearest.
func AppendSubscription(dst []byte, version int16, s Subscription) []byte {
	version = min(max(version, 0), NewestSubscription)
	e := wire.Encoder{Buf: dst}
	e.Int16(version)
	e.Strings(slices.Sorted(slices.Values(s.Topics)))
	e.Bytes(s.UserData)
	if version >= 1 {
		appendPartitions(&e, s.Owned)
	}
	if version >= 2 {
		e.Int32(s.Generation)
	}
	if version >= 3 {
		e.Nullable(s.Rack)
	}
	return e.Buf
}

// ParseSubscription reads what AppendSubscription wrote. Generation is NoGeneration where the version has none. The error matches
// ErrCorrupt; the result does not share memory with p.
func ParseSubscription(p []byte) (Subscription, error) {
	d := wire.Decoder{Rest: p}
	version := d.Int16()
	if version < 0 {
		d.Fail("negative version")
	}
	s := Subscription{Topics: d.Strings(), UserData: d.Bytes(), Generation: NoGeneration}
	if version >= 1 {
		s.Owned = readPartitions(&d)
	}
	if version >= 2 {
		s.Generation = d.Int32()
	}
	if version >= 3 {
		s.Rack = d.Nullable()
	}
	return s, d.Err
}

// SubscribedTopics reads only the topics, which is all a coordinator of the classic protocol needs and every version begins with.
func SubscribedTopics(p []byte) ([]string, error) {
	d := wire.Decoder{Rest: p}
	d.Int16()
	topics := d.Strings()
	return topics, d.Err
}

// SubscriptionVersion is the version in front of a subscription, as far as this package goes.
func SubscriptionVersion(p []byte) int16 {
	d := wire.Decoder{Rest: p}
	return min(max(d.Int16(), 0), NewestSubscription)
}

// AppendAssignment appends what a member is to read, as the leader of a group sends it: Kafka's ConsumerProtocolAssignment with its version
// in front. All versions have the same fields. Partitions are sorted by topic and number.
func AppendAssignment(dst []byte, version int16, partitions []topic.TopicPartition, userData []byte) []byte {
	e := wire.Encoder{Buf: dst}
	e.Int16(min(max(version, 0), NewestSubscription))
	appendPartitions(&e, partitions)
	e.Bytes(userData)
	return e.Buf
}

// ParseAssignment reads what AppendAssignment wrote. Empty input is an empty assignment: a member that the leader forgot gets that. The
// error matches ErrCorrupt; the results do not share memory with p.
func ParseAssignment(p []byte) (partitions []topic.TopicPartition, userData []byte, err error) {
	if len(p) == 0 {
		return nil, nil, nil
	}
	d := wire.Decoder{Rest: p}
	if d.Int16() < 0 {
		d.Fail("negative version")
	}
	partitions = readPartitions(&d)
	userData = d.Bytes()
	return partitions, userData, d.Err
}

// appendPartitions writes an array of topics, each with its partitions.
func appendPartitions(e *wire.Encoder, list []topic.TopicPartition) {
	list = slices.SortedFunc(slices.Values(list), topic.TopicPartition.Compare)
	topics := 0
	for i, tp := range list {
		if i == 0 || tp.Topic != list[i-1].Topic {
			topics++
		}
	}
	e.Length(topics, true)
	for len(list) > 0 {
		n := slices.IndexFunc(list, func(tp topic.TopicPartition) bool { return tp.Topic != list[0].Topic })
		if n < 0 {
			n = len(list)
		}
		e.String(list[0].Topic)
		e.Length(n, true)
		for _, tp := range list[:n] {
			e.Int32(tp.Partition)
		}
		list = list[n:]
	}
}

func readPartitions(d *wire.Decoder) (list []topic.TopicPartition) {
	for n := d.Count(6); n > 0; n-- {
		name := d.String()
		for _, p := range d.Int32s() {
			list = append(list, topic.TopicPartition{Topic: name, Partition: p})
		}
	}
	return list
}
