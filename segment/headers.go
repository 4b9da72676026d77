package segment

import (
	"encoding/binary"
	"io"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// In the unsynced tail a batch whose header alone is damaged is no torn write: its checksum says that the rest is whole. Recovery puts such a
// header right where nothing but one place in the log fits, so that what lies behind is not cut off with it.

// trailingZeros is how many zeros a batch at the end of the file may end with, for its length to be found.
const trailingZeros = 64

// righted gives the batch at pos with its header put right, for which next is the offset due; nil when there is none. end is behind the last
// byte of the file that is not zero, size that of the file. dense says that no offset is left out.
func (s *Segment) righted(f vfs.File, pos, next, end, size int64, dense bool) (record.Batch, error) {
	at, behind, err := s.resync(f, pos+1, size, next+1, s.ceiling(), size)
	switch {
	case err == io.EOF || err == errLimit:
		at, behind = min(end+trailingZeros, size), nil
	case err != nil:
		return nil, err
	}
	if at-pos > 2*s.cfg.maxBatch()+scanBytes || at-pos < record.HeaderSize {
		return nil, nil
	}
	data := make([]byte, at-pos)
	if n, err := f.ReadAt(data, pos); n < len(data) {
		return nil, err
	}
	for _, n := range lengths(data) {
		if b := withHeader(data[:n], next); b != nil {
			return s.placed(b, record.Batch(data), behind, dense), nil
		}
	}
	return nil, nil
}

// lengths are those that the batch at the begin of data may have: the one it claims, all of data, or without most of the zeros at the end.
func lengths(data []byte) (list []int) {
	if claimed := int64(binary.BigEndian.Uint32(data[8:])) + 12; claimed >= record.HeaderSize && claimed < int64(len(data)) {
		list = append(list, int(claimed))
	}
	n := len(data)
	for n > 0 && data[n-1] == 0 {
		n--
	}
	for n = max(n, record.HeaderSize); n < len(data) && len(list) <= trailingZeros; n++ {
		list = append(list, n)
	}
	return append(list, len(data))
}

// withHeader is a copy of data with the base offset, its own length and the magic byte of a batch; nil when its checksum then does not fit.
func withHeader(data []byte, base int64) record.Batch {
	b := record.Batch(append([]byte(nil), data...))
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	if b.Check() != nil {
		return nil
	}
	return b
}

// placed decides on the base offset of a batch that has been given the one that is due. It holds if the batch behind goes on from there; else only
// the batch's own does, where that fits and its header was damaged elsewhere: a sound batch of other offsets may have come here by other ways.
func (s *Segment) placed(b, was, behind record.Batch, dense bool) record.Batch {
	due, own, limit := b.BaseOffset(), was.BaseOffset(), s.ceiling()
	if behind != nil {
		limit = behind.BaseOffset()
	}
	if limit == b.NextOffset() && behind != nil {
		return b
	}
	same := was.Magic() == 2 && binary.BigEndian.Uint32(was[8:]) == binary.BigEndian.Uint32(b[8:])
	if same || own < due || own > due && dense || own > limit-int64(b.LastOffsetDelta())-1 {
		return nil
	}
	b.SetBaseOffset(own)
	return b
}

// headerFix is what the first bytes of a batch should be.
type headerFix struct {
	pos  int64
	head [17]byte
}

// rightedFile shows a file with headers put right, where it must not be written.
type rightedFile struct {
	vfs.File
	fixes []headerFix
}

// ReadAt reads the file as it should be.
func (f *rightedFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	for i := range f.fixes {
		fix := &f.fixes[i]
		if from := fix.pos - at; from < int64(n) && from+int64(len(fix.head)) > 0 {
			copy(p[max(from, 0):n], fix.head[max(-from, 0):])
		}
	}
	return n, err
}
