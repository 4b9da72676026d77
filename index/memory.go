package index

import (
	"hash/maphash"
	"sync"
)

// What was found out about a place in a segment, as where records begin in a large batch, is remembered within the same budget as tables, and
// gives way as they do.
const (
	memoShards = 16
	memoBytes  = 160 // what an entry costs beside its value: the memo, its place in the map and in the ring
)

// place is a position in a segment. That a segment is gone, or was cut, is told by another Mapping: what is remembered under the old one is
// asked for no more, and gives way.
type place struct {
	of  Mapping
	pos int64
}

// memo is one thing remembered.
type memo struct {
	books
	at    place
	bytes int64
	value any
	shard *memoShard
}

type memoShard struct {
	mu sync.RWMutex
	at map[place]*memo
}

func (m *memo) size() int64 { return m.bytes }

func (m *memo) drop() {
	m.shard.mu.Lock()
	defer m.shard.mu.Unlock()
	delete(m.shard.at, m.at)
}

// memory is what is remembered. The zero value is empty.
type memory [memoShards]memoShard

var memoSeed = maphash.MakeSeed()

func (m *memory) shard(at place) *memoShard { return &m[maphash.Comparable(memoSeed, at)%memoShards] }

// Remember keeps a value of so many bytes about a place in a segment, in place of an earlier one, until others need the room. A nil *Budget
// keeps nothing.
func (b *Budget) Remember(of Mapping, pos int64, value any, bytes int64) {
	if b == nil || of == 0 || bytes+memoBytes > b.limit {
		return
	}
	at := place{of, pos}
	m := &memo{at: at, bytes: bytes + memoBytes, value: value, shard: b.memory.shard(at)}
	b.mu.Lock()
	defer b.mu.Unlock()
	m.shard.mu.RLock()
	old := m.shard.at[at]
	m.shard.mu.RUnlock()
	if old != nil {
		old.drop()
		b.removeLocked(old)
	}
	m.shard.mu.Lock()
	if m.shard.at == nil {
		m.shard.at = map[place]*memo{}
	}
	m.shard.at[at] = m
	m.shard.mu.Unlock()
	b.enterLocked(m)
}

// Recall gives what is remembered about a place, nil if nothing is.
func (b *Budget) Recall(of Mapping, pos int64) any {
	if b == nil || of == 0 {
		return nil
	}
	s := b.memory.shard(place{of, pos})
	s.mu.RLock()
	m := s.at[place{of, pos}]
	s.mu.RUnlock()
	if m == nil {
		return nil
	}
	m.use()
	return m.value
}
