package record

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
)

// Size returns the size of the batch that begins at head, told by its first 17
// bytes. Fewer bytes give ErrIncomplete. A length below the smallest legal one,
// or another version of the format, gives a *CorruptError. The size is at most
// 2^31+11; the caller compares it with a limit of its own before allocating.
func Size(head []byte) (int, error) {
	if len(head) < prefixSize {
		return 0, ErrIncomplete
	}
	length := be32(head, posLength)
	if length < minLength {
		return 0, corruptPrefix(head, posLength, fmt.Sprintf("length %d is below %d", length, minLength))
	}
	if magic := int8(head[posMagic]); magic != Magic {
		return 0, corruptPrefix(head, posMagic, fmt.Sprintf("magic %d instead of %d", magic, Magic))
	}
	size := int64(length) + LogOverhead
	if size > math.MaxInt {
		return 0, corruptPrefix(head, posLength, fmt.Sprintf("length %d is beyond this machine", length))
	}
	return int(size), nil
}

func corruptPrefix(head []byte, pos int, reason string) error {
	return &CorruptError{BaseOffset: int64(binary.BigEndian.Uint64(head)), Pos: pos, Reason: reason}
}

// First returns the batch at the start of run, as a part of run. ErrIncomplete
// tells that run ends inside it. Length and version are judged as by Size; the
// other fields and the checksum are not: see Batch.Check.
func First(run []byte) (Batch, error) {
	size, err := Size(run)
	if err != nil {
		return nil, err
	}
	if size > len(run) {
		return nil, ErrIncomplete
	}
	return Batch(run[:size:size]), nil
}

// Batches iterates over the batches of a run of bytes, each as First returns it.
// After the last whole batch it yields nothing if run ended there, otherwise one
// nil batch with the error of First.
func Batches(run []byte) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for len(run) > 0 {
			b, err := First(run)
			if !yield(b, err) || err != nil {
				return
			}
			run = run[len(b):]
		}
	}
}
