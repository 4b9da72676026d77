package record

import "math"

// AddSequence returns seq + n, where sequence numbers run from 0 to 2^31-1 and
// then begin again at 0. Neither may be negative; NoSequence stays NoSequence.
func AddSequence(seq, n int32) int32 {
	if seq < 0 {
		return NoSequence
	}
	if seq > math.MaxInt32-n {
		return n - (math.MaxInt32 - seq) - 1
	}
	return seq + n
}

// NextSequence returns the sequence number that follows seq.
func NextSequence(seq int32) int32 { return AddSequence(seq, 1) }
