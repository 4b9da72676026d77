package group

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/topic"
)

// lookAhead fills the windows as far as there are records.
func (q *Queue) lookAhead(ctx context.Context) error {
	for {
		if more, err := q.fetch(ctx); !more || err != nil {
			return err
		}
	}
}

// fetch reads more records into the windows, unless another does; that one looks again then. more tells that it found some.
func (q *Queue) fetch(ctx context.Context) (more bool, err error) {
	for again := q.beginFetch(); again; {
		var recs []topic.Record
		recs, err = q.poll(ctx)
		more = len(recs) > 0
		again = q.endFetch(recs, err)
	}
	return more, err
}

func (q *Queue) beginFetch() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.end == nil && q.rota.begin()
}

// endFetch takes in what a fetch found; there may be more behind it, or behind an error. The caller takes one of the records, or passes that
// on. again: it has found nothing, and another wanted to fetch meanwhile; then the caller fetches again.
func (q *Queue) endFetch(recs []topic.Record, err error) (again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for i := range recs {
		q.enterLocked(&recs[i], now)
	}
	q.rota.look = q.rota.look || len(recs) > 0 || err != nil
	q.rota.end(q.line.next())
	return len(recs) == 0 && err == nil && q.end == nil && q.rota.look && q.rota.begin()
}

// poll reads records of the partitions whose windows have room. The caller has the feed.
func (q *Queue) poll(ctx context.Context) ([]topic.Record, error) {
	if err := q.grow(ctx); err != nil {
		return nil, err
	}
	q.mu.Lock()
	skips := q.skipLocked()
	pause, resume := q.crowdLocked()
	full := q.full == len(q.parts)
	q.mu.Unlock()
	var err error
	for _, p := range skips {
		err = errors.Join(err, q.feed.Seek(p.at(), p.share.end))
	}
	if len(pause) > 0 {
		err = errors.Join(err, q.feed.Pause(pause...))
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
	for i, p := range q.touched {
		was := p.full
		p.full = p.share.inWindow() >= q.cfg.window
		switch {
		case p.full && !was:
			pause = append(pause, p.at())
			q.full++
		case !p.full && was:
			resume = append(resume, p.at())
			q.full--
		}
		q.touched[i], p.touched = nil, false
	}
	q.touched = q.touched[:0]
	q.checkFullLocked()
	return pause, resume
}

// checkFullLocked asserts that no window was forgotten.
func (q *Queue) checkFullLocked() {
	if !invariant.Enabled {
		return
	}
	for _, p := range q.parts {
		invariant.Check(p.full == (p.share.inWindow() >= q.cfg.window), "group: the window of partition %d was forgotten", p.part.ID())
	}
}

// touchLocked notes that a partition's window may have become full, or full no more.
func (q *Queue) touchLocked(p *stall) {
	if !p.touched {
		p.touched = true
		q.touched = append(q.touched, p)
	}
}

// enterLocked takes a record into its window.
func (q *Queue) enterLocked(r *topic.Record, now time.Time) {
	p := q.parts[r.Partition]
	q.touchLocked(p)
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

// skipLocked lists the partitions that pass over much that is finished: what lies behind a record that rested, or was parked, for long.
func (q *Queue) skipLocked() (list []*stall) {
	for _, p := range q.touched {
		for p.share.skip(feedRecords) {
			if !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}
