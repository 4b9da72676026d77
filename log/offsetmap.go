package log

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math"
)

// offsetMap remembers the newest offset of each key within a fixed amount of memory: open addressing, no
// deletes, keys told apart by their MD5 alone (Apache Kafka's SkimpyOffsetMap). An entry is the hash and the
// offset plus one, so that zero is an empty slot; where a [Strategy] ranks records, their version too. The
// hash protects nothing: an attacker who finds a collision loses a record of his own.
type offsetMap struct {
	table []byte
	slots int
	width int // bytes of an entry
	limit int // the most entries, by the load factor
	n     int
	// latest is the last offset that the map has covered, below the first when there is none.
	latest int64
}

const (
	hashBytes      = md5.Size
	entryBytes     = hashBytes + 8
	versionedBytes = entryBytes + 8
	mapLoad        = 0.9 // Kafka's log.cleaner.io.buffer.load.factor
	// DefaultMapMemory is how many bytes the offset map of a compaction may take (log.cleaner.dedupe.buffer.size).
	DefaultMapMemory = 128 << 20
)

// newOffsetMap makes a map within memory bytes, and no larger than most keys need.
func newOffsetMap(memory, most int64, versioned bool) (*offsetMap, error) {
	m := &offsetMap{width: entryBytes, latest: -1}
	if versioned {
		m.width = versionedBytes
	}
	slots := memory / int64(m.width)
	if need := float64(max(most, 1))/mapLoad + 2; float64(slots) > need {
		slots = int64(need)
	}
	m.slots = int(min(slots, math.MaxInt32))
	m.limit = int(float64(m.slots) * mapLoad)
	if m.limit < 1 {
		return nil, fmt.Errorf("log: %d bytes are too few for an offset map", memory)
	}
	m.table = make([]byte, m.slots*m.width)
	return m, nil
}

// full reports whether no further entry may be made.
func (m *offsetMap) full() bool { return m.n >= m.limit }

// get returns the offset of a key, and its version; ok is false for a key that the map does not have.
func (m *offsetMap) get(key []byte) (offset, version int64, ok bool) {
	hash := md5.Sum(key)
	entry, found := m.find(&hash)
	if !found {
		return 0, 0, false
	}
	if m.width == versionedBytes {
		version = int64(binary.LittleEndian.Uint64(entry[entryBytes:]))
	}
	return int64(binary.LittleEndian.Uint64(entry[hashBytes:])) - 1, version, true
}

// put notes a record unless the map has one of the same key with a higher version. The caller has seen to it
// that the map is not full.
func (m *offsetMap) put(key []byte, offset, version int64) {
	hash := md5.Sum(key)
	entry, found := m.find(&hash)
	if entry == nil {
		return
	}
	if !found {
		copy(entry, hash[:])
		m.n++
	} else if m.width == versionedBytes && version < int64(binary.LittleEndian.Uint64(entry[entryBytes:])) {
		return
	}
	binary.LittleEndian.PutUint64(entry[hashBytes:], uint64(offset+1))
	if m.width == versionedBytes {
		binary.LittleEndian.PutUint64(entry[entryBytes:], uint64(version))
	}
}

// find returns the entry of a hash or the empty slot where it belongs, nil when there is neither.
func (m *offsetMap) find(hash *[hashBytes]byte) (entry []byte, found bool) {
	high, low := binary.LittleEndian.Uint64(hash[:]), binary.LittleEndian.Uint64(hash[8:])
	for i := range m.slots + hashBytes - 4 {
		pos := m.slot(hash, i) * m.width
		entry = m.table[pos : pos+m.width]
		if binary.LittleEndian.Uint64(entry[hashBytes:]) == 0 {
			return entry, false
		}
		if binary.LittleEndian.Uint64(entry) == high && binary.LittleEndian.Uint64(entry[8:]) == low {
			return entry, true
		}
	}
	return nil, false
}

// slot is the i-th place to look at: four bytes of the hash from byte i on, as long as it has them, then one
// slot after the other.
func (m *offsetMap) slot(hash *[hashBytes]byte, i int) int {
	probe := int32(binary.BigEndian.Uint32(hash[min(i, hashBytes-4):])) + int32(max(0, i-hashBytes+4))
	switch {
	case probe == math.MinInt32:
		probe = 0
	case probe < 0:
		probe = -probe
	}
	return int(probe) % m.slots
}
