package topic

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/internal/watermark"
	"github.com/quirelog/quire/log/record"
)

// errRetired turns a Send away from a lane whose topic is gone; it never leaves the package.
var errRetired = errors.New("topic: the topic was deleted under the producer")

// lane is a producer's queue to one partition. A batch passes through it in one direction:
//
//	open (records are added) -> ready (full, lingered or flushed) -> in the sender's hands -> flight -> done
//
// Two duties work on it, each by at most one goroutine of the producer's pool at a time: the sender appends batches
// to the log, the completer waits for the disk and runs callbacks. With nothing left to append, a sender goes on as
// the completer.
//
// Invariants: L1 batches leave ready in the order they were opened and leave flight in the order they entered
// it. L2 only the sender touches batches outside open, ready and flight, and only it renumbers. L3 marks rise
// along the lane; done reaches a batch's mark after its last callback. L4 no lock is held while a callback
// runs, and none waits while holding mu. L5 a duty counts as one of the producer's workers from the moment it
// is claimed, under the lock that claims it, so that Close never finds none at work while a record waits.
type lane struct {
	p     *Producer
	route *route
	part  *Partition
	id    int32

	sendFn, completeFn laneDuty

	done  watermark.Mark
	depth atomic.Int32 // batches between open and done
	tally *tally

	mu         sync.Mutex
	open       *batch
	ready      fifo[*batch]
	flight     []*batch
	mark       int64 // of the newest batch
	accepted   int64 // records
	limit      int   // size at which a batch is full: the configured one until the log found one too large
	usual      int   // what the buffer of the last batch has grown to: the next one begins with that
	refusal    error // why no more records come in
	sending    bool
	completing bool
	rewind     bool // the sender is to take back what is in flight and send it again
	held       bool // nothing is sent until what is in flight has landed or was taken back
	renumber   bool // an outcome is unknown: the next numbers begin a new epoch
	resting    bool // the head of ready failed and waits for its next try
	timer      *time.Timer
	rest       *time.Timer

	// What overdue looks at.
	hands       *batch // the sender's
	trying      bool   // the sender is in the log
	queued      bool   // the completer has not begun
	awaiting    bool   // the completer is in the log
	turn        uint64 // of the completer's duty; a completer that comes back to another turn has lost it
	watchdog    *time.Timer
	lookedAfter bool // the watchdog is set

	// The sender's own.
	producerID int64
	epoch      int16
	sequence   int32
}

func newLane(r *route, part *Partition, id int32) *lane {
	l := &lane{p: r.p, route: r, part: part, id: id, limit: r.p.cfg.batchSize, tally: new(tally), producerID: record.NoProducer}
	l.sendFn, l.completeFn = l.send, l.complete
	return l
}

// placed tells where a record went: how many bytes it took in its batch, and whether the batch is full with it.
type placed struct {
	bytes    int
	boundary bool
}

// add encodes one record into the lane's batch.
func (l *lane) add(ctx context.Context, r *record.Record, bound int, now time.Time, cb func(Position, error)) (at placed, err error) {
	var credit int64 // memory in hand for a new batch, or for the open one to grow
	for {
		l.mu.Lock()
		if err = l.refusal; err == nil {
			if least := l.affordLocked(bound, &credit); least > 0 {
				l.mu.Unlock()
				if err := l.p.awaitMemory(ctx, least); err != nil {
					return placed{}, err
				}
				credit = least
				continue
			}
		}
		wake := false
		if err == nil {
			at, credit, err = l.addLocked(r, credit, now, cb)
			wake = l.wakeLocked()
		}
		l.mu.Unlock()
		l.wake(wake)
		if err == record.ErrFull {
			continue // the full batch has been queued, a new one needs memory
		}
		if credit > 0 {
			l.p.memory.release(credit)
		}
		return at, err
	}
}

// affordLocked takes the memory that the next record needs, for a new batch or for the open one to grow. When there is
// not as much it gives back what is in hand and returns how much is to be waited for.
func (l *lane) affordLocked(bound int, credit *int64) (wait int64) {
	least, usual := l.needLocked(bound)
	if *credit < least {
		l.p.memory.release(*credit)
		*credit = 0
		switch {
		case l.p.memory.try(usual):
			*credit = usual
		case l.p.memory.try(least):
			*credit = least
		default:
			return least
		}
	}
	if b := l.open; b != nil && least > 0 {
		b.cost, *credit = b.cost+least, *credit-least
		l.p.buffers.give(b.builder.UseBuffer(l.p.buffers.take(int(b.cost))))
	}
	return 0
}

// needLocked is the memory that the next record needs at least, and what is usual for the lane.
func (l *lane) needLocked(bound int) (least, usual int64) {
	b := l.open
	if b == nil {
		least = int64(l.p.buffers.round(bound))
		return least, max(least, int64(l.usual))
	}
	size := b.builder.Buffered() + bound - record.HeaderSize
	if size > b.limit || int64(size) <= b.cost {
		return 0, 0
	}
	least = int64(l.p.buffers.round(size)) - b.cost
	return least, least
}

// addLocked adds to the open batch, or opens one with the memory in hand. It returns what is left of that
// memory. record.ErrFull means that the full batch was queued and another one is needed.
func (l *lane) addLocked(r *record.Record, credit int64, now time.Time, cb func(Position, error)) (at placed, left int64, err error) {
	if l.open != nil {
		before := l.open.builder.Buffered()
		err := l.open.add(r, cb)
		if err == nil {
			return l.acceptedLocked(l.open, before), credit, nil
		}
		if err != record.ErrFull {
			return placed{}, credit, packFault(err, r.Timestamp)
		}
		l.queueLocked()
		return placed{}, credit, record.ErrFull
	}
	b := l.p.takeBatch(l.limit, int(credit), l.route)
	if err := b.add(r, cb); err != nil {
		l.p.giveBatch(b)
		return placed{}, credit, packFault(err, r.Timestamp)
	}
	l.mark++
	b.mark, b.born, b.cost = l.mark, now, credit
	l.open = b
	l.depth.Add(1)
	l.armLocked()
	l.lookAfterLocked()
	return l.acceptedLocked(b, record.HeaderSize), 0, nil
}

// acceptedLocked counts a record that was added to a batch, and tells where it went.
func (l *lane) acceptedLocked(b *batch, before int) placed {
	l.accepted++
	size := b.builder.Buffered()
	return placed{bytes: size - before, boundary: size >= l.limit}
}

// atBoundary tells whether a record of this size would begin a new batch.
func (l *lane) atBoundary(bound int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open == nil || l.open.builder.Len()+bound-record.HeaderSize > l.limit
}

// queueLocked moves the open batch to those that are ready.
func (l *lane) queueLocked() {
	if l.open == nil {
		return
	}
	l.usual = min(l.p.buffers.round(l.open.builder.Buffered()), l.p.buffers.largest)
	l.ready.push(l.open)
	l.open = nil
	if l.timer != nil {
		l.timer.Stop()
		l.p.lingering.remove(l)
	}
}

// armLocked starts the linger of a batch just opened.
func (l *lane) armLocked() {
	linger := l.p.cfg.linger
	if linger == 0 {
		return
	}
	l.p.lingering.add(l)
	if l.timer == nil {
		l.timer = time.AfterFunc(linger, l.lingered)
	} else {
		l.timer.Reset(linger)
	}
}

// lingered is the timer's work. It may come late, when the batch it was set for has gone already.
func (l *lane) lingered() {
	l.mu.Lock()
	if l.open != nil && time.Since(l.open.born) >= l.p.cfg.linger {
		l.queueLocked()
	}
	wake := l.wakeLocked()
	l.mu.Unlock()
	l.wake(wake)
}

// press makes what lingers ready and returns the newest batch's mark.
func (l *lane) press() int64 {
	l.mu.Lock()
	l.queueLocked()
	if l.p.isAborting() {
		l.resting = false
	}
	wake := l.wakeLocked()
	mark := l.mark
	l.mu.Unlock()
	l.wake(wake)
	return mark
}

// refuse lets no more records in.
func (l *lane) refuse(why error) {
	l.mu.Lock()
	if l.refusal == nil {
		l.refusal = why
	}
	l.mu.Unlock()
}

// spent tells that no record is left and none will come.
func (l *lane) spent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refusal != nil && l.done.Load() == l.mark
}

// pending is how many records have no outcome yet.
func (l *lane) pending() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted - l.tally.told.Load()
}

// wakeLocked claims the sender's duty if there is work and none does it; the caller must then wake the sender.
func (l *lane) wakeLocked() bool {
	if l.sending || !l.sendableLocked() {
		return false
	}
	l.sending = true
	l.p.workers.join()
	return true
}

// wake queues the sender's duty that wakeLocked has claimed. It holds no lock.
func (l *lane) wake(claimed bool) {
	if claimed {
		l.p.senders.putReady(l.sendFn)
	}
}

// sendableLocked tells whether a sender has something to do now. Without a linger, and while a Send waits for memory, an
// open batch is ready as soon as a sender is free to take it.
func (l *lane) sendableLocked() bool {
	if l.rewind {
		return true
	}
	if l.resting || len(l.flight) >= l.p.cfg.maxInFlight || l.held && len(l.flight) > 0 {
		return false
	}
	return l.ready.len() > 0 || l.open != nil && (l.p.cfg.linger == 0 || l.p.memory.contended())
}

// next gives the sender its next batch, or nil, which ends its duty; it goes on as the completer if there is none.
func (l *lane) next() (b *batch, complete bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rewindLocked()
	if !l.sendableLocked() {
		l.sending = false
		return nil, l.claimCompleterLocked()
	}
	if len(l.flight) > 0 && !l.completing {
		l.p.senders.watch()
	}
	l.held = false
	if l.ready.len() == 0 {
		l.queueLocked()
	}
	l.hands = l.ready.pop()
	return l.hands, false
}

// rewindLocked takes back what is in flight and is to be sent again.
func (l *lane) rewindLocked() {
	if !l.rewind {
		return
	}
	l.rewind, l.held = false, false
	l.ready.putBack(l.flight...)
	l.flight = l.flight[:0]
}

// claimCompleterLocked tells whether the caller is to complete what is in flight: there is something, and no completer.
func (l *lane) claimCompleterLocked() bool {
	if l.completing || l.rewind || len(l.flight) == 0 {
		return false
	}
	l.completing = true
	return true
}

// yield ends the sender's turn while it has more to send: its duty goes behind those of other lanes. True: the caller
// completes what is in flight.
func (l *lane) yield() (complete bool) {
	l.mu.Lock()
	complete = l.claimCompleterLocked()
	l.p.workers.join()
	l.mu.Unlock()
	l.p.senders.putReady(l.sendFn)
	return complete
}

// completeBesides begins a completer for what a sender has put in flight that is now stuck.
func (l *lane) completeBesides() {
	l.mu.Lock()
	claimed := l.claimCompleterLocked()
	if claimed {
		l.queued = true
		l.p.workers.join()
	}
	l.mu.Unlock()
	if claimed {
		l.p.senders.putUrgent(l.completeFn)
	}
}

// putBack returns batches to the head of the queue: the parts of one that was split, or one that is to be tried again
// after a rest.
func (l *lane) putBack(rest time.Duration, parts ...*batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hands = nil
	l.ready.putBack(parts...)
	if rest <= 0 || l.p.isAborting() {
		return
	}
	l.resting = true
	if l.rest == nil {
		l.rest = time.AfterFunc(rest, l.rested)
	} else {
		l.rest.Reset(rest)
	}
}

// dropHands puts back what a sender had in its hands when an event function ended its goroutine: nothing of it was written.
func (l *lane) dropHands() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trying = false
	if l.hands != nil {
		l.ready.putBack(l.hands)
		l.hands = nil
	}
}

// rested is the timer's work.
func (l *lane) rested() {
	l.mu.Lock()
	l.resting = false
	wake := l.wakeLocked()
	l.mu.Unlock()
	l.wake(wake)
}

// holdBack is for a batch whose number the log refuses. What is in flight before it may have been lost and be
// taken back: its numbers come first. True: the batch is to wait for that, under the number it has.
func (l *lane) holdBack() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = len(l.flight) > 0 || l.rewind
	return l.held
}

// fly hands a batch with its outcome so far to the completer and says what the sender is to do about it.
func (l *lane) fly(b *batch) handover {
	settled := l.settled(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hands = nil
	l.flight = append(l.flight, b)
	switch {
	case l.rewind, l.completing:
		return thenGoOn
	case settled && len(l.flight) == 1:
		l.completing = true
		return thenComplete
	case l.sendableLocked() && l.p.senders.spare():
		l.completing, l.queued = true, true
		l.p.workers.join()
		return thenStartCompleter
	}
	return thenGoOn
}

// handover is what a sender does after it handed a batch on.
type handover int8

const (
	thenGoOn           handover = iota // there is a completer, or there will be one when nothing is left to send
	thenComplete                       // there is nothing to wait for: run the callbacks, then go on
	thenStartCompleter                 // more to send: another goroutine waits
)

// head gives the completer the oldest batch in flight, or nil, which ends its duty.
func (l *lane) head() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.flight) == 0 || l.rewind {
		l.completing = false
		return nil
	}
	return l.flight[0]
}

// land takes the oldest batch out of flight after its callbacks and lets the sender use the room.
func (l *lane) land(b *batch) {
	l.mu.Lock()
	invariant.Check(len(l.flight) > 0 && l.flight[0] == b, "topic: lane %s/%d lands a batch that is not the oldest", l.route.name, l.id)
	l.flight = slices.Delete(l.flight, 0, 1)
	wake := l.wakeLocked()
	l.mu.Unlock()
	if b.mark != 0 {
		l.depth.Add(-1)
		l.done.Advance(b.mark)
	}
	l.p.giveBatch(b)
	l.wake(wake)
}
