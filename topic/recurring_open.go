package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// recurringReader reads the stored recurring messages. A record that cannot be read stands in the way of no other.
type recurringReader struct {
	table  map[string]*recurring
	held   map[string]struct{} // names whose last record is of another format
	stored int64
	harmed bool // some records could not be read
}

func (r *recurringReader) read(ctx context.Context, t *Topic) error {
	part, err := t.partition(0)
	if err != nil {
		return err
	}
	at, err := part.Start()
	for err == nil {
		if err = r.readFrom(ctx, t, at); err == nil {
			break
		}
		damage, ok := damageIn(err, at)
		if !ok {
			return err
		}
		t.eng.tellDamage(part, damage)
		r.harmed, at, err = true, damage.NextOffset, nil
	}
	for _, one := range r.table {
		one.doubt, one.open = r.harmed, !r.harmed && one.state.unsettled()
	}
	if err := ctx.Err(); err != nil {
		return bounded.Cause(ctx)
	}
	return err
}

// readFrom reads up to the end or the next damage.
func (r *recurringReader) readFrom(ctx context.Context, t *Topic, at int64) error {
	for rec, err := range t.Read(ctx, FromOffset(at), UntilEnd()) {
		if err != nil {
			return err
		}
		r.stored++
		name := string(rec.Key)
		delete(r.held, name)
		if rec.Value == nil {
			delete(r.table, name)
			continue
		}
		one, err := parseRecurring(name, rec.Value)
		if err != nil {
			delete(r.table, name)
			r.held[name] = struct{}{}
			t.eng.logger.Error("a recurring message cannot be read and is not appended", "name", clip(name), "offset", rec.Offset, "err", err)
			continue
		}
		r.table[name] = one
	}
	return nil
}

// parseRecurring reads a stored recurring message. Errors match ErrCorrupt, ErrNewerFormat or ErrInvalid.
func parseRecurring(name string, value []byte) (*recurring, error) {
	r := &recurring{name: name}
	if err := json.Unmarshal(value, &r.state); err != nil {
		return nil, fmt.Errorf("%w: recurring message %q: %w", ErrCorrupt, clip(name), err)
	}
	if r.state.Format > recurringFormat {
		return nil, fmt.Errorf("%w: recurring message %q has format %d", ErrNewerFormat, clip(name), r.state.Format)
	}
	var err error
	if r.when, err = ParseRecurrence(r.state.When); err != nil {
		return nil, fmt.Errorf("topic: recurring message %q: %w", clip(name), err)
	}
	return r, nil
}

// clearDoubts finds, for messages of which records may have been lost to damage, the newest firing in the target: each
// is numbered, and its record's time is that at which it was due. The caller holds the token.
func (c *recurrences) clearDoubts(now time.Time) {
	var list []*recurring
	c.mu.Lock()
	for _, r := range c.table {
		if r.doubt && !now.Before(r.retry) {
			list = append(list, r)
		}
	}
	c.mu.Unlock()
	for _, r := range list {
		s, err := c.newestFiring(r)
		if err != nil && !errors.Is(err, ErrNotFound) {
			c.settle(r, err)
			continue
		}
		c.mu.Lock()
		r.state, r.doubt, r.open = s, false, s.unsettled()
		c.weigh(r)
		c.mu.Unlock()
	}
}

// newestFiring is the message's state, brought up to the firings that are in the target.
func (c *recurrences) newestFiring(r *recurring) (recurringState, error) {
	s := r.state
	part, err := delayTarget{s.Topic, s.TopicName, s.Partition}.find(c.eng)
	if err != nil {
		return s, err
	}
	l, err := part.open()
	if err != nil {
		return s, err
	}
	at := log.At(0) // the producer has appended nothing in this engine: what the open log has of it is on disk
	if s.Firing != nil {
		at.Offset = s.Firing.From
	}
	start := time.UnixMilli(s.Since)
	err = eachBatch(l, at, func(b record.Batch) {
		ahead := int64(b.LastSequence()) - s.Firings&(1<<31-1) // from the next firing's number
		if b.ProducerID() != s.Producer || b.Count() == 0 || ahead < 0 {
			return
		}
		s.Firings += ahead + 1
		s.Firing, s.Run, s.Next = &firing{Due: b.MaxTimestamp(), From: b.BaseOffset()}, b.MaxTimestamp(), 0
		if next := r.when.Next(start, time.UnixMilli(b.MaxTimestamp())); !next.IsZero() {
			s.Next = next.UnixMilli()
		}
	})
	return s, err
}

// unsettled tells that the newest firing may not be in the target.
func (s *recurringState) unsettled() bool { return s.Firing != nil && !s.Firing.Settled }

// settleEarlier is Open's look, after a crash, for firings that were under way: as with delayed messages, before anything can
// remove what tells of them.
func (c *recurrences) settleEarlier() {
	if !c.exists() {
		return
	}
	if err := c.take(context.Background()); err != nil {
		c.eng.logger.Warn("earlier firings are looked for later", "err", err)
		return
	}
	defer c.give() // what is due already is appended by others as soon as they get the token
	c.clearDoubts(time.Now())
	for _, r := range c.table {
		if r.open {
			c.settle(r, c.appendOnce(r))
		}
	}
	c.noteSettled()
}

// noteSettled stores, without waiting for the disk, that the newest firings are in their targets: after a long time these
// may have forgotten them. The caller holds the token.
func (c *recurrences) noteSettled() {
	states := map[string]*recurringState{}
	c.mu.Lock()
	for name, r := range c.table {
		if r.stale {
			f := *r.state.Firing
			f.Settled = true
			r.state.Firing, r.stale = &f, false
			s := r.state
			states[name] = &s
		}
	}
	c.mu.Unlock()
	if len(states) == 0 {
		return
	}
	if err := c.store(context.Background(), states, false); err != nil {
		c.eng.logger.Warn("recurring messages: appends not noted", "err", err)
	}
}

// eachBatch goes over a log from a place on, or from the start if that lies above it, up to the end, synced or not. What is
// damaged is stepped over.
func eachBatch(l *log.Log, at log.Place, see func(b record.Batch)) error {
	var buf []byte
	at = log.At(min(max(at.Offset, l.Start()), l.End()))
	for {
		run, next, err := l.Read(buf, at, log.ReadOptions{Bound: log.End})
		if damage, ok := damageIn(err, at.Offset); ok {
			at = log.At(damage.NextOffset)
			continue
		}
		if errors.Is(err, ErrOffsetOutOfRange) && at.Offset < l.Start() {
			at = log.At(l.Start())
			continue
		}
		if err != nil || len(run) == 0 {
			return err
		}
		for b, err := range record.Batches(run) {
			if err != nil {
				return err
			}
			see(b)
		}
		buf, at = run[:0], next
	}
}
