package topic

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/quirelog/quire/internal/bounded"
)

// errCallbackBlocks ends the wait for records that lie behind a callback which does not return.
var errCallbackBlocks = errors.New("topic: a callback does not return")

// Close refuses new records, delivers those it has, and returns when all callbacks have run. Each record has its
// [DeliveryTimeout] for that; [Producer.Shutdown] bounds it by a context. Records that are not known to be stored are
// counted by an [UndeliveredError]. A callback that does not return within some 5 seconds is not waited for any longer,
// and makes Close fail.
//
// Inside a callback Close starts all this and returns nil at once. Closing again waits for the end and returns the
// same.
func (p *Producer) Close() error {
	if p.eng == nil {
		return unmade("Producer")
	}
	p.refuse()
	if p.inCallback() {
		p.eng.goFunc(func() { _ = p.finish(context.Background()) }) // a closing engine finishes it itself
		return nil
	}
	return p.finish(context.Background())
}

// Shutdown is Close with a bound: when ctx ends first, records that are not yet on their way to the disk fail with
// [ErrClosed], those that are with an error that matches [ErrUncertain] too, and the context's cause is part of the
// error. [ErrInCallback] inside a callback.
func (p *Producer) Shutdown(ctx context.Context) error {
	if p.eng == nil {
		return unmade("Producer")
	}
	if p.inCallback() {
		return ErrInCallback
	}
	p.refuse()
	return p.finish(ctx)
}

// finish is Close for a producer that takes no more records.
func (p *Producer) finish(ctx context.Context) error {
	cause := p.drainFromEngine(ctx)
	p.abort()
	outcome, end, cancel := p.graceAfter(cause)
	defer cancel()
	p.settle(outcome)
	err := p.gone(end)
	p.mu.Lock()
	unregister := p.unregister
	p.mu.Unlock()
	unregister()
	return errors.Join(cause, err, p.losses().err())
}

// lastGrace is the time for callbacks after a context has ended: they are to be told, but not waited for.
const lastGrace = closeGrace / 10

// graceAfter is the time for the end of a producer after what it held was delivered, or after the wait for that
// ended with cause.
func (p *Producer) graceAfter(cause error) (outcome, end context.Context, cancel context.CancelFunc) {
	if cause == nil {
		return grace()
	}
	end, cancel = context.WithTimeout(context.Background(), lastGrace)
	outcome, stop := context.WithCancel(end)
	stop()
	return outcome, end, cancel
}

// closeFromEngine ends what drainFromEngine has left; settle and gone finish it.
func (p *Producer) closeFromEngine() {
	p.refuse()
	p.abort()
}

// refuse lets no more records in and ends the Sends that wait for memory.
func (p *Producer) refuse() {
	p.mu.Lock()
	first := !p.closed.Swap(true)
	lanes := append([]*lane(nil), p.lanes...)
	p.mu.Unlock()
	if !first {
		return
	}
	p.memory.close()
	p.later.refuse()
	for _, l := range lanes {
		l.refuse(ErrClosed)
	}
}

// drainFromEngine waits until everything accepted has its outcome and the callbacks have begun, or ctx ends: with
// the context's cause, or errCallbackBlocks. Outcomes come within the delivery timeout; a disk on which nothing
// returns ends the wait soon after it.
func (p *Producer) drainFromEngine(ctx context.Context) error {
	p.refuse()
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.deliveryTimeout+closeGrace, ErrDeliveryTimeout)
	defer cancel()
	var waits []*drainWait
	for _, l := range p.everyLane() {
		mark := l.press()
		if l.pending() > 0 {
			waits = append(waits, &drainWait{tally: l.tally, wait: func(ctx context.Context) error { return l.done.Wait(ctx, mark) }})
		}
	}
	if p.later.pending() > 0 {
		waits = append(waits, &drainWait{tally: &p.later.tally, wait: p.later.flush})
	}
	var blocked error
	for len(waits) > 0 {
		left, err := p.drainRound(ctx, waits)
		if ctx.Err() != nil && len(left) > 0 {
			return bounded.Cause(ctx)
		}
		if err != nil {
			blocked = err
		}
		waits = left
	}
	return blocked
}

// drainWait is a lane, or the delayed sends, with records that have no outcome.
type drainWait struct {
	tally *tally
	wait  func(context.Context) error
	seen  int64 // told before this round
}

// tally is what has been told of a lane's records, or of the delayed sends.
type tally struct {
	told    atomic.Int64 // records whose callback has begun
	telling atomic.Bool  // a callback runs
}

// drainRound waits for each as long as a callback may take and returns those that go on: the ones that a callback
// has blocked for all that time do not.
func (p *Producer) drainRound(ctx context.Context, waits []*drainWait) (left []*drainWait, err error) {
	for _, w := range waits {
		w.seen = w.tally.told.Load()
	}
	round, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	for _, w := range waits {
		if w.wait(round) == nil {
			continue
		}
		if ctx.Err() == nil && w.tally.telling.Load() && w.tally.told.Load() == w.seen {
			err = errCallbackBlocks
			continue
		}
		left = append(left, w)
	}
	return left, err
}

// abort fails what is queued.
func (p *Producer) abort() {
	p.mu.Lock()
	if !p.aborted {
		p.aborted = true
		close(p.aborting)
	}
	p.mu.Unlock()
	for _, l := range p.everyLane() {
		l.press()
	}
}

// settle waits for outcomes until ctx ends; what still waits for the disk is told then, and only a callback, or
// the disk itself, can hold on longer.
func (p *Producer) settle(ctx context.Context) {
	if p.inCallback() {
		return
	}
	err := p.workers.wait(ctx)
	p.end(ErrClosed)
	if err == nil {
		return
	}
	for _, l := range p.everyLane() {
		l.overdue(true)
	}
}

// gone waits until the last callback has returned.
func (p *Producer) gone(ctx context.Context) error {
	if p.inCallback() {
		return nil
	}
	err := p.workers.wait(ctx)
	for _, l := range p.everyLane() {
		l.stopTimers()
	}
	if err != nil {
		return fmt.Errorf("topic: producer closed, but a callback or the disk does not return: %w", err)
	}
	return nil
}

// losses is what could not be delivered, with what has no outcome yet.
func (p *Producer) losses() *losses {
	var sum losses
	sum.add(&p.lost)
	waiting := p.later.pending()
	for _, l := range p.everyLane() {
		waiting += l.pending()
	}
	sum.note(waiting, fmt.Errorf("%w: a callback or the disk does not return", ErrUncertain))
	return &sum
}
