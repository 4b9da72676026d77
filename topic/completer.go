package topic

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"
)

// complete is the completer's duty: wait for the disk and run the callbacks, batch after batch in order.
func (l *lane) complete(w *worker) {
	held := duties(0)
	defer func() { l.leave(held) }()
	if !l.beginCompleter() {
		return
	}
	held = holdsCompleter
	l.completeFlight(w)
	held = 0
}

// beginCompleter tells whether a queued completer has its duty still.
func (l *lane) beginCompleter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	begun := l.queued
	l.queued = false
	return begun
}

// queueCompleter hands the completer's duty, which the caller holds, to another goroutine.
func (l *lane) queueCompleter() {
	l.mu.Lock()
	l.queued = true
	l.p.workers.join()
	l.mu.Unlock()
	l.p.senders.putUrgent(l.completeFn)
}

// completeFlight completes what is in flight until nothing is. The caller holds the completer's duty, which
// is over at return.
func (l *lane) completeFlight(w *worker) {
	w.lane.Store(nil)
	for b := l.head(); b != nil; b = l.head() {
		w.progress()
		if !l.settled(b) {
			if w.pool == l.p.late {
				l.queueCompleter()
				return
			}
			turn := l.beginAwait()
			w.block()
			err := l.await(b)
			w.unblock()
			if !l.endAwait(turn) {
				return // the disk took too long: another completer has done it
			}
			if err != nil && l.takeBack(b, err) {
				continue // head sees the rewind and ends the duty
			}
		}
		l.finish(b)
	}
}

// settled tells that a batch's outcome is known without waiting.
func (l *lane) settled(b *batch) bool {
	return b.err != nil || l.p.cfg.acks == None || b.log.High() > b.appended.Last
}

// await waits until the batch is as safe as its log promises and visible, within the batch's time. The error
// matches ErrUncertain.
func (l *lane) await(b *batch) error {
	left := l.p.cfg.deliveryTimeout - time.Since(b.born)
	ctx, cancel := context.WithTimeoutCause(l.p.life, left, ErrDeliveryTimeout)
	defer cancel()
	if err := b.log.Commit(ctx, b.appended.Last+1); err != nil {
		return err
	}
	if b.log.High() > b.appended.Last {
		return nil
	}
	if err := b.log.Wait(ctx, b.appended.Last, ReadUncommitted.bound()); err != nil {
		return errors.Join(ErrUncertain, err)
	}
	return nil
}

// takeBack decides about a batch whose outcome the disk left open. True: the sender will send it, and all
// that is in flight behind it, once more. False: the uncertainty is the outcome.
func (l *lane) takeBack(b *batch, err error) bool {
	b.unsure = true
	b.tries++
	again := !l.p.isAborting() && l.p.life.Err() == nil && b.tries <= l.p.cfg.retries &&
		time.Since(b.born) < l.p.cfg.deliveryTimeout && !errors.Is(err, ErrClosed) && l.judgeUnsure(b) == verdictAgain
	if !again {
		if errors.Is(err, ErrDeliveryTimeout) {
			err = l.lateness(b, err)
		}
		b.err = l.final(b, err)
		return false
	}
	l.mu.Lock()
	for _, f := range l.flight {
		f.unsure = f.unsure || f.err == nil
	}
	l.rewind = true
	wake := l.wakeLocked()
	l.mu.Unlock()
	l.wake(wake)
	return true
}

// finish gives the batch's memory back, tells its outcome, and takes it out of flight. The memory comes
// first, so that callbacks find room to send.
func (l *lane) finish(b *batch) {
	if b.cost > 0 {
		l.p.memory.release(b.cost)
		b.cost = 0
	}
	l.p.eng.stats.produceTime.since(b.born)
	l.p.firing.Add(1)
	defer l.p.firing.Add(-1)
	for b.told < len(b.calls) {
		l.tell(b)
	}
	l.land(b)
}

// tell calls the batch's callbacks from where the last call to it stopped. A panic ends one callback; the
// caller comes back for the rest. Its name is what inCallback looks for.
//
//go:noinline
func (l *lane) tell(b *batch) {
	defer func() {
		if r := recover(); r != nil {
			l.p.eng.reportPanic("producer callback", l.route.name, l.id, r)
		}
	}()
	l.tally.telling.Store(true)
	defer l.tally.telling.Store(false)
	pos := Position{Topic: l.route.name, Partition: l.id, Offset: -1, Epoch: -1}
	intercepted := len(l.p.cfg.interceptors) > 0
	for b.told < len(b.calls) {
		cb := b.calls[b.told]
		if b.err == nil {
			pos.Offset, pos.Epoch = b.appended.Base+int64(b.told), b.appended.Epoch
		}
		b.told++
		l.tally.told.Add(1)
		if b.err != nil && (l.p.closed.Load() || cb == nil && !intercepted && l.p.cfg.onError == nil) {
			l.p.lost.note(1, b.err)
		}
		if intercepted {
			l.p.onAck(pos, b.err)
		}
		if b.err != nil && l.p.cfg.onError != nil {
			l.guardOnError(pos, b.err)
		}
		if cb != nil {
			cb(pos, b.err)
		}
	}
}

// guardOnError keeps a panic in OnError from taking the record's own callback with it.
func (l *lane) guardOnError(pos Position, err error) {
	defer func() {
		if r := recover(); r != nil {
			l.p.eng.reportPanic("producer error function", pos.Topic, pos.Partition, r)
		}
	}()
	l.p.cfg.onError(pos, err)
}

// tellName is how the stack of a goroutine that runs a callback can be told: the callback was called by tell,
// so tell is on the stack, and on no other. Go has no goroutine ids to ask for; a goroutine that a callback
// starts is rightly taken for another one.
const tellName = "topic.(*lane).tell"

// inCallback tells whether the caller runs inside a callback of a producer. Only while callbacks run is the
// stack looked at. While one of this producer's runs, a callback of another producer counts as well.
func (p *Producer) inCallback() bool {
	return p.firing.Load() > 0 && stackHas(tellName)
}

// onProducerGoroutine tells whether the caller runs in a callback of a producer, or in an event function that a
// producer's append has called.
func onProducerGoroutine() bool {
	return stackHas(tellName) || stackHas("topic.(*lane).send") || stackHas("topic.(*Producer).storeLater")
}

func stackHas(suffix string) bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		frames := runtime.CallersFrames(pcs[:n])
		for {
			frame, more := frames.Next()
			if strings.HasSuffix(frame.Function, suffix) {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}
