package main

import (
	"context"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic"
)

func (s *quireStore) Scan(owned bool) (Cursor, error) {
	if !owned {
		return &quireCursor{s: s}, nil
	}
	c, err := s.consumer()
	if err != nil {
		return nil, err
	}
	end, err := s.part.High()
	return &quireOwned{s: s, c: c, end: end}, err
}

func (s *quireStore) consumer() (*topic.Consumer, error) {
	c, err := s.eng.NewConsumer()
	if err != nil {
		return nil, err
	}
	return c, c.Assign(topic.TopicPartition{Topic: quireTopic})
}

// quireCursor iterates over borrowed batches and decodes records in place.
type quireCursor struct {
	s    *quireStore
	next int64
	rec  record.Record
}

func (c *quireCursor) Close() error { return nil }

func (c *quireCursor) Read(deadline time.Time) (t Tally, err error) {
	for b, err := range c.s.topic.Batches(c.s.ctx, 0, topic.FromOffset(c.next), topic.UntilEnd()) {
		if err != nil {
			return t, err
		}
		if err := decode(&c.s.dec, b, &c.rec, &t); err != nil {
			return t, err
		}
		c.next = b.NextOffset()
		if time.Now().After(deadline) {
			break
		}
	}
	return t, nil
}

func decode(d *record.Decoder, b record.Batch, r *record.Record, t *Tally) error {
	if err := d.Reset(b, 0); err != nil {
		return err
	}
	for d.Next(r) {
		t.add(r.Value)
	}
	return d.Err()
}

// quireOwned polls records that are the caller's to keep.
type quireOwned struct {
	s   *quireStore
	c   *topic.Consumer
	end int64
}

func (c *quireOwned) Close() error { return c.c.Close() }

func (c *quireOwned) Read(deadline time.Time) (t Tally, err error) {
	for t.Records < c.end && time.Now().Before(deadline) {
		recs, err := c.c.Poll(c.s.ctx)
		if err != nil {
			return t, err
		}
		for i := range recs {
			t.add(recs[i].Value)
		}
	}
	return t, nil
}

// Get looks at one record; its value lies in the store's buffer until the next call.
func (s *quireStore) Get(offset int64) ([]byte, error) {
	if s.see == nil {
		s.see = func(r *record.Record) error {
			s.buf = append(s.buf[:0], r.Value...)
			return nil
		}
	}
	err := s.part.View(s.ctx, offset, s.see)
	return s.buf, err
}

func (s *quireStore) Tail() (Tail, error) {
	c, err := s.consumer()
	return &quireTail{c}, err
}

type quireTail struct{ c *topic.Consumer }

func (t *quireTail) Close() error { return t.c.Close() }

func (t *quireTail) Next(ctx context.Context, see func([]byte)) error {
	for {
		recs, err := t.c.Poll(ctx)
		if err != nil {
			return err
		}
		for i := range recs {
			see(recs[i].Value)
		}
		if len(recs) > 0 {
			return nil
		}
	}
}
