package group

import (
	"context"
	"slices"
	"time"
)

// sleeper is a worker, or a loop, that sleeps until there may be a record for it.
type sleeper struct{ ch chan struct{} }

func (w *sleeper) wake() {
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

// A rota is which of those who want a record of a queue sleep, which of them watches for all, and whether one has yet to fetch. It is pure,
// and guarded by the queue's mutex.
//
//	awake ---- nothing to take, nothing fetched ----> watcher, if there is none, else asleep
//	  ^                                                  |
//	  +----- woken, or its partitions or its timer ------+
//
//	Z1  While a record can be taken, or look says that there may be something to fetch, one is awake that will come to it, or all are busy
//	    with records.
//	Z2  While any are asleep one of them is the watcher, or one is awake and becomes it unless it finds something to do.
//	Z3  The watcher's timer is not later than what time alone changes.
//
// Who changes what can be taken, or when, calls rouse before it lets go of the mutex; so does one that leaves without a record, since it may
// have been woken for one.
type rota struct {
	asleep   []*sleeper // the watcher not among them
	watcher  *sleeper
	armed    time.Time // until when the watcher sleeps, zero if without end
	fetching bool
	look     bool // there may be something to fetch that came after the last fetch began
}

// rouse wakes one if there is something to take (able) or to fetch, or no watcher; and the watcher if time alone changes something, at next,
// before it would wake.
func (r *rota) rouse(able bool, next time.Time) {
	if able || r.look && !r.fetching || r.watcher == nil {
		r.wakeOne()
	}
	r.hurry(next)
}

// hurry wakes the watcher if it would sleep beyond next.
func (r *rota) hurry(next time.Time) {
	if r.watcher != nil && !next.IsZero() && (r.armed.IsZero() || next.Before(r.armed)) {
		r.watcher.wake()
	}
}

// wakeOne wakes one of those who sleep, the watcher last: it leaves its watch by that.
func (r *rota) wakeOne() {
	n := len(r.asleep) - 1
	switch {
	case n >= 0:
		r.asleep[n].wake()
		r.asleep[n] = nil
		r.asleep = r.asleep[:n]
	case r.watcher != nil:
		r.watcher.wake()
	}
}

// sleep enters w, which has found nothing to take or to fetch. The watcher sleeps until next at most, and fetches once more when it has
// begun to watch.
func (r *rota) sleep(w *sleeper, next time.Time) (watches bool) {
	if r.watcher == nil {
		r.watcher, r.armed = w, next
		return true
	}
	r.asleep = append(r.asleep, w)
	return false
}

// rise takes w out, whatever woke it.
func (r *rota) rise(w *sleeper) {
	if r.watcher == w {
		r.watcher = nil
		return
	}
	if i := slices.Index(r.asleep, w); i >= 0 {
		r.asleep = slices.Delete(r.asleep, i, i+1)
	}
}

// begin begins a fetch, unless one is under way: then that one looks again.
func (r *rota) begin() bool {
	if r.fetching {
		r.look = true
		return false
	}
	r.fetching, r.look = true, false
	return true
}

// end ends a fetch. The one that fetched takes what it found, or rouses others; the times that it found are the watcher's.
func (r *rota) end(next time.Time) {
	r.fetching = false
	r.hurry(next)
}

// rouseLocked sees that a change is looked after.
func (q *Queue) rouseLocked(now time.Time) { q.rota.rouse(q.line.able(now), q.line.next()) }

// passOn leaves to others what a worker that goes without a record may have been woken for.
func (q *Queue) passOn() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rouseLocked(time.Now())
}

// wait sleeps until there may be something to take or to fetch.
func (q *Queue) wait(ctx context.Context) error {
	w := &sleeper{ch: make(chan struct{}, 1)}
	q.mu.Lock()
	if q.end != nil || q.line.able(time.Now()) {
		q.mu.Unlock()
		return nil
	}
	at := q.line.next()
	watches := q.rota.sleep(w, at)
	q.mu.Unlock()
	var err error
	if watches {
		err = q.watch(ctx, w, at)
	} else {
		select {
		case <-w.ch:
		case <-ctx.Done():
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rota.rise(w)
	return err
}

// watch sleeps as the watcher: until its partitions change, or at.
func (q *Queue) watch(ctx context.Context, w *sleeper, at time.Time) error {
	q.mu.Lock()
	q.advanceLocked(time.Now()) // from here on a change is told
	q.mu.Unlock()
	if more, err := q.fetch(ctx); more || err != nil { // what came before the watch began
		return err
	}
	var expiry <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		expiry = timer.C
	}
	select {
	case <-w.ch:
	case <-q.news.Signal():
	case <-q.feed.Signal(): // the feed may be told after news, and have had nothing when it was asked
	case <-expiry:
	case <-ctx.Done():
	}
	return nil
}
