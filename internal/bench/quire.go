package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// quire is the front door: package topic, one partition, defaults but for the level.
type quire struct{}

const quireTopic = "bench"

func (quire) Name() string { return "quire" }

func (quire) Note() string {
	return "package topic: Partition.Append; borrowed reads by Topic.Batches and record.Decoder, owned ones by Consumer.Poll, single ones by Partition.View; saturated: Producer.Send with batches of 64 KiB"
}

func (quire) Open(dir string, o Options) (Store, error) {
	return openQuire(dir, o, 1)
}

func (o Options) topicOptions() []topic.TopicOption {
	list := []topic.TopicOption{topic.Durable()}
	switch o.Level {
	case OS:
		list[0] = topic.NoSync()
	case Interval:
		list[0] = topic.SyncEvery(syncInterval)
	}
	if o.SegmentBytes > 0 {
		list = append(list, topic.SegmentBytes(o.SegmentBytes))
	}
	return list
}

// freshEngine opens an engine in a new directory; end closes it and removes the directory.
func (e *env) freshEngine() (eng *topic.Engine, end func() error, err error) {
	dir, err := e.fresh(quire{})
	if err != nil {
		return nil, nil, err
	}
	if eng, err = topic.Open(dir); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return eng, func() error { return errors.Join(eng.Close(), os.RemoveAll(dir)) }, nil
}

func openQuire(dir string, o Options, partitions int, opts ...topic.Option) (*quireStore, error) {
	s := &quireStore{fs: &machine.CountingFS{FS: vfs.OS()}, ctx: context.Background()}
	var err error
	if s.eng, err = topic.Open(dir, append(opts, topic.On(s.fs))...); err != nil {
		return nil, err
	}
	s.topic, err = s.eng.Topic(s.ctx, quireTopic, append(o.topicOptions(), topic.Partitions(partitions))...)
	if err == nil {
		s.part, err = s.topic.Partition(0)
	}
	if err != nil {
		return nil, errors.Join(err, s.eng.Close())
	}
	return s, nil
}

// OpenIdle uses each partition once and leaves it, with files for few of them.
func (quire) OpenIdle(dir string, n int) (Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s, err := openQuire(dir, Options{}, n, topic.MaxOpenFiles(max(16, n/25)))
	if err != nil {
		return nil, err
	}
	if err := s.touchAll(n, 100); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// touchAll appends a record to every partition. Making a partition's files costs several syncs: many at a time share the journal's commits.
func (s *quireStore) touchAll(n, recordBytes int) error {
	const workers = 32
	rec := topic.Record{Value: makeValues(1, recordBytes, 0)[0]}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				_, errs[w] = s.topic.Append(s.ctx, rec, topic.AppendTo(int32(i)))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

type quireStore struct {
	ctx   context.Context
	fs    *machine.CountingFS
	eng   *topic.Engine
	topic *topic.Topic
	part  *topic.Partition

	producer sync.Once
	async    *topic.Producer
	failed   sync.Map // what the producer could not deliver

	buf []byte
	see func(*record.Record) error // puts a value into buf
	dec record.Decoder
}

func (s *quireStore) Close() error { return s.eng.Close() }

func (s *quireStore) Calls() Calls { return s.fs.Calls.Load() }

func (s *quireStore) Count() (int64, error) { return s.part.End() }

func (s *quireStore) Prepare(values [][]byte) any {
	recs := make([]topic.Record, len(values))
	for i, v := range values {
		recs[i].Value = v
	}
	return recs
}

func (s *quireStore) Append(batch any) error {
	_, err := s.part.Append(s.ctx, batch.([]topic.Record)...)
	return err
}

func (s *quireStore) Find(ms int64) (int64, error) {
	pos, _, ok, err := s.part.OffsetForTime(s.ctx, time.UnixMilli(ms))
	if err == nil && !ok {
		return s.part.End()
	}
	return pos.Offset, err
}

// Send makes the producer at its first call.
func (s *quireStore) Send(value []byte) (err error) {
	s.producer.Do(func() {
		s.async, err = s.eng.NewProducer(topic.BatchSize(64<<10), topic.OnError(func(_ topic.Position, err error) { s.failed.Store("first", err) }))
	})
	if err != nil {
		return err
	}
	return s.async.Send(s.ctx, quireTopic, topic.Record{Value: value}, nil)
}

func (s *quireStore) Flush() error {
	err := s.async.Flush(s.ctx)
	if lost, ok := s.failed.Load("first"); ok {
		err = errors.Join(err, lost.(error))
	}
	return err
}
