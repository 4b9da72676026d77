package record

import (
	"errors"
	"fmt"
)

// Sentinels. Match them with errors.Is; most errors carry facts beside.
var (
	// ErrIncomplete tells that a run of bytes ends inside a batch: with more
	// bytes it may become whole. Nothing was judged.
	ErrIncomplete = errors.New("record: incomplete batch")
	// ErrCorrupt tells that bytes are not a valid batch or record.
	ErrCorrupt = errors.New("record: corrupt batch")
	// ErrInvalid tells that a batch is well formed but may not be appended by a
	// client, or that a record cannot be encoded as it is.
	ErrInvalid = errors.New("record: invalid")
	// ErrFull tells that a record does not fit in a Builder's batch any more. It
	// was not added.
	ErrFull = errors.New("record: batch full")
	// ErrTooLarge tells that a record or a batch would pass the sizes that the
	// format can express, or that a batch decompresses past the caller's limit.
	ErrTooLarge = errors.New("record: too large")
	// ErrSealed tells that a Builder was given a record after Seal.
	ErrSealed = errors.New("record: builder is sealed")
)

// DecompressedError tells that the records of a batch take more room than the limit when they are decompressed. It
// was found without taking that room. It matches ErrTooLarge.
type DecompressedError struct {
	BaseOffset int64
	NextOffset int64 // the offset after the batch: where a reader may go on
	Limit      int   // bytes
	Err        error
}

func (e *DecompressedError) Error() string {
	return fmt.Sprintf("%v: the records of the batch at offset %d decompress to more than %d bytes: %v", ErrTooLarge, e.BaseOffset, e.Limit, e.Err)
}

// Unwrap gives ErrTooLarge and what package compress says.
func (e *DecompressedError) Unwrap() []error { return []error{ErrTooLarge, e.Err} }

// CorruptError tells where and why a batch is not valid. It matches ErrCorrupt.
type CorruptError struct {
	// BaseOffset is what the header says, or -1 if it cannot be told.
	BaseOffset int64
	// Pos is the byte where the fault was seen: counted from the start of the
	// batch in its header, from the start of the (decompressed) records when
	// InRecords is set.
	Pos       int
	InRecords bool
	// Reason is a short text in English.
	Reason string
	// Err is the cause where another package found the fault, else nil.
	Err error
}

// Error describes the fault with its place.
func (e *CorruptError) Error() string {
	where := "byte"
	if e.InRecords {
		where = "record byte"
	}
	text := fmt.Sprintf("%v: base offset %d, %s %d: %s", ErrCorrupt, e.BaseOffset, where, e.Pos, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// invalid makes an error that matches ErrInvalid.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
