package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic"
)

// serviceLevel stands where a child is told its level: it is to be the service.
const serviceLevel = "service"

const (
	jobsTopic, deadTopic, laterTopic, eventsTopic, copiesTopic = "jobs", "jobs.dead", "later", "events", "copies"

	serviceGroup    = "readers"
	serviceHands    = "hands"
	serviceRouter   = "copier"
	serviceQueue    = "workers"
	serviceKeys     = 5
	serviceAttempts = 4
	serviceWorkers  = 3
	idsPerCycle     = 1 << 20
	longestDelay    = 250 // ms
)

// service is a program that uses everything at once: a queue with workers, a group of
// readers, a member with order by key, a router, delayed messages. It tells each thing before it does it, and again once it
// is known to be done, by one line each.
type service struct {
	eng   *topic.Engine
	queue *group.Queue
	cycle int
	mu    sync.Mutex                    // one line at a time
	hear  func(verb string, n [3]int64) // instead of printing, if not nil
}

// openService opens a service's engine and queue.
func openService(dir string) (*service, error) {
	eng, err := topic.Open(dir)
	if err != nil {
		return nil, err
	}
	s := &service{eng: eng}
	for name, partitions := range map[string]int{jobsTopic: 2, laterTopic: 2, eventsTopic: 3, copiesTopic: 2} {
		opts := []topic.TopicOption{topic.Partitions(partitions), topic.SegmentBytes(16 << 10)}
		if name == laterTopic {
			opts = append(opts, topic.TimestampsAre(record.LogAppendTime))
		}
		if _, err := eng.Topic(ctx(), name, opts...); err != nil {
			return nil, errors.Join(err, eng.Close())
		}
	}
	s.queue, err = group.OpenQueue(ctx(), eng, jobsTopic, group.QueueName(serviceQueue), group.OrderByKey(), group.DeadLetter(deadTopic),
		group.MaxAttempts(serviceAttempts), group.Backoff(time.Millisecond, 5*time.Millisecond))
	if err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	return s, nil
}

func childService(dir, _ string, cycle int) error {
	s, err := openService(dir)
	if err != nil {
		return err
	}
	s.cycle = cycle
	s.tell("ready")
	duties := []func() error{s.sendJobs, s.sendEvents, s.sendLater, s.readEvents, s.readEvents,
		func() error { return s.handleEvents(ctx(), nil) }, func() error { return s.copyEvents(ctx(), nil) }}
	for range serviceWorkers {
		duties = append(duties, func() error { return s.work(ctx(), nil) })
	}
	faults := make(chan error, len(duties))
	for _, duty := range duties {
		go func() { faults <- duty() }()
	}
	return <-faults
}

// tell prints one line in one write.
func (s *service) tell(verb string, numbers ...int64) {
	if s.hear != nil {
		var n [3]int64
		copy(n[:], numbers)
		s.hear(verb, n)
		return
	}
	line := []byte(verb)
	for _, n := range numbers {
		line = strconv.AppendInt(append(line, ' '), n, 10)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Printf("%s\n", line)
}

func jobRecord(id int64) topic.Record {
	return topic.Record{Key: fmt.Appendf(nil, "key-%d", id%serviceKeys), Value: fmt.Appendf(nil, "job %d", id)}
}

// numbersIn are the numbers of a record's value after its first word.
func numbersIn(value []byte) []int64 {
	var list []int64
	for _, word := range strings.Fields(string(value))[1:] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil
		}
		list = append(list, n)
	}
	return list
}

func (s *service) id(i int) int64 { return int64(s.cycle)*idsPerCycle + int64(i) }

func (s *service) sendJobs() error {
	t, err := s.eng.Topic(ctx(), jobsTopic)
	for i := 0; err == nil; i++ {
		if _, err = t.Append(ctx(), jobRecord(s.id(i))); err == nil {
			s.tell("job", s.id(i))
		}
	}
	return err
}

func (s *service) sendEvents() error {
	t, err := s.eng.Topic(ctx(), eventsTopic)
	for i := 0; err == nil; i++ {
		_, err = t.Append(ctx(), topic.Record{Key: fmt.Appendf(nil, "key-%d", i%serviceKeys), Value: fmt.Appendf(nil, "event %d", s.id(i))})
	}
	return err
}

// sendLater schedules messages, and cancels one in four.
func (s *service) sendLater() error {
	t, err := s.eng.Topic(ctx(), laterTopic)
	for i := 0; err == nil; i++ {
		id := s.id(i)
		due := time.Now().Add(time.Duration(i*37%longestDelay) * time.Millisecond)
		var pos topic.Position
		pos, err = t.Append(ctx(), topic.Record{Value: fmt.Appendf(nil, "later %d %d", id, due.UnixMilli())}, topic.DeliverAt(due))
		if err != nil {
			break
		}
		s.tell("later", id)
		if i%4 == 0 && pos.Topic == topic.DelayedTopic {
			s.tell("cancelling", id)
			var done bool
			if done, err = t.Cancel(ctx(), pos); done {
				s.tell("cancelled", id)
			}
		}
	}
	return err
}

// readEvents is a member of the group that commits by hand after each batch.
func (s *service) readEvents() error {
	c, err := group.Join(ctx(), s.eng, serviceGroup, group.Topics(eventsTopic), group.CommitByHand())
	if err != nil {
		return err
	}
	for b, err := range c.Batches(ctx()) {
		if err != nil {
			return err
		}
		next := b.Records[len(b.Records)-1].Offset + 1
		s.tell("read", int64(b.Partition), b.Records[0].Offset, next)
		b.Mark()
		if c.Commit(ctx()) == nil { // it may fail when the other member joins
			s.tell("committed", int64(b.Partition), next)
		}
	}
	return nil
}

// handleEvents handles each event in the order of its key, until enough says so.
func (s *service) handleEvents(ctx context.Context, enough func() bool) error {
	c, err := group.Join(ctx, s.eng, serviceHands, group.Topics(eventsTopic), group.CommitEvery(5*time.Millisecond),
		group.OnCommit(func(list []group.PartitionOffset, err error) {
			for _, o := range list {
				if err == nil && o.Err == nil {
					s.tell("kept", int64(o.Partition), o.Offset)
				}
			}
		}))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = c.RunByKey(ctx, serviceWorkers, func(_ context.Context, b *group.Batch) error {
		for _, rec := range b.Records {
			s.tell("handled", int64(rec.Partition), rec.Offset)
		}
		if enough != nil && enough() {
			stop()
		}
		return nil
	})
	if enough != nil && enough() {
		return c.Close()
	}
	return errors.Join(err, c.Close())
}

// copyEvents runs the router until enough says so.
func (s *service) copyEvents(ctx context.Context, enough func() (bool, error)) error {
	r, err := group.OpenRouter(ctx, s.eng, serviceRouter, group.From(eventsTopic), group.Bind(group.Fanout(copiesTopic)))
	if err != nil {
		return err
	}
	if enough == nil {
		return r.Run(ctx, 2)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(running, 2) }()
	for {
		done, err := enough()
		select {
		case fault := <-ended:
			return errors.Join(err, fault, r.Close(), faultf(wrong, "the router ended before its time"))
		case <-ctx.Done():
			err = errors.Join(err, faultf(lost, "events that were never copied"))
		case <-time.After(5 * time.Millisecond):
		}
		if done || err != nil {
			stop()
			<-ended // that the context ended
			return errors.Join(err, r.Close())
		}
	}
}

// fate is how a job's attempts end.
type fate int

const (
	succeeds fate = iota
	succeedsLater
	fails
	rejected
)

func fateOf(id int64) fate {
	switch {
	case id%11 == 0:
		return rejected
	case id%13 == 0:
		return fails
	case id%3 == 0:
		return succeedsLater
	}
	return succeeds
}

var errJob = errors.New("the job failed")

// work handles deliveries until the context is done, or enough says so.
func (s *service) work(ctx context.Context, enough func() bool) error {
	var before []int64 // job and attempt whose answer is on disk once the loop goes on
	for d, err := range s.queue.Deliveries(ctx) {
		if err != nil {
			return err
		}
		if before != nil {
			s.tell("known", before...)
		}
		id := numbersIn(d.Value)[0]
		s.tell("try", id, int64(d.Attempt))
		switch f := fateOf(id); {
		case f == rejected:
			s.tell("reject", id)
			d.Reject(errJob)
		case f == fails || f == succeedsLater && d.Attempt == 1:
			s.tell("fail", id)
			d.Retry(errJob)
		default:
			s.tell("ack", id)
			d.Ack()
		}
		before = []int64{id, int64(d.Attempt)}
		if enough != nil && enough() {
			break
		}
	}
	return nil
}
