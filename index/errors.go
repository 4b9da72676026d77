package index

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt is matched by a *CorruptError: the file is missing bytes, has too many, or holds others than were written. Rebuild it.
	ErrCorrupt = errors.New("index: corrupt")
	// ErrFull answers Add when the offset does not fit the table's 32-bit relative form.
	ErrFull = errors.New("index: offset out of range")
	// ErrOrder answers Add when the entry does not follow the last one (I1).
	ErrOrder = errors.New("index: entry out of order")
)

// CorruptError says which index file cannot be trusted and why. It matches [ErrCorrupt] and its cause, for instance fs.ErrNotExist.
type CorruptError struct {
	Path  string
	Cause error
}

func (e *CorruptError) Error() string { return fmt.Sprintf("index: corrupt: %s: %v", e.Path, e.Cause) }

// Is reports that every CorruptError matches ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Cause }
