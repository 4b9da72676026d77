package log

import (
	"fmt"
	"math/bits"
)

// offsetMap remembers the newest offset of each key within a bounded amount of memory, as Apache Kafka's
// SkimpyOffsetMap does: open addressing, no deletes, keys told apart by their hash alone (keyhash.go says why
// that may be). An entry is the two halves of the hash and the offset plus one, so that zero is an empty slot;
// where a [Strategy] ranks records, their version too. The map takes memory by the keys that it holds: it grows
// as they come.
type offsetMap struct {
	hash  keyHash
	table []uint64
	width int // words of an entry
	slots int
	limit int // the most entries before it must grow
	n     int
	most  int    // slots that memory has room for
	need  int    // slots that hold all keys there can be
	seen  uint64 // of fetch, for nobody
	// latest is the last offset that the map has covered, below the first when there is none.
	latest int64
}

const (
	entryWords = 3 // and one more for a version
	entryBytes = 8 * entryWords
	// mapLoad is how full the map may be when it can grow no more (Kafka's log.cleaner.io.buffer.load.factor),
	// easyLoad until then: the fuller, the longer the search for an empty slot.
	mapLoad  = 0.9
	easyLoad = 0.75
	// atOnceSlots is how large a map may be that is made as large as it can get, firstSlots how large others begin, and
	// growth by how much they grow at a time.
	atOnceSlots = 16 * firstSlots
	firstSlots  = 4096
	growth      = 2
	// DefaultMapMemory is how many bytes the offset map of a compaction may take (log.cleaner.dedupe.buffer.size).
	DefaultMapMemory = 128 << 20
)

// newOffsetMap makes a map for at most so many keys within memory bytes.
func newOffsetMap(memory, keys int64, versioned bool) (*offsetMap, error) {
	m := &offsetMap{hash: newKeyHash(), width: entryWords, latest: -1}
	if versioned {
		m.width++
	}
	m.most = int(min(memory/int64(8*m.width), 1<<40))
	m.need = m.most
	if need := float64(max(keys, 1))/mapLoad + 2; float64(m.most) > need {
		m.need = int(need)
	}
	if int(float64(m.most)*mapLoad) < 1 {
		return nil, fmt.Errorf("log: %d bytes are too few for an offset map", memory)
	}
	first := m.need
	if first > atOnceSlots {
		first = firstSlots
	}
	m.resize(first)
	return m, nil
}

// bytes is the memory that the map takes.
func (m *offsetMap) bytes() int64 { return 8 * int64(len(m.table)) }

// resize makes an empty table.
func (m *offsetMap) resize(slots int) {
	m.slots, m.table = slots, make([]uint64, slots*m.width)
	m.limit = int(float64(slots) * easyLoad)
	if m.next() <= slots {
		m.limit = int(float64(slots) * mapLoad)
	}
}

// next is how many slots the map may grow to, beside the table that it has: never more than memory allows for
// both. Where a further growth would end with less than three quarters of the memory in use, this one is the last.
func (m *offsetMap) next() int {
	next := growth * m.slots
	if m.most < 4*next {
		next = m.most - m.slots
	}
	return min(next, m.need)
}

// full reports whether no further entry may be made.
func (m *offsetMap) full() bool {
	if m.n < m.limit {
		return false
	}
	next := m.next()
	if next <= m.slots {
		return true
	}
	old := m.table
	m.resize(next)
	for len(old) > 0 {
		if old[2] != 0 {
			entry, _ := m.find(old[0], old[1])
			copy(entry, old[:m.width])
		}
		old = old[m.width:]
	}
	return m.n >= m.limit
}

// get returns the newest offset of a key; ok is false for a key that the map does not have.
func (m *offsetMap) get(k *mapKey) (offset int64, ok bool) {
	entry, found := m.find(k.first, k.second)
	if !found {
		return 0, false
	}
	return int64(entry[2]) - 1, true
}

// put notes a record unless the map has one of the same key with a higher version. The caller has seen to it
// that the map is not full.
func (m *offsetMap) put(k *mapKey) {
	entry, found := m.find(k.first, k.second)
	switch {
	case !found:
		entry[0], entry[1] = k.first, k.second
		m.n++
	case m.width > entryWords && k.version < int64(entry[entryWords]):
		return
	}
	entry[2] = uint64(k.offset + 1)
	if m.width > entryWords {
		entry[entryWords] = uint64(k.version)
	}
}

// mapKey is what the map is asked about one record.
type mapKey struct {
	first, second   uint64 // the hash of its key
	offset, version int64
	index           int // among the records read of its batch
	tombstone       bool
}

// fetch reads the slots of all keys in the list, so that the memory they lie in is there when they are asked for
// one by one: the processor waits for many at a time instead of for one after the other.
func (m *offsetMap) fetch(list []mapKey) {
	seen := uint64(0)
	for i := range list {
		at := m.home(list[i].first, list[i].second)
		seen |= m.table[at] | m.table[at+2]
	}
	m.seen = seen
}

// home is where in the table the search for a hash begins.
func (m *offsetMap) home(first, second uint64) int {
	slot, _ := bits.Mul64(spread(first, second), uint64(m.slots))
	return int(slot) * m.width
}

// find returns the entry of a hash, or the empty slot where it belongs: there is always one.
func (m *offsetMap) find(first, second uint64) (entry []uint64, found bool) {
	for at := m.home(first, second); ; {
		entry = m.table[at : at+m.width]
		if entry[2] == 0 {
			return entry, false
		}
		if entry[0] == first && entry[1] == second {
			return entry, true
		}
		if at += m.width; at == len(m.table) {
			at = 0
		}
	}
}
