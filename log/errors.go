package log

import (
	"errors"
	"fmt"
	"github.com/quirelog/quire/log/record"

	"github.com/quirelog/quire/segment"
)

// The outcomes of an append are three, never a fourth: nil (done), an error that
// matches [ErrUncertain] (the batch may or may not be in the log), and any other
// error (the batch is not in the log and never will be).
var (
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log: closed")
	// ErrFenced: the log refuses appends; the error's chain tells why.
	ErrFenced = errors.New("log: fenced")
	// ErrUncertain: the outcome of an append is not known, because its fsync failed
	// or its caller stopped waiting.
	ErrUncertain = errors.New("log: outcome unknown")
	// ErrOffsetOutOfRange: an offset below the start or beyond the end; see [RangeError].
	ErrOffsetOutOfRange = errors.New("log: offset out of range")
	// ErrTooLarge: a batch above the configured limit, or above a whole segment, or one that decompresses to more than
	// it may ([record.DecompressedError]).
	ErrTooLarge = record.ErrTooLarge
	// ErrCorrupt: bytes on disk or in a given batch are damaged; on disk it is a [CorruptionError].
	ErrCorrupt = segment.ErrCorrupt
	// ErrInvalidTimestamp: a record's time lies outside the accepted window, or a
	// client claims the log's own time.
	ErrInvalidTimestamp = errors.New("log: invalid timestamp")
	// ErrInvalidRecord: a batch breaks a rule a leader enforces; see [InvalidRecordError].
	ErrInvalidRecord = errors.New("log: invalid record")
	// ErrNoSpace: the disk, a quota or the largest file size is exhausted. The batch
	// is not in the log; appends succeed again once there is space.
	ErrNoSpace = errors.New("log: no space")
	// ErrTruncated: what was waited for has been cut off by a truncation.
	ErrTruncated = errors.New("log: truncated")
	// ErrBelowHigh: a truncation asked to cut what readers may have seen.
	ErrBelowHigh = errors.New("log: truncation below the high watermark")
	// ErrDataLoss: at open, records known to be durable are gone; see [LossError].
	ErrDataLoss = errors.New("log: durable records are missing")
	// ErrReadOnly: the log was opened for reading.
	ErrReadOnly = errors.New("log: read-only")
)

// CorruptionError tells where stored bytes are damaged.
type CorruptionError = segment.CorruptionError

// RangeError tells which offsets a log holds; it matches [ErrOffsetOutOfRange].
type RangeError struct {
	Offset int64 // what was asked for
	Start  int64 // first offset that may be read
	End    int64 // next offset to be written
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("log: offset %d out of range [%d, %d]", e.Offset, e.Start, e.End)
}

// Is reports whether target is [ErrOffsetOutOfRange].
func (e *RangeError) Is(target error) bool { return target == ErrOffsetOutOfRange }

// InvalidRecordError tells which rule a batch breaks; it matches [ErrInvalidRecord].
type InvalidRecordError struct {
	Reason  string
	Indexes []int // positions of the offending records in the batch, the first few; empty if the batch itself is at fault
}

func (e *InvalidRecordError) Error() string {
	if len(e.Indexes) == 0 {
		return "log: invalid record: " + e.Reason
	}
	return fmt.Sprintf("log: invalid record: %s, records %v", e.Reason, e.Indexes)
}

// Is reports whether target is [ErrInvalidRecord].
func (e *InvalidRecordError) Is(target error) bool { return target == ErrInvalidRecord }

// LossError tells which durable offsets are gone; it matches [ErrDataLoss].
type LossError struct {
	Dir         string
	First, Next int64 // the missing offsets are [First, Next)
	Reason      string
}

func (e *LossError) Error() string {
	return fmt.Sprintf("log: %s: durable offsets [%d, %d) are missing: %s", e.Dir, e.First, e.Next, e.Reason)
}

// Is reports whether target is [ErrDataLoss].
func (e *LossError) Is(target error) bool { return target == ErrDataLoss }

// fenceError is what appends to a fenced log return: ErrFenced and the reason.
type fenceError struct {
	reason error
	sticky bool // cannot be lifted while the log is open
}

func (e *fenceError) Error() string { return "log: fenced: " + e.reason.Error() }

func (e *fenceError) Unwrap() []error { return []error{ErrFenced, e.reason} }

// uncertain says that an append's outcome is unknown because of cause.
func uncertain(cause error) error { return fmt.Errorf("%w: %w", ErrUncertain, cause) }
