package topic

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// delayKey is the place of a delayed message in the order of delivery: by due time, then by level and offset. All
// keys differ.
type delayKey struct {
	due    int64 // ms since the epoch
	offset int64 // of its record within the level's partition
	level  uint8
}

// endOfTime is above every key.
func endOfTime() delayKey {
	return delayKey{due: math.MaxInt64, offset: math.MaxInt64, level: math.MaxUint8}
}

func (k delayKey) compare(o delayKey) int {
	return cmp.Or(cmp.Compare(k.due, o.due), cmp.Compare(k.level, o.level), cmp.Compare(k.offset, o.offset))
}

func (k delayKey) before(o delayKey) bool { return k.compare(o) < 0 }

// after is the least key above k.
func (k delayKey) after() delayKey { k.offset++; return k }

// delayItem is a delayed message as memory holds it.
type delayItem struct {
	delayKey
	target uint32 // index into delays.targets
}

func sortItems(list []delayItem) {
	slices.SortFunc(list, func(a, b delayItem) int { return a.compare(b.delayKey) })
}

// The levels: level 0 takes delays below a minute, each further one delays up to eight times as long, the last one
// everything beyond 30 years.
const (
	delayLevels   = 11
	levelBits     = 3
	firstLevel    = time.Minute
	delayParts    = 1 + delayLevels // partition 0 holds the progress
	progressPart  = 0
	nearMost      = 1 << 16 // messages a level holds in memory after loading; twice as many make it shed the later half
	roundMost     = 1 << 12 // messages delivered at once
	chunkRecords  = 1 << 12 // records of a level that are given up together
	lookAtClock   = 5 * time.Minute
	delayBackoff  = 100 * time.Millisecond
	delayPatience = 30 * time.Second // longest wait before a refused delivery is tried again
)

// levelOf is the level for a delay.
func levelOf(delay time.Duration) uint8 {
	n := uint64(max(delay, 0) / firstLevel)
	return uint8(min((bits.Len64(n)+levelBits-1)/levelBits, delayLevels-1))
}

// levelPart is the partition of a level.
func levelPart(level uint8) int32 { return int32(level) + 1 }

// selection is the soonest messages of a scan, at most so many that memory stays bounded.
type selection struct {
	from  delayKey // none below
	skip  reach    // none within
	only  *reach   // if not nil: none outside
	most  int
	cut   delayKey // none at or above: there was no room
	items []delayItem
	gone  map[delayKey]struct{} // cancelled, not yet taken out of items
}

// newSelection selects from a key on what is not settled.
func newSelection(from delayKey, settled reach, most int) *selection {
	if from.before(settled.bound) {
		from = settled.bound
	}
	return &selection{from: from, skip: settled, most: most, cut: endOfTime(), gone: map[delayKey]struct{}{}}
}

// wants tells whether a key may still be part of it.
func (s *selection) wants(k delayKey) bool {
	return !k.before(s.from) && k.before(s.cut) && !s.skip.has(k) && (s.only == nil || s.only.has(k))
}

func (s *selection) add(it delayItem) {
	if s.wants(it.delayKey) {
		s.items = append(s.items, it)
		if len(s.items) >= 2*s.most {
			s.shrink()
		}
	}
}

// cancel takes a key out. A cancellation always comes after its message.
func (s *selection) cancel(k delayKey) {
	if s.wants(k) {
		s.gone[k] = struct{}{}
		if len(s.gone) >= s.most {
			s.shrink()
		}
	}
}

// shrink sorts what there is and drops what is cancelled or has no room.
func (s *selection) shrink() {
	if len(s.gone) > 0 {
		s.items = slices.DeleteFunc(s.items, func(it delayItem) bool { _, ok := s.gone[it.delayKey]; return ok })
		clear(s.gone)
	}
	sortItems(s.items)
	if len(s.items) > s.most {
		s.cut = s.items[s.most].delayKey
		s.items = s.items[:s.most]
	}
}
