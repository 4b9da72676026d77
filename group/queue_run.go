package group

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/quirelog/quire/topic"
)

// PanicError is what an attempt failed with whose handler panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("group: handler panicked: %v", e.Value) }

// Run delivers records to workers goroutines that call fn, and holds each record as long as fn runs. What fn returns is the answer: nil
// acknowledges, [Reject] and [RetryAfter] say what they say, any other error, or a panic, is a failed attempt. fn may also answer itself;
// then what it returns does not matter. What it returned is durable before its worker waits for the next record.
//
// Run returns when ctx is done, with nil, or when the queue can go on no more or has ended, with the reason: the context of the handlers ends
// then, and Run waits for them. A handler that gives up because of that, with an error that matches the context's, has not failed: the delivery is
// not counted, and the record is free at once.
func (q *Queue) Run(ctx context.Context, workers int, fn func(ctx context.Context, d *Delivery) error) error {
	if workers < 1 || fn == nil {
		return fmt.Errorf("%w: %d workers", topic.ErrInvalid, workers)
	}
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	if err := q.enroll(&wg, stop); err != nil {
		return err
	}
	defer q.strike(&wg)
	for range workers {
		wg.Go(func() {
			if err := q.work(run, fn); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() == nil {
		return context.Cause(run)
	}
	return q.Flush()
}

// enroll has stop called when the queue ends, while all workers may be busy; strike ends that.
func (q *Queue) enroll(run *sync.WaitGroup, stop context.CancelCauseFunc) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end == nil {
		q.runs[run] = stop
	}
	return q.end
}

func (q *Queue) strike(run *sync.WaitGroup) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.runs, run)
}

// work is one worker.
func (q *Queue) work(ctx context.Context, fn func(context.Context, *Delivery) error) error {
	l := &loop{open: map[*Delivery]bool{}}
	defer q.leave(l)
	for {
		got, err := q.next(ctx, l, 0)
		if err != nil || got == nil {
			return err
		}
		d := q.delivery(got, l)
		l.give(d)
		o := judge(call(ctx, d, fn))
		if o.kind == failed && ctx.Err() != nil && (errors.Is(o.err, ctx.Err()) || errors.Is(o.err, context.Cause(ctx))) {
			o = outcome{kind: unheard}
		}
		d.answer(o)
	}
}

// call runs a handler.
func call(ctx context.Context, d *Delivery, fn func(context.Context, *Delivery) error) (err error) {
	done := false
	defer func() {
		if r := recover(); r != nil || !done {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	err = fn(ctx, d)
	done = true
	return err
}
