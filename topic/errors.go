package topic

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// Sentinels for errors.Is. Those of the storeys below are offered again here, so that nobody needs to
// import a package named log for an error.
var (
	// ErrClosed: the engine, or the producer or consumer, was closed.
	ErrClosed = log.ErrClosed
	// ErrNotFound: there is no such topic or partition; also what is left of a deleted topic.
	ErrNotFound = errors.New("topic: not found")
	// ErrExists: the topic exists, or exists with other settings ([SettingsConflictError]), or one whose name is too near ([NameTakenError]).
	ErrExists = errors.New("topic: exists")
	// ErrInvalid: a name, a setting or an argument breaks a rule; nothing was changed.
	ErrInvalid = errors.New("topic: invalid")
	// ErrPolicyViolation: the topic's cleanup.policy does not allow it; nothing was changed.
	ErrPolicyViolation = errors.New("topic: against the cleanup policy")
	// ErrFenced: the partition refuses appends; the error's chain tells why.
	ErrFenced = log.ErrFenced
	// ErrUncertain: the outcome is not known: a record may or may not be in the log. Any other error of an
	// append says that it is not and never will be.
	ErrUncertain = log.ErrUncertain
	// ErrOffsetOutOfRange: an offset that the partition does not hold; see [OffsetRangeError].
	ErrOffsetOutOfRange = log.ErrOffsetOutOfRange
	// ErrTooLarge: a record or batch is larger than the topic accepts.
	ErrTooLarge = log.ErrTooLarge
	// ErrQuota: an agreed limit (of bytes, records or members) is used up.
	ErrQuota = errors.New("topic: quota exceeded")
	// ErrNoSpace: the disk is full. Nothing was appended, created or altered; calls succeed again once there is space.
	ErrNoSpace = log.ErrNoSpace
	// ErrCorrupt: stored bytes are damaged, or given bytes are not what they claim to be.
	ErrCorrupt = log.ErrCorrupt
	// ErrDataLoss: records known to have been durable are gone; see [LossError].
	ErrDataLoss = log.ErrDataLoss
	// ErrLocked: another engine has the directory open; see [LockedError].
	ErrLocked = vfs.ErrLocked
	// ErrReadOnly: the engine was opened for reading.
	ErrReadOnly = log.ErrReadOnly
	// ErrInvalidRecord: a batch breaks a rule that a leader enforces.
	ErrInvalidRecord = log.ErrInvalidRecord
	// ErrInvalidTimestamp: a record's time lies outside what the topic accepts.
	ErrInvalidTimestamp = log.ErrInvalidTimestamp
	// ErrOutOfOrderSequence: an idempotent producer's batch does not follow its last one.
	ErrOutOfOrderSequence = log.ErrOutOfOrderSequence
	// ErrProducerFenced: a newer owner of the producer id has taken over.
	ErrProducerFenced = log.ErrProducerFenced
	// ErrNewerFormat: the directory was written by a newer version of this library. Nothing was changed.
	ErrNewerFormat = catalog.ErrNewerFormat
	// ErrStaleEpoch: a fetch named a leader epoch older than the partition's.
	ErrStaleEpoch = errors.New("topic: leader epoch is stale")
	// ErrUnknownEpoch: a fetch named a leader epoch newer than the partition's.
	ErrUnknownEpoch = errors.New("topic: leader epoch is not known yet")
)

// Typed errors of the storeys below, for errors.As.
type (
	// LockedError names the lock file and who holds it; it matches [ErrLocked].
	LockedError = vfs.LockedError
	// CorruptionError tells the file, position and offsets of damage; it matches [ErrCorrupt].
	CorruptionError = log.CorruptionError
	// LossError tells which durable offsets are gone; it matches [ErrDataLoss].
	LossError = log.LossError
	// NotAFileError names a directory that lies where a partition's file has to be; nothing was changed.
	NotAFileError = log.NotAFileError
	// InvalidRecordError tells which rule a batch breaks; it matches [ErrInvalidRecord].
	InvalidRecordError = log.InvalidRecordError
)

// OffsetRangeError tells what a partition holds instead of the offset that was asked for. It matches
// [ErrOffsetOutOfRange].
type OffsetRangeError struct {
	Topic     string
	Partition int32
	Offset    int64 // what was asked for
	First     int64 // first offset that can be read
	Next      int64 // offset of the next record to come
}

func (e *OffsetRangeError) Error() string {
	return fmt.Sprintf("topic: %s/%d: offset %d out of range [%d, %d]", e.Topic, e.Partition, e.Offset, e.First, e.Next)
}

// Is reports whether target is [ErrOffsetOutOfRange].
func (e *OffsetRangeError) Is(target error) bool { return target == ErrOffsetOutOfRange }

// PartitionError adds the place to an error that came from a partition.
type PartitionError struct {
	Topic     string
	Partition int32
	Err       error
}

func (e *PartitionError) Error() string {
	return fmt.Sprintf("topic: %s/%d: %v", e.Topic, e.Partition, e.Err)
}

// Unwrap gives the partition's error.
func (e *PartitionError) Unwrap() error { return e.Err }

// SettingDifference is one setting whose stored value is not the wanted one.
type SettingDifference struct{ Key, Stored, Wanted string }

// SettingsConflictError says that a topic exists with other settings than those asked for. It matches
// [ErrExists].
type SettingsConflictError struct {
	Topic       string
	Differences []SettingDifference
}

func (e *SettingsConflictError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "topic: %s exists with other settings:", e.Topic)
	for i, d := range e.Differences {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %s is %s, wanted %s", d.Key, d.Stored, d.Wanted)
	}
	return b.String()
}

// Is reports whether target is [ErrExists].
func (e *SettingsConflictError) Is(target error) bool { return target == ErrExists }

// NameTakenError says that another topic's name is so near that both cannot be. It matches [ErrExists].
type NameTakenError struct {
	Topic string // the name that was refused
	Other string // the topic that is there
	Case  bool   // they differ in case, and this disk takes their directories for one; otherwise only by '.' in the place of '_'
}

func (e *NameTakenError) Error() string {
	by := "'.' and '_'"
	if e.Case {
		by = "case: this disk takes their directories for one"
	}
	return fmt.Sprintf("topic: exists: topic %q differs from %q only by %s", clip(e.Topic), e.Other, by)
}

// Is reports whether target is [ErrExists].
func (e *NameTakenError) Is(target error) bool { return target == ErrExists }

// DecodeError comes with a record that a reader could get but not understand: a codec failed. The record is
// complete and the reader goes on after it.
type DecodeError struct {
	Record *Record
	Err    error
}

func (e *DecodeError) Error() string {
	if e.Record == nil {
		return fmt.Sprintf("topic: decode: %v", e.Err)
	}
	return fmt.Sprintf("topic: %s/%d@%d: decode: %v", e.Record.Topic, e.Record.Partition, e.Record.Offset, e.Err)
}

// Unwrap gives the codec's error.
func (e *DecodeError) Unwrap() error { return e.Err }

// fault turns an error of the partition's log into what users see: with the place, offsets out of range as
// OffsetRangeError, and a closed log as what the partition ended with (deleted topic, closed engine). Errors
// of the caller's context stay as they are.
func (p *Partition) fault(err error) error {
	var already *PartitionError
	var late *DeliveryError
	var rng *log.RangeError
	switch {
	case err == nil, p.topic == nil:
		return err
	case errors.As(err, &already), errors.As(err, &late), err == context.Canceled, err == context.DeadlineExceeded:
		return err
	case errors.As(err, &rng):
		return &OffsetRangeError{Topic: p.topic.name, Partition: p.id, Offset: rng.Offset, First: rng.Start, Next: rng.End}
	case errors.Is(err, log.ErrClosed):
		switch end := p.ended(); {
		case end == nil:
		case errors.Is(err, ErrUncertain):
			err = fmt.Errorf("%w: %w", ErrUncertain, end)
		default:
			err = end
		}
	default:
		err = fullDisk(rawFault(err))
	}
	return &PartitionError{Topic: p.topic.name, Partition: p.id, Err: err}
}

// rawFault makes what the batch format's package says of given bytes match this package's ErrCorrupt.
func rawFault(err error) error {
	if (errors.Is(err, record.ErrCorrupt) || errors.Is(err, record.ErrIncomplete)) && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// fullDisk makes exhausted space match ErrNoSpace, unless the outcome is not known.
func fullDisk(err error) error {
	if vfs.IsNoSpace(err) && !errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrUncertain) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// unmade is what the zero value of a type returns that an engine gives.
func unmade(kind string) error { return fmt.Errorf("%w: a %s that no engine gave", ErrInvalid, kind) }
