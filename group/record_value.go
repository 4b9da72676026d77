package group

import (
	"github.com/quirelog/quire/topic"
)

// OffsetRecord is a committed offset: the next one to read.
type OffsetRecord struct {
	Offset int64
	// LeaderEpoch is that of the last record read, or -1 where it is not known.
	LeaderEpoch int32
	// Metadata is the committer's own.
	Metadata string
	// CommitTime is when it was committed, in milliseconds since 1970.
	CommitTime int64
	// ExpireTime is when it expires, where the committer asked for that (old clients); -1 otherwise.
	ExpireTime int64
}

func (r OffsetRecord) newest() int16 {
	if r.ExpireTime >= 0 {
		return 1
	}
	return 3
}

func (r OffsetRecord) append(e *encoder, version int16) {
	e.flexible = version >= 4
	e.int64(r.Offset)
	if version >= 3 {
		e.int32(r.LeaderEpoch)
	}
	e.string(r.Metadata)
	e.int64(r.CommitTime)
	if version == 1 {
		e.int64(r.ExpireTime)
	}
	e.noTags()
}

func parseOffsetRecord(d *decoder, version int16) RecordValue {
	r := OffsetRecord{Offset: d.int64(), LeaderEpoch: -1, ExpireTime: -1}
	if version >= 3 {
		r.LeaderEpoch = d.int32()
	}
	r.Metadata = d.string()
	r.CommitTime = d.int64()
	if version == 1 {
		r.ExpireTime = d.int64()
	}
	return r
}

// GroupRecord is a group of the classic protocol at the beginning of a generation.
type GroupRecord struct {
	// ProtocolType is what members have in common, "consumer" for readers; "" for a group that had none yet.
	ProtocolType string
	Generation   int32
	// Protocol is the assignor chosen, Leader the member that runs it; "" without members.
	Protocol string
	Leader   string
	// StateTime is when the group got into its state, in milliseconds since 1970; -1 where it is not known.
	StateTime int64
	Members   []GroupRecordMember
}

// GroupRecordMember is a member in a GroupRecord.
type GroupRecordMember struct {
	MemberID   string
	InstanceID string
	ClientID   string
	ClientHost string
	// RebalanceTimeout and SessionTimeout are in milliseconds; the first is the second where an old version had none.
	RebalanceTimeout int32
	SessionTimeout   int32
	// Subscription and Assignment are the bytes members and leader sent.
	Subscription []byte
	Assignment   []byte
}

func (r GroupRecord) newest() int16 { return 3 }

func (r GroupRecord) append(e *encoder, version int16) {
	e.flexible = version >= 4
	e.string(r.ProtocolType)
	e.int32(r.Generation)
	e.nullable(r.Protocol)
	e.nullable(r.Leader)
	if version >= 2 {
		e.int64(r.StateTime)
	}
	e.length(len(r.Members), true)
	for _, m := range r.Members {
		e.string(m.MemberID)
		if version >= 3 {
			e.nullable(m.InstanceID)
		}
		e.string(m.ClientID)
		e.string(m.ClientHost)
		if version >= 1 {
			e.int32(m.RebalanceTimeout)
		}
		e.int32(m.SessionTimeout)
		e.blob(m.Subscription)
		e.blob(m.Assignment)
		e.noTags()
	}
	e.noTags()
}

func parseGroupRecord(d *decoder, version int16) RecordValue {
	r := GroupRecord{ProtocolType: d.string(), Generation: d.int32(), Protocol: d.nullable(), Leader: d.nullable(), StateTime: -1}
	if version >= 2 {
		r.StateTime = d.int64()
	}
	for n := d.count(8); n > 0 && d.err == nil; n-- {
		m := GroupRecordMember{MemberID: d.string()}
		if version >= 3 {
			m.InstanceID = d.nullable()
		}
		m.ClientID, m.ClientHost = d.string(), d.string()
		if version >= 1 {
			m.RebalanceTimeout = d.int32()
		}
		m.SessionTimeout = d.int32()
		if version == 0 {
			m.RebalanceTimeout = m.SessionTimeout
		}
		m.Subscription, m.Assignment = d.bytes(), d.bytes()
		d.tags(nil)
		r.Members = append(r.Members, m)
	}
	return r
}

// EpochRecord is the epoch of a group of the server-side protocol.
type EpochRecord struct{ Epoch int32 }

func (r EpochRecord) newest() int16 { return 0 }

func (r EpochRecord) append(e *encoder, _ int16) {
	e.flexible = true
	e.int32(r.Epoch)
	e.noTags()
}

// TopicsRecord is what the group's topics looked like when the epoch began.
type TopicsRecord struct{ Topics []TopicsRecordTopic }

// TopicsRecordTopic is a topic in a TopicsRecord.
type TopicsRecordTopic struct {
	ID         topic.ID
	Name       string
	Partitions int32
}

func (r TopicsRecord) newest() int16 { return 0 }

func (r TopicsRecord) append(e *encoder, _ int16) {
	e.flexible = true
	e.length(len(r.Topics), true)
	for _, t := range r.Topics {
		e.uuid(t.ID)
		e.string(t.Name)
		e.int32(t.Partitions)
		e.length(0, true) // racks by partition, which Kafka has given up
		e.noTags()
	}
	e.noTags()
}

func parseTopicsRecord(d *decoder, _ int16) RecordValue {
	var r TopicsRecord
	for n := d.count(23); n > 0 && d.err == nil; n-- {
		t := TopicsRecordTopic{ID: d.uuid(), Name: d.string(), Partitions: d.int32()}
		for p := d.count(6); p > 0 && d.err == nil; p-- {
			d.int32()
			d.strings()
			d.tags(nil)
		}
		d.tags(nil)
		r.Topics = append(r.Topics, t)
	}
	return r
}

// MemberRecord is a member of a group of the server-side protocol and what it wants.
type MemberRecord struct {
	InstanceID string
	Rack       string
	ClientID   string
	ClientHost string
	// Topics and Regex are what it subscribes to: names, and a regular expression; either may be empty.
	Topics []string
	Regex  string
	// RebalanceTimeout is in milliseconds, -1 where it is not known.
	RebalanceTimeout int32
	// Assignor is the one it asks for, or "".
	Assignor string
	// Classic is set for a member that speaks the classic protocol to this group.
	Classic *ClassicMember
}

// ClassicMember is what is kept of a member of the classic protocol in a group of the server-side one.
type ClassicMember struct {
	// SessionTimeout is in milliseconds.
	SessionTimeout int32
	Protocols      []Protocol
}

// Protocol is an assignor that a member of the classic protocol has, with its subscription as bytes.
type Protocol struct {
	Name     string
	Metadata []byte
}

func (r MemberRecord) newest() int16 { return 0 }

func (r MemberRecord) append(e *encoder, _ int16) {
	e.flexible = true
	e.nullable(r.InstanceID)
	e.nullable(r.Rack)
	e.string(r.ClientID)
	e.string(r.ClientHost)
	e.strings(r.Topics)
	e.nullable(r.Regex)
	e.int32(r.RebalanceTimeout)
	e.nullable(r.Assignor)
	if r.Classic == nil {
		e.noTags()
		return
	}
	field := encoder{flexible: true}
	field.uvarint(1) // not null
	field.int32(r.Classic.SessionTimeout)
	field.length(len(r.Classic.Protocols), true)
	for _, p := range r.Classic.Protocols {
		field.string(p.Name)
		field.blob(p.Metadata)
		field.noTags()
	}
	field.noTags()
	e.uvarint(1) // one tagged field,
	e.uvarint(0) // tag 0
	e.uvarint(len(field.buf))
	e.raw(field.buf)
}

func parseMemberRecord(d *decoder, _ int16) RecordValue {
	r := MemberRecord{
		InstanceID: d.nullable(), Rack: d.nullable(), ClientID: d.string(), ClientHost: d.string(), Topics: d.strings(),
		Regex: d.nullable(), RebalanceTimeout: d.int32(), Assignor: d.nullable(),
	}
	d.tags(func(tag int, field *decoder) {
		if tag != 0 || field.uvarint() == 0 {
			return
		}
		r.Classic = &ClassicMember{SessionTimeout: field.int32()}
		for n := field.count(3); n > 0 && field.err == nil; n-- {
			p := Protocol{Name: field.string(), Metadata: field.bytes()}
			field.tags(nil)
			r.Classic.Protocols = append(r.Classic.Protocols, p)
		}
		field.tags(nil)
	})
	return r
}

// TargetEpochRecord is the group epoch for which the targets were computed.
type TargetEpochRecord struct{ Epoch int32 }

func (r TargetEpochRecord) newest() int16 { return 0 }

func (r TargetEpochRecord) append(e *encoder, _ int16) { EpochRecord(r).append(e, 0) }

// TargetRecord is what a member is to read in the end.
type TargetRecord struct{ Partitions []TopicIDPartitions }

// TopicIDPartitions are partitions of one topic.
type TopicIDPartitions struct {
	ID         topic.ID
	Partitions []int32
}

func (r TargetRecord) newest() int16 { return 0 }

func (r TargetRecord) append(e *encoder, _ int16) {
	e.flexible = true
	e.partitionsByID(r.Partitions)
	e.noTags()
}

// CurrentRecord is where a member stands on its way to the target.
type CurrentRecord struct {
	Epoch         int32
	PreviousEpoch int32
	State         MemberState
	// Assigned is what it reads; Revoking what it has yet to let go of.
	Assigned []TopicIDPartitions
	Revoking []TopicIDPartitions
}

// MemberState is where a member of the server-side protocol stands. The numbers are Kafka's.
type MemberState int8

// The states.
const (
	// MemberStable: it reads its target.
	MemberStable MemberState = 0
	// MemberUnrevoked: it has partitions to let go of before it may go on to the next epoch.
	MemberUnrevoked MemberState = 1
	// MemberUnreleased: it waits for partitions that others have not let go of.
	MemberUnreleased MemberState = 2
)

func (r CurrentRecord) newest() int16 { return 0 }

func (r CurrentRecord) append(e *encoder, _ int16) {
	e.flexible = true
	e.int32(r.Epoch)
	e.int32(r.PreviousEpoch)
	e.int8(int8(r.State))
	e.partitionsByID(r.Assigned)
	e.partitionsByID(r.Revoking)
	e.noTags()
}

func parseCurrentRecord(d *decoder, _ int16) RecordValue {
	return CurrentRecord{
		Epoch: d.int32(), PreviousEpoch: d.int32(), State: MemberState(d.int8()), Assigned: d.partitionsByID(), Revoking: d.partitionsByID(),
	}
}

func (e *encoder) partitionsByID(list []TopicIDPartitions) {
	e.length(len(list), true)
	for _, t := range list {
		e.uuid(t.ID)
		e.int32s(t.Partitions)
		e.noTags()
	}
}

func (d *decoder) partitionsByID() (list []TopicIDPartitions) {
	for n := d.count(18); n > 0 && d.err == nil; n-- {
		list = append(list, TopicIDPartitions{d.uuid(), d.int32s()})
		d.tags(nil)
	}
	return list
}

// blob writes bytes that may not be null: nil is empty.
func (e *encoder) blob(p []byte) {
	e.length(len(p), true)
	e.raw(p)
}
