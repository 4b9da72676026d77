package topic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/bounded"
)

// closeGrace is how long Close waits for goroutines that are in a user's callback and do not come back;
// outcomeGrace is the part of it in which producers wait for outcomes, before they tell that those are not known.
const (
	closeGrace   = 5 * time.Second
	outcomeGrace = closeGrace - closeGrace/10
)

// grace is the two ends of the time for a Close that begins now.
func grace() (outcome, end context.Context, cancel context.CancelFunc) {
	end, endCancel := context.WithTimeout(context.Background(), closeGrace)
	outcome, outcomeCancel := context.WithTimeout(end, outcomeGrace)
	return outcome, end, func() {
		outcomeCancel()
		endCancel()
	}
}

// Close ends the engine. First producers take no more records and deliver those that they have accepted, each
// within its delivery timeout; [Engine.Shutdown] bounds that by a context. Then calls that are under way return with
// ErrClosed, as all later ones do, consumers end, logs are synced and closed, and the directory is marked as stopped
// in good order and unlocked. Close again waits for that, and does nothing more.
//
// Close may be called from any callback. It does not wait for the goroutine that it is called from, and in a
// producer's callback, which records may be waiting behind, not longer than 5 seconds for what is not delivered. A
// callback that does not return holds it up for at most 5 seconds, 10 if records wait behind it.
//
// When Close returns nil, everything sent and appended is on disk, at any level. An error that matches
// [ErrUndelivered] counts the records that producers could not deliver ([UndeliveredError]); others say what could
// not be synced, and the next Open then recovers as after a crash.
func (e *Engine) Close() error { return e.end(context.Background(), nil) }

// Shutdown ends the engine as Close does, but first lets consumers of groups hand over what they read, and waits for
// that and for producers until ctx ends: then what is not delivered fails, which is told as by Close, and the
// context's cause is part of the error.
//
// It returns a second after ctx has ended at the latest: when a callback or the disk does not come back, the engine
// closes in the background, and its directory stays locked until then. Inside a callback it waits as Close does.
func (e *Engine) Shutdown(ctx context.Context) error {
	if ctx.Done() == nil || e.insideClose() || onProducerGoroutine() {
		return e.end(ctx, e.drainLodgers)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.end(ctx, e.drainLodgers) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(shutdownGrace)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		return fmt.Errorf("topic: shutdown goes on in the background, for a callback or the disk: %w", bounded.Cause(ctx))
	}
}

// end is Close after what drain does; ctx bounds what is delivered.
func (e *Engine) end(ctx context.Context, drain func(context.Context) error) error {
	if e.closing == nil {
		return ErrClosed
	}
	if !e.beginEnd() {
		if !e.insideClose() {
			<-e.done
		}
		return nil
	}
	var faults []error
	if drain != nil {
		faults = append(faults, drain(ctx))
	}
	faults = append(faults, e.deliver(ctx))
	e.beginClose()
	e.scheduler.close()
	e.runner.Close()
	faults = append(faults, e.endMembers()...)
	e.turn <- struct{}{} // never given back
	e.changesDone()
	faults = append(faults, e.stop()...)
	e.closeErr = errors.Join(faults...)
	close(e.done)
	e.logger.Info("engine closed", "dir", e.dir, "err", e.closeErr)
	tell(e, e.events.Closed, e.closeErr)
	return e.closeErr
}

// beginEnd lets no producer or consumer come any more; false when the end has begun before.
func (e *Engine) beginEnd() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ending {
		return false
	}
	e.ending, e.closer = true, goroutineNumber()
	return true
}

// deliver lets producers deliver what they hold, all of them at once, until ctx ends. A producer's own goroutine
// cannot wait for what it is to do itself.
func (e *Engine) deliver(ctx context.Context) error {
	if onProducerGoroutine() {
		within, cancel := context.WithTimeoutCause(ctx, outcomeGrace, ErrInCallback)
		defer cancel()
		ctx = within
	}
	members := e.takeMembers()
	faults := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		if d, ok := m.c.(drainer); ok {
			wg.Go(func() { faults[i] = d.drainFromEngine(ctx) })
		}
	}
	wg.Wait()
	return errors.Join(faults...)
}

// beginClose lets nothing new begin.
func (e *Engine) beginClose() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.goroutines.close()
	close(e.closing)
}

// insideClose tells a call that must not wait for the end of Close: one from a goroutine that Close waits
// for, or from within Close itself, by a callback.
func (e *Engine) insideClose() bool {
	e.mu.RLock()
	closer := e.closer
	e.mu.RUnlock()
	return closer == goroutineNumber() || onEngineGoroutine()
}

// endMembers ends producers and consumers and waits for the engine's goroutines, all within one grace, however
// many of them are stuck.
func (e *Engine) endMembers() (faults []error) {
	outcome, end, cancel := grace()
	defer cancel()
	members, lodgers := e.takeMembers(), e.allLodgers()
	for _, l := range lodgers {
		l.EngineClosing()
	}
	for _, m := range members {
		m.c.closeFromEngine()
	}
	for _, l := range lodgers {
		faults = append(faults, l.Settle(outcome))
	}
	var late []finisher
	for _, m := range members {
		if f, ok := m.c.(finisher); ok {
			f.settle(outcome)
			late = append(late, f)
		}
	}
	var lost losses
	for _, f := range late {
		faults = append(faults, f.gone(end))
		lost.add(f.losses())
	}
	return append(faults, lost.err(), e.awaitGoroutines(end))
}

func (e *Engine) awaitGoroutines(ctx context.Context) error {
	if n := e.goroutines.wait(ctx); n > 0 {
		return fmt.Errorf("topic: close: %d goroutines did not end in %v: a callback blocks", n, closeGrace)
	}
	return nil
}

// stop closes the logs and then writes what says that they were closed: the checkpoint files, and last of all
// the mark of a clean stop, only if all of it is true.
func (e *Engine) stop() []error {
	clean, faults := e.closeLogs()
	if !e.readOnly {
		e.closeUptime()
		err := e.writeCheckpoints()
		e.catalog.Close()
		if err == nil && clean && e.catalog.Fault() == nil {
			err = writeCleanMark(e.fs, e.dir)
		}
		faults = append(faults, err)
	}
	return append(faults, e.unlock())
}

// closeLogs closes every partition; clean says that each of them is known to have stopped in good order.
func (e *Engine) closeLogs() (clean bool, faults []error) {
	var mu sync.Mutex
	clean = true
	inParallel(e.allPartitions(), func(p *Partition) {
		ok, err := p.shut(ErrClosed)
		if ok && err == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		clean = false
		if err != nil {
			faults = append(faults, err)
		}
	})
	return clean, faults
}

// parallelism is how many logs are synced or closed at once: concurrent fsyncs share a commit of the disk's journal.
const parallelism = 64

// inParallel calls f for every partition in a few goroutines and waits for all. Few partitions need none.
func inParallel(list []*Partition, f func(*Partition)) {
	if len(list) < 2 {
		for _, p := range list {
			f(p)
		}
		return
	}
	var wg sync.WaitGroup
	workers := min(parallelism, len(list))
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(list); i += workers {
				f(list[i])
			}
		})
	}
	wg.Wait()
}

// Flush fsyncs everything appended so far to any topic; it is on disk at return. Partitions that were not
// used since Open cost nothing. After ctx ended no further partition is begun.
func (e *Engine) Flush(ctx context.Context) error {
	if err := e.usable(ctx); err != nil {
		return err
	}
	var mu sync.Mutex
	var faults []error
	inParallel(e.openPartitions(), func(p *Partition) {
		err := bounded.Cause(ctx)
		if l := p.log.Load(); l != nil && err == nil {
			err = p.waitFault(ctx, l.Flush(ctx))
		}
		if err != nil && !p.topic.deleted.Load() {
			mu.Lock()
			defer mu.Unlock()
			faults = append(faults, err)
		}
	})
	if err := bounded.Cause(ctx); err != nil {
		return err
	}
	return errors.Join(faults...)
}

// openPartitions is those whose log is open.
func (e *Engine) openPartitions() []*Partition {
	var list []*Partition
	for _, p := range e.allPartitions() {
		if p.log.Load() != nil {
			list = append(list, p)
		}
	}
	return list
}
