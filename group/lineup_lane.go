package group

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// lane is the records of one key that are not finished, and what its limits know of it.
type lane struct {
	key    string
	n      int     // slots that are not finished
	slots  []*slot // with keys in order: all of them
	flying int

	// With limits per key: what is available. The head is in ready, or in waiting until the bucket has a token; nil while as many of the key
	// fly as may. Those behind it come by priority and arrival.
	head   *slot
	behind slotHeap
	bucket bucket
	index  int       // in the heap of resting lanes, 0 outside
	rests  time.Time // in there: until when
}

// laneOf gives the lane of a key.
func (l *lineup) laneOf(key []byte, now time.Time) *lane {
	l.clear(now)
	name := laneName(key)
	ln := l.lanes[name]
	if ln == nil {
		ln = &lane{key: name, behind: newSlots(byPriority)}
		l.lanes[ln.key] = ln
	}
	return ln
}

// longestName is how long a key may be that is kept as it is; longer ones, which could fill the memory, are kept by their SHA-256.
const longestName = 64

func laneName(key []byte) string {
	if len(key) < longestName {
		return string(key)
	}
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:]) // of longestName bytes: no key that is kept as it is has that many
}

func byPriority(a, b *slot) bool {
	if a.line.priority != b.line.priority {
		return a.line.priority > b.line.priority
	}
	return byArrival(a, b)
}

// take takes in a slot; true when it may be admitted.
func (ln *lane) take(s *slot, ordered bool) bool {
	ln.n++
	s.line.lane = ln
	if !ordered {
		return true
	}
	ln.slots = append(ln.slots, s)
	return ln.slots[0] == s
}

// drop lets a slot go. It gives the one whose turn it is by that, with keys in order.
func (ln *lane) drop(s *slot) (first *slot) {
	ln.n--
	i := slices.Index(ln.slots, s)
	if i != 0 {
		if i > 0 {
			ln.slots = slices.Delete(ln.slots, i, i+1)
		}
		return nil
	}
	ln.slots[0] = nil
	ln.slots = ln.slots[1:]
	if len(ln.slots) == 0 {
		return nil
	}
	return ln.slots[0]
}

// hold puts an available slot among those that wait for their key's limits.
func (l *lineup) hold(s *slot) {
	l.put(s, placeHeld)
	s.line.lane.behind.push(s)
}

// promote sees that a lane's head is the slot whose turn it is, and where it belongs.
func (l *lineup) promote(ln *lane, now time.Time) {
	if ln == nil || ln.behind.Len() == 0 || !l.limits.keyRoom(ln.flying) {
		return
	}
	old := ln.head
	if old != nil && !ln.behind.Less(ln.behind.First(), old) {
		return
	}
	ln.head = ln.behind.Pop()
	if at := ln.bucket.next(l.limits.keyRate); at.After(now) {
		l.pushWaiting(ln.head, at, placeHeld)
	} else {
		l.put(ln.head, placeReady)
		l.ready.push(ln.head)
	}
	if old != nil { // after its successor came: their tenant, if they have the same, keeps its turn
		l.leave(old)
		l.hold(old)
	}
}

// forget lets go of a lane without slots, at once or when its bucket is full.
func (l *lineup) forget(ln *lane, now time.Time) {
	if ln.n > 0 || ln.index > 0 {
		return
	}
	if ln.bucket.isFull(now) {
		delete(l.lanes, ln.key)
		return
	}
	ln.rests = ln.bucket.full
	l.resting.Push(ln)
}

// clear lets go of the lanes whose buckets have become full. It comes with new records and needs no timer: what it leaves are keys that were
// delivered before the queue fell idle. A lane that was used meanwhile stays where it is, and is put back when its turn comes too early.
func (l *lineup) clear(now time.Time) {
	for l.resting.Len() > 0 && !l.resting.First().rests.After(now) {
		l.forget(l.resting.Pop(), now)
	}
}
