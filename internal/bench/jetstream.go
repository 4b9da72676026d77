package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// jetQueue is an embedded NATS server whose JetStream keeps a work queue in files.
type jetQueue struct {
	server *server.Server
	conns  []*nats.Conn
	stream jetstream.Stream
}

const jetSubject = "jobs"

// openJetQueue starts a server in dir; synced is its sync_always, which syncs every write to a stream.
func openJetQueue(dir string, workers int, synced bool) (q *jetQueue, err error) {
	ns, err := server.NewServer(&server.Options{
		ServerName: "bench", DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: synced, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, err
	}
	q = &jetQueue{server: ns}
	defer func() {
		if err != nil {
			q.close()
		}
	}()
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("the server did not start")
	}
	for range workers {
		c, err := nats.Connect("", nats.InProcessServer(ns))
		if err != nil {
			return nil, err
		}
		q.conns = append(q.conns, c)
	}
	js, err := jetstream.New(q.conns[0])
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	q.stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "JOBS", Subjects: []string{jetSubject}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return nil, err
	}
	_, err = q.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "workers", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1, MaxDeliver: group.DefaultMaxAttempts,
	})
	return q, err
}

func (q *jetQueue) close() {
	for _, c := range q.conns {
		c.Close()
	}
	q.server.Shutdown()
	q.server.WaitForShutdown()
}

// fill publishes jobs and waits until all are acknowledged.
func (q *jetQueue) fill(jobs, size int) error {
	js, err := jetstream.New(q.conns[0])
	if err != nil {
		return err
	}
	for range jobs {
		if _, err := js.PublishAsync(jetSubject, make([]byte, size)); err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-time.After(time.Minute):
		return errors.New("publishing takes more than a minute")
	}
}

// work has each connection take jobs, one at a time in hand, and wait until the server has confirmed that it is acknowledged. What is found out
// beforehand is not timed.
func (q *jetQueue) work(jobs int) (s sample, err error) {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	handles := make([]jetstream.Consumer, len(q.conns))
	for i, c := range q.conns {
		js, err := jetstream.New(c)
		if err != nil {
			return s, err
		}
		if handles[i], err = js.Consumer(ctx, "JOBS", "workers"); err != nil {
			return s, err
		}
	}
	var left atomic.Int64
	left.Store(int64(jobs))
	faults := make([]error, len(handles))
	var wg sync.WaitGroup
	m := startMeter(nil)
	for i, h := range handles {
		wg.Go(func() {
			if err := jetWorker(ctx, h, &left, stop); left.Load() > 0 { // else all is done, and it was told to stop
				faults[i] = err
			}
		})
	}
	wg.Wait()
	s = m.stop()
	s.records = int64(jobs)
	if err := errors.Join(faults...); err != nil {
		return s, err
	}
	info, err := q.stream.Info(context.Background())
	if err == nil && (left.Load() != 0 || info.State.Msgs != 0) {
		err = fmt.Errorf("%d jobs of %d are left, %d still in the stream", left.Load(), jobs, info.State.Msgs)
	}
	return s, err
}

func jetWorker(ctx context.Context, queue jetstream.Consumer, left *atomic.Int64, stop func()) error {
	msgs, err := queue.Messages(jetstream.PullMaxMessages(100))
	if err != nil {
		return err
	}
	defer msgs.Stop()
	quit := context.AfterFunc(ctx, msgs.Stop)
	defer quit()
	for {
		m, err := msgs.Next()
		if err == nil {
			err = m.DoubleAck(ctx)
		}
		if err != nil {
			return err
		}
		if left.Add(-1) == 0 {
			stop()
		}
	}
}

// queueContest is one way of having jobs done.
type queueContest struct {
	name string
	run  func(e *env, workers, jobs int) (sample, error)
}

func queueContests() []queueContest {
	jet := func(synced bool) func(*env, int, int) (sample, error) {
		return func(e *env, workers, jobs int) (sample, error) { return deliverByJetStream(e, workers, jobs, synced) }
	}
	return []queueContest{{"quire", deliverByQuire}, {"JetStream, sync_always", jet(true)}, {"JetStream, default", jet(false)}}
}

const contestBytes = 100

func deliverByQuire(e *env, workers, jobs int) (s sample, err error) {
	eng, end, err := e.freshEngine()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, end()) }()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	q, err := group.OpenQueue(ctx, eng, jetSubject)
	if err != nil {
		return s, err
	}
	recs := make([]topic.Record, jobs)
	for i := range recs {
		recs[i].Value = make([]byte, contestBytes)
	}
	if _, err := q.Topic().AppendBatch(ctx, recs); err != nil {
		return s, err
	}
	var left atomic.Int64
	left.Store(int64(jobs))
	m := startMeter(nil)
	err = q.Run(ctx, workers, func(context.Context, *group.Delivery) error {
		if left.Add(-1) == 0 {
			stop()
		}
		return nil
	})
	s = m.stop()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	s.records = int64(jobs)
	if got := q.Metrics().Acknowledged; err == nil && got != int64(jobs) {
		err = fmt.Errorf("%d of %d jobs acknowledged", got, jobs)
	}
	return s, err
}

func deliverByJetStream(e *env, workers, jobs int, synced bool) (s sample, err error) {
	dir, err := e.fresh(quire{})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	q, err := openJetQueue(dir, workers, synced)
	if err != nil {
		return s, err
	}
	defer q.close()
	if err := q.fill(jobs, contestBytes); err != nil {
		return s, err
	}
	return q.work(jobs)
}

// measureQueues prints how many jobs a second are delivered and acknowledged, by us and by JetStream, in turns.
func measureQueues(e *env, w io.Writer) (broken []string, err error) {
	t := table{{"workers", "queue", "jobs/s", "allocs/job", "x quire"}}
	for _, workers := range []int{1, 16} {
		jobs := int(e.slice.Microseconds()) / 200 * min(workers, 4)
		all := make([]outcome, len(queueContests()))
		for range min(e.rounds, 3) {
			for i, c := range queueContests() {
				s, err := c.run(e, workers, jobs)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", c.name, err)
				}
				all[i].samples = append(all[i].samples, s)
			}
		}
		for i, c := range queueContests() {
			o := &all[i]
			t = append(t, []string{fmt.Sprint(workers), c.name, fmt.Sprintf("%.0f", mid(o, rate)), showCount(mid(o, allocsPerRecord)), showRatio(roundRatio(o, &all[0]))})
		}
	}
	out := &lines{w: w}
	out.line("\nWORK QUEUES: jobs of %d B delivered and acknowledged one by one; a worker goes on when its acknowledgement is confirmed", contestBytes)
	out.table(t.writeText, 2)
	out.line("- quire confirms what is on disk.")
	out.line("- JetStream (embedded nats-server, file storage, work-queue retention, in-process connections, double ack) confirms what the server has heard; sync_always")
	out.line("  syncs the writes of its stream, but what a consumer has acknowledged goes to its own file about ten times a second.")
	return nil, out.err
}
