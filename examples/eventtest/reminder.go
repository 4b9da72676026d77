package eventtest

import (
	"context"
	"fmt"
	"time"

	"github.com/quirelog/quire/topic"
)

// The topics of the service. A record of Carts has a cart's name as its key and Filled or Paid as its value; one of
// Reminders has the name of a cart whose owner was reminded.
const (
	Carts     = "carts"
	Reminders = "reminders"

	Filled = "filled"
	Paid   = "paid"
)

// A reminder is the state of the service. All of it is in the topics: it is read again after a restart.
type reminder struct {
	out      *topic.Topic
	patience time.Duration
	open     map[string]time.Time // carts that are filled and not paid: when to remind
	reminded map[string]bool
}

// Remind appends a reminder for every cart that is filled and not paid within patience, until ctx ends; its cause is
// returned then, or what went wrong. Each cart is reminded of once, also over restarts and crashes.
func Remind(ctx context.Context, eng *topic.Engine, patience time.Duration) error {
	r := &reminder{patience: patience, open: map[string]time.Time{}, reminded: map[string]bool{}}
	var err error
	if r.out, err = eng.Topic(ctx, Reminders); err != nil {
		return err
	}
	for rec, err := range r.out.Read(ctx, topic.FromStart(), topic.UntilEnd()) {
		if err != nil {
			return err
		}
		r.reminded[string(rec.Key)] = true
	}
	c, err := eng.NewConsumer(topic.MaxWait(time.Second))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Assign(topic.TopicPartition{Topic: Carts, Partition: 0}); err != nil {
		return err
	}
	for {
		recs, err := c.Poll(ctx)
		if err != nil {
			return fmt.Errorf("remind: %w", err)
		}
		if err := r.remind(ctx, r.learn(recs)); err != nil {
			return fmt.Errorf("remind: %w", err)
		}
	}
}

// learn takes records in and returns up to when everything is known: the present if nothing more has come, else the
// time of the last record. A cart that is due by then has not been paid in time, also when the service comes late.
func (r *reminder) learn(recs []topic.Record) time.Time {
	known := time.Now()
	for i := range recs {
		cart := string(recs[i].Key)
		known = recs[i].Time
		switch string(recs[i].Value) {
		case Filled:
			r.open[cart] = known.Add(r.patience)
		case Paid:
			delete(r.open, cart)
		}
	}
	return known
}

func (r *reminder) remind(ctx context.Context, known time.Time) error {
	for cart, due := range r.open {
		if due.After(known) {
			continue
		}
		if !r.reminded[cart] {
			if _, err := r.out.Append(ctx, topic.Record{Key: []byte(cart)}); err != nil {
				return err
			}
			r.reminded[cart] = true
		}
		delete(r.open, cart)
	}
	return nil
}
