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

// taken is a slot that next has given out.
type taken struct {
	s       *slot
	lock    uint64
	attempt int
	rec     topic.Record
}

// next waits for the next record of a loop and takes it: a delivery that is counted on disk. A lease of zero has no end. Without an error it
// returns nil when ctx is done. Before it returns a record, and before it sleeps, what the loop answered is durable.
func (q *Queue) next(ctx context.Context, l *loop, lease time.Duration) (got *taken, err error) {
	defer func() {
		if got == nil {
			q.passOn()
		}
	}()
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
				if err = q.flush(ctx); err == nil {
					err = q.wait(ctx)
				}
			}
			if err != nil && ctx.Err() == nil {
				return nil, err
			}
		case got.s.dead != deadNot:
			if err := q.bury(ctx, got); err != nil && ctx.Err() == nil {
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
	return q.takeLocked(lease, now), nil
}

func (q *Queue) takeLocked(lease time.Duration, now time.Time) *taken {
	s := q.line.take(now)
	if s == nil {
		return nil
	}
	until := time.Time{}
	if lease > 0 && s.dead == deadNot {
		until = now.Add(lease)
		q.line.wait(s, until)
	}
	q.rouseLocked(now)
	return q.acquireLocked(s, until)
}

// acquireLocked gives a slot that is in no heap, or waits for the end of its lease, to a delivery, or to those who make dead letters.
func (q *Queue) acquireLocked(s *slot, until time.Time) *taken {
	s.share.acquire(s, until)
	if s.state == stateArchiving {
		s.line.mailing = make(chan struct{})
	}
	q.stallOf(s).stageLocked(s)
	return &taken{s: s, lock: s.lock, attempt: int(s.count)}
}

func (q *Queue) stallOf(s *slot) *stall { return s.line.stall }

// advanceLocked sees to what time has made due, and to what is gone from the topic.
func (q *Queue) advanceLocked(now time.Time) {
	q.expireLocked(now)
	for m := q.news.Front(); m != nil; m = q.news.Front() {
		p := m.Of
		q.news.Rest(m)        // and then looks: what comes later is told
		if !p.part.Opened() { // nothing of it was read
			continue
		}
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

// expireLocked ends leases, and rests.
func (q *Queue) expireLocked(now time.Time) {
	for s := q.line.due(now); s != nil; s = q.line.due(now) {
		if s.state != stateAcquired {
			q.line.admit(s, now)
			continue
		}
		q.stats.Expired++
		s.story = remember(s.story, Attempt{Number: int(s.count), Time: s.until, Error: "lease ended"})
		q.releaseLocked(s, time.Time{}, now)
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
	q.rouseLocked(now)
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
	q.rouseLocked(now)
}

// forgetLocked lets go of a record that is finished, and stages that.
func (q *Queue) forgetLocked(s *slot, now time.Time) {
	q.stallOf(s).stageLocked(s)
	q.dropLocked(s)
	q.line.finished(s, now)
	q.roomLocked(s)
	q.rouseLocked(now)
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
	ok, err = q.read(ctx, got)
	unreadable := errors.Is(err, topic.ErrCorrupt)
	if ok {
		q.mu.Lock()
		seq := p.seq
		q.mu.Unlock()
		err = errors.Join(p.commit(ctx, seq), l.pay(ctx)) // first its own: with one partition that pays for all
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	held := got.s.lock == got.lock && got.s.state == stateAcquired
	switch {
	case unreadable && held: // an attempt like others: those that can be read go on
		got.s.story = remember(got.s.story, Attempt{Number: int(got.s.count), Time: now, Error: clip(err)})
		q.releaseLocked(got.s, now.Add(q.cfg.rest(int(got.s.count))), now)
		return false, nil
	case err != nil:
		if held {
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
