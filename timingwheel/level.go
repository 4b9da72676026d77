package timingwheel

import "math/bits"

const (
	slotBits  = 6 // 64 slots a level: their occupancy fits one machine word
	slots     = 1 << slotBits
	slotMask  = slots - 1
	maxLevels = (64 + slotBits - 1) / slotBits // enough for every int64
)

// level is a ring of slots of one width: 64^k ticks at level k. Its slots lie in the one slot of the next level that
// holds the present.
type level[T any] struct {
	wheel    *Wheel[T]
	depth    uint8
	occupied uint64 // bit i: slot i has entries (I2)
	slots    [slots]slot[T]
}

func newLevel[T any](w *Wheel[T], depth int) *level[T] {
	l := &level[T]{wheel: w, depth: uint8(depth)}
	for i := range l.slots {
		l.slots[i] = slot[T]{wheel: w, level: l, index: uint8(i)}
	}
	return l
}

func (l *level[T]) mark(i uint8) {
	l.occupied |= 1 << i
	l.wheel.busy |= 1 << l.depth
}

func (l *level[T]) clear(i uint8) {
	l.occupied &^= 1 << i
	if l.occupied == 0 {
		l.wheel.busy &^= 1 << l.depth
	}
}

// first is the earliest slot with entries; there must be one. Slots are never left behind with entries in them
// (I3), so the lowest bit is the earliest.
func (l *level[T]) first() *slot[T] { return &l.slots[bits.TrailingZeros64(l.occupied)] }

// start is the first tick of a slot, in the wheel's unsigned form.
func (s *slot[T]) start(now uint64) uint64 {
	shift := uint(s.level.depth) * slotBits
	return now>>shift&^slotMask<<shift | uint64(s.index)<<shift
}

// depthOf is the level for a deadline: that of the highest digit, to the base 64, in which it differs from now.
func depthOf(now, due uint64) int {
	return (bits.Len64((now^due)|1) - 1) / slotBits
}
