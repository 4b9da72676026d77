package group

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/quirelog/quire/topic"
)

// EntryState is where an unfinished record of a queue stands.
type EntryState int8

// States of a [QueueEntry].
const (
	EntryReady    EntryState = iota // can be delivered, but for the limits of the queue
	EntryInFlight                   // with somebody
	EntryResting                    // to be tried again later
	EntryLimited                    // could be delivered, but for the limits of its key
	EntryBehind                     // waits for the first of its key
	EntryDying                      // will not be delivered again, and is not among the dead letters yet
	EntryParked                     // the same, and the topic of the dead letters refused it
)

func (s EntryState) String() string {
	switch s {
	case EntryReady:
		return "ready"
	case EntryInFlight:
		return "in flight"
	case EntryResting:
		return "resting"
	case EntryLimited:
		return "limited"
	case EntryBehind:
		return "behind its key"
	case EntryDying:
		return "dying"
	case EntryParked:
		return "parked"
	}
	return "unknown"
}

// QueueEntry is a record of a queue that is not finished, as an operator sees it.
type QueueEntry struct {
	topic.Record
	State    EntryState
	Attempts int       // deliveries begun
	Until    time.Time // in flight: the end of the lease; zero while [Queue.Run] holds it
	Due      time.Time // resting: when it is delivered again
	Priority int       // see [Priority]
	Tenant   string    // see [FairBy]
	Failed   []Attempt // what is known of attempts that failed, the first and the last ones
	Refusal  error     // parked: why its dead letter was refused the last time; or why the record cannot be read
}

// peeked is an entry whose record is to be read.
type peeked struct {
	taken
	QueueEntry
}

// Peek gives the next n records that are ready, fewer if there are not as many, in the order in which they would be delivered if nothing
// came meanwhile. Nothing is acquired, counted or changed. It reads on in the topic if it has to, and does not wait for records. Entries
// are the caller's; the records' bytes are shared with later deliveries.
//
// Errors: what the queue ended with, what reading the topic says, the context's cause.
func (q *Queue) Peek(ctx context.Context, n int) ([]QueueEntry, error) {
	if err := q.readAhead(ctx, n); err != nil {
		return nil, err
	}
	list, err := q.look(func() []*slot { return q.line.ready.first(n) })
	if err != nil {
		return nil, err
	}
	out := make([]QueueEntry, 0, len(list))
	for _, e := range list {
		ok, err := q.complete(ctx, e)
		if err != nil {
			return out, err
		}
		if ok {
			out = append(out, e.QueueEntry)
		}
	}
	return out, nil
}

// Entries is a loop over all unfinished records that the queue has looked at, by partition and offset: what is ready, in flight, resting or
// held back, with deliveries and times. What it shows of a partition is of one moment. Errors are those of [Queue.Peek], as the last pair.
func (q *Queue) Entries(ctx context.Context) iter.Seq2[QueueEntry, error] {
	return func(yield func(QueueEntry, error) bool) {
		if err := q.readAhead(ctx, 1); err != nil {
			yield(QueueEntry{}, err)
			return
		}
		for _, p := range q.stalls() {
			if !q.entriesOf(ctx, p, yield) {
				return
			}
		}
	}
}

// entriesOf shows one partition; false ends it.
func (q *Queue) entriesOf(ctx context.Context, p *stall, yield func(QueueEntry, error) bool) bool {
	list, err := q.look(p.share.open)
	for _, e := range list {
		var ok bool
		if ok, err = q.complete(ctx, e); err != nil {
			break
		}
		if ok && !yield(e.QueueEntry, nil) {
			return false
		}
	}
	if err != nil {
		yield(QueueEntry{}, err)
	}
	return err == nil
}

// readAhead reads on until n records are ready, or as far as a choice among them needs.
func (q *Queue) readAhead(ctx context.Context, n int) error {
	if q.hub == nil {
		return unmade("Queue")
	}
	for {
		q.mu.Lock()
		enough, err := q.line.ready.n >= n && !q.cfg.chooses(), q.end
		q.mu.Unlock()
		if enough || err != nil {
			return err
		}
		more, err := q.fetch(ctx)
		q.passOn()
		if !more || err != nil {
			return err
		}
	}
}

// look makes entries of the slots that choose gives.
func (q *Queue) look(choose func() []*slot) ([]*peeked, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil {
		return nil, q.end
	}
	now := time.Now()
	q.advanceLocked(now)
	q.rouseLocked(now)
	slots := choose()
	list := make([]*peeked, len(slots))
	for i, s := range slots {
		list[i] = &peeked{taken{s: s}, QueueEntry{
			State: s.entryState(), Attempts: int(s.count), Until: s.until, Priority: s.line.priority, Tenant: s.line.tenant,
			Failed: slices.Clone(s.story), Refusal: s.refusal,
		}}
		if list[i].State == EntryResting {
			list[i].Due = s.due
		}
	}
	return list, nil
}

func (s *slot) entryState() EntryState {
	switch {
	case s.state == stateAcquired:
		return EntryInFlight
	case s.refusal != nil:
		return EntryParked
	case s.dead != deadNot:
		return EntryDying
	case s.line.place == placeReady:
		return EntryReady
	case s.line.place == placeResting:
		return EntryResting
	case s.line.place == placeHeld:
		return EntryLimited
	}
	return EntryBehind
}

// complete reads an entry's record; not ok: it is gone.
func (q *Queue) complete(ctx context.Context, e *peeked) (ok bool, err error) {
	ok, err = q.read(ctx, &e.taken)
	if errors.Is(err, topic.ErrCorrupt) {
		e.rec = topic.Record{Topic: q.topic.Name(), Partition: q.stallOf(e.s).part.ID(), Offset: e.s.offset}
		e.Refusal, ok, err = err, true, nil
	}
	e.Record = e.rec
	return ok, err
}
