package topic

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"
)

// HoldBack hands a loop's records on when each is d old by its own Time, asleep until then: delay by the reader, with
// nothing stored beside the records. As one loop is in one order, a record that is not old enough holds up those behind it; so
// with several partitions use a loop for each, and it is of use only where records come in the order of their
// times. A record without a Time is not held back. A done context ends the loop without a pair.
//
//	for rec, err := range topic.HoldBack(ctx, t.Read(ctx, topic.OnPartitions(0)), time.Minute) { ... }
//
// For a time of its own for each record use [DeliverAt].
func HoldBack(ctx context.Context, records iter.Seq2[*Record, error], d time.Duration) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for rec, err := range records {
			if err == nil && !rec.Time.IsZero() && !sleepUntil(ctx, rec.Time.Add(d)) {
				return
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// sleepUntil waits for a time of day; false: the context ended first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	for wait := time.Until(t); wait > 0; wait = time.Until(t) {
		timer := time.NewTimer(min(wait, lookAtClock))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
	return ctx.Err() == nil
}

// Names of the headers that a [RetryLadder] gives to the records that pass through it.
const (
	HeaderAttempt = "retry.attempt" // how often the record failed, in decimal
	HeaderError   = "retry.error"   // why it failed last
)

// RetryLadder moves records that could not be processed through topics of fixed, growing delays, and at last into a topic of
// dead ones: the pattern known as retry topics. Who reads a rung gets each record when it has waited there long
// enough; order within a rung is that of failing, so nothing is sorted and no timer is kept for a record.
//
// Moving a record appends it elsewhere; that the reader counts it as done where it was is the reader's part.
type RetryLadder struct {
	rungs  []*Topic
	delays []time.Duration
	dead   *Topic
}

// RetryLadder makes, or opens, the topics "<name>.retry.1" and so on, one for each delay, and "<name>.dead", each with as many
// partitions as the topic of that name has. Delays must be positive.
func (e *Engine) RetryLadder(ctx context.Context, name string, delays ...time.Duration) (*RetryLadder, error) {
	origin, err := e.lookup(name)
	if err != nil {
		return nil, err
	}
	l := &RetryLadder{delays: delays}
	for i, d := range delays {
		if d <= 0 {
			return nil, fmt.Errorf("%w: a retry after %v", ErrInvalid, d)
		}
		rung, err := e.Topic(ctx, name+".retry."+strconv.Itoa(i+1), Partitions(origin.Partitions()))
		if err != nil {
			return nil, err
		}
		l.rungs = append(l.rungs, rung)
	}
	l.dead, err = e.Topic(ctx, name+".dead", Partitions(origin.Partitions()))
	return l, err
}

// Rungs is the number of delays; rungs are numbered from 0.
func (l *RetryLadder) Rungs() int { return len(l.rungs) }

// Dead is the topic of records that failed on every rung.
func (l *RetryLadder) Dead() *Topic { return l.dead }

// Failed appends a record to the rung after the one it failed on, or to the dead ones. Which one that is, its headers say.
// The copy keeps key, value and other headers; its time is that of the failure. It returns where it went.
func (l *RetryLadder) Failed(ctx context.Context, rec *Record, cause error) (Position, error) {
	if l.dead == nil {
		return Position{}, unmade("RetryLadder")
	}
	attempt := Attempt(rec)
	to := l.dead
	if attempt < len(l.rungs) {
		to = l.rungs[attempt]
	}
	next := Record{Key: rec.Key, Value: rec.Value}
	for _, h := range rec.Headers {
		if h.Key != HeaderAttempt && h.Key != HeaderError {
			next.Headers = append(next.Headers, h)
		}
	}
	if cause == nil {
		cause = errors.New("unknown")
	}
	next.Headers = append(next.Headers,
		Header{Key: HeaderAttempt, Value: []byte(strconv.Itoa(attempt + 1))},
		Header{Key: HeaderError, Value: []byte(cause.Error())})
	return to.Append(ctx, next)
}

// Attempt is how often a record has failed, as its headers say; 0 for one that never did.
func Attempt(rec *Record) int {
	for _, h := range rec.Headers {
		if h.Key == HeaderAttempt {
			if n, err := strconv.Atoi(string(h.Value)); err == nil && n > 0 {
				return n
			}
		}
	}
	return 0
}

// Read is a loop over one partition of a rung: each record comes when the rung's delay has passed since it failed.
func (l *RetryLadder) Read(ctx context.Context, rung int, partition int32, opts ...ReadOption) iter.Seq2[*Record, error] {
	if rung < 0 || rung >= len(l.rungs) {
		return func(yield func(*Record, error) bool) {
			yield(nil, fmt.Errorf("%w: rung %d of %d", ErrInvalid, rung, len(l.rungs)))
		}
	}
	return HoldBack(ctx, l.rungs[rung].Read(ctx, append(opts[:len(opts):len(opts)], onlyPartition(partition))...), l.delays[rung])
}
