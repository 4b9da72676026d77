package segment

import (
	"errors"
	"fmt"
	"io/fs"
)

var (
	// ErrCorrupt is matched by a *CorruptionError: bytes of the data file are not what was written.
	ErrCorrupt = errors.New("segment: corrupt")
	// ErrNoSide answers OpenActive when the side file is absent or does not fit the data: the segment was not stopped cleanly. Recover it.
	ErrNoSide = errors.New("segment: no valid side file")
	// ErrTorn says that a failed write could not be cut back: bytes of unknown state lie behind the end. Nothing can be appended any more.
	ErrTorn = errors.New("segment: failed write could not be cut back")
	// ErrRetired answers changes to a segment that was retired.
	ErrRetired = errors.New("segment: retired")
	// ErrClosed answers every use after Close that needs the file. It matches fs.ErrClosed.
	ErrClosed = fmt.Errorf("segment: %w", fs.ErrClosed)
	// ErrInvalid answers an append whose bytes are not whole batches with ascending offsets at or behind the end. Nothing was written.
	ErrInvalid = errors.New("segment: invalid append")
	// ErrFull answers an append whose offsets or position do not fit the segment's 32-bit relative form: roll first. Nothing was written.
	ErrFull = errors.New("segment: full")
)

// CorruptionError says which stretch of a data file is damaged. It matches [ErrCorrupt] and its cause.
type CorruptionError struct {
	Path string
	// Pos is where the damage begins; End is where the next good batch begins, the file's size if none follows, or -1 if the search for it
	// gave up.
	Pos, End int64
	// The records in [FirstOffset, NextOffset) are lost; -1 where that cannot be told.
	FirstOffset, NextOffset int64
	Cause                   error
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("segment: corrupt: %s: bytes [%d, %d) offsets [%d, %d): %v", e.Path, e.Pos, e.End, e.FirstOffset, e.NextOffset, e.Cause)
}

// Is reports that every CorruptionError matches ErrCorrupt.
func (e *CorruptionError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the cause.
func (e *CorruptionError) Unwrap() error { return e.Cause }
