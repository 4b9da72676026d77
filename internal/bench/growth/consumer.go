package growth

import (
	"context"
	"errors"
	"time"

	"github.com/quirelog/quire/topic"
)

// polling is a consumer to which all partitions are assigned; a hundredth of them get records, one at a time.
type polling struct{}

func (polling) curve() Curve {
	c := Curve{ID: "consumer", Name: "append, wake a waiting Consumer, Poll; 1 % active", Unit: "record", Machine: "waking a goroutine", Limits: Limits{25, 1.1, -1, 0.05, 0.05}}
	return c
}

// active is how many partitions get records.
func active(n int) int { return max(1, n/100) }

func (polling) quire(m *manyPartitions) (show func() (sample, error), end func() error, err error) {
	c, err := m.NewConsumer()
	if err != nil {
		return nil, nil, err
	}
	n := len(m.parts)
	list := make([]topic.TopicPartition, n)
	for i := range list {
		list[i] = topic.TopicPartition{Topic: growing, Partition: int32(i)}
	}
	if err := c.Assign(list...); err != nil {
		return nil, c.Close, err
	}
	rec, turn := topic.Record{Value: make([]byte, recordBytes)}, 0
	return m.show(func() (n int, err error) {
		if err := m.seekToHead(c); err != nil {
			return 0, err
		}
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		seen, done := make(chan int), make(chan error, 1)
		go func() { done <- pollAll(ctx, c, seen) }()
		n, err = m.e.pingPong(func() error {
			turn++
			if _, err := m.parts[turn%active(len(list))*(len(list)/active(len(list)))].Append(ctx, rec); err != nil {
				return err
			}
			return await(seen, done)
		})
		stop()
		if e := <-done; err == nil && !errors.Is(e, context.Canceled) {
			err = e
		}
		return n, err
	}), c.Close, nil
}

// seekToHead has the consumer go on with what is appended from now on.
func (m *manyPartitions) seekToHead(c *topic.Consumer) error {
	for i, p := range m.parts {
		high, err := p.High()
		if err == nil {
			err = c.Seek(topic.TopicPartition{Topic: growing, Partition: int32(i)}, high)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pollAll tells how many records each Poll gave.
func pollAll(ctx context.Context, c *topic.Consumer, seen chan<- int) error {
	for {
		recs, err := c.Poll(ctx)
		if err != nil {
			return err
		}
		if len(recs) > 0 {
			seen <- len(recs)
		}
	}
}

func await(seen <-chan int, done chan error) error {
	select {
	case <-seen:
		return nil
	case err := <-done:
		done <- err
		return err
	}
}

// pingPong calls f until the slice is over, and counts.
func (e *env) pingPong(f func() error) (n int, err error) {
	for until := time.Now().Add(e.slice); time.Now().Before(until) && err == nil; n++ {
		err = f()
	}
	return n, err
}

func (polling) raw(e *env, r *rawFiles) (show func() (sample, error), end func() error, err error) {
	ready, seen := make(chan int), make(chan int)
	go func() {
		defer close(seen)
		got := make([]byte, recordBytes+rawFrame)
		for i := range ready {
			n, _ := r.files[i].f.ReadAt(got, r.files[i].end-int64(len(got)))
			seen <- n
		}
	}()
	buf, turn, n := make([]byte, recordBytes+rawFrame), 0, len(r.files)
	one := func() error {
		turn++
		i := turn % active(n) * (n / active(n))
		if err := r.files[i].append(buf, false); err != nil {
			return err
		}
		ready <- i
		if <-seen != len(buf) {
			return errors.New("raw: read too little")
		}
		return nil
	}
	return plain(func() (int, error) { return e.pingPong(one) }), func() error { close(ready); return nil }, nil
}
