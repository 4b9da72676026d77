package index

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Times maps timestamps to offsets: Kafka's .timeindex.
type Times struct{ Table }

// Init makes the index active and empty.
func (t *Times) Init(home Home) { t.init(home, TimeKind) }

// InitSealed makes the index a sealed one with these contents; nothing is read before the first look-up.
func (t *Times) InitSealed(home Home, sum Sum) { t.initSealed(home, TimeKind, sum) }

func timeKey(entry []byte) int64       { return int64(binary.BigEndian.Uint64(entry)) }
func timeOffsetKey(entry []byte) int64 { return int64(int32(binary.BigEndian.Uint32(entry[8:]))) }

func floorTime(entries []byte, target int64) int { return floor64(entries, TimeEntrySize, 0, target) }
func floorTimeOffset(entries []byte, target int64) int {
	return floor32(entries, TimeEntrySize, 8, target)
}

// Add appends "no record up to offset is later than timestamp", unless the last entry says as much already: a timestamp that is not
// greater is skipped. An empty index stands for (-1, base), so a segment without timestamps gets no entries. ErrFull if the offset does
// not fit 32 bits; ErrOrder if offset or timestamp is below the last entry's.
func (t *Times) Add(timestamp, offset int64) error {
	base := t.home.BaseOffset()
	rel := offset - base
	if rel < 0 || rel > math.MaxInt32 {
		return fmt.Errorf("%w: offset %d in the segment at %d", ErrFull, offset, base)
	}
	lastTime := int64(-1)
	if last := t.Bytes(); len(last) > 0 {
		last = last[len(last)-TimeEntrySize:]
		lastTime = timeKey(last)
		if rel < timeOffsetKey(last) || timestamp < lastTime {
			return fmt.Errorf("%w: timestamp %d offset %d", ErrOrder, timestamp, offset)
		}
	}
	if timestamp <= lastTime {
		return nil
	}
	var entry [TimeEntrySize]byte
	binary.BigEndian.PutUint64(entry[:], uint64(timestamp))
	binary.BigEndian.PutUint32(entry[8:], uint32(rel))
	t.add(entry[:])
	return nil
}

// Floor is the last entry with a timestamp at most timestamp; without one it is (-1, base offset).
func (t *Times) Floor(timestamp int64) (ts, offset int64, err error) {
	stretch, i, err := t.entries(timestamp, order{timeKey, floorTime})
	if err != nil || i < 0 {
		return -1, t.home.BaseOffset(), err
	}
	entry := stretch[i*TimeEntrySize:]
	return timeKey(entry), t.home.BaseOffset() + timeOffsetKey(entry), nil
}

// Last is the last entry; (-1, base offset) when there is none.
func (t *Times) Last() (ts, offset int64, err error) { return t.Floor(math.MaxInt64) }

// FloorOffset is the last entry with an offset at most offset; (-1, base offset) without one.
func (t *Times) FloorOffset(offset int64) (ts, at int64, err error) {
	base := t.home.BaseOffset()
	stretch, i, err := t.entries(offset-base, order{timeOffsetKey, floorTimeOffset})
	if err != nil || i < 0 {
		return -1, base, err
	}
	entry := stretch[i*TimeEntrySize:]
	return timeKey(entry), base + timeOffsetKey(entry), nil
}

// Truncate drops the entries of an active index whose offset is at or above offset.
func (t *Times) Truncate(offset int64) {
	t.cut(int64(floorTimeOffset(t.Bytes(), offset-t.home.BaseOffset()-1)+1) * TimeEntrySize)
}

// ParseTime reads an entry of a time index, the first 12 bytes of entry, of a segment at base: no record up to offset has a time above
// timestamp, in ms since the epoch.
func ParseTime(entry []byte, base int64) (timestamp, offset int64) {
	return timeKey(entry), base + timeOffsetKey(entry)
}
