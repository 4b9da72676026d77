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
	return c.run(ctx, workers, fn, false)
}

// RunByKey is Run with order by key: fn is called with records of one key at a time, those of one key one after the other and in order, those
// of different keys at once, also out of one partition. A batch is what one read brought of a key. A record without a key has no order: it
// is a batch of its own, given to whoever is free. Order is kept within a partition, as everywhere; the same key in two partitions is two.
//
// What is committed of a partition is never beyond a record whose fn has not returned, or marked it: a slow key holds back the committed
// offset, and after [ReadAhead] records also the reading of its partition, but not the other keys until then. What other keys have
// finished beyond it is noted in the metadata of the committed offset, and no [Consumer] processes it again after the partition was handed
// over or the member closed. (As far as it has room there, Config.MaxMetadata: more than a thousand gaps at the default.)
//
// Otherwise it is as Run. After an error of fn nothing more of that key is handed out. When a partition is revoked, those at work on it are
// told by their contexts and awaited, what waits is dropped, what is finished without a gap is committed, and it is handed over.
func (c *Consumer) RunByKey(ctx context.Context, workers int, fn func(ctx context.Context, b *Batch) error) error {
	return c.run(ctx, workers, fn, true)
}

func (c *Consumer) run(ctx context.Context, workers int, fn func(context.Context, *Batch) error, keyed bool) error {
	if workers < 1 || fn == nil {
		return fmt.Errorf("%w: %d workers", topic.ErrInvalid, workers)
	}
	if err := c.enter(); err != nil {
		return err
	}
	r := &runner{c: c, fn: fn, free: make(chan struct{}, workers)}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	if keyed {
		c.sortByKey()
	}
	err := endOfLoop(r.dispatch())
	r.cancel(err)
	for range workers { // all have returned when all places are taken
		r.free <- struct{}{}
	}
	if keyed {
		c.sortByPartition()
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

// sortByKey begins to keep order by key: what was read ahead is sorted.
func (c *Consumer) sortByKey() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keyed = true
	for _, h := range c.hold {
		h.window = newWindow()
		ready := h.ready
		h.ready = nil
		for _, b := range ready {
			c.sortLocked(c.hold[h.tp], b.Records)
		}
	}
}

// sortByPartition ends that: the partitions go on with the oldest record that is not finished.
func (c *Consumer) sortByPartition() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keyed = false
	for _, h := range c.hold {
		if oldest, ok := h.window.oldest(); ok {
			h.done = h.window.finished().and(h.done)
			h.next = oldest
			c.seeks = append(c.seeks, seek{h.tp, oldest})
		}
		h.window, h.ready = nil, nil
	}
}

// runner is one Run.
type runner struct {
	c      *Consumer
	fn     func(context.Context, *Batch) error
	ctx    context.Context
	cancel context.CancelCauseFunc
	free   chan struct{} // a token for each worker that is at work, or waits for a batch
}

// handlerError carries what a handler returned to the end of the loop.
type handlerError struct{ cause error }

func (e *handlerError) Error() string { return e.cause.Error() }

// dispatch hands out batches until something ends it. Who is to have one is there before it is chosen, so that it is the one whose turn it
// is then.
func (r *runner) dispatch() error {
	for {
		if err := r.awaitWorker(); err != nil {
			return err
		}
		b, err := r.c.next(r.ctx)
		if err != nil {
			<-r.free
			return err
		}
		go r.work(b)
	}
}

// awaitWorker waits until a worker is free. Meanwhile something is read for it, and what a rebalance wants done is done.
func (r *runner) awaitWorker() error {
	select {
	case r.free <- struct{}{}:
		return nil
	default:
	}
	if err := r.c.topUp(r.ctx); err != nil {
		return err
	}
	for {
		select {
		case r.free <- struct{}{}:
			return nil
		case <-r.c.member.called:
			if err := r.c.member.attend(r.ctx); err != nil {
				return err
			}
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
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
