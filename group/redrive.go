package group

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// redriveCommit is after how many records put back a Redrive makes it known for good.
const redriveCommit = 64

// redriving is one Redrive: the dead letters are a queue of their own, with the name "quire.redrive." and that of the queue they come from.
type redriving struct {
	q       *Queue
	letters *Queue
	want    func(DeadRecord) bool
	ends    []int64
	passed  []*taken // stay dead
	n       int
	refused error // of the first one that the queue's topic did not take
}

// Redrive puts dead letters of this queue back into its topic: new records at the end, with key, value and headers as they were, for this
// queue and all other readers of the topic. want chooses, nil is all; the others stay for a later Redrive. It looks at each letter once that
// is there when it begins and was not put back before, as long as at most 20000 of a partition stay, and returns how many it put back; with
// an error too. A crash may leave up to 64 records put back that a later Redrive puts back again.
//
// Dead records that have no letter, since it was refused (see [DeadLetter]) or is not written yet, are put back first, in their places, as far
// as the [Window] shows them: they are delivered as if for the first time. One whose letter is under way is waited for.
//
// A letter that cannot be read, or that the topic does not take any more, stays, and the first such error is returned after all others have
// been looked at.
//
// Without [DeadLetter] it is an ErrInvalid; while another Redrive of the queue runs, ErrExists; a panic in want is an error.
func (q *Queue) Redrive(ctx context.Context, want func(d DeadRecord) bool) (n int, err error) {
	if q.hub == nil {
		return 0, unmade("Queue")
	}
	if q.cfg.dead == "" {
		return 0, fmt.Errorf("%w: queue %q has no dead letters", topic.ErrInvalid, q.id.name)
	}
	if !q.redriving.CompareAndSwap(false, true) {
		return 0, fmt.Errorf("%w: a Redrive of queue %q", topic.ErrExists, q.id.name)
	}
	defer q.redriving.Store(false)
	r := &redriving{q: q, want: want}
	if r.n, err = q.reviveDead(ctx, r.wanted); err != nil {
		return r.n, err
	}
	err = r.letterwise(ctx)
	return r.n, err
}

// letterwise looks at the letters that lie in the topic of the dead letters.
func (r *redriving) letterwise(ctx context.Context) error {
	q := r.q
	dead, err := q.deadLetters(ctx)
	if err != nil {
		return err
	}
	if r.ends, err = endsOf(ctx, dead); err != nil {
		return err
	}
	r.letters, err = OpenQueue(ctx, q.hub.eng, dead.Name(), QueueName("quire.redrive."+q.id.name), MaxAttempts(math.MaxInt16), Window(mostWindow))
	if err != nil {
		return err
	}
	err = r.run(ctx)
	r.letters.giveBack(r.passed)
	return errors.Join(err, r.refused, r.letters.close(ctx, topic.ErrClosed))
}

func endsOf(ctx context.Context, t *topic.Topic) ([]int64, error) {
	ends := make([]int64, t.Partitions())
	for i := range ends {
		p, err := t.Partition(int32(i))
		if err != nil {
			return nil, err
		}
		if err := warm(ctx, p); err != nil {
			return nil, err
		}
		if ends[i], err = p.High(); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// run goes on until there is nothing more to look at.
func (r *redriving) run(ctx context.Context) error {
	for {
		if err := bounded.Cause(ctx); err != nil {
			return err
		}
		got, err := r.letters.take(0)
		if err == nil && got == nil {
			var more bool
			if more, err = r.letters.fetch(ctx); err == nil && !more {
				return nil
			}
		}
		if err == nil && got != nil {
			err = r.look(ctx, got)
		}
		if err != nil {
			return err
		}
	}
}

// look decides about one letter.
func (r *redriving) look(ctx context.Context, got *taken) error {
	r.passed = append(r.passed, got)
	ok, err := r.letters.read(ctx, got)
	if err != nil || !ok {
		return r.pass(err)
	}
	d, ok := ParseDeadRecord(got.rec)
	if int(d.Letter.Partition) >= len(r.ends) || d.Letter.Offset >= r.ends[d.Letter.Partition] || !ok || d.Queue != r.q.id.name {
		return nil
	}
	if ok, err = r.wanted(d); err != nil || !ok {
		return err
	}
	if _, err := r.q.topic.Append(ctx, topic.Record{Key: d.Key, Value: d.Value, Headers: d.Headers}); err != nil {
		return r.pass(err)
	}
	r.passed = r.passed[:len(r.passed)-1]
	r.letters.done(got)
	if r.n++; r.n%redriveCommit == 0 {
		return r.letters.flush(ctx)
	}
	return nil
}

// pass lets a letter stay that cannot be read or that the queue's topic does not take, so that it stops no others.
func (r *redriving) pass(err error) error {
	if err == nil || !refuses(err) {
		return err
	}
	if r.refused == nil {
		r.refused = err
	}
	return nil
}

func (r *redriving) wanted(d DeadRecord) (ok bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("group: redrive: the filter panicked: %v", p)
		}
	}()
	return r.want == nil || r.want(d), nil
}

// done ends what was taken.
func (q *Queue) done(got *taken) {
	q.mu.Lock()
	defer q.mu.Unlock()
	got.s.share.finish(got.s, stateAcknowledged)
	q.forgetLocked(got.s, time.Now())
}

// giveBack gives back what was taken, as if it had not been.
func (q *Queue) giveBack(list []*taken) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, got := range list {
		q.undoLocked(got.s, now)
	}
}
