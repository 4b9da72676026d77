package group

import (
	"context"
	"errors"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// A dead record whose letter the topic of the dead letters refuses is parked: it stays unfinished, holds back neither its key nor the window,
// is shown by [Queue.Entries] with the reason, put back by [Queue.Redrive], and tried again from time to time, since a topic may be altered,
// a quota raised. What is stored of it is that it is dead: a queue that is opened again tries again.

// How long a parked record rests before its letter is tried again: the first time, and at most.
const (
	firstParkRest   = time.Second
	longestParkRest = 5 * time.Minute
)

// parkLocked parks a record; first tells that it was not parked before.
func (q *Queue) parkLocked(s *slot, refusal error, now time.Time) (first bool) {
	first = s.refusal == nil
	q.dropLocked(s)
	if !s.share.park(s, refusal) {
		q.stats.Vanished++
		q.forgetLocked(s, now)
		return false
	}
	rest := min(firstParkRest<<min(s.refusals-1, 20), longestParkRest)
	q.line.park(s, now.Add(rest), now)
	q.roomLocked(s)
	q.rouseLocked(now)
	return first
}

// roomLocked has one fetch if a window that was full has room by what became of a record.
func (q *Queue) roomLocked(s *slot) {
	q.touchLocked(q.stallOf(s))
	if p := q.stallOf(s); p.full && p.share.inWindow() < q.cfg.window {
		q.rota.look = true
	}
}

func (q *Queue) tellRefused(got *taken, refusal error) {
	at := topic.Position{Topic: q.topic.Name(), Partition: q.stallOf(got.s).part.ID(), Offset: got.s.offset}
	q.hub.eng.TellLoop(topic.LoopFacts{What: topic.DeadLetterRefused, Loop: "queue", Name: q.id.name, Position: at, Err: refusal})
}

// reviveDead puts dead records that have no letter back in their places, as if they had never been delivered, if they are wanted.
func (q *Queue) reviveDead(ctx context.Context, wanted func(DeadRecord) (bool, error)) (n int, err error) {
	err = q.lookAhead(ctx) // a queue that was just opened has seen none of them
	q.passOn()
	if err != nil {
		return 0, err
	}
	for _, p := range q.stalls() {
		for _, s := range q.deadIn(p) {
			if err := bounded.Cause(ctx); err != nil {
				return n, err
			}
			ok, err := q.revive(ctx, s, wanted)
			if err != nil {
				return n, errors.Join(err, q.flushAtEnd(ctx))
			}
			if ok {
				n++
			}
		}
	}
	return n, q.flush(ctx)
}

// deadIn lists the dead records of a partition, those too whose letters are under way: they may yet be refused.
func (q *Queue) deadIn(p *stall) (list []*slot) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range p.share.open() {
		if s.dead != deadNot {
			list = append(list, s)
		}
	}
	return list
}

// revive looks at one record.
func (q *Queue) revive(ctx context.Context, s *slot, wanted func(DeadRecord) (bool, error)) (done bool, err error) {
	got, err := q.recall(ctx, s)
	if got == nil {
		return false, err
	}
	defer close(s.line.mailing)
	there, done, err := q.consider(ctx, got, wanted)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil {
		return false, q.end
	}
	now := time.Now()
	switch {
	case err == nil && !there:
		s.share.finish(s, stateArchived)
		q.stats.Vanished++
		q.forgetLocked(s, now)
	case !s.share.giveBack(s, time.Time{}):
		q.stats.Vanished++
		q.forgetLocked(s, now)
		done = false
	case !done && s.refusal != nil:
		q.line.pushWaiting(s, s.line.at, placeParked)
	case !done:
		q.line.admit(s, now)
	default:
		key := q.cfg.keyOf(&got.rec)
		q.line.finished(s, now)
		s.share.revive(s)
		p := q.stallOf(s)
		p.stageLocked(s)
		p.stageStoryLocked(s)
		q.line.enter(s, key, q.cfg.ordered, s.line.priority, now)
	}
	q.rouseLocked(now)
	return done, err
}

// recall takes a dead record, as a worker does that makes its letter, as soon as that is not under way; nil if the record is finished
// meanwhile, or dead no more.
func (q *Queue) recall(ctx context.Context, s *slot) (*taken, error) {
	for {
		got, mailing, err := q.tryRecall(s)
		if got != nil || mailing == nil {
			return got, err
		}
		select {
		case <-mailing:
		case <-ctx.Done():
			return nil, bounded.Cause(ctx)
		}
	}
}

// tryRecall is recall that returns what is closed when the letter that is under way has come to its end.
func (q *Queue) tryRecall(s *slot) (got *taken, mailing chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.end != nil || s.dead == deadNot || s.state.finished():
		return nil, nil, q.end
	case s.state == stateArchiving:
		return nil, s.line.mailing, nil
	}
	q.line.leave(s)
	return q.acquireLocked(s, time.Time{}), nil, nil
}

// consider reads a record that was taken and asks whether it is wanted. Not there: it is gone from the log. One that cannot be read is not
// wanted.
func (q *Queue) consider(ctx context.Context, got *taken, wanted func(DeadRecord) (bool, error)) (there, ok bool, err error) {
	if ok, err = q.read(ctx, got); err != nil || !ok {
		if errors.Is(err, topic.ErrCorrupt) {
			return true, false, nil
		}
		return ok, false, err
	}
	q.mu.Lock()
	d, _ := ParseDeadRecord(q.letter(got))
	q.mu.Unlock()
	d.Letter = topic.Position{}
	ok, err = wanted(d)
	return true, ok && err == nil, err
}
