package group

import (
	"time"

	"github.com/quirelog/quire/internal/heap"
	"github.com/quirelog/quire/topic"
)

// A lineup says which record of a queue is next. It is pure, as the machines of the partitions are whose slots stand in it.
//
//	             time is up               its turn
//	waiting -----------------> ready -----------------> flying
//	   ^                       ^   ^                       |
//	   | to be tried later     |   | first of its key, and |
//	   |                       |   | its key's limits have |
//	   |                       |   | room for it           |
//	   +-----------------------+---+-----------------------+  finished: the next of its key moves up
//
//	L1  A slot is in at most one heap, and its place says in which.
//	L2  With keys in order, a slot is in a heap, or flying, only while it is the first of its key.
//	L3  What is dead leaves first. Ready slots leave by priority, then by turns of the tenants, then in the order in which they came in.
//	L4  No more fly, of all and of each key, than the limits allow, and none begins before there is a token for it. Of the slots that a
//	    limit of their key holds back, the first one waits at the lane's head, the others behind it: a busy key costs no more than an idle one.
//	L5  A lane is remembered while a slot of its key is not finished, or its bucket is not full.
//	L6  A slot under suspicion begins when no other flies, and none begins while it flies, but for those that have flown for longer than quiet.
type lineup struct {
	ready   readyLine
	dead    slotHeap // to be archived, by arrival
	waiting slotHeap // by time: of leases, of records to be tried again, of heads of lanes without a token
	lanes   map[string]*lane
	resting heap.Heap[*lane] // lanes that are remembered for their buckets
	limits  limits
	bucket  bucket // of limits.rate
	flying  int
	last    *slot         // the last one that was taken to be delivered
	began   time.Time     // when
	quiet   time.Duration // how long one that flies alone, or is to, keeps others waiting at most
	arrival uint64
	places  [placesEnd]int // how many slots are where
}

// place is where in a lineup a slot is.
type place int8

const (
	placeNone    place = iota // behind the first of its key, flying without a lease, or finished
	placeReady                // in ready
	placeDead                 // in dead
	placeLeased               // in waiting, until its lease ends
	placeResting              // in waiting, until it is tried again
	placeHeld                 // held back by a limit of its key: behind the head of its lane, or the head, in waiting
	placeParked               // in waiting, until its dead letter is tried again
	placesEnd
)

// lineFields is a slot's place in a lineup.
type lineFields struct {
	in       *slotHeap // the heap that it is in, or was in last
	index    int       // in there, from 1; 0 outside
	place    place
	at       time.Time // in waiting: when its time is up
	arrival  uint64
	priority int
	tenant   string
	turn     *tenantLine // in ready
	flying   bool        // taken, and neither admitted nor finished since
	alone    bool        // under suspicion when it was admitted
	lane     *lane
	stall    *stall        // of the queue that the slot belongs to
	rec      *topic.Record // while its bytes are kept in memory
	born     int64         // the record's time, in ms
	mailing  chan struct{} // closed when its dead letter, which is under way, has come to its end
}

func newLineup() *lineup {
	l := &lineup{lanes: map[string]*lane{}}
	l.ready.levels = map[int]*level{}
	l.ready.order = heap.New(func(a, b *level) bool { return a.priority > b.priority }, func(lv *level) *int { return &lv.index })
	l.resting = heap.New(func(a, b *lane) bool { return a.rests.Before(b.rests) }, func(ln *lane) *int { return &ln.index })
	l.dead = newSlots(byArrival)
	l.waiting = newSlots(func(a, b *slot) bool { return a.line.at.Before(b.line.at) })
	return l
}

func byArrival(a, b *slot) bool { return a.line.arrival < b.line.arrival }

// enter takes in a record that was filled. A nil key has neither order nor limits.
func (l *lineup) enter(s *slot, key []byte, ordered bool, priority int, now time.Time) {
	l.arrival++
	s.line.arrival, s.line.priority = l.arrival, priority
	if key != nil && (ordered || l.limits.perKey()) {
		if !l.laneOf(key, now).take(s, ordered) {
			return
		}
	}
	l.admit(s, now)
}

// admit puts an available slot whose turn in its key it is where it belongs.
func (l *lineup) admit(s *slot, now time.Time) {
	l.land(s)
	l.leave(s)
	s.line.alone = s.share.suspect(s)
	switch {
	case s.due.After(now):
		l.pushWaiting(s, s.due, placeResting)
	case s.dead != deadNot:
		where := placeDead
		if s.refusal != nil {
			where = placeParked
		}
		l.put(s, where)
		l.dead.push(s)
	case s.line.lane == nil || !l.limits.perKey():
		l.put(s, placeReady)
		l.ready.push(s)
	default:
		l.hold(s)
	}
	l.promote(s.line.lane, now)
}

// wait lets the end of a slot's lease be told by due.
func (l *lineup) wait(s *slot, at time.Time) {
	l.leave(s)
	l.pushWaiting(s, at, placeLeased)
}

func (l *lineup) pushWaiting(s *slot, at time.Time, where place) {
	l.put(s, where)
	s.line.at = at
	l.waiting.push(s)
}

// put notes a slot's place.
func (l *lineup) put(s *slot, where place) {
	l.places[s.line.place]--
	l.places[where]++
	s.line.place = where
}

// leave takes a slot out of the heap that it is in.
func (l *lineup) leave(s *slot) {
	switch {
	case s.line.index == 0:
	case s.line.turn != nil:
		l.ready.remove(s)
	default:
		s.line.in.Remove(s)
	}
	if ln := s.line.lane; ln != nil && ln.head == s {
		ln.head = nil
	}
	l.put(s, placeNone)
}

// land ends a slot's flight.
func (l *lineup) land(s *slot) {
	if !s.line.flying {
		return
	}
	s.line.flying = false
	l.flying--
	if s.line.lane != nil {
		s.line.lane.flying--
	}
}

// able tells whether take would give something.
func (l *lineup) able(now time.Time) bool {
	return l.dead.Len() > 0 || l.ready.n > 0 && l.limits.room(l.flying) && !l.begins().After(now)
}

// begins is when the first ready slot may begin, as far as that is a matter of time; zero is at once.
func (l *lineup) begins() time.Time {
	at := l.bucket.next(l.limits.rate)
	if l.flying > 0 && (l.ready.peek().line.alone || l.last.line.flying && l.last.line.alone) {
		if until := l.began.Add(l.quiet); until.After(at) {
			return until
		}
	}
	return at
}

// take gives the next slot whose turn it is, nil if there is none. What is dead does not count for the limits.
func (l *lineup) take(now time.Time) *slot {
	switch {
	case l.dead.Len() > 0:
		s := l.dead.Pop()
		l.put(s, placeNone)
		return s
	case !l.able(now):
		return nil
	}
	s := l.ready.pop()
	l.put(s, placeNone)
	s.line.flying = true
	l.flying++
	l.last, l.began = s, now
	l.bucket.take(l.limits.rate, now)
	if ln := s.line.lane; ln != nil {
		ln.flying++
		ln.bucket.take(l.limits.keyRate, now)
		if ln.head == s {
			ln.head = nil
		}
		l.promote(ln, now)
	}
	return s
}

// refund gives back the tokens of a slot that was taken and not delivered.
func (l *lineup) refund(s *slot) {
	l.bucket.refund(l.limits.rate)
	if s.line.lane != nil {
		s.line.lane.bucket.refund(l.limits.keyRate)
	}
}

// due takes out the next slot whose time is up, nil if there is none.
func (l *lineup) due(now time.Time) *slot {
	if l.waiting.Len() == 0 || l.waiting.First().line.at.After(now) {
		return nil
	}
	s := l.waiting.Pop()
	l.put(s, placeNone)
	return s
}

// next is when something changes by time alone, zero if nothing does: a slot's time is up, or one that is ready may begin.
func (l *lineup) next() (at time.Time) {
	if l.waiting.Len() > 0 {
		at = l.waiting.First().line.at
	}
	if l.ready.n > 0 && l.limits.room(l.flying) {
		if begins := l.begins(); !begins.IsZero() && (at.IsZero() || begins.Before(at)) {
			at = begins
		}
	}
	return at
}

// finished lets go of a slot whose record is finished, and the next of its key move up.
func (l *lineup) finished(s *slot, now time.Time) {
	l.land(s)
	l.leave(s)
	ln := s.line.lane
	if ln == nil {
		return
	}
	s.line.lane = nil
	if first := ln.drop(s); first != nil {
		l.admit(first, now)
		return
	}
	l.promote(ln, now)
	l.forget(ln, now)
}

// park lets a dead slot wait until its dead letter is tried again, and the next of its key move up: it has no key any more.
func (l *lineup) park(s *slot, until, now time.Time) {
	l.finished(s, now)
	l.pushWaiting(s, until, placeParked)
}

// slotHeap is a heap of slots, which know where they are in it.
type slotHeap struct{ heap.Heap[*slot] }

func newSlots(less func(a, b *slot) bool) slotHeap {
	return slotHeap{heap.New(less, func(s *slot) *int { return &s.line.index })}
}

func (h *slotHeap) push(s *slot) {
	s.line.in = h
	h.Push(s)
}
