package group

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/quirelog/quire/topic"
)

// Run is a loop with workers: fn is called with batches, up to workers at once, those of one partition one after the other and in order. A
// batch whose fn returns nil is marked; fn may mark as it goes. ctx of fn is the batch's Context.
//
// An error of fn ends the loop: no more batches are handed out, the contexts of the others are cancelled, and Run returns it when all have
// returned; what was not marked is read again. So does a panic of fn, and fn that ends its goroutine (runtime.Goexit, as testing.T.FailNow
// does), as a *[PanicError]. An error that fn returns after its context was cancelled, and that matches the context's (context.Canceled, or
// its cause: [ErrRevoked], [ErrLost], [ErrLate], topic.ErrClosed), is no failure: fn gave up because it was told to, and what it has not
// marked is read again by the partition's next owner. Any other error counts, also then.
//
// Run returns nil after Close, Shutdown and Drain; an error that matches the context's and its cause when ctx ends; topic.ErrClosed when the
// engine is closed; and else errors as Batches does. [Queue.Run] and [Router.Run] return the same for the same ends. While the disk has no
// room for what the group must store, the loop waits and tries again (Events.Loop tells).
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

func (c *Consumer) run(ctx context.Context, workers int, fn func(context.Context, *Batch) error, keyed bool) (err error) {
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
	defer func() { err = r.end(ctx, err, keyed) }() // also when a callback ends this goroutine
	return r.dispatch()
}

// end waits for the workers and ends the loop, which err has ended.
func (r *runner) end(ctx context.Context, err error, keyed bool) error {
	if !errors.Is(err, errClosing) { // closing has cancelled the batches' contexts, if it was to
		r.cancel(err)
	}
	for range cap(r.free) { // all have returned when all places are taken
		r.free <- struct{}{}
	}
	r.cancel(nil)
	if keyed {
		r.c.sortByPartition()
	}
	if errors.As(err, new(*handlerError)) {
		err = nil
	}
	return errors.Join(r.failure(), endOfLoop(ctx, err), r.c.exit(ctx))
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
		c.touchLocked(h.tp)
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
		c.touchLocked(h.tp)
	}
}

// runner is one Run.
type runner struct {
	c      *Consumer
	fn     func(context.Context, *Batch) error
	ctx    context.Context
	cancel context.CancelCauseFunc
	free   chan struct{} // a token for each worker that is at work, or waits for a batch

	mu     sync.Mutex
	failed *handlerError // the first
}

// handlerError is why the contexts of batches end after a handler has failed.
type handlerError struct{ cause error }

func (e *handlerError) Error() string { return e.cause.Error() }

// fail ends the loop for a handler's error.
func (r *runner) fail(err error) {
	r.mu.Lock()
	if r.failed == nil {
		r.failed = &handlerError{err}
	}
	r.mu.Unlock()
	r.cancel(r.failed)
}

func (r *runner) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		return nil
	}
	return r.failed.cause
}

// dispatch hands out batches until something ends it. Who is to have one is there before it is chosen, so that it is the one whose turn it
// is then.
func (r *runner) dispatch() error {
	for {
		if err := r.awaitWorker(); err != nil {
			return err
		}
		b, err := r.next()
		if err != nil {
			return err
		}
		go r.work(b)
	}
}

// next takes a batch for the worker whose token was taken; without one it gives the token back.
func (r *runner) next() (b *Batch, err error) {
	defer func() {
		if b == nil {
			<-r.free
		}
	}()
	return r.c.next(r.ctx)
}

// awaitWorker waits until a worker is free. Meanwhile something is read for it, and what a rebalance wants done is done.
func (r *runner) awaitWorker() error {
	select {
	case r.free <- struct{}{}:
		return nil
	default:
	}
	if err := r.c.room.patiently(r.ctx, func() error { return r.c.topUp(r.ctx) }); err != nil {
		return err
	}
	for {
		select {
		case r.free <- struct{}{}:
			return nil
		case <-r.c.member.called:
			if err := r.c.room.patiently(r.ctx, func() error { return r.c.member.attend(r.ctx) }); err != nil {
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
	guard(func() error { return r.fn(b.ctx, b) }, func(err error) { r.took(b, err) })
}

// took takes what a handler has come to.
func (r *runner) took(b *Batch, err error) {
	if b.fault != nil {
		err = b.fault
	}
	if err == nil {
		b.Mark()
		return
	}
	r.c.rewind(b)
	if gaveUp(b.ctx, err) {
		return
	}
	r.fail(err)
	first := &b.Records[0]
	r.c.room.loop.tellPanic(r.c.coord.eng, positionOf(first), err)
}
