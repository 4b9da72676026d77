package topic

import (
	"fmt"
	"slices"
	"time"
)

// The delivery timeout must hold even if a call to the disk does not come back. While a lane has batches, one
// timer, set for the oldest, looks after it: batches whose time is over while the sender is stuck in the log get
// their outcome without it. A batch that the sender or a completer has in its hands is replaced by another one
// that carries its callbacks; the goroutine finds out when it comes back (orphan), and drops it. A completer
// in the log loses its duty to a new one (turn); its own wait ends with the batch's time. A stuck sender keeps
// its duty, since another sender would only be stuck as well.

// stuckCheck is how soon the timer looks again when it came while things were moving.
const stuckCheck = time.Second

// lookAfterLocked starts the timer with the first batch of a busy time.
func (l *lane) lookAfterLocked() {
	if l.lookedAfter {
		return
	}
	l.lookedAfter = true
	if l.watchdog == nil {
		l.watchdog = time.AfterFunc(l.p.cfg.deliveryTimeout, func() { l.overdue(false) })
		return
	}
	l.watchdog.Reset(l.p.cfg.deliveryTimeout)
}

// overdue is the timer's work. With closing, everything that is stuck or behind it is due.
func (l *lane) overdue(closing bool) {
	l.mu.Lock()
	due := l.dueLocked(closing)
	if len(due) > 0 {
		l.replaceLocked(due, closing)
	}
	if !closing {
		l.rearmLocked(len(due) > 0)
	}
	l.mu.Unlock()
	if len(due) > 0 {
		l.p.late.putUrgent(l.completeFn)
	}
}

// pendingLocked is every batch without an outcome, oldest first.
func (l *lane) pendingLocked() []*batch {
	list := slices.Clone(l.flight)
	if l.hands != nil {
		list = append(list, l.hands)
	}
	list = append(list, l.ready.all()...)
	if l.open != nil {
		list = append(list, l.open)
	}
	return list
}

// dueLocked is the batches that get their outcome from the timer: the oldest ones, if their time is over and
// the sender is stuck, or the lane waits for a goroutine of the pool, where all may be stuck.
func (l *lane) dueLocked(closing bool) []*batch {
	stuck := l.hands != nil && l.trying
	waits := l.hands == nil && (l.queued || l.sending && !l.completing)
	if l.completing && !l.awaiting && !l.queued || !stuck && !waits {
		return nil
	}
	if waits {
		l.rewindLocked()
	} else if l.rewind {
		return nil
	}
	pending := l.pendingLocked()
	n := 0
	for _, b := range pending {
		if !closing && time.Since(b.born) < l.p.cfg.deliveryTimeout {
			break
		}
		n++
	}
	return pending[:n]
}

// replaceLocked puts the outcomes of the batches that are due at the head of the flight, in the hands of a new
// completer.
func (l *lane) replaceLocked(due []*batch, closing bool) {
	told := make([]*batch, 0, len(due))
	waiting := 0 // of those that are ready
	for i, b := range due {
		switch {
		case i < len(l.flight):
			if held := i == 0 && l.awaiting; b.err == nil && (held || !l.settled(b)) {
				b = l.concludeLocked(b, held, true, closing)
			}
		case b == l.hands:
			b = l.concludeLocked(b, true, true, closing)
			l.hands = nil
		default:
			b = l.concludeLocked(b, false, false, closing)
			if b == l.open {
				l.open = nil
			} else {
				waiting++
			}
		}
		told = append(told, b)
	}
	l.flight = append(told, l.flight[min(len(due), len(l.flight)):]...)
	l.ready.drop(waiting)
	l.completing, l.queued, l.awaiting = true, true, false
	l.turn++
	l.p.workers.join()
}

// concludeLocked gives a batch its outcome. One that a goroutine still holds is replaced.
func (l *lane) concludeLocked(b *batch, held, attempted, closing bool) *batch {
	err := l.lateness(b, b.last) // it names the place
	if closing {
		err = &PartitionError{Topic: l.route.name, Partition: l.id, Err: ErrClosed}
	}
	if attempted || b.unsure {
		err = fmt.Errorf("%w: the disk does not answer: %w", ErrUncertain, err)
		l.renumber = true
	}
	if !held {
		b.err = err
		return b
	}
	other := &batch{calls: b.calls, mark: b.mark, born: b.born, cost: b.cost, err: err}
	b.calls, b.mark, b.cost, b.orphan = nil, 0, 0, true
	return other
}

// rearmLocked sets the timer for the oldest batch that is left. Without one it stays unset until the next.
func (l *lane) rearmLocked(acted bool) {
	pending := l.pendingLocked()
	if len(pending) == 0 {
		l.lookedAfter = false
		return
	}
	wait := stuckCheck
	if !acted {
		wait = l.p.cfg.deliveryTimeout - time.Since(pending[0].born)
	}
	if wait <= 0 {
		wait = stuckCheck
	}
	l.watchdog.Reset(wait)
}

// stopTimers is for a lane that has nothing left.
func (l *lane) stopTimers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.rest != nil {
		l.rest.Stop()
	}
	if l.watchdog != nil {
		l.watchdog.Stop()
	}
}

// beginAwait notes that the completer now waits for the log, and for which turn it holds its duty.
func (l *lane) beginAwait() (turn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaiting = true
	return l.turn
}

// endAwait tells whether the completer still has its duty.
func (l *lane) endAwait(turn uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn != turn {
		return false
	}
	l.awaiting = false
	return true
}

// beginTry and endTry enclose what the sender does in the log. endTry tells whether the batch is still its own.
func (l *lane) beginTry() {
	l.mu.Lock()
	l.trying = true
	l.mu.Unlock()
}

func (l *lane) endTry(b *batch) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trying = false
	return !b.orphan
}
