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
	if p := q.stallOf(s); p.full && p.share.inWindow() < q.cfg.window {
		q.rota.look = true
	}
}

func (q *Queue) tellRefused(got *taken, refusal error) {
	at := topic.Position{Topic: q.topic.Name(), Partition: q.stallOf(got.s).part.ID(), Offset: got.s.offset}
	q.hub.eng.TellLoop(topic.LoopFacts{What: topic.DeadLetterRefused, Loop: "queue", Name: q.id.name, Position: at, Err: refusal})
}

// reviveParked puts parked records back in their places, as if they had never been delivered, if they are wanted.
func (q *Queue) reviveParked(ctx context.Context, wanted func(DeadRecord) (bool, error)) (n int, err error) {
	for _, p := range q.stalls() {
		for _, s := range q.parkedIn(p) {
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

func (q *Queue) parkedIn(p *stall) (list []*slot) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p.share.parked == 0 {
		return nil
	}
	for _, s := range p.share.open() {
		if s.refusal != nil {
			list = append(list, s)
		}
	}
	return list
}

// revive looks at one record.
func (q *Queue) revive(ctx context.Context, s *slot, wanted func(DeadRecord) (bool, error)) (done bool, err error) {
	got := &taken{s: s}
	switch ok, err := q.read(ctx, got); {
	case errors.Is(err, topic.ErrCorrupt): // it stays parked
		return false, nil
	case err != nil || !ok:
		return false, err
	}
	q.mu.Lock()
	d, _ := ParseDeadRecord(q.letter(got))
	q.mu.Unlock()
	d.Letter = topic.Position{}
	if ok, err := wanted(d); err != nil || !ok {
		return false, err
	}
	key := q.cfg.keyOf(&got.rec)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil || s.line.place != placeParked { // its letter is under way, or was taken
		return false, q.end
	}
	now := time.Now()
	q.line.leave(s)
	s.share.revive(s)
	p := q.stallOf(s)
	p.stageLocked(s)
	p.stageStoryLocked(s)
	q.line.enter(s, key, q.cfg.ordered, s.line.priority, now)
	q.rouseLocked(now)
	return true, nil
}
