package segment

import "fmt"

// FaultKind says what sort of thing is wrong, and so what mends it.
type FaultKind string

// What Examine finds.
const (
	// FaultData: bytes that are no batch, a batch that cannot be where it is, or one whose records cannot be read. What it held is lost.
	FaultData FaultKind = "data"
	// FaultHeaders: every batch is sound in itself, but their headers are not those that were sealed.
	FaultHeaders FaultKind = "headers"
	// FaultGap: offsets are left out where nothing may have left them out.
	FaultGap FaultKind = "gap"
	// FaultIndex: the offset or the time index does not fit the data. Derived: made again without loss.
	FaultIndex FaultKind = "index"
	// FaultAborted: the list of aborted transactions is damaged. Derived.
	FaultAborted FaultKind = "aborted"
	// FaultSide: the side file is damaged or does not fit sound data. Derived.
	FaultSide FaultKind = "side"
	// FaultTail: bytes behind what is known to be on disk, as an unclean stop leaves them. The next open cuts them off; only noted.
	FaultTail FaultKind = "tail"
)

// Fault is one thing that is wrong with a file.
type Fault struct {
	Kind FaultKind
	Path string
	// Pos and End are the bytes concerned, [Pos, End). Both are 0 when it is the file as a whole, and equal where bytes are missing.
	Pos, End int64
	// FirstOffset and NextOffset are the records concerned, [FirstOffset, NextOffset); both -1 when it is none.
	FirstOffset, NextOffset int64
	Err                     error
}

// Error makes a Fault an error of its own; it matches [ErrCorrupt] and its cause.
func (f *Fault) Error() string {
	text := fmt.Sprintf("%s: %s", f.Path, f.Kind)
	if f.End > 0 {
		text += fmt.Sprintf(", bytes [%d, %d)", f.Pos, f.End)
	}
	if f.FirstOffset >= 0 {
		text += fmt.Sprintf(", offsets [%d, %d)", f.FirstOffset, f.NextOffset)
	}
	return fmt.Sprintf("%s: %v", text, f.Err)
}

// Is reports that every Fault matches ErrCorrupt.
func (f *Fault) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Derived tells faults of files that can be made again from sound data.
func (f *Fault) Derived() bool {
	return f.Kind == FaultIndex || f.Kind == FaultAborted || f.Kind == FaultSide
}
