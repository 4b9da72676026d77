package group

import (
	"fmt"
	"strconv"

	"github.com/quirelog/quire/internal/wire"
)

// ErrCorrupt: bytes that claim to be a group's record are not. The text that wraps it says where.
var ErrCorrupt = wire.ErrCorrupt

// Code is an error of a group's coordinator: Apache Kafka's error code, with its number and its name, so that a broker can put it on the
// wire as it is. Codes are compared with errors.Is. The zero Code means no error and is never returned as one.
type Code int16

// What a coordinator answers when it refuses. The numbers are Kafka's.
const (
	// ErrUnknownServer: something unexpected; the text that wraps it says what.
	ErrUnknownServer Code = -1
	// ErrMetadataTooLarge: a committed offset's metadata is longer than Config.MaxMetadata bytes. Only that partition is refused.
	ErrMetadataTooLarge Code = 12
	// ErrNotAvailable: the group has just been removed or its records cannot be stored; ask again.
	ErrNotAvailable Code = 15
	// ErrNotCoordinator: this coordinator no longer serves the group; look for the one that does.
	ErrNotCoordinator Code = 16
	// ErrIllegalGeneration: the call names another generation than the group's.
	ErrIllegalGeneration Code = 22
	// ErrInconsistentProtocol: another protocol type than the group's, or no protocol that all members have.
	ErrInconsistentProtocol Code = 23
	// ErrInvalidGroupID: the group's name is empty.
	ErrInvalidGroupID Code = 24
	// ErrUnknownMember: the group has no such member; join again with no member id.
	ErrUnknownMember Code = 25
	// ErrInvalidSessionTimeout: the session timeout is outside Config.MinSession to Config.MaxSession.
	ErrInvalidSessionTimeout Code = 26
	// ErrRebalanceInProgress: join again to learn the new generation.
	ErrRebalanceInProgress Code = 27
	// ErrUnsupportedVersion: a member of the server-side protocol used a call of the classic one.
	ErrUnsupportedVersion Code = 35
	// ErrInvalidRequest: a field of the request has a value it cannot have; the text that wraps it says which.
	ErrInvalidRequest Code = 42
	// ErrNonEmptyGroup: the group has members.
	ErrNonEmptyGroup Code = 68
	// ErrGroupNotFound: there is no such group.
	ErrGroupNotFound Code = 69
	// ErrMemberIDRequired: join again with the member id that came with this answer.
	ErrMemberIDRequired Code = 79
	// ErrGroupFull: the group has as many members as it may have.
	ErrGroupFull Code = 81
	// ErrFencedInstance: another member has taken over the static member's instance id.
	ErrFencedInstance Code = 82
	// ErrSubscribedToTopic: the offsets of a topic that the group's members read cannot be deleted.
	ErrSubscribedToTopic Code = 86
	// ErrUnstableOffset: a transaction that moves this offset is still open.
	ErrUnstableOffset Code = 88
	// ErrFencedEpoch: the member's epoch is not the coordinator's; give up all partitions and join again with epoch 0.
	ErrFencedEpoch Code = 110
	// ErrUnreleasedInstance: the instance id is in use by a member that has not left.
	ErrUnreleasedInstance Code = 111
	// ErrUnsupportedAssignor: the coordinator has no assignor of that name.
	ErrUnsupportedAssignor Code = 112
	// ErrStaleEpoch: the member's epoch has moved on; take the next heartbeat's answer first.
	ErrStaleEpoch Code = 113
	// ErrInvalidRecordState: a queue's record is not held by the delivery that answers for it.
	ErrInvalidRecordState Code = 121
	// ErrInvalidRegex: the subscription's regular expression cannot be read.
	ErrInvalidRegex Code = 128
)

// Name is Kafka's name of the code, such as UNKNOWN_MEMBER_ID; for a code this package does not use, its number.
func (c Code) Name() string {
	name, _ := c.text()
	return name
}

// Error says what is wrong, with Kafka's name of the code.
func (c Code) Error() string {
	name, text := c.text()
	return fmt.Sprintf("group: %s (%s)", text, name)
}

func (c Code) text() (name, text string) {
	switch c {
	case ErrUnknownServer:
		return "UNKNOWN_SERVER_ERROR", "unexpected error"
	case ErrMetadataTooLarge:
		return "OFFSET_METADATA_TOO_LARGE", "metadata of a committed offset is too long"
	case ErrNotAvailable:
		return "COORDINATOR_NOT_AVAILABLE", "coordinator not available"
	case ErrNotCoordinator:
		return "NOT_COORDINATOR", "not the group's coordinator"
	case ErrIllegalGeneration:
		return "ILLEGAL_GENERATION", "not the group's generation"
	case ErrInconsistentProtocol:
		return "INCONSISTENT_GROUP_PROTOCOL", "no protocol in common with the group"
	case ErrInvalidGroupID:
		return "INVALID_GROUP_ID", "group name is empty"
	case ErrUnknownMember:
		return "UNKNOWN_MEMBER_ID", "no such member"
	case ErrInvalidSessionTimeout:
		return "INVALID_SESSION_TIMEOUT", "session timeout out of bounds"
	case ErrRebalanceInProgress:
		return "REBALANCE_IN_PROGRESS", "group is rebalancing"
	default:
		return c.moreText()
	}
}

func (c Code) moreText() (name, text string) {
	switch c {
	case ErrUnsupportedVersion:
		return "UNSUPPORTED_VERSION", "call is not of the member's protocol"
	case ErrInvalidRequest:
		return "INVALID_REQUEST", "invalid request"
	case ErrNonEmptyGroup:
		return "NON_EMPTY_GROUP", "group has members"
	case ErrGroupNotFound:
		return "GROUP_ID_NOT_FOUND", "no such group"
	case ErrMemberIDRequired:
		return "MEMBER_ID_REQUIRED", "join again with the member id given"
	case ErrGroupFull:
		return "GROUP_MAX_SIZE_REACHED", "group is full"
	case ErrFencedInstance:
		return "FENCED_INSTANCE_ID", "another member took over the instance id"
	case ErrSubscribedToTopic:
		return "GROUP_SUBSCRIBED_TO_TOPIC", "group reads the topic"
	case ErrUnstableOffset:
		return "UNSTABLE_OFFSET_COMMIT", "a transaction that moves the offset is open"
	case ErrFencedEpoch:
		return "FENCED_MEMBER_EPOCH", "member epoch is fenced"
	case ErrUnreleasedInstance:
		return "UNRELEASED_INSTANCE_ID", "instance id is in use"
	case ErrUnsupportedAssignor:
		return "UNSUPPORTED_ASSIGNOR", "no such assignor"
	case ErrStaleEpoch:
		return "STALE_MEMBER_EPOCH", "member epoch is stale"
	case ErrInvalidRecordState:
		return "INVALID_RECORD_STATE", "record is not held by this delivery"
	case ErrInvalidRegex:
		return "INVALID_REGULAR_EXPRESSION", "invalid regular expression"
	default:
		n := strconv.Itoa(int(c))
		return n, "error code " + n
	}
}

// refusal is a Code with a reason in words.
type refusal struct {
	code   Code
	reason string
}

func (r *refusal) Error() string { return r.code.Error() + ": " + r.reason }

func (r *refusal) Unwrap() error { return r.code }

// refuse puts a reason to a code.
func refuse(code Code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}
