package group

import (
	"context"
	"errors"
	"time"

	"github.com/quirelog/quire/topic"
)

const (
	// feedRecords is how many records are read at a time; keepBytes how many bytes of records that wait their turn are kept in memory:
	// beyond it they are read again when it comes.
	feedRecords = 500
	keepBytes   = 32 << 20
)

// waiter is somebody who waits for a record.
type waiter struct{ ch chan struct{} }

func (w *waiter) wake() {
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

// taken is a slot that next has given out.
type taken struct {
	s       *slot
	lock    uint64
	attempt int
	rec     topic.Record
}

// next waits for the next record of a loop and takes it: a delivery that is counted on disk. A lease of zero has no end. Without an error it
// returns nil when ctx is done. Before it returns a record, and before it sleeps, what the loop answered is durable.
func (q *Queue) next(ctx context.Context, l *loop, lease time.Duration) (*taken, error) {
	for ctx.Err() == nil {
		if q.cfg.chooses() { // what has come since may be more urgent
			if err := q.lookAhead(ctx); err != nil && ctx.Err() == nil {
				return nil, err
			}
		}
		got, err := q.take(lease)
		switch {
		case err != nil:
			return nil, err
		case got == nil:
			more, err := q.fetch(ctx)
			if err == nil && !more {
				err = errors.Join(q.Flush(), q.wait(ctx))
			}
			if err != nil && ctx.Err() == nil {
				return nil, err
			}
		case got.s.dead != deadNot:
			if err := q.bury(got); err != nil {
				return nil, err
			}
		default:
			ok, err := q.present(ctx, l, got)
			if ok && err == nil {
				return got, nil
			}
			if err != nil && ctx.Err() == nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// take takes the next record whose turn it is, nil if there is none.
func (q *Queue) take(lease time.Duration) (*taken, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil {
		return nil, q.end
	}
	now := time.Now()
	q.advanceLocked(now)
	s := q.line.take(now)
	if s == nil {
		return nil, nil
	}
	if q.line.able(now) {
		q.wakeOneLocked()
	}
	until := time.Time{}
	if lease > 0 && s.dead == deadNot {
		until = now.Add(lease)
		q.line.wait(s, until)
	}
	s.share.acquire(s, until)
	q.stallOf(s).stageLocked(s)
	return &taken{s: s, lock: s.lock, attempt: int(s.count)}, nil
}

func (q *Queue) stallOf(s *slot) *stall { return s.line.stall }

// advanceLocked sees to what time has made due: leases that end, records that have rested.
func (q *Queue) advanceLocked(now time.Time) {
	for s := q.line.due(now); s != nil; s = q.line.due(now) {
		if s.state != stateAcquired {
			q.line.admit(s, now)
			continue
		}
		q.stats.Expired++
		s.story = append(s.story, Attempt{Number: int(s.count), Time: s.until, Error: "lease ended"})
		q.releaseLocked(s, time.Time{}, now)
	}
	for _, p := range q.parts {
		start, err := p.part.Start()
		if err != nil || start <= p.share.floor {
			continue
		}
		for _, s := range p.share.raise(start) {
			q.stats.Vanished++
			q.forgetLocked(s, now)
		}
	}
}

// releaseLocked gives a record back, to be delivered again at due, and stages that.
func (q *Queue) releaseLocked(s *slot, due time.Time, now time.Time) {
	p := q.stallOf(s)
	if !s.share.release(s, due) {
		q.stats.Vanished++
		q.forgetLocked(s, now)
		return
	}
	p.stageStoryLocked(s)
	q.dropLocked(s)
	q.line.admit(s, now)
	q.rouseLocked()
}

// undoLocked gives a record back as if it had not been delivered, and stages that.
func (q *Queue) undoLocked(s *slot, now time.Time) {
	if !s.share.undo(s) {
		q.stats.Vanished++
		q.forgetLocked(s, now)
		return
	}
	q.stallOf(s).stageLocked(s)
	q.line.admit(s, now)
	q.rouseLocked()
}

// forgetLocked lets go of a record that is finished, and stages that.
func (q *Queue) forgetLocked(s *slot, now time.Time) {
	q.stallOf(s).stageLocked(s)
	q.dropLocked(s)
	q.line.finished(s, now)
	q.rouseLocked()
}

// dropLocked gives up the bytes of a record.
func (q *Queue) dropLocked(s *slot) {
	if s.line.rec != nil {
		q.kept -= sizeOf(s.line.rec)
		s.line.rec = nil
	}
}

func sizeOf(r *topic.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// present makes a delivery of what was taken: the record's bytes, and its count on disk. Not ok: the record is gone. After an error it is
// as if it had not been taken.
func (q *Queue) present(ctx context.Context, l *loop, got *taken) (ok bool, err error) {
	p := q.stallOf(got.s)
	if ok, err = q.read(ctx, got); ok {
		q.mu.Lock()
		seq := p.seq
		q.mu.Unlock()
		err = errors.Join(p.commit(seq), l.pay()) // first its own: with one partition that pays for all
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	switch {
	case err != nil:
		if got.s.lock == got.lock && got.s.state == stateAcquired {
			q.line.refund(got.s)
			q.undoLocked(got.s, now)
		}
	case !ok:
		q.line.refund(got.s)
		got.s.share.finish(got.s, stateArchived)
		q.stats.Vanished++
		q.forgetLocked(got.s, now)
	default:
		q.stats.Delivered++
	}
	return ok, err
}

// read gets the bytes of what was taken. Not ok: they are gone from the log.
func (q *Queue) read(ctx context.Context, got *taken) (ok bool, err error) {
	q.mu.Lock()
	if rec := got.s.line.rec; rec != nil {
		got.rec = *rec
		q.mu.Unlock()
		return true, nil
	}
	q.mu.Unlock()
	got.rec, err = q.stallOf(got.s).part.Get(ctx, got.s.offset)
	if errors.Is(err, topic.ErrNoRecord) || errors.Is(err, topic.ErrOffsetOutOfRange) {
		return false, nil
	}
	return err == nil, err
}

// lookAhead fills the windows as far as there are records.
func (q *Queue) lookAhead(ctx context.Context) error {
	for {
		if more, err := q.fetch(ctx); !more || err != nil {
			return err
		}
	}
}

// fetch reads more records into the windows, unless somebody else does. more tells that it found some.
func (q *Queue) fetch(ctx context.Context) (more bool, err error) {
	q.mu.Lock()
	if q.fetching || q.end != nil {
		q.mu.Unlock()
		return false, nil
	}
	q.fetching = true
	q.mu.Unlock()
	recs, err := q.poll(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fetching = false
	now := time.Now()
	for i := range recs {
		q.enterLocked(&recs[i], now)
	}
	if len(recs) > 1 && q.line.able(now) {
		q.wakeOneLocked()
	}
	return len(recs) > 0, err
}

// poll reads records of the partitions whose windows have room. The caller has the feed.
func (q *Queue) poll(ctx context.Context) ([]topic.Record, error) {
	if err := q.grow(ctx); err != nil {
		return nil, err
	}
	q.mu.Lock()
	pause, resume := q.crowdLocked()
	full := q.full == len(q.parts)
	q.mu.Unlock()
	var err error
	if len(pause) > 0 {
		err = q.feed.Pause(pause...)
	}
	if len(resume) > 0 {
		err = errors.Join(err, q.feed.Resume(resume...))
	}
	if err != nil || full {
		return nil, err
	}
	return q.feed.Poll(ctx)
}

// crowdLocked finds the partitions whose windows have become full since it was last called, or are full no more.
func (q *Queue) crowdLocked() (pause, resume []topic.TopicPartition) {
	q.full = 0
	for _, p := range q.parts {
		was := p.full
		p.full = p.share.unfinished() >= q.cfg.window
		switch {
		case p.full && !was:
			pause = append(pause, p.at())
		case !p.full && was:
			resume = append(resume, p.at())
		}
		if p.full {
			q.full++
			q.crowded = true
		}
	}
	return pause, resume
}

// enterLocked takes a record into its window.
func (q *Queue) enterLocked(r *topic.Record, now time.Time) {
	p := q.parts[r.Partition]
	s := p.share.fill(r.Offset)
	if s == nil {
		return
	}
	s.line.stall, s.line.tenant, s.line.born = p, q.cfg.owner(r), r.Time.UnixMilli()
	if n := sizeOf(r); q.kept+n <= keepBytes {
		s.line.rec = r
		q.kept += n
	}
	q.line.enter(s, q.cfg.keyOf(r), q.cfg.ordered, q.cfg.rank(r), now)
}

// wakeOneLocked wakes one of those who wait.
func (q *Queue) wakeOneLocked() {
	if len(q.waiters) > 0 {
		w := q.waiters[0]
		q.waiters = q.waiters[1:]
		w.wake()
	}
}

// rouseLocked sees that somebody looks after a change: one who waits, if there is something to take or to fetch, and the watcher, if the
// next time has come closer.
func (q *Queue) rouseLocked() {
	if q.crowded || q.line.able(time.Now()) {
		q.crowded = false
		q.wakeOneLocked()
	}
	if at, ok := q.line.next(); ok && q.watcher != nil && (q.armed.IsZero() || at.Before(q.armed)) {
		q.watcher.wake()
	}
}

// wait sleeps until there may be something to take. The first who waits watches the partitions and the time for all.
func (q *Queue) wait(ctx context.Context) error {
	w := &waiter{ch: make(chan struct{}, 1)}
	q.mu.Lock()
	if q.end != nil || q.line.able(time.Now()) {
		q.mu.Unlock()
		return nil
	}
	q.waiters = append(q.waiters, w)
	watch := q.watcher == nil
	if watch {
		q.watcher = w
	}
	at, _ := q.line.next()
	if watch {
		q.armed = at
	}
	q.mu.Unlock()
	var err error
	if watch {
		err = q.watch(ctx, w, at)
	} else {
		select {
		case <-w.ch:
		case <-ctx.Done():
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.retireLocked(w)
	return err
}

// watch sleeps as the watcher.
func (q *Queue) watch(ctx context.Context, w *waiter, at time.Time) error {
	for _, p := range q.stalls() {
		stop, err := p.part.Watch(w.ch)
		if err != nil {
			return err
		}
		defer stop()
	}
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
	case <-expiry:
	case <-ctx.Done():
	}
	return nil
}

// retireLocked ends a wait. What woke it may have been meant for others: one of them looks in its place.
func (q *Queue) retireLocked(w *waiter) {
	for i, other := range q.waiters {
		if other == w {
			q.waiters = append(q.waiters[:i:i], q.waiters[i+1:]...)
			break
		}
	}
	if q.watcher == w {
		q.watcher = nil
		q.wakeOneLocked()
	} else if q.line.able(time.Now()) {
		q.wakeOneLocked()
	}
}
