package group

import (
	"time"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// What members and administrators ask of a group and what they are answered. Names and meaning are those of Apache Kafka's requests. An
// answer's Err is nil, a Code, or an error that wraps one; the other fields count only as far as their comments say when it is not nil.
// Durations are used in milliseconds.

// JoinRequest asks to be a member of the next generation: Kafka's JoinGroup. The answer, a JoinResponse, comes when that begins.
type JoinRequest struct {
	// MemberID is what an earlier answer gave, or "" for a new member.
	MemberID string
	// InstanceID names a static member, which may come back under a new member id without a rebalance; "" for a dynamic one.
	InstanceID string
	ClientID   string
	ClientHost string
	// SessionTimeout is how long the member may be silent.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long a rebalance waits for it.
	RebalanceTimeout time.Duration
	ProtocolType     string
	// Protocols are the assignors it has, the one it likes best first, each with its subscription.
	Protocols []Protocol
	// NeedsMemberID: a new dynamic member is first given an id (ErrMemberIDRequired) and joins with it (Kafka's version 4 and later).
	NeedsMemberID bool
	// SkipsAssignment: a static leader that comes back understands JoinResponse.SkipAssignment (version 9 and later).
	SkipsAssignment bool
	// Fresh is the caller's, not the member's: a text that no other member id holds, such as a UUID. New member ids are made from it.
	Fresh string

	// local: a member of this process, which lives until it leaves or is disowned.
	local bool
}

// JoinResponse answers a JoinRequest.
type JoinResponse struct {
	Err          error
	Generation   int32
	ProtocolType string
	Protocol     string
	Leader       string
	// MemberID is the member's; also with ErrMemberIDRequired.
	MemberID string
	// SkipAssignment tells the leader that it need not assign: nothing changed.
	SkipAssignment bool
	// Members are all members with their subscriptions to Protocol, for the leader alone.
	Members []JoinedMember
}

// JoinedMember is a member as its leader sees it.
type JoinedMember struct {
	MemberID   string
	InstanceID string
	Metadata   []byte
}

// SyncRequest asks for the member's assignment in a generation; the leader's brings everybody's. Kafka's SyncGroup.
type SyncRequest struct {
	MemberID   string
	InstanceID string
	Generation int32
	// ProtocolType and Protocol, where not "", must be the group's.
	ProtocolType string
	Protocol     string
	// Assignments are the leader's, by member id; who is not in it gets nothing.
	Assignments map[string][]byte
}

// SyncResponse answers a SyncRequest.
type SyncResponse struct {
	Err          error
	ProtocolType string
	Protocol     string
	Assignment   []byte
}

// HeartbeatRequest says that a member of the classic protocol is there. Kafka's Heartbeat.
type HeartbeatRequest struct {
	MemberID   string
	InstanceID string
	Generation int32
}

// HeartbeatResponse answers it. ErrRebalanceInProgress asks to join again.
type HeartbeatResponse struct{ Err error }

// LeaveRequest removes members: themselves, or static ones named by an administrator. Kafka's LeaveGroup.
type LeaveRequest struct{ Members []Leaver }

// Leaver is a member to be removed: by its id, or a static one by its instance id alone.
type Leaver struct {
	MemberID   string
	InstanceID string
}

// LeaveResponse answers a LeaveRequest.
type LeaveResponse struct {
	Err error
	// Members has an answer for each, in their order.
	Members []LeaverResponse
}

// LeaverResponse is what became of one of them.
type LeaverResponse struct {
	Leaver
	Err error
}

// ConsumerHeartbeatRequest is the one call of the server-side protocol (KIP-848): it joins, leaves, reports and asks. Fields other than
// MemberID and Epoch are sent when they change and are absent (zero) otherwise.
type ConsumerHeartbeatRequest struct {
	// MemberID is the member's, chosen by itself; "" with epoch 0 lets the coordinator choose.
	MemberID string
	// Epoch is the last one answered; 0 joins, EpochLeave leaves, EpochLeaveStatic leaves for a while.
	Epoch      int32
	InstanceID string
	Rack       string
	ClientID   string
	ClientHost string
	// RebalanceTimeout is how long the member may take to let go of partitions.
	RebalanceTimeout time.Duration
	// Topics are the names subscribed to; nil is unchanged, empty is none.
	Topics []string
	// Regex is a regular expression (RE2) that names must match as a whole; nil is unchanged, "" is none.
	Regex *string
	// Assignor is the one asked for; "" is unchanged or the coordinator's choice.
	Assignor string
	// Owned are the partitions the member has now; nil is not said, which is not the same as none.
	Owned []TopicIDPartitions
	// Fresh is as in JoinRequest.
	Fresh string
}

// Epochs with a meaning of their own.
const (
	// EpochLeave in a request leaves the group.
	EpochLeave int32 = -1
	// EpochLeaveStatic leaves for a while: nobody else gets the static member's partitions before its session ends.
	EpochLeaveStatic int32 = -2
)

// ConsumerHeartbeatResponse answers a ConsumerHeartbeatRequest. After ErrFencedEpoch or ErrUnknownMember the member gives up all it has and
// joins again with epoch 0.
type ConsumerHeartbeatResponse struct {
	Err      error
	MemberID string
	Epoch    int32
	// Interval is how long to wait until the next heartbeat.
	Interval time.Duration
	// Assigned is what the member shall have now; it counts only if HasAssigned, otherwise nothing changed. What it has beyond that it must
	// let go of, and say so by Owned.
	HasAssigned bool
	Assigned    []TopicIDPartitions
}

// CommitRequest stores offsets: Kafka's OffsetCommit, and with ProducerID its TxnOffsetCommit.
type CommitRequest struct {
	MemberID   string
	InstanceID string
	// Generation is the member's generation or epoch; negative with no member id commits to a group that has no members.
	Generation int32
	// ProducerID makes the commit part of a producer's transaction: it counts when that commits. -1 is no transaction.
	ProducerID int64
	Offsets    []PartitionOffset
}

// PartitionOffset is an offset to commit, or one that was committed.
type PartitionOffset struct {
	topic.TopicPartition
	// Offset is the next one to read. An answer to a fetch has -1 where nothing was committed.
	Offset int64
	// LeaderEpoch is that of the last record read, or -1.
	LeaderEpoch int32
	Metadata    string
	// Err is why this one was refused, in answers.
	Err error
}

// CommitResponse answers a CommitRequest when the offsets are stored. Offsets has one entry for each of the request's.
type CommitResponse struct {
	Err     error
	Offsets []PartitionOffset
}

// FetchOffsetsRequest asks for committed offsets: Kafka's OffsetFetch.
type FetchOffsetsRequest struct {
	// MemberID and Epoch are checked for a group of the server-side protocol; "" and -1 are not.
	MemberID string
	Epoch    int32
	// Partitions are those asked for; nil is all there are.
	Partitions []topic.TopicPartition
	// Stable refuses, partition by partition, offsets that an open transaction is going to move (ErrUnstableOffset).
	Stable bool
}

// FetchOffsetsResponse answers it.
type FetchOffsetsResponse struct {
	Err     error
	Offsets []PartitionOffset
}

// EndTransaction tells a group that a producer's transaction has ended: its offsets now count, or never did. The marker that says so is
// already in the group's partition, behind all of its commits, whose storing has been reported. It is not answered.
type EndTransaction struct {
	ProducerID int64
	Committed  bool
}

// DeleteOffsetsRequest forgets committed offsets: Kafka's OffsetDelete.
type DeleteOffsetsRequest struct{ Partitions []topic.TopicPartition }

// DeleteOffsetsResponse answers it; Partitions has why some were refused.
type DeleteOffsetsResponse struct {
	Err        error
	Partitions []PartitionError
}

// PartitionError is what went wrong with one partition; Err is nil where nothing did.
type PartitionError struct {
	topic.TopicPartition
	Err error
}

// DeleteGroupRequest removes a group without members, and its offsets.
type DeleteGroupRequest struct{}

// DeleteGroupResponse answers it.
type DeleteGroupResponse struct{ Err error }

// An answer can be turned into a refusal, for when its records could not be stored.
type answer interface{ refused(err error) answer }

func (r JoinResponse) refused(err error) answer {
	return JoinResponse{Err: err, Generation: assignor.NoGeneration, MemberID: r.MemberID}
}
func (r SyncResponse) refused(err error) answer      { return SyncResponse{Err: err} }
func (r HeartbeatResponse) refused(err error) answer { return HeartbeatResponse{Err: err} }
func (r LeaveResponse) refused(err error) answer     { return LeaveResponse{Err: err} }
func (r ConsumerHeartbeatResponse) refused(err error) answer {
	return ConsumerHeartbeatResponse{Err: err, MemberID: r.MemberID, Epoch: r.Epoch}
}
func (r CommitResponse) refused(err error) answer        { return CommitResponse{Err: err} }
func (r FetchOffsetsResponse) refused(err error) answer  { return FetchOffsetsResponse{Err: err} }
func (r DeleteOffsetsResponse) refused(err error) answer { return DeleteOffsetsResponse{Err: err} }
func (r DeleteGroupResponse) refused(err error) answer   { return DeleteGroupResponse{Err: err} }
