package group

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/quirelog/quire/topic"
)

// Delivery is a record that a queue has given out, and the means to answer for it: one of Ack, Release, Retry and Reject, from any
// goroutine. The first answer counts; those after it change nothing. The record's bytes are the caller's to read, and shared with later
// deliveries of it.
type Delivery struct {
	topic.Record
	// Attempt counts the deliveries of the record, from 1.
	Attempt int

	q    *Queue
	s    *slot
	lock uint64
	loop *loop
}

// AckError says that an answer came too late: the lease had ended, the loop that gave the delivery out was left, or the queue has ended.
// It changed nothing; the record is delivered again, or was. It matches [ErrInvalidRecordState], and what the queue has ended with.
type AckError struct {
	Topic     string
	Partition int32
	Offset    int64
	Attempt   int
	Ended     error // what the queue has ended with; nil if it goes on
}

func (e *AckError) Error() string {
	text := fmt.Sprintf("group: attempt %d at %s-%d@%d is over: answer refused", e.Attempt, e.Topic, e.Partition, e.Offset)
	if e.Ended != nil {
		text += ": " + e.Ended.Error()
	}
	return text
}

// Unwrap is ErrInvalidRecordState, and Ended if that is not nil.
func (e *AckError) Unwrap() []error {
	if e.Ended == nil {
		return []error{ErrInvalidRecordState}
	}
	return []error{ErrInvalidRecordState, e.Ended}
}

// Attempt is one delivery of a record that did not succeed.
type Attempt struct {
	Number int       // from 1
	Time   time.Time // when it failed; zero if that is not known
	Error  string    // what was said of it, at most 512 bytes
}

// Ack says that the record is done. The loop tells about it: it goes on only when that is durable, or gives the error as its next pair;
// [Queue.Flush] does so at once.
func (d *Delivery) Ack() { d.answer(outcome{kind: accepted}) }

// Release gives the record back to be delivered again at once. The delivery counts.
func (d *Delivery) Release() { d.answer(outcome{kind: released}) }

// Retry says that the attempt failed: the record is delivered again after a rest, or is dead with its last attempt. An err of [Reject] or
// [RetryAfter] is taken at its word; nil is Ack.
func (d *Delivery) Retry(err error) { d.answer(judge(err)) }

// Reject says that the record cannot be handled: it is dead, however many attempts it has left.
func (d *Delivery) Reject(err error) { d.answer(judge(Reject(err))) }

// Renew begins the lease anew. An *[AckError]: it has ended.
func (d *Delivery) Renew() error {
	q := d.q
	if q == nil {
		return unmade("Delivery")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.end != nil || !d.s.holds(d.lock, now) {
		return d.lateLocked()
	}
	if !d.s.until.IsZero() {
		d.s.until = now.Add(q.cfg.lease)
		q.line.wait(d.s, d.s.until)
	}
	return nil
}

func (d *Delivery) lateLocked() error {
	return &AckError{Topic: d.Topic, Partition: d.Partition, Offset: d.Offset, Attempt: d.Attempt, Ended: d.q.end}
}

// answer applies an answer, and notes for the loop when it came too late.
func (d *Delivery) answer(o outcome) {
	if d.q == nil || !d.loop.settle(d) {
		return
	}
	if err := d.q.settle(d, o); err != nil {
		d.loop.fail(err)
	}
}

type outcomeKind int8

const (
	accepted outcomeKind = iota
	released
	failed
	rejected
	unheard // given back as if not delivered
)

// outcome is what is said of a delivery.
type outcome struct {
	kind  outcomeKind
	err   error
	after time.Duration // of failed: the rest, -1 for the queue's own
}

// rejection is an error that no attempt will mend.
type rejection struct{ err error }

func (r *rejection) Error() string {
	if r.err == nil {
		return "rejected"
	}
	return r.err.Error()
}

func (r *rejection) Unwrap() error { return r.err }

// Reject makes an error that tells [Queue.Run]: no attempt will mend this, the record is dead. err may be nil.
func Reject(err error) error { return &rejection{err} }

// postponement is an error with the wish to be tried again at a time.
type postponement struct {
	after time.Duration
	err   error
}

func (p *postponement) Error() string {
	if p.err == nil {
		return fmt.Sprintf("to be tried again after %v", p.after)
	}
	return p.err.Error()
}

func (p *postponement) Unwrap() error { return p.err }

// RetryAfter makes an error that tells [Queue.Run] how long the record rests before its next attempt. err may be nil.
func RetryAfter(d time.Duration, err error) error { return &postponement{max(d, 0), err} }

// judge makes an outcome of a handler's error.
func judge(err error) outcome {
	var no *rejection
	var later *postponement
	switch {
	case err == nil:
		return outcome{kind: accepted}
	case errors.As(err, &no):
		return outcome{kind: rejected, err: err}
	case errors.As(err, &later):
		return outcome{kind: failed, err: err, after: later.after}
	}
	return outcome{kind: failed, err: err, after: -1}
}

// settle applies an outcome to the machine and stages it.
func (q *Queue) settle(d *Delivery, o outcome) error {
	text := ""
	if o.err != nil {
		text = clip(o.err) // outside the lock: it is the caller's code
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	s := d.s
	if q.end != nil || s.state != stateAcquired || !s.holds(d.lock, now) {
		q.stats.Late++
		return d.lateLocked()
	}
	if o.err != nil {
		s.story = remember(s.story, Attempt{Number: int(s.count), Time: now, Error: text})
	}
	switch o.kind {
	case accepted:
		q.stats.Acknowledged++
		s.share.finish(s, stateAcknowledged)
		q.forgetLocked(s, now)
	case unheard:
		q.undoLocked(s, now)
	case rejected:
		q.stats.Rejected++
		s.dead = deadRejected
		q.releaseLocked(s, time.Time{}, now)
	default:
		q.stats.Retried++
		due := time.Time{}
		if rest := q.restOf(s, o); rest > 0 {
			due = now.Add(rest)
		}
		q.releaseLocked(s, due, now)
	}
	p := q.stallOf(s)
	d.loop.owe(p, p.seq)
	return nil
}

func (q *Queue) restOf(s *slot, o outcome) time.Duration {
	switch {
	case o.kind == released:
		return 0
	case o.after >= 0:
		return o.after
	}
	return q.cfg.rest(int(s.count))
}

// clip is an error's text as far as it is kept. A panic while it is made is text enough.
func clip(err error) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = "error that cannot be printed"
		}
	}()
	text = err.Error()
	if len(text) <= storyErrorBytes {
		return text
	}
	return strings.Clone(strings.ToValidUTF8(text[:storyErrorBytes], ""))
}

// loop is one range over Deliveries: what it has given out, and what is to be told.
type loop struct {
	mu     sync.Mutex
	open   map[*Delivery]bool // without an answer
	owed   []debt             // answered, and to be durable before the loop goes on; one for each stall
	over   bool
	faults []error
}

// debt is up to where a stall has to be stored.
type debt struct {
	stall *stall
	seq   uint64
}

// owe notes what was staged for an answer.
func (l *loop) owe(s *stall, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.owed {
		if l.owed[i].stall == s {
			l.owed[i].seq = max(l.owed[i].seq, seq)
			return
		}
	}
	l.owed = append(l.owed, debt{s, seq})
}

// pay makes durable what the loop was answered. After an error that is still owed.
func (l *loop) pay(ctx context.Context) error {
	for {
		l.mu.Lock()
		n := len(l.owed)
		if n == 0 {
			l.mu.Unlock()
			return nil
		}
		d := l.owed[n-1]
		l.owed = l.owed[:n-1]
		l.mu.Unlock()
		if err := d.stall.commit(ctx, d.seq); err != nil {
			l.owe(d.stall, d.seq)
			return err
		}
	}
}

// settle takes a delivery off the list; false when it had its answer.
func (l *loop) settle(d *Delivery) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open[d] {
		if l.over {
			return true // the queue refuses it
		}
		return false
	}
	delete(l.open, d)
	return true
}

func (l *loop) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.faults = append(l.faults, err)
	}
}

// fault takes the oldest fault.
func (l *loop) fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) == 0 {
		return nil
	}
	err := l.faults[0]
	l.faults = l.faults[1:]
	return err
}

func (l *loop) give(d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[d] = true
}

// finish ends the loop and gives what it held.
func (l *loop) finish() []*Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	list := make([]*Delivery, 0, len(l.open))
	for d := range l.open {
		list = append(list, d)
	}
	l.open = nil
	return list
}

// Deliveries is a loop over records as their turn comes, each held under a lease until it is answered:
//
//	for d, err := range q.Deliveries(ctx) {
//		if err != nil {
//			return err
//		}
//		handle(d.Value)
//		d.Ack()
//	}
//
// Several loops share the work. While there is nothing the loop sleeps. An *[AckError] comes as a pair with a nil delivery when an answer
// was too late; the loop may go on after it. Any other error is the last pair, and of those that matter here: answers could not be stored
// (they are tried again by the next loop, [Queue.Flush] or Close), what reading the topic says, what the queue has ended with. A done
// context ends the loop without a pair, as do Close, Shutdown and Drain of the queue; a full disk is waited for. Leaving the loop makes durable what was answered, and gives back what was not: to be delivered again at once; answers for
// it are refused from then on.
func (q *Queue) Deliveries(ctx context.Context) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		r, err := q.enroll(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer q.strike(r)
		l := &loop{open: map[*Delivery]bool{}}
		defer q.leave(ctx, l)
		for {
			if err := l.fault(); err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			got, err := r.next(l, q.cfg.lease)
			if err == nil && got == nil && ctx.Err() == nil {
				err = r.outcome(ctx)
			}
			if err != nil {
				yield(nil, err)
			}
			if got == nil {
				return
			}
			d := q.delivery(got, l)
			l.give(d)
			if !yield(d, nil) {
				return
			}
		}
	}
}

func (q *Queue) delivery(got *taken, l *loop) *Delivery {
	return &Delivery{Record: got.rec, Attempt: got.attempt, q: q, s: got.s, lock: got.lock, loop: l}
}

// leave ends a loop that ctx was given to.
func (q *Queue) leave(ctx context.Context, l *loop) {
	for _, d := range l.finish() {
		_ = q.settle(d, outcome{kind: released}) // refused if its lease has ended: then it is back already
	}
	_ = q.flushAtEnd(ctx) // counted in the metrics, tried again by the next loop, and told by Close
}
