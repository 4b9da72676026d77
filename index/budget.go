package index

import (
	"sync"
	"sync/atomic"
)

// Budget bounds the memory of sealed tables that were read in, and of what is remembered ([Budget.Remember]); one is shared by all logs of an
// engine. The tables of active segments are not counted: they cannot be given back. A nil *Budget is unlimited and keeps no books. All methods
// may be called at once.
type Budget struct {
	limit int64
	used  atomic.Int64

	mu sync.Mutex
	// ring holds what is in memory in no particular order; hand goes round it and gives what was used since its last visit a
	// second chance. That approximates least-recently-used without a write to shared memory on each look-up.
	ring []held // guarded by mu
	hand int    // guarded by mu

	memory memory

	positions BatchPositions
	lent      atomic.Int64
}

// held is something in memory that is counted and may be dropped, with the budget's mutex held.
type held interface {
	size() int64
	drop()
	book() *books
}

// books are the Budget's of one held, guarded by its mutex, except used.
type books struct {
	slot    int
	counted bool
	used    atomic.Bool
}

func (k *books) book() *books { return k }

// use notes a use, with a write only if it is the first since the hand's last visit.
func (k *books) use() {
	if !k.used.Load() {
		k.used.Store(true)
	}
}

// besides is which part of a budget each other use of it may take: the budget divided by it.
const besides = 4

// NewBudget makes a budget of so many bytes; 0 or less means that sealed tables are always searched in their files. [BatchPositions] may take a
// quarter more, and so may what is lent.
func NewBudget(bytes int64) *Budget {
	b := &Budget{limit: max(bytes, 0)}
	b.positions.limit = b.limit / besides
	return b
}

// Used is the number of bytes of sealed tables in memory, and of what is remembered. It never exceeds the limit.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

// Held is how many tables, and things remembered, Used counts.
func (b *Budget) Held() int {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ring)
}

// Limit is what NewBudget was given; -1 for a nil Budget.
func (b *Budget) Limit() int64 {
	if b == nil {
		return -1
	}
	return b.limit
}

// Lend counts n bytes that a segment is about to take for another purpose; false when all that is lent would be more than a quarter of the
// budget. A nil Budget lends without limit.
func (b *Budget) Lend(n int64) bool {
	if b == nil {
		return true
	}
	if b.lent.Add(n) > b.limit/besides {
		b.lent.Add(-n)
		return false
	}
	return true
}

// Return takes back what was lent.
func (b *Budget) Return(n int64) {
	if b != nil {
		b.lent.Add(-n)
	}
}

// Lent is how many bytes are lent at present.
func (b *Budget) Lent() int64 {
	if b == nil {
		return 0
	}
	return b.lent.Load()
}

// fits reports whether n more bytes could ever be in memory, and roomy whether they could without taking others' place.
func (b *Budget) fits(n int64) (ever, roomy bool) {
	if b == nil {
		return true, true
	}
	return n <= b.limit, b.used.Load()+n <= b.limit
}

// admit makes blk the block of its owner and counts it, evicting others until the limit holds. It reports false when the owner has a block
// already: then that one counts and blk is dropped.
func (b *Budget) admit(blk *block) bool {
	if b == nil {
		return blk.owner.block.CompareAndSwap(nil, blk)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !blk.owner.block.CompareAndSwap(nil, blk) {
		return false
	}
	b.enterLocked(blk)
	return true
}

// adopt counts a block that its owner has already: an active table that was just sealed. The caller keeps every other writer of the owner
// away.
func (b *Budget) adopt(blk *block) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.enterLocked(blk)
}

func (b *Budget) enterLocked(h held) {
	for b.used.Load()+h.size() > b.limit && len(b.ring) > 0 {
		b.evictLocked()
	}
	if b.used.Load()+h.size() > b.limit {
		h.drop() // too large for the whole budget
		return
	}
	k := h.book()
	k.slot, k.counted = len(b.ring), true
	b.ring = append(b.ring, h)
	b.used.Add(h.size())
}

// evictLocked drops the first that was not used since the hand's last visit. They lose that mark as the hand passes, so the second
// round finds one at the latest, unless readers are faster: then the third takes any.
func (b *Budget) evictLocked() {
	for step := 0; ; step++ {
		if b.hand >= len(b.ring) {
			b.hand = 0
		}
		victim := b.ring[b.hand]
		if victim.book().used.Swap(false) && step < 2*len(b.ring) {
			b.hand++
			continue
		}
		victim.drop()
		b.removeLocked(victim)
		b.hand++ // the last in the ring, the newest, has taken its place
		return
	}
}

// release stops counting blk. The owner keeps it.
func (b *Budget) release(blk *block) {
	if b == nil || blk == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if blk.counted {
		b.removeLocked(blk)
	}
}

func (b *Budget) removeLocked(h held) {
	k := h.book()
	last := len(b.ring) - 1
	b.ring[k.slot] = b.ring[last]
	b.ring[k.slot].book().slot = k.slot
	b.ring[last] = nil
	b.ring = b.ring[:last]
	k.counted = false
	b.used.Add(-h.size())
}
