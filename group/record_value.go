package group

import (
	"github.com/quirelog/quire/internal/wire"
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

func (r OffsetRecord) append(e *wire.Encoder, version int16) {
	e.Flexible = version >= 4
	e.Int64(r.Offset)
	if version >= 3 {
		e.Int32(r.LeaderEpoch)
	}
	e.String(r.Metadata)
	e.Int64(r.CommitTime)
	if version == 1 {
		e.Int64(r.ExpireTime)
	}
	e.NoTags()
}

func parseOffsetRecord(d *wire.Decoder, version int16) RecordValue {
	r := OffsetRecord{Offset: d.Int64(), LeaderEpoch: -1, ExpireTime: -1}
	if version >= 3 {
		r.LeaderEpoch = d.Int32()
	}
	r.Metadata = d.String()
	r.CommitTime = d.Int64()
	if version == 1 {
		r.ExpireTime = d.Int64()
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

func (r GroupRecord) append(e *wire.Encoder, version int16) {
	e.Flexible = version >= 4
	e.String(r.ProtocolType)
	e.Int32(r.Generation)
	e.Nullable(r.Protocol)
	e.Nullable(r.Leader)
	if version >= 2 {
		e.Int64(r.StateTime)
	}
	e.Length(len(r.Members), true)
	for _, m := range r.Members {
		e.String(m.MemberID)
		if version >= 3 {
			e.Nullable(m.InstanceID)
		}
		e.String(m.ClientID)
		e.String(m.ClientHost)
		if version >= 1 {
			e.Int32(m.RebalanceTimeout)
		}
		e.Int32(m.SessionTimeout)
		appendBlob(e, m.Subscription)
		appendBlob(e, m.Assignment)
		e.NoTags()
	}
	e.NoTags()
}

func parseGroupRecord(d *wire.Decoder, version int16) RecordValue {
	r := GroupRecord{ProtocolType: d.String(), Generation: d.Int32(), Protocol: d.Nullable(), Leader: d.Nullable(), StateTime: -1}
	if version >= 2 {
		r.StateTime = d.Int64()
	}
	for n := d.Count(8); n > 0 && d.Err == nil; n-- {
		m := GroupRecordMember{MemberID: d.String()}
		if version >= 3 {
			m.InstanceID = d.Nullable()
		}
		m.ClientID, m.ClientHost = d.String(), d.String()
		if version >= 1 {
			m.RebalanceTimeout = d.Int32()
		}
		m.SessionTimeout = d.Int32()
		if version == 0 {
			m.RebalanceTimeout = m.SessionTimeout
		}
		m.Subscription, m.Assignment = d.Bytes(), d.Bytes()
		d.Tags(nil)
		r.Members = append(r.Members, m)
	}
	return r
}

// EpochRecord is the epoch of a group of the server-side protocol.
type EpochRecord struct{ Epoch int32 }

func (r EpochRecord) newest() int16 { return 0 }

func (r EpochRecord) append(e *wire.Encoder, _ int16) {
	e.Flexible = true
	e.Int32(r.Epoch)
	e.NoTags()
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

func (r TopicsRecord) append(e *wire.Encoder, _ int16) {
	e.Flexible = true
	e.Length(len(r.Topics), true)
	for _, t := range r.Topics {
		e.UUID(t.ID)
		e.String(t.Name)
		e.Int32(t.Partitions)
		e.Length(0, true) // racks by partition, which Kafka has given up
		e.NoTags()
	}
	e.NoTags()
}

func parseTopicsRecord(d *wire.Decoder, _ int16) RecordValue {
	var r TopicsRecord
	for n := d.Count(23); n > 0 && d.Err == nil; n-- {
		t := TopicsRecordTopic{ID: d.UUID(), Name: d.String(), Partitions: d.Int32()}
		for p := d.Count(6); p > 0 && d.Err == nil; p-- {
			d.Int32()
			d.Strings()
			d.Tags(nil)
		}
		d.Tags(nil)
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

func (r MemberRecord) append(e *wire.Encoder, _ int16) {
	e.Flexible = true
	e.Nullable(r.InstanceID)
	e.Nullable(r.Rack)
	e.String(r.ClientID)
	e.String(r.ClientHost)
	e.Strings(r.Topics)
	e.Nullable(r.Regex)
	e.Int32(r.RebalanceTimeout)
	e.Nullable(r.Assignor)
	if r.Classic == nil {
		e.NoTags()
		return
	}
	field := wire.Encoder{Flexible: true}
	field.Uvarint(1) // not null
	field.Int32(r.Classic.SessionTimeout)
	field.Length(len(r.Classic.Protocols), true)
	for _, p := range r.Classic.Protocols {
		field.String(p.Name)
		appendBlob(&field, p.Metadata)
		field.NoTags()
	}
	field.NoTags()
	e.Uvarint(1) // one tagged field,
	e.Uvarint(0) // tag 0
	e.Uvarint(len(field.Buf))
	e.Raw(field.Buf)
}

func parseMemberRecord(d *wire.Decoder, _ int16) RecordValue {
	r := MemberRecord{
		InstanceID: d.Nullable(), Rack: d.Nullable(), ClientID: d.String(), ClientHost: d.String(), Topics: d.Strings(),
		Regex: d.Nullable(), RebalanceTimeout: d.Int32(), Assignor: d.Nullable(),
	}
	d.Tags(func(tag int, field *wire.Decoder) {
		if tag != 0 || field.Uvarint() == 0 {
			return
		}
		r.Classic = &ClassicMember{SessionTimeout: field.Int32()}
		for n := field.Count(3); n > 0 && field.Err == nil; n-- {
			p := Protocol{Name: field.String(), Metadata: field.Bytes()}
			field.Tags(nil)
			r.Classic.Protocols = append(r.Classic.Protocols, p)
		}
		field.Tags(nil)
	})
	return r
}

// TargetEpochRecord is the group epoch for which the targets were computed.
type TargetEpochRecord struct{ Epoch int32 }

func (r TargetEpochRecord) newest() int16 { return 0 }

func (r TargetEpochRecord) append(e *wire.Encoder, _ int16) { EpochRecord(r).append(e, 0) }

// TargetRecord is what a member is to read in the end.
type TargetRecord struct{ Partitions []TopicIDPartitions }

// TopicIDPartitions are partitions of one topic.
type TopicIDPartitions struct {
	ID         topic.ID
	Partitions []int32
}

func (r TargetRecord) newest() int16 { return 0 }

func (r TargetRecord) append(e *wire.Encoder, _ int16) {
	e.Flexible = true
	appendPartitionsByID(e, r.Partitions)
	e.NoTags()
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

func (r CurrentRecord) append(e *wire.Encoder, _ int16) {
	e.Flexible = true
	e.Int32(r.Epoch)
	e.Int32(r.PreviousEpoch)
	e.Int8(int8(r.State))
	appendPartitionsByID(e, r.Assigned)
	appendPartitionsByID(e, r.Revoking)
	e.NoTags()
}

func parseCurrentRecord(d *wire.Decoder, _ int16) RecordValue {
	return CurrentRecord{
		Epoch: d.Int32(), PreviousEpoch: d.Int32(), State: MemberState(d.Int8()), Assigned: readPartitionsByID(d), Revoking: readPartitionsByID(d),
	}
}

func appendPartitionsByID(e *wire.Encoder, list []TopicIDPartitions) {
	e.Length(len(list), true)
	for _, t := range list {
		e.UUID(t.ID)
		e.Int32s(t.Partitions)
		e.NoTags()
	}
}

func readPartitionsByID(d *wire.Decoder) (list []TopicIDPartitions) {
	for n := d.Count(18); n > 0 && d.Err == nil; n-- {
		list = append(list, TopicIDPartitions{d.UUID(), d.Int32s()})
		d.Tags(nil)
	}
	return list
}

// appendBlob writes bytes that may not be null: nil is empty.
func appendBlob(e *wire.Encoder, p []byte) {
	e.Length(len(p), true)
	e.Raw(p)
}
