package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/topic"
)

// delayedCost is what delayed messages of 100 bytes cost.
type delayedCost struct {
	scheduled float64       // a second, by the producer
	heap      float64       // bytes of memory a message while it waits
	disk      float64       // bytes of disk a message while it waits
	opened    time.Duration // Open with all of them waiting
	ready     time.Duration // from Open until the soonest of them are in memory and can be delivered
	listed    float64       // a second, by a loop over all that wait
	single    float64       // a second, by calls of 64 goroutines that each wait for the disk
	delivered float64       // a second, when all are due at once
	late99    time.Duration // beyond the due time, with 10,000 due a second
}

// waitingMessages is how many messages wait.
func (t tier) waitingMessages() int {
	if t.name == "full" {
		return 1_000_000
	}
	return 100_000
}

const delayedValue = 100

// costOfDelays schedules messages over the next ten days, opens the engine again with all of them waiting, and then
// lets as many come due at once, and steadily.
func costOfDelays(e *env) (c delayedCost, err error) {
	n := e.waitingMessages()
	dir, err := e.fresh(quire{})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	eng, err := topic.Open(dir)
	if err != nil {
		return c, err
	}
	if c.scheduled, err = sendDelayed(eng, n, func(i int) time.Duration { return time.Hour + 10*24*time.Hour/time.Duration(n)*time.Duration(i) }); err != nil {
		return c, errors.Join(err, eng.Close())
	}
	if err := eng.Close(); err != nil {
		return c, err
	}
	before := machine.HeapInUse()
	begin := time.Now()
	if eng, err = topic.Open(dir); err != nil {
		return c, err
	}
	c.opened = time.Since(begin)
	for quiet := 0; quiet < 20; time.Sleep(time.Millisecond) { // until nothing is loaded any more
		if quiet++; eng.Metrics().Goroutines > 0 || eng.Metrics().Delayed.InMemory == 0 {
			quiet = 0
			c.ready = time.Since(begin)
		}
	}
	c.heap = (machine.HeapInUse() - before) / float64(n)
	c.disk = float64(logBytes(eng, topic.DelayedTopic)) / float64(n)
	if c.listed, err = listDelayed(eng, n); err != nil {
		return c, errors.Join(err, eng.Close())
	}
	if c.single, err = scheduleSingly(eng); err == nil {
		c.delivered, err = deliverAll(eng, n)
	}
	if err == nil {
		c.late99, err = deliverSteadily(eng, e.paced*4)
	}
	return c, errors.Join(err, eng.Close())
}

func logBytes(eng *topic.Engine, name string) int64 {
	for _, t := range eng.Metrics().Topics {
		if t.Topic == name {
			return t.LogBytes
		}
	}
	return 0
}

// sendDelayed sends n messages through a producer and tells how many a second became durable.
func sendDelayed(eng *topic.Engine, n int, delay func(i int) time.Duration) (float64, error) {
	ctx := context.Background()
	if _, err := eng.Topic(ctx, quireTopic, topic.Partitions(4)); err != nil {
		return 0, err
	}
	p, err := eng.NewProducer()
	if err != nil {
		return 0, err
	}
	value := make([]byte, delayedValue)
	var failed error
	told := func(_ topic.Position, err error) { failed = errors.Join(failed, err) }
	begin := time.Now()
	for i := range n {
		if err := p.Send(ctx, quireTopic, topic.Record{Value: value}, told, topic.DeliverAfter(delay(i))); err != nil {
			return 0, errors.Join(err, p.Close())
		}
	}
	err = p.Flush(ctx)
	rate := float64(n) / time.Since(begin).Seconds()
	return rate, errors.Join(err, failed, p.Close())
}

// listDelayed lists the n messages that wait.
func listDelayed(eng *topic.Engine, n int) (float64, error) {
	t, err := eng.Topic(context.Background(), quireTopic)
	if err != nil {
		return 0, err
	}
	begin, seen := time.Now(), 0
	for _, err := range t.Scheduled(context.Background()) {
		if err != nil {
			return 0, err
		}
		seen++
	}
	if seen != n {
		return 0, fmt.Errorf("%d of %d messages were listed", seen, n)
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}

// scheduleSingly schedules by calls, each of which waits for the disk.
func scheduleSingly(eng *topic.Engine) (float64, error) {
	const workers, each = 64, 100
	t, err := eng.Topic(context.Background(), quireTopic)
	if err != nil {
		return 0, err
	}
	faults := make(chan error, workers)
	begin := time.Now()
	for range workers {
		go func() {
			var fault error
			for range each {
				_, err := t.Append(context.Background(), topic.Record{Value: make([]byte, delayedValue)}, topic.DeliverAfter(time.Hour))
				fault = errors.Join(fault, err)
			}
			faults <- fault
		}()
	}
	for range workers {
		err = errors.Join(err, <-faults)
	}
	return workers * each / time.Since(begin).Seconds(), err
}

// deliverAll makes n messages due at one moment and tells how many a second reached their partitions from then on.
func deliverAll(eng *topic.Engine, n int) (float64, error) {
	at := time.Now().Add(time.Duration(n)*10*time.Microsecond + 2*time.Second)
	had := eng.Metrics().Delayed.Delivered
	if _, err := sendDelayed(eng, n, func(int) time.Duration { return time.Until(at) }); err != nil {
		return 0, err
	}
	begin := later(time.Now(), at)
	time.Sleep(time.Until(at))
	for eng.Metrics().Delayed.Delivered-had < int64(n) {
		time.Sleep(time.Millisecond)
		if time.Since(begin) > 3*time.Minute {
			return 0, fmt.Errorf("after three minutes %d of %d messages were delivered", eng.Metrics().Delayed.Delivered-had, n)
		}
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// deliverSteadily makes 10,000 messages a second due and tells how late the worst hundredth was on disk.
func deliverSteadily(eng *topic.Engine, span time.Duration) (time.Duration, error) {
	const perSecond = 10_000
	n := int(span.Seconds() * perSecond)
	at := time.Now().Add(time.Second)
	before := eng.Metrics().Delayed
	if _, err := sendDelayed(eng, n, func(i int) time.Duration { return time.Until(at.Add(time.Duration(i) * time.Second / perSecond)) }); err != nil {
		return 0, err
	}
	for eng.Metrics().Delayed.Delivered-before.Delivered < int64(n) {
		time.Sleep(time.Millisecond)
	}
	h := eng.Metrics().Delayed.Lateness
	for i := range h.Buckets {
		h.Buckets[i] -= before.Lateness.Buckets[i]
	}
	h.Count -= before.Lateness.Count
	return h.Quantile(0.99), nil
}

// measureDelays prints what delayed messages cost.
func measureDelays(e *env, w io.Writer) (broken []string, err error) {
	c, err := costOfDelays(e)
	if err != nil {
		return nil, err
	}
	n := e.waitingMessages()
	most := 16e6/float64(n) + 8 // memory is bounded, so a message costs the less the more there are
	if c.heap > most {
		broken = append(broken, fmt.Sprintf("delayed messages: %.0f bytes of memory each > %.0f", c.heap, most))
	}
	out := &lines{w: w}
	out.line("\nDELAYED MESSAGES: %d of %d B waiting", n, delayedValue)
	out.table(table{
		{"what", "figure"},
		{"scheduled by a producer, durable, krec/s", showRate(c.scheduled)},
		{"scheduled by 64 goroutines, durable, krec/s", showRate(c.single)},
		{"memory while waiting, B each", fmt.Sprintf("%.1f", c.heap)},
		{"disk while waiting, B each", fmt.Sprintf("%.1f", c.disk)},
		{"open with all waiting", showDuration(c.opened)},
		{"until the soonest are in memory", showDuration(c.ready)},
		{"listed, krec/s", showRate(c.listed)},
		{"delivered when all are due at once, krec/s", showRate(c.delivered)},
		{"p99 from due to durable, 10,000 due a second", "< " + showDuration(c.late99)},
	}.writeText, 1)
	return broken, out.err
}
