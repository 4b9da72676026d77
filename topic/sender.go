package topic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// ErrDeliveryTimeout: a record had no good outcome within the producer's [DeliveryTimeout]; see
// [DeliveryError]. Unless the error also matches [ErrUncertain], the record is not in the log.
var ErrDeliveryTimeout = errors.New("topic: delivery timed out")

// DeliveryError tells how long a producer tried. It matches [ErrDeliveryTimeout] and what stood in the way
// at last.
type DeliveryError struct {
	Topic     string
	Partition int32
	Tries     int           // appends that failed
	After     time.Duration // since the batch's first record came
	Err       error         // why the last one failed; nil if there was none
}

func (e *DeliveryError) Error() string {
	text := fmt.Sprintf("topic: %s/%d: delivery timed out after %v and %d tries", e.Topic, e.Partition, e.After, e.Tries)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives ErrDeliveryTimeout and the last error.
func (e *DeliveryError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrDeliveryTimeout}
	}
	return []error{ErrDeliveryTimeout, e.Err}
}

// duties are those a goroutine of a lane holds at the moment.
type duties int8

const (
	holdsSender duties = 1 << iota
	holdsCompleter
)

// mostInTurn is how many batches a lane sends before others that wait have their turns.
const mostInTurn = DefaultMaxInFlight

// send is the sender's duty: append batch after batch in order, until there are no more or other lanes wait.
func (l *lane) send(w *worker) {
	held := holdsSender
	defer func() { l.leave(held) }()
	var complete bool
	for sent := 1; ; sent++ {
		var b *batch
		if b, complete = l.next(); b == nil {
			break
		}
		w.lane.Store(l)
		w.progress()
		l.sendOne(w, b, &held)
		if sent >= mostInTurn && l.p.senders.busy() {
			complete = l.yield()
			break
		}
	}
	held = 0
	if complete {
		held = holdsCompleter
		l.completeFlight(w)
		held = 0
	}
}

// sendOne takes one batch to where it is in flight, complete, or back at the head of the queue.
func (l *lane) sendOne(w *worker, b *batch, held *duties) {
	parts, rest, mine := l.deliver(b)
	if !mine {
		return
	}
	if parts != nil {
		l.putBack(rest, parts...)
		return
	}
	switch l.fly(b) {
	case thenComplete:
		*held = holdsSender | holdsCompleter
		l.completeFlight(w)
		*held = holdsSender
	case thenStartCompleter:
		l.p.senders.putUrgent(l.completeFn)
	}
}

// leave ends a goroutine of the lane. If it still holds duties, a callback ended it before its time
// (runtime.Goexit, as a failing test does): others take them over where they were left.
func (l *lane) leave(held duties) {
	if held&holdsCompleter != 0 {
		l.queueCompleter()
	}
	if held&holdsSender != 0 {
		l.dropHands()
		l.p.workers.join()
		l.p.senders.putReady(l.sendFn)
	}
	l.p.workers.leave()
}

// deliver tries to append one batch. What happened is in the batch: appended or err. What is to go back to the head of
// the queue comes back: a batch too large for the log in two parts, or one that is to be tried again, maybe after a rest.
// It is not mine any more when the delivery timeout came while the disk did not answer.
func (l *lane) deliver(b *batch) (parts []*batch, rest time.Duration, mine bool) {
	if b.err != nil {
		return nil, 0, true // taken back from flight with its outcome
	}
	if b.err = l.giveUp(b); b.err != nil {
		return nil, 0, true
	}
	l.beginTry()
	err := l.attempt(b)
	if !l.endTry(b) {
		return nil, 0, false
	}
	if err == nil {
		return nil, 0, true
	}
	b.last = err
	parts, rest = l.react(b, err)
	return parts, rest, true
}

// react does what follows from a failed attempt: what comes back is to be tried, after a rest; nothing, if the batch has
// its outcome.
func (l *lane) react(b *batch, err error) (parts []*batch, rest time.Duration) {
	switch l.judge(b, err) {
	case verdictSplit:
		parts, splitErr := l.split(b)
		if splitErr == nil {
			return parts, 0
		}
		err = splitErr
	case verdictRenumber:
		if l.holdBack() {
			return []*batch{b}, 0
		}
		b.numbered = false
		l.beginEpoch()
		if b.tries > 0 {
			rest = l.pause(b)
		}
		b.tries++
		return []*batch{b}, rest
	case verdictAgain:
		if b.tries < l.p.cfg.retries {
			rest = l.pause(b)
			b.tries++
			return []*batch{b}, rest
		}
	}
	b.err = l.final(b, err)
	return nil, 0
}

// attempt seals, numbers and appends the batch once.
func (l *lane) attempt(b *batch) error {
	if err := b.seal(); err != nil {
		return err
	}
	if err := checkDecoded(l.part.topic, &b.builder); err != nil {
		return err
	}
	to, err := l.part.openWith(l.p.life)
	if err != nil {
		return err
	}
	if l.p.cfg.idempotent {
		if err := l.number(b); err != nil {
			return err
		}
	}
	if err := context.Cause(l.p.life); err != nil {
		return err
	}
	// Without a context that can end: the timer of overdue.go looks after a write that hangs, and the batch is not copied.
	b.log = to
	b.appended, err = l.part.appendWithin(context.Background(), to, b.sealed, log.AppendOptions{Trusted: true, NoWait: true}, false)
	if errors.Is(err, ErrUncertain) {
		b.unsure = true
	}
	if b.numbered && (err == nil || b.unsure) {
		l.sequence = record.AddSequence(b.sealed.BaseSequence(), int32(b.sealed.Count()))
	}
	return err
}

// number gives the batch its sequence numbers, unless it has them from an earlier attempt. Numbers that a
// definite failure left unused go to the next batch, so such a failure leaves no gap. An unknown outcome
// does: then the numbers begin again from 0 in a new epoch, which a log accepts whatever came before.
func (l *lane) number(b *batch) error {
	if b.numbered {
		return nil
	}
	l.mu.Lock()
	renumber := l.renumber
	l.renumber = false
	l.mu.Unlock()
	if renumber {
		l.beginEpoch()
	}
	if l.producerID == record.NoProducer {
		id, err := l.freshIdentity()
		if err != nil {
			return err
		}
		l.producerID = id
	}
	b.sealed.SetProducer(l.producerID, l.epoch, l.sequence)
	b.numbered = true
	return nil
}

func (l *lane) freshIdentity() (int64, error) {
	if l.epoch == 0 {
		return l.p.producerID()
	}
	l.epoch = 0
	return l.p.eng.nextProducerID()
}

// beginEpoch makes the next numbers start from 0 in an epoch of their own; after the last epoch of an id, or
// when there is none yet, under a new id.
func (l *lane) beginEpoch() {
	l.sequence = 0
	switch {
	case l.producerID == record.NoProducer:
	case l.epoch == math.MaxInt16:
		l.producerID = record.NoProducer // freshIdentity sees the used up epoch
	default:
		l.epoch++
	}
}

// giveUp tells why a batch is not to be tried (again), nil if it is.
func (l *lane) giveUp(b *batch) error {
	switch {
	case l.p.isAborting():
		return l.final(b, ErrClosed)
	case time.Since(b.born) >= l.p.cfg.deliveryTimeout:
		return l.final(b, l.lateness(b, b.last))
	}
	return nil
}

// lateness names the place once: what the last attempt said of it goes.
func (l *lane) lateness(b *batch, last error) error {
	var placed *PartitionError
	if errors.As(last, &placed) && last == error(placed) {
		last = placed.Err
	}
	return &DeliveryError{Topic: l.route.name, Partition: l.id, Tries: b.tries, After: time.Since(b.born), Err: last}
}

// final makes an error the batch's outcome. Once an attempt may have stored the batch, no error may sound
// as if it were not there.
func (l *lane) final(b *batch, err error) error {
	if b.unsure || errors.Is(err, ErrUncertain) {
		if !errors.Is(err, ErrUncertain) {
			err = fmt.Errorf("%w: %w", ErrUncertain, err)
		}
		l.mu.Lock()
		l.renumber = true
		l.mu.Unlock()
	}
	if errors.Is(err, ErrNotFound) {
		l.p.retire(l.route)
		l.refuse(errRetired) // it may have been made after the others had been told
	}
	return l.part.fault(err)
}

// verdict is what follows from a failed attempt.
type verdict int8

const (
	verdictFail     verdict = iota
	verdictAgain            // the cause may pass: wait and try the same bytes
	verdictRenumber         // the log has lost track of the producer: number anew and try
	verdictSplit            // too large: try in two parts
)

func (l *lane) judge(b *batch, err error) verdict {
	switch {
	case errors.Is(err, ErrUncertain):
		return l.judgeUnsure(b)
	case errors.Is(err, ErrTooLarge) && b.builder.Count() > 1:
		return verdictSplit
	case errors.Is(err, ErrOutOfOrderSequence), errors.Is(err, ErrProducerFenced):
		if b.unsure {
			return verdictFail // it could be in the log under the old numbers
		}
		return verdictRenumber
	case passing(err):
		return verdictAgain
	}
	return verdictFail
}

// judgeUnsure allows the same bytes once more if the log would recognize them and takes appends at all.
func (l *lane) judgeUnsure(b *batch) verdict {
	if b.numbered && b.log.Fenced() == nil {
		return verdictAgain
	}
	return verdictFail
}

// retriable is implemented by the reason of a fence that is expected to be lifted, such as a change of leader.
type retriable interface{ Retriable() bool }

// passing tells failures that are definite and may not happen again.
func passing(err error) bool {
	var r retriable
	return errors.Is(err, ErrNoSpace) || vfs.IsNoSpace(err) || vfs.IsTooManyFiles(err) ||
		errors.As(err, &r) && r.Retriable()
}

// pause is the wait before the next attempt: double the last one, give or take a fifth, and not beyond the batch's
// time. Closing the producer ends it.
func (l *lane) pause(b *batch) time.Duration {
	wait := l.p.backoff(b.tries, rand.Float64())
	return max(min(wait, l.p.cfg.deliveryTimeout-time.Since(b.born)), 0)
}

// backoff is the wait after the given number of failures; draw in [0, 1) places it between -20 and +20 %.
func (p *Producer) backoff(failures int, draw float64) time.Duration {
	wait := float64(p.cfg.backoff) * math.Pow(2, float64(min(failures, 40)))
	wait *= 0.8 + 0.4*draw
	return time.Duration(min(wait, float64(p.cfg.backoffMax)))
}

// awaitMemory waits for memory for a batch. What lingers meanwhile would only keep memory from those who
// wait, so it is sent.
func (p *Producer) awaitMemory(ctx context.Context, bytes int64) error {
	if p.inCallback() {
		return p.memory.overdraw(bytes)
	}
	return p.memory.wait(ctx, bytes, p.cfg.maxBlock, func() {
		for l := range p.lingering.take() {
			l.press()
		}
	})
}
