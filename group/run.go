package group

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/quirelog/quire/topic"
)

// Run is a loop with workers: fn is called with batches, up to workers at once, those of one partition one after the other and in order. A
// batch whose fn returns nil is marked; fn may mark as it goes. ctx of fn is the batch's Context. An error of fn, or a panic as an error
// with its stack, ends the loop: no more batches are handed out, the contexts of the others are cancelled, and Run returns it when all have
// returned; what was not marked is read again. Run returns nil after Close, the context's cause when ctx ends, and errors as Batches does.
func (c *Consumer) Run(ctx context.Context, workers int, fn func(ctx context.Context, b *Batch) error) error {
	if workers < 1 {
		return fmt.Errorf("%w: %d workers", topic.ErrInvalid, workers)
	}
	if err := c.enter(); err != nil {
		return err
	}
	r := &runner{c: c, fn: fn, free: make(chan struct{}, workers)}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	err := endOfLoop(r.dispatch())
	r.cancel(err)
	for range workers { // all have returned when all places are taken
		r.free <- struct{}{}
	}
	if fault := context.Cause(r.ctx); ctx.Err() == nil && errors.As(fault, new(*handlerError)) {
		err = fault
	}
	var failed *handlerError
	if errors.As(err, &failed) {
		err = failed.cause
	}
	return errors.Join(err, c.exit())
}

// runner is one Run.
type runner struct {
	c      *Consumer
	fn     func(context.Context, *Batch) error
	ctx    context.Context
	cancel context.CancelCauseFunc
	free   chan struct{} // a token for each batch at work
}

// handlerError carries what a handler returned to the end of the loop.
type handlerError struct{ cause error }

func (e *handlerError) Error() string { return e.cause.Error() }

// dispatch hands out batches until something ends it.
func (r *runner) dispatch() error {
	for {
		b, err := r.c.next(r.ctx)
		if err != nil {
			return err
		}
		select {
		case r.free <- struct{}{}:
			go r.work(b)
		case <-b.ctx.Done(): // nobody has begun with it
			r.c.rewind(b)
			r.c.done(b)
		}
	}
}

func (r *runner) work(b *Batch) {
	defer func() { <-r.free }()
	defer r.c.done(b)
	if err := r.handle(b); err != nil {
		if b.ctx.Err() != nil && errors.Is(err, context.Cause(b.ctx)) || errors.Is(err, b.ctx.Err()) && b.ctx.Err() != nil {
			r.c.rewind(b)
			return // it gave up because it was to
		}
		r.c.rewind(b)
		r.cancel(&handlerError{err})
		return
	}
	b.Mark()
}

func (r *runner) handle(b *Batch) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("group: handler panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return r.fn(b.ctx, b)
}
