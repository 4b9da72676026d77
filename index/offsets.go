package index

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Offsets maps offsets to file positions: Kafka's .index.
type Offsets struct{ Table }

// Init makes the index active and empty.
func (o *Offsets) Init(home Home) { o.init(home, OffsetKind) }

// InitSealed makes the index a sealed one with these contents; nothing is read before the first look-up.
func (o *Offsets) InitSealed(home Home, sum Sum) { o.initSealed(home, OffsetKind, sum) }

// Around is where an offset may be found. Positions that are not known are -1.
type Around struct {
	// Offset and Pos are the floor entry: the batch at Pos ends with Offset. Without one, Offset is -1 and Pos is 0.
	Offset, Pos int64
	// After is the position of the next entry, Beyond of the one after it: the batch that holds the offset starts in [Pos, After] and ends
	// at or before Beyond.
	After, Beyond int64
	// AfterOffset is the last offset of the batch at After.
	AfterOffset int64
}

func offsetKey(entry []byte) int64   { return int64(int32(binary.BigEndian.Uint32(entry))) }
func positionKey(entry []byte) int64 { return int64(int32(binary.BigEndian.Uint32(entry[4:]))) }

func floorOffset(entries []byte, target int64) int {
	return floor32(entries, OffsetEntrySize, 0, target)
}
func floorPosition(entries []byte, target int64) int {
	return floor32(entries, OffsetEntrySize, 4, target)
}

// Add appends the entry of a batch whose last offset is offset and which starts at byte pos. ErrFull if either does not fit 32 bits,
// ErrOrder if they do not rise (I1).
func (o *Offsets) Add(offset, pos int64) error {
	rel := offset - o.home.BaseOffset()
	if rel < 0 || rel > math.MaxInt32 || pos < 0 || pos > math.MaxInt32 {
		return fmt.Errorf("%w: offset %d position %d in the segment at %d", ErrFull, offset, pos, o.home.BaseOffset())
	}
	if last := o.Bytes(); len(last) > 0 {
		last = last[len(last)-OffsetEntrySize:]
		if rel <= offsetKey(last) || pos <= positionKey(last) {
			return fmt.Errorf("%w: offset %d position %d", ErrOrder, offset, pos)
		}
	}
	var entry [OffsetEntrySize]byte
	binary.BigEndian.PutUint32(entry[:], uint32(rel))
	binary.BigEndian.PutUint32(entry[4:], uint32(pos))
	o.add(entry[:])
	return nil
}

// Around finds the last entry with an offset at most offset and its followers.
func (o *Offsets) Around(offset int64) (Around, error) {
	stretch, i, err := o.entries(offset-o.home.BaseOffset(), order{offsetKey, floorOffset})
	return o.around(stretch, i), err
}

// AtPos finds the last entry with a position at most pos and its followers.
func (o *Offsets) AtPos(pos int64) (Around, error) {
	stretch, i, err := o.entries(pos, order{positionKey, floorPosition})
	return o.around(stretch, i), err
}

func (o *Offsets) around(stretch []byte, i int) Around {
	a := Around{Offset: -1, After: -1, Beyond: -1, AfterOffset: -1}
	if i >= 0 {
		entry := stretch[i*OffsetEntrySize:]
		a.Offset, a.Pos = o.home.BaseOffset()+offsetKey(entry), positionKey(entry)
	}
	if at := (i + 1) * OffsetEntrySize; at < len(stretch) {
		a.After, a.AfterOffset = positionKey(stretch[at:]), o.home.BaseOffset()+offsetKey(stretch[at:])
	}
	if at := (i + 2) * OffsetEntrySize; at < len(stretch) {
		a.Beyond = positionKey(stretch[at:])
	}
	return a
}

// Last is the last entry; ok is false when there is none.
func (o *Offsets) Last() (offset, pos int64, ok bool, err error) {
	a, err := o.Around(math.MaxInt64)
	return a.Offset, a.Pos, a.Offset >= 0 && err == nil, err
}

// Truncate drops the entries of an active index whose offset is at or above offset.
func (o *Offsets) Truncate(offset int64) {
	o.cut(int64(floorOffset(o.Bytes(), offset-o.home.BaseOffset()-1)+1) * OffsetEntrySize)
}

// ParseOffset reads an entry of an offset index, the first 8 bytes of entry, of a segment at base: the last offset of a batch and the
// position where the batch begins.
func ParseOffset(entry []byte, base int64) (offset, pos int64) {
	return base + offsetKey(entry), positionKey(entry)
}
