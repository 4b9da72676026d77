package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// Run delivers records to workers goroutines that call fn, and holds each record as long as fn runs. What fn returns is the answer: nil
// acknowledges, [Reject] and [RetryAfter] say what they say, any other error is a failed attempt, and so is a panic, or that fn ends its
// goroutine (runtime.Goexit, as testing.T.FailNow does), as a *[PanicError]. fn may also answer itself; then what it returns does not matter.
// What it returned is durable before its worker waits for the next record.
//
// Run ends as [Consumer.Run] does, with the same errors: nil after Close, Shutdown and Drain; an error that matches the context's and its
// cause when ctx ends; topic.ErrClosed when the engine is closed; else what the queue has ended with, or the reason why it cannot go on. The
// context of the handlers ends then, and Run waits for them. A handler that gives up because of that, with an error that matches the
// context's, has not failed: the delivery is not counted, and the record is free at once. While the disk has no room for what the queue must
// store, it waits and tries again (Events.Loop tells).
func (q *Queue) Run(ctx context.Context, workers int, fn func(ctx context.Context, d *Delivery) error) error {
	if workers < 1 || fn == nil {
		return fmt.Errorf("%w: %d workers", topic.ErrInvalid, workers)
	}
	r, err := q.enroll(ctx)
	if err != nil {
		return err
	}
	defer q.strike(r)
	for range workers {
		r.hire(fn)
	}
	r.workers.Wait()
	return r.outcome(ctx)
}

// queueLoop is one Run, or one loop over Deliveries.
type queueLoop struct {
	q       *Queue
	whole   context.Context // its caller's
	ctx     context.Context // the handlers'
	stop    context.CancelCauseFunc
	takes   context.Context // ends when nothing more is to be taken
	halt    context.CancelFunc
	workers sync.WaitGroup
	over    chan struct{} // closed at its end
}

// enroll begins a loop.
func (q *Queue) enroll(ctx context.Context) (*queueLoop, error) {
	if q.hub == nil {
		return nil, unmade("Queue")
	}
	r := &queueLoop{q: q, whole: ctx, over: make(chan struct{})}
	r.ctx, r.stop = context.WithCancelCause(ctx)
	r.takes, r.halt = context.WithCancel(r.ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.end != nil:
		r.stop(q.end)
		return nil, q.end
	case q.closing:
		r.stop(topic.ErrClosed)
		return nil, topic.ErrClosed
	}
	q.loops[r] = struct{}{}
	return r, nil
}

// strike ends it.
func (q *Queue) strike(r *queueLoop) {
	r.stop(nil)
	q.mu.Lock()
	delete(q.loops, r)
	q.mu.Unlock()
	close(r.over)
}

// hire starts a worker. One whose goroutine a handler has ended is replaced.
func (r *queueLoop) hire(fn func(context.Context, *Delivery) error) {
	r.workers.Go(func() {
		returned := false
		defer func() {
			if !returned {
				r.hire(fn)
			}
		}()
		if err := r.work(fn); err != nil {
			r.stop(err)
		}
		returned = true
	})
}

// work is one worker.
func (r *queueLoop) work(fn func(context.Context, *Delivery) error) error {
	l := &loop{open: map[*Delivery]bool{}}
	defer r.q.leave(r.whole, l)
	for {
		got, err := r.next(l, 0)
		if err != nil || got == nil {
			return err
		}
		d := r.q.delivery(got, l)
		l.give(d)
		guard(func() error { return fn(r.ctx, d) }, func(err error) { r.took(d, err) })
	}
}

// took takes what a handler has come to.
func (r *queueLoop) took(d *Delivery, err error) {
	o := judge(err)
	if o.kind == failed && gaveUp(r.ctx, o.err) {
		o = outcome{kind: unheard}
	}
	d.answer(o)
	r.q.room.loop.tellPanic(r.q.hub.eng, positionOf(&d.Record), err)
}

// next is [Queue.next] that waits while the disk is full. Without an error it returns nil when nothing more is to be taken.
func (r *queueLoop) next(l *loop, lease time.Duration) (got *taken, err error) {
	err = r.q.room.patiently(r.takes, func() error {
		got, err = r.q.next(r.takes, l, lease)
		return err
	})
	if got != nil {
		r.q.room.found()
	}
	if r.takes.Err() != nil && got == nil {
		return nil, nil
	}
	return got, err
}

// outcome is what Run returns.
func (r *queueLoop) outcome(ctx context.Context) error {
	r.q.mu.Lock()
	end, closing := r.q.end, r.q.closing
	r.q.mu.Unlock()
	why := context.Cause(r.ctx)
	switch {
	case ctx.Err() != nil && errors.Is(why, context.Cause(ctx)) && (end == nil || !errors.Is(why, end)):
		return errors.Join(bounded.Cause(ctx), r.q.flushAtEnd(ctx))
	case why != nil && !errors.Is(why, topic.ErrClosed) || !closing:
		return why
	}
	return nil
}

// Shutdown is Close that waits: nothing more is delivered, the contexts of the handlers of every Run end, and when all have returned, and
// loops over Deliveries have gone on, their answers are made durable and the queue is closed. When ctx ends first it is closed at once, and
// the error says why ctx ended.
func (q *Queue) Shutdown(ctx context.Context) error { return q.windUp(ctx, true) }

// Drain is a soft Shutdown: the handlers at work are left in peace until they return.
func (q *Queue) Drain(ctx context.Context) error { return q.windUp(ctx, false) }

func (q *Queue) windUp(ctx context.Context, tell bool) error {
	for _, r := range q.haltLoops(tell) {
		select {
		case <-r.over:
		case <-ctx.Done():
			return errors.Join(bounded.Cause(ctx), q.close(ctx, topic.ErrClosed))
		}
	}
	return q.close(ctx, topic.ErrClosed)
}

// haltLoops has nothing more taken, and lists the loops.
func (q *Queue) haltLoops(tell bool) (list []*queueLoop) {
	q.mu.Lock()
	q.closing = true
	for r := range q.loops {
		list = append(list, r)
	}
	q.mu.Unlock()
	for _, r := range list {
		r.halt()
		if tell {
			r.stop(topic.ErrClosed)
		}
	}
	return list
}
