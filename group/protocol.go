package group

import (
	"slices"

	"github.com/quirelog/quire/topic"
)

// ProtocolType is the protocol type of groups whose members share topics by an Assignor: Kafka's ConsumerProtocol.
const ProtocolType = "consumer"

// NewestSubscription is the newest version of Kafka's ConsumerProtocol, 0 to 3: 1 brought owned partitions, 2 the generation, 3 the rack.
// Bytes of a later version are read as far as this one goes.
const NewestSubscription int16 = 3

// AppendSubscription appends a subscription as a member sends it when it joins: Kafka's ConsumerProtocolSubscription with its version in
// front. Topics and partitions are sorted. What a version has no field for is left out; a version out of range is taken as the nearest.
func AppendSubscription(dst []byte, version int16, s Subscription) []byte {
	version = min(max(version, 0), NewestSubscription)
	e := encoder{buf: dst}
	e.int16(version)
	e.strings(slices.Sorted(slices.Values(s.Topics)))
	e.bytes(s.UserData)
	if version >= 1 {
		e.partitionsByTopic(s.Owned)
	}
	if version >= 2 {
		e.int32(s.Generation)
	}
	if version >= 3 {
		e.nullable(s.Rack)
	}
	return e.buf
}

// ParseSubscription reads what AppendSubscription wrote. Generation is NoGeneration where the version has none. The error matches
// ErrCorrupt; the result does not share memory with p.
func ParseSubscription(p []byte) (Subscription, error) {
	d := decoder{rest: p}
	version := d.int16()
	if version < 0 {
		d.fail("negative version")
	}
	s := Subscription{Topics: d.strings(), UserData: d.bytes(), Generation: NoGeneration}
	if version >= 1 {
		s.Owned = d.partitionsByTopic()
	}
	if version >= 2 {
		s.Generation = d.int32()
	}
	if version >= 3 {
		s.Rack = d.nullable()
	}
	return s, d.err
}

// subscribedTopics reads only the topics, which is all a coordinator of the classic protocol needs and every version begins with.
func subscribedTopics(p []byte) ([]string, error) {
	d := decoder{rest: p}
	d.int16()
	topics := d.strings()
	return topics, d.err
}

// subscriptionVersion is the version in front of a subscription, as far as this package goes.
func subscriptionVersion(p []byte) int16 {
	d := decoder{rest: p}
	return min(max(d.int16(), 0), NewestSubscription)
}

// AppendAssignment appends what a member is to read, as the leader of a group sends it: Kafka's ConsumerProtocolAssignment with its version
// in front. All versions have the same fields. Partitions are sorted by topic and number.
func AppendAssignment(dst []byte, version int16, partitions []topic.TopicPartition, userData []byte) []byte {
	e := encoder{buf: dst}
	e.int16(min(max(version, 0), NewestSubscription))
	e.partitionsByTopic(partitions)
	e.bytes(userData)
	return e.buf
}

// ParseAssignment reads what AppendAssignment wrote. Empty input is an empty assignment: a member that the leader forgot gets that. The
// error matches ErrCorrupt; the results do not share memory with p.
func ParseAssignment(p []byte) (partitions []topic.TopicPartition, userData []byte, err error) {
	if len(p) == 0 {
		return nil, nil, nil
	}
	d := decoder{rest: p}
	if d.int16() < 0 {
		d.fail("negative version")
	}
	partitions = d.partitionsByTopic()
	userData = d.bytes()
	return partitions, userData, d.err
}

// partitionsByTopic writes an array of topics, each with its partitions.
func (e *encoder) partitionsByTopic(list []topic.TopicPartition) {
	list = slices.SortedFunc(slices.Values(list), topic.TopicPartition.Compare)
	topics := 0
	for i, tp := range list {
		if i == 0 || tp.Topic != list[i-1].Topic {
			topics++
		}
	}
	e.length(topics, true)
	for len(list) > 0 {
		n := slices.IndexFunc(list, func(tp topic.TopicPartition) bool { return tp.Topic != list[0].Topic })
		if n < 0 {
			n = len(list)
		}
		e.string(list[0].Topic)
		e.length(n, true)
		for _, tp := range list[:n] {
			e.int32(tp.Partition)
		}
		list = list[n:]
	}
}

func (d *decoder) partitionsByTopic() (list []topic.TopicPartition) {
	for n := d.count(6); n > 0; n-- {
		name := d.string()
		for _, p := range d.int32s() {
			list = append(list, topic.TopicPartition{Topic: name, Partition: p})
		}
	}
	return list
}
