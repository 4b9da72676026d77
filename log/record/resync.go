package record

import "bytes"

// Resync returns the first position at or after from at which a valid batch
// begins (Check passes), or -1. It is for reading on behind damage: bytes that
// merely look like a batch are passed over, because their checksum fails. Cheap
// tests come first, so that a run of damage costs little more than one pass.
func Resync(run []byte, from int) int {
	for pos := max(from, 0); pos+HeaderSize <= len(run); pos++ {
		skip := bytes.IndexByte(run[pos+posMagic:len(run)-(HeaderSize-posMagic)+1], Magic)
		if skip < 0 {
			return -1
		}
		pos += skip
		if b := plausible(run[pos:]); b != nil && b.Check() == nil {
			return pos
		}
	}
	return -1
}

// plausible returns the batch at the start of p if its header is valid.
func plausible(p []byte) Batch {
	if p[posBaseOffset]&0x80 != 0 || p[posLength]&0x80 != 0 || p[posAttributes] != 0 {
		return nil
	}
	b, err := First(p)
	if err != nil || b.CheckHeader() != nil {
		return nil
	}
	return b
}
